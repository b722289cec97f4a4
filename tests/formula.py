"""Reads the equations in the heads of the methods' files, and computes them as they are printed.

    L = -log sigmoid( beta (r_w - r_l) )            (Eq. 7)
    --form down     L = ...                         a form of its own, with this setting
    lo = A - log(1 - exp(A))                        a name that the equation uses
    value("-log sigmoid(beta (r_w - r_l))", known)  # known(name) -> number or tensor

Two factors side by side are multiplied: 2 a b / c is ((2 a) b) / c. A function without brackets
takes the next factor (log p_t); a sum or a mean takes the rest of its product. Tensors of tokens
are (B,T), numbers of rows (B,1).
"""
import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from nanouft import objectives

# ---- read ----------------------------------------------------------------------------------------
NAME = r"[^\W\d][\w']*"
LOSS = re.compile(r" {4,}(?:--(\S+ \w+) +)?L = (.+?)(?:  +(.+))?")
FORMULA = re.compile(rf" {{4,}}({NAME}) = (.+?)(?:  +.+)?")


@dataclass
class Line:
    """One form of a method."""
    name: str                   # as on the command line: "apo", "apo --form down"
    loss: str                   # after "L = "
    formulas: dict[str, str]    # what the loss uses: {"lo": "A - log(1 - exp(A))"}


def found(pattern: re.Pattern, text: str | None) -> list[tuple]:
    return [m.groups() for line in (text or "").split("\n") if (m := pattern.fullmatch(line))]


SHARED = dict(found(FORMULA, objectives.__doc__))       # the letters of all equations


def equations(name: str, head: str | None) -> list[Line]:
    """The forms of a method in the head of its file; the default is the first."""
    told = {x: text for x, text in found(FORMULA, head) if x not in {"L", *SHARED}}
    lines: list[Line] = []
    for setting, loss, _ in found(LOSS, head):
        lines.append(Line(f"{name} --{setting}" if lines else name, loss,
                          {x: told[x] for x in used(loss, told)}))
    return lines


def used(formula: str, told: dict[str, str]) -> list[str]:
    """Names that are told, in a formula and in the formulas of these."""
    out: list[str] = []
    for name in re.findall(NAME, formula):
        for here in (name, re.sub("_[wl]$", "", name), re.sub("_k$", "_t", name)):  # u_w: u of w
            if here in told and here not in out:
                out.append(here)
                out += [x for x in used(told[here], told) if x not in out]
    return out


# ---- compute -------------------------------------------------------------------------------------
TOKEN = re.compile(r"\s*(sum_\{k>=t\}|\d*\.?\d+(?:e-\d+)?|[^\W\d][\w']*(?:\[[ij]\])?|[-+*/^(),])")
FUNCTIONS = {"log": torch.log, "exp": torch.exp, "sigmoid": torch.sigmoid, "sg": Tensor.detach,
             "abs": torch.abs, "clip": torch.clamp,
             "max": lambda a, b: torch.maximum(*torch.broadcast_tensors(a, b)),
             "min": lambda a, b: torch.minimum(*torch.broadcast_tensors(a, b)),
             "cos": lambda a, b: F.cosine_similarity(a, b, dim=-1),
             "softmax_j": lambda x: x.softmax(-1)}
REDUCTIONS = ("sum_{k>=t}", "sum_t", "mean_t", "mean", "mean_i", "sum_j", "mean_j", "mean_K",
              "std_K")
Known = Callable[[str], Tensor]


def value(formula: str, known: Known) -> Tensor:
    words, at = [], 0
    while at < len(formula.rstrip()):
        word = TOKEN.match(formula, at)
        assert word, f"not understood: {formula[at:]}"
        words.append(word[1])
        at = word.end()
    parser = Parser(words, known)
    out = parser.total()
    assert not parser.words, f"not understood: {parser.words} in {formula}"
    return out


class Parser:
    """Reads words from the left, and computes what they say at once."""
    def __init__(self, words: list[str], known: Known):
        self.words, self.known = words, known

    def next_is(self, *options: str) -> bool:
        return bool(self.words) and self.words[0] in options

    def take(self, word: str = "") -> str:
        assert self.words and (not word or self.words[0] == word), f"{word} in {self.words}"
        return self.words.pop(0)

    def total(self) -> Tensor:
        out = self.product()
        while self.next_is("+", "-"):
            out = out + self.product() if self.take() == "+" else out - self.product()
        return out

    def product(self) -> Tensor:
        if self.next_is("-", "+"):
            return -self.product() if self.take() == "-" else self.product()
        out = self.power()
        while self.words and not self.next_is("+", "-", ")", ","):
            if self.next_is("/"):
                self.take()
                out = out / self.power()
            else:
                out = out * self.power()
        return out

    def power(self) -> Tensor:
        base = self.factor()
        if self.next_is("^"):
            self.take()
            return base ** self.factor()
        return base

    def factor(self) -> Tensor:
        word = self.take()
        if word == "(":
            out = self.total()
            self.take(")")
            return out
        if word[0].isdigit() or word[0] == ".":
            return torch.tensor(float(word), dtype=torch.float64)
        if word in REDUCTIONS:
            return self.reduced(word)
        if word in FUNCTIONS:
            return FUNCTIONS[word](*self.arguments())
        if word == "NLL":
            return self.known(f"NLL({', '.join(self.names())})")
        return self.known(word)

    def arguments(self) -> list[Tensor]:
        if not self.next_is("("):
            return [self.factor()]
        self.take("(")
        out = [self.total()]
        while self.next_is(","):
            self.take()
            out.append(self.total())
        self.take(")")
        return out

    def names(self) -> list[str]:
        self.take("(")
        out = [self.take()]
        while self.next_is(","):
            self.take()
            out.append(self.take())
        self.take(")")
        return out

    def reduced(self, name: str) -> Tensor:
        if name != "sum_{k>=t}":
            return self.known(name)(self.product())
        outer = self.known

        def inner(word: str) -> Tensor:
            """(B,t,k): what has a k runs along the last dimension."""
            if word in ("k", "t"):
                places = torch.arange(outer("mask").shape[1])
                return places if word == "k" else places[:, None]
            return outer(re.sub("_k$", "_t", word))[:, None] if word.endswith("_k") else outer(word)
        self.known = inner
        each = self.product()
        self.known = outer
        return (each * (inner("k") >= inner("t"))).sum(-1)
