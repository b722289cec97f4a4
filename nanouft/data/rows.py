"""Rows of data, and which of their sequences an objective wants to see together.

    Row(prompt=(Turn("user", "Say hi."),), answer=(Turn("assistant", "Hi."),))  # a demonstration
    demo_rows(rows, hp); pair_rows(rows, hp); label_rows ...        # rows with roles, for batches

files/ makes rows of anybody's files, world/ makes them of NanoWorld. Pure Python, no torch.
"""
import hashlib
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from nanouft.errors import UserError


class Turn(NamedTuple):
    role: str                           # "system" | "user" | "assistant" | "tool": what a tool says
                                        # | "shown": from the assistant, never trained on
    text: str


Turns = tuple[Turn, ...]
Roles = dict[str, tuple[Turns, Turns]]  # "answer", "chosen" ... -> (context, trained turns)
ANSWERS = ("assistant", "shown")        # roles in which the model speaks


@dataclass(frozen=True)
class Row:
    """One line of anybody's data. `prompt` is never trained on; of the other turns, the
    assistant's are."""
    prompt: Turns = ()                  # the turns before the answer; they may hold earlier answers
    answer: Turns | None = None         # a demonstration, or the answer that is scored or labelled
    chosen: Turns | None = None
    rejected: Turns | None = None
    score: float | None = None          # 0..1; None and an answer = a demonstration
    label: float | None = None          # 1: a good answer, 0: a bad one
    p: float | None = None              # 0..1, of a pair: how probably `chosen` is the better one
    scores: tuple[float, ...] = ()      # 0..1, of a pair: those of `chosen` and of `rejected`
    unjudged: bool = False              # a file of grades leaves this one's empty (null)
    family: str = ""                    # NanoWorld's family of tasks
    where: str = field(default="", compare=False)   # "my.jsonl, line 3": for messages only
    extra: dict = field(default_factory=dict, compare=False, repr=False)    # fields for a reward
    # An objective chooses which sequences stand together in a batch:
    roles: Roles = field(default_factory=dict, compare=False)

    def with_roles(self, roles: Roles, **known: float | None) -> "Row":
        """This row as an objective wants it, with only the score, label and p that are given."""
        nothing: dict[str, Any] = {"score": None, "label": None, "p": None}
        return replace(self, roles=roles, **nothing | known)


# ---- which sequences stand together? -------------------------------------------------------------
def contents(data: list[Row]) -> str:
    """What rows hold, for messages: "2,000 demonstrations and 5 pairs"."""
    kinds: Counter = Counter()
    for row in data:
        if row.answer is not None:
            kinds["scored answer" if row.score is not None else
                  ("bad" if row.label < 0.5 else "good") + " answer" if row.label is not None else
                  "unjudged answer" if row.unjudged else "demonstration"] += 1
        if row.chosen is not None:
            kinds["equal pair" if row.chosen == row.rejected else
                  "scored pair" if row.scores else "pair"] += 1
    found = [f"{n:,} {kind}{'s' * (n != 1)}" for kind, n in kinds.items()]
    return " and ".join(found) or "no answers"


def needs(what: str, data: list[Row], hint: str = "") -> UserError:
    return UserError(f"this objective needs {what}; the data has {contents(data)}{hint}")


def demo_rows(data: list[Row], hp: Any) -> list[Row]:
    """Role "answer": each demonstration; in a row with only a pair, its chosen answer. Scored
    answers, those labelled false and those that nobody has judged yet are no demonstrations.
    UserError if none is left."""
    out = []
    for row in data:
        good = row.score is None and row.label != 0 and not row.unjudged
        demo = row.chosen if row.answer is None else row.answer if good else None
        if demo is not None:
            out.append(row.with_roles({"answer": (row.prompt, demo)}))
    if not out:
        scored = any(row.score is not None for row in data)
        raise needs("demonstrations (a prompt and its answer)", data,
                    "; una and uft learn from scores" if scored else "")
    return out


def is_demo(row: Row) -> bool:
    """Is it an answer that needs no grade?"""
    return (row.answer is not None and row.score is None and row.label is None
            and not row.unjudged)


def pair_rows(data: list[Row], hp: Any) -> list[Row]:
    """Roles "chosen", "rejected"; a pair of equal answers prefers nothing. UserError if none is
    left."""
    return [row.with_roles(both_answers(row)) for row in real_pairs(data)]


def both_answers(row: Row) -> Roles:
    """The roles of a pair."""
    return {"chosen": (row.prompt, row.chosen or ()), "rejected": (row.prompt, row.rejected or ())}


def is_real_pair(row: Row) -> bool:
    return None not in (row.chosen, row.rejected) and row.chosen != row.rejected


def real_pairs(data: list[Row]) -> list[Row]:
    """The rows with two different answers, as they are."""
    out = [row for row in data if is_real_pair(row)]
    if not out:
        raise needs("pairs (prompt, chosen, rejected)", data)
    return out


def label_rows(data: list[Row], hp: Any) -> list[Row]:
    """Role "answer", label 1 for a good answer, 0 for a bad one. A pair is two: chosen good,
    rejected bad."""
    out = []
    for row in data:
        labelled = []
        if row.answer is not None and row.label is not None:
            labelled.append((row.answer, float(row.label)))
        if is_real_pair(row):
            labelled += [(row.chosen or (), 1.0), (row.rejected or (), 0.0)]
        out += [row.with_roles({"answer": (row.prompt, answer)}, label=label)
                for answer, label in labelled]
    if not out:
        raise needs("labels (prompt, response, label true or false) or pairs", data)
    return out


def score_rows(data: list[Row], hp: Any) -> list[Row]:
    """Role "answer", score from 0 to 1. A label is a score of 1 or 0; a scored pair is two answers;
    rows with neither are left out."""
    out = []
    for row in data:
        score = row.score if row.score is not None else row.label
        scored = list(zip((row.chosen or (), row.rejected or ()), row.scores))
        if row.answer is not None and score is not None:
            scored.insert(0, (row.answer, float(score)))
        out += [row.with_roles({"answer": (row.prompt, answer)}, score=x) for answer, x in scored]
    if not out:
        pairs = any(row.chosen is not None for row in data)
        raise needs("scores (prompt, response, score from 0 to 1)", data,
                    "; --feedback pair (una, uft) learns from pairs" if pairs else "")
    return out


def prompt_rows(data: list[Row], hp: Any) -> list[Row]:
    """Role "prompt": each different prompt once, with nothing to learn from: the model answers it
    itself."""
    out = [row.with_roles({"prompt": (row.prompt, ())}) for row in each_prompt(data)]
    if not out:
        raise needs("prompts", data)
    return out


def each_prompt(data: list[Row]) -> list[Row]:
    """The first row of each different prompt."""
    first: dict[Turns, Row] = {}
    for row in data:
        first.setdefault(row.prompt, row)
    return list(first.values())


def question_hash(row: Row) -> str:
    """What tells one question from another: a hash of the first user turn."""
    text = next((turn.text for turn in row.prompt if turn.role == "user"), "").strip()
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def holdout(rows: list[Row], share: float = 0.1) -> tuple[list[Row], list[Row]]:
    """(train, held out): `share` of them but at most 200, and at least one.
    Rows are drawn by a hash of their first user turn, so equal prompts stay on one side. Prompts
    come in the order of their hashes; one whose rows would be too many is passed over. If each one
    would be, the rarest is held out."""
    keys = [question_hash(row) for row in rows]
    groups = Counter(keys)
    aim = max(1, min(200, round(share * len(rows))))
    held: set[str] = set()
    taken = 0
    for key in sorted(groups):
        if taken + groups[key] <= aim and len(held) + 1 < len(groups):  # some are left to train on
            held.add(key)
            taken += groups[key]
    if not held and len(groups) > 1:
        held = {min(groups, key=lambda key: (groups[key], key))}
    return ([r for r, key in zip(rows, keys) if key not in held],
            [r for r, key in zip(rows, keys) if key in held])
