"""Computes the equations in the heads of the methods' files as they are printed there.

    value("-log sigmoid(beta (r_w - r_l))", known)      # known(name) -> number or tensor
    value(line.loss, known(line, batch, objective, role))

Two factors side by side are multiplied: 2 a b / c is ((2 a) b) / c. A function without brackets
takes the next factor (log p_t); a sum or a mean takes the rest of its product. Numbers of tokens
are (B,T), numbers of rows (B,1).
"""
import math
import re
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from nanouft.batch import Batch, Seqs
from nanouft.objectives.ada_dpo import root
from nanouft.playground.docstrings import SHARED, Line

TOKEN = re.compile(r"sum_\{k>=t\}|NLL\([^)]*\)|\d*\.?\d+(?:e-\d+)?|[^\W\d][\w']*(?:\[[ij]\])?"
                   r"|[-+*/^(),]")
FUNCTIONS = {"log": torch.log, "exp": torch.exp, "sigmoid": torch.sigmoid, "sg": Tensor.detach,
             "abs": torch.abs, "clip": torch.clamp,
             "max": lambda a, b: torch.maximum(*torch.broadcast_tensors(a, b)),
             "min": lambda a, b: torch.minimum(*torch.broadcast_tensors(a, b)),
             "cos": lambda a, *b: F.cosine_similarity(a, *b, dim=-1) if b else torch.cos(a),
             "softmax_j": lambda x: x.softmax(-1)}
# over tokens, answers, or the K answers to a prompt; `reduction` has each
REDUCTIONS = "sum_t mean_t mean mean_i mean_j mean_K std_K".split()
ROLES = {"w": "chosen", "l": "rejected", "mismatch": "mismatch", "demo": "demo"}    # S_w: behind _
SETTINGS = {"lam_D": "desirable_weight", "lam_U": "undesirable_weight", "K": "samples"}
Known = Callable[[str], Tensor]


def value(formula: str, known: Known) -> Tensor:
    words = TOKEN.findall(formula)
    assert "".join(words).replace(" ", "") == formula.replace(" ", ""), f"not understood: {formula}"
    parser = Parser(words, known)
    out = parser.total()
    assert not parser.words, f"not understood: {parser.words} in {formula}"
    return out


# ---- how it is read ------------------------------------------------------------------------------
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


# ---- what its names stand for --------------------------------------------------------------------
def known(line: Line, batch: Batch, o, role: str) -> Known:
    """What each name stands for, for the answers of a role. A letter of the head comes before a
    column of the rows, then the letters of all heads, settings, and a letter of another role."""
    name = line.name.split()[0]
    s = batch.seqs.get(role) or next(iter(batch.seqs.values()))
    told = numbers(name, batch, o, s, role)

    def read(word: str) -> Tensor:
        if word.startswith("NLL"):
            return token_mean(batch, word[4:-1].split(", "))
        if word in REDUCTIONS:
            return reduction(word, s, getattr(o, "samples", 1))
        if word.endswith(("[i]", "[j]")):
            return read(word[:-3]) if word.endswith("[i]") else read(word[:-3]).T
        if word in line.formulas:
            return value(line.formulas[word], read)
        if word in told:
            return told[word]
        if word in SHARED:
            return value(SHARED[word], read)
        if (x := setting(name, o, word)) is not None:
            return torch.tensor(x, dtype=torch.float64)
        base, _, of = word.rpartition("_")
        assert of in ROLES, (
            f"the equation of {line.name} uses {word!r}, but no line of its head says what that "
            "is: write it as `word = formula`, or use one of the letters of "
            "nanouft/objectives/__init__.py or a setting of the method; a mean of another kind is "
            "added to REDUCTIONS and `reduction` of tests/equation_parser.py")
        return known(line, batch, o, ROLES[of])(base)
    return read


def numbers(name: str, batch: Batch, o, s: Seqs, role: str) -> dict[str, Tensor]:
    """What the rows of a role say, and the rest of the step."""
    def chance(logp: Tensor) -> Tensor:
        return logp.masked_fill(s.mask == 0, 0).exp()   # 1 off the mask

    def exact(number: float) -> Tensor:
        return torch.tensor(number, dtype=torch.float64)
    x = batch.per_row | s.extra
    out = {"mask": s.mask, "t": s.mask.cumsum(-1), "N": s.mask.sum(-1, keepdim=True),
           "p_t": chance(s.logp), "progress": exact(batch.progress), "pi": exact(math.pi)}
    if s.ref_logp is not None:
        out["ref_t"] = out["teacher_t"] = chance(s.ref_logp)    # the reference is the teacher
    if s.sampled_logp is not None:
        out["old_t"] = chance(s.sampled_logp)
    columns = {"A_aligned": "aligned_logp", "g": "imitate", "untied": "untied"}
    columns |= {column: column for column in ("score", "label", "p", "reward")}
    out |= {letter: x[column][:, None] for letter, column in columns.items() if column in x}
    match name:
        case "tofu":
            out |= {"p_t": chance(x["plain_logp"]), "q_t": chance(s.logp)}
        case "sftmix":
            out |= {"m_t": chance(s.logp), "m'_t": chance(batch.seqs["mix_unsure"].logp),
                    "lam": x["share"].amax(-1, keepdim=True)}
        case "tis_dpo":
            out |= {"d_t": x["token_reward"], "mu": exact(1 - 2 * (role == "rejected"))}
        case "ppo":
            out |= {"A_t": s.token_advantage, "G_t": x["returns"], "v_t": x["values"],
                    "V_t": x["old_values"]}
        case "rpo":
            e = x["prompt_embedding"]
            out |= {"e_i": e[:, None], "e_j": e[None]}
        case "reward":
            out["R_w"], out["R_l"] = x["reward"][:, None].chunk(2)
        case "ada_dpo":
            out["u"] = exact(root(o.rho))
    return out


def setting(name: str, o, letter: str) -> float | None:
    field = SETTINGS.get(letter, letter)
    if name == "robust_dpo" and field == "eps":
        field = "label_smoothing"
    if name == "grpo" and field == "eps_high" and o.eps_high is None:
        field = "eps"
    return getattr(o, field, None)


def reduction(name: str, s: Seqs, K: int) -> Callable[[Tensor], Tensor]:
    """A sum or a mean over tokens, rows or groups."""
    def tokens(x: Tensor) -> Tensor:
        return s.sum(x.expand(s.mask.shape))[:, None]

    def groups(x: Tensor, of: Callable) -> Tensor:
        return of(x.view(-1, K), -1, keepdim=True).expand(-1, K).reshape(-1, 1)
    length = s.mask.sum(-1, keepdim=True).clamp_min(1)
    return {"sum_t": tokens, "mean_t": lambda x: tokens(x) / length,
            "mean": lambda x: tokens(x).sum() / s.mask.sum(), "mean_i": torch.mean,
            "mean_j": lambda x: x.mean(-1, keepdim=True),
            "mean_K": lambda x: groups(x, torch.mean), "std_K": lambda x: groups(x, torch.std),
            }[name]


def token_mean(batch: Batch, names: list[str]) -> Tensor:
    """NLL(names): of these roles; "prompt" adds the prompt's tokens."""
    roles = [batch.seqs[name] for name in names if name != "prompt"]
    masks = [s.not_padding if "prompt" in names else s.mask for s in roles]
    return -sum((s.logp * m).sum() for s, m in zip(roles, masks)) / sum(m.sum() for m in masks)
