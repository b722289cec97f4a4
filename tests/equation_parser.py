"""Computes the equations in the heads of the methods' files as they are printed there.

    value("-log sigmoid(beta (r_w - r_l))", known)  # known(name) -> number or tensor

Two factors side by side are multiplied: 2 a b / c is ((2 a) b) / c. A function without brackets
takes the next factor (log p_t); a sum or a mean takes the rest of its product. Tensors of tokens
are (B,T), numbers of rows (B,1).
"""
import re
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

TOKEN = re.compile(r"sum_\{k>=t\}|NLL\([^)]*\)|\d*\.?\d+(?:e-\d+)?|[^\W\d][\w']*(?:\[[ij]\])?"
                   r"|[-+*/^(),]")
FUNCTIONS = {"log": torch.log, "exp": torch.exp, "sigmoid": torch.sigmoid, "sg": Tensor.detach,
             "abs": torch.abs, "clip": torch.clamp,
             "max": lambda a, b: torch.maximum(*torch.broadcast_tensors(a, b)),
             "min": lambda a, b: torch.minimum(*torch.broadcast_tensors(a, b)),
             "cos": lambda a, *b: F.cosine_similarity(a, *b, dim=-1) if b else torch.cos(a),
             "softmax_j": lambda x: x.softmax(-1)}
# of x, with what `known` gives for them: over tokens, answers, or the K answers to a prompt
REDUCTIONS = "sum_t mean_t mean mean_i mean_j mean_K std_K".split()
Known = Callable[[str], Tensor]


def value(formula: str, known: Known) -> Tensor:
    words = TOKEN.findall(formula)
    assert "".join(words).replace(" ", "") == formula.replace(" ", ""), f"not understood: {formula}"
    parser = Parser(words, known)
    out = parser.total()
    assert not parser.words, f"not understood: {parser.words} in {formula}"
    return out


class Parser:
    """Reads words from the left, and computes what they say at once."""
    def __init__(self, words: list[str], known: Known):
        self.words, self.known = words, known

    def next_is(self, *options: str) -> bool:
        return self.words[:1] != [] and self.words[0] in options

    def take(self, *options: str) -> str:
        """The next word, if it is one of these: "" else."""
        return self.words.pop(0) if self.next_is(*options) else ""

    def total(self) -> Tensor:
        out = self.product()
        while sign := self.take("+", "-"):
            out = out + self.product() if sign == "+" else out - self.product()
        return out

    def product(self) -> Tensor:
        if sign := self.take("+", "-"):
            return -self.product() if sign == "-" else self.product()
        out = self.power()
        while self.words and not self.next_is("+", "-", ")", ","):
            out = out / self.power() if self.take("/") else out * self.power()
        return out

    def power(self) -> Tensor:
        base = self.factor()
        return base ** self.factor() if self.take("^") else base

    def factor(self) -> Tensor:
        if self.next_is("("):
            inside, = self.bracket()
            return inside
        word = self.words.pop(0)
        if word[0].isdigit() or word[0] == ".":
            return torch.tensor(float(word), dtype=torch.float64)
        if word == "sum_{k>=t}":
            return self.sum_from_t()
        if word in REDUCTIONS:
            return self.known(word)(self.product())
        if word in FUNCTIONS:
            return FUNCTIONS[word](*self.bracket() if self.next_is("(") else [self.factor()])
        return self.known(word)

    def bracket(self) -> list[Tensor]:
        """What stands in ( , , )."""
        out = []
        while self.take("(", ","):
            out.append(self.total())
        assert self.take(")"), self.words
        return out

    def sum_from_t(self) -> Tensor:
        """The product is (B,t,k): what has a k runs along the last dimension."""
        outer = self.known
        places = torch.arange(outer("mask").shape[1])

        def inner(word: str) -> Tensor:
            if word in ("k", "t"):
                return places if word == "k" else places[:, None]
            return outer(f"{word[:-2]}_t")[:, None] if word.endswith("_k") else outer(word)
        self.known = inner
        each = self.product()
        self.known = outer
        return (each * (places >= places[:, None])).sum(-1)
