"""From rows to what an objective reads: which sequences stand together, and which are held out.

    demo_rows(rows, hp)             # role "answer": a demonstration
    pair_rows(rows, hp)             # roles "chosen" and "rejected"
    train, held = holdout(rows)     # equal questions stay on one side

A function of (rows, hp) is what an objective names as its `choose`; batches.py makes tokens of the
roles that it gives to a row.
"""
import hashlib
from collections import Counter
from typing import Any

from nanouft.errors import UserError
from nanouft.rows import Roles, Row, Turns


def contents(data: list[Row]) -> str:
    """What rows hold, for messages: "2,000 demonstrations and 5 pairs"."""
    kinds: Counter = Counter()
    for r in data:
        if is_demo(r):
            kinds["demonstrations"] += 1
        elif r.answer is not None:
            kinds["labelled answers" if r.score is None else "scored answers"] += 1
        kinds["pairs"] += r.chosen is not None
    return " and ".join(f"{n:,} {name}" for name, n in kinds.items() if n) or "no answers"


def some(rows: list[Row], what: str, data: list[Row]) -> list[Row]:
    if not rows:
        raise UserError(f"this objective needs {what}; the data has {contents(data)}")
    return rows


def is_demo(r: Row) -> bool:
    return r.answer is not None and r.score is None and r.label is None


def demo_rows(data: list[Row], hp: Any) -> list[Row]:
    """Role "answer": each demonstration and each answer labelled good; in a row with only a pair
    its chosen answer."""
    out = []
    for r in data:
        answer = r.answer or r.chosen
        if r.answer and (r.score is not None or r.label == 0):
            continue                                    # it has a score, or is bad
        if answer is not None:
            out.append(r.with_roles({"answer": (r.prompt, answer)}))
    return some(out, "demonstrations (a prompt and its answer)", data)


def is_real_pair(r: Row) -> bool:
    return None not in (r.chosen, r.rejected) and r.chosen != r.rejected


def both_answers(r: Row) -> Roles:
    return {"chosen": (r.prompt, r.chosen or ()), "rejected": (r.prompt, r.rejected or ())}


def real_pairs(data: list[Row]) -> list[Row]:
    """The rows with two different answers, as they are."""
    return some(list(filter(is_real_pair, data)), "pairs (prompt, chosen, rejected)", data)


def pair_rows(data: list[Row], hp: Any) -> list[Row]:
    return [r.with_roles(both_answers(r)) for r in real_pairs(data)]


def label_rows(data: list[Row], hp: Any) -> list[Row]:
    """Role "answer", label 1 or 0. A pair is two: chosen good, rejected bad."""
    out = []
    for r in data:
        answers = [(r.answer, float(r.label))] if r.answer and r.label is not None else []
        if is_real_pair(r):
            answers += [(r.chosen or (), 1.0), (r.rejected or (), 0.0)]
        out += [r.with_roles({"answer": (r.prompt, a)}, label=label) for a, label in answers]
    return some(out, "labels (prompt, response, label true or false) or pairs", data)


def score_rows(data: list[Row], hp: Any) -> list[Row]:
    """Role "answer", score from 0 to 1. A label is a score of 1 or 0; a scored pair is two."""
    out = []
    for r in data:
        x = r.label if r.score is None else r.score
        answers = [(r.answer, float(x))] if r.answer and x is not None else []
        answers += zip((r.chosen or (), r.rejected or ()), r.scores)
        out += [r.with_roles({"answer": (r.prompt, a)}, score=x) for a, x in answers]
    return some(out, "scores (prompt, response, score from 0 to 1)", data)


def each_prompt(data: list[Row]) -> list[Row]:
    """The first row of each different prompt."""
    first: dict[Turns, Row] = {}
    for r in data:
        first.setdefault(r.prompt, r)
    return list(first.values())


def prompt_rows(data: list[Row], hp: Any) -> list[Row]:
    """Role "prompt": each different prompt once; the model answers it itself."""
    return some([r.with_roles({"prompt": (r.prompt, ())}) for r in each_prompt(data)],
                "prompts", data)


def holdout(rows: list[Row], share: float = 0.1) -> tuple[list[Row], list[Row]]:
    """(train, held out): a share of the rows, at most 200, by a hash of their first question: equal
    questions stay on one side."""
    def key(r: Row) -> str:
        text = next((t.text for t in r.prompt if t.role == "user"), "").strip()
        return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
    groups, aim = Counter(map(key, rows)), max(1, min(200, round(share * len(rows))))
    held: dict[str, int] = {}
    for name in sorted(groups):
        if sum(held.values()) + groups[name] <= aim and len(held) + 1 < len(groups):
            held[name] = groups[name]
    return [r for r in rows if key(r) not in held], [r for r in rows if key(r) in held]
