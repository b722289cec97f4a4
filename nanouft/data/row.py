"""A row of data: what is asked, what is answered, how it is graded.

    Row((Turn("user", "Hi"),), (Turn("assistant", "Ho"),))      # a demonstration
    row.with_roles({"answer": (row.prompt, row.answer)})        # as a method chooses it

It is the second of three forms. rows.py makes it of a dictionary, batches.py makes token ids of it.
"""
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple
from unicodedata import normalize

from nanouft.models.tokenizer import Turn, Turns
from nanouft.plumbing.printing import LeftOut

Roles = dict[str, tuple[Turns, Turns]]  # "answer", "chosen" ... -> (context, trained turns)


@dataclass(frozen=True)
class Row:
    """`prompt` is never trained on; of the other turns, the assistant's are. What cannot be used is
    absent, and `wrong` or `missing` says why, by our names of the fields."""
    prompt: Turns = ()                  # the turns before the answer; they may hold earlier answers
    answer: Turns | None = None         # a demonstration, or the answer that is scored or labelled
    chosen: Turns | None = None
    rejected: Turns | None = None
    score: float | None = None          # 0..1; None and an answer = a demonstration
    label: float | None = None          # 1: a good answer, 0: a bad one
    p: float | None = None              # 0..1, of a pair: probability that `chosen` is better
    scores: tuple[float, ...] = ()      # 0..1, of a pair: scores of `chosen` and `rejected`
    task: str = ""                      # NanoWorld's task
    where: str = field(default="", compare=False)   # "my.jsonl, line 3": for messages only
    extra: dict = field(default_factory=dict, compare=False, repr=False)    # fields for a reward
    unread: dict[str, list] = field(default_factory=dict, compare=False)    # fields, their values
    wrong: dict[str, str] = field(default_factory=dict, compare=False)      # who reads it refuses
    missing: dict[str, str] = field(default_factory=dict, compare=False)    # who reads it skips
    roles: Roles = field(default_factory=dict, compare=False)   # an objective chooses them

    def with_roles(self, roles: Roles, **known: float | None) -> "Row":
        """This row with roles, and with only the score, label and p that are given here."""
        nothing: dict[str, Any] = {"score": None, "label": None, "p": None}
        return replace(self, roles=roles, **nothing | known)


def is_demo(r: Row) -> bool:
    return r.answer is not None and r.score is None and r.label is None


def is_good(r: Row) -> bool:
    """True if no grade says that the answer has less than full marks."""
    return r.score in (None, 1) and r.label != 0


def is_real_pair(r: Row) -> bool:
    """True if the two answers differ in more than white space."""
    return comparable(r.chosen) != comparable(r.rejected)


def comparable(turns: Iterable[Turn] | None) -> Turns:
    """Turns in the form in which they are compared: an accent may be written as a letter of its own
    or as a part of its letter."""
    return tuple(Turn(role, normalize("NFC", text).strip()) for role, text in turns or ())


def up_to_last_answer(side: Turns) -> Turns:
    """The turns up to the last answer. Questions after it are left out of a demonstration."""
    last = max((i for i, turn in enumerate(side) if turn.role == "assistant"), default=-1)
    return side[:last + 1]


class Rows(NamedTuple):
    """Rows of files or of NanoWorld, before an objective chooses among them."""
    train: list[Row]
    held_out: list[Row]
    left_out: LeftOut           # rows of the files that cannot be read


Score = Callable[[list[Row], list[str]], Any]       # n rows and an answer to each -> (n,) rewards
