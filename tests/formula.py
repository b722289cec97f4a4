"""Computes the equations in the heads of the methods' files as they are printed there.

    value("-log sigmoid(beta (r_w - r_l))", known)  # known(name) -> number or tensor

Two factors side by side are multiplied: 2 a b / c is ((2 a) b) / c. A function without brackets
takes the next factor (log p_t); a sum or a mean takes the rest of its product. Tensors of tokens
are (B,T), numbers of rows (B,1).
"""
import re
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

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
            return self.known(f"NLL({', '.join(self.listed(self.take))})")
        return self.known(word)

    def arguments(self) -> list[Tensor]:
        return self.listed(self.total) if self.next_is("(") else [self.factor()]

    def listed(self, one: Callable[[], Any]) -> list[Any]:
        """What stands in ( , , ), each read by `one`."""
        self.take("(")
        out = [one()]
        while self.next_is(","):
            self.take()
            out.append(one())
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
