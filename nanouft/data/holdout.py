"""Hold out a tenth of the rows, by their questions.

    train, held = holdout(rows)             # equal questions stay on one side
    leak(held_questions, trained_questions)     # "5 of 5 held-out questions are also trained on"
"""
import hashlib
from collections import Counter
from collections.abc import Collection, Iterable
from textwrap import shorten
from unicodedata import normalize

from nanouft.data.rows import Row
from nanouft.plumbing.printing import quantity

FEW = 10        # rows with one question; with fewer, a run does not say that none is held out


def first_question(r: Row) -> str:
    """The first question of a dialogue, without the differences that make no other question: white
    space, capital letters, the writing of accents."""
    text = next((t.text for t in r.prompt if t.role == "user"), "")
    return " ".join(normalize("NFC", normalize("NFC", text).casefold()).split())


def question_keys(rows: Iterable[Row]) -> list[str]:
    """A hash of the first question of each row."""
    return [hashlib.sha256(first_question(r).encode("utf-8", "replace")).hexdigest() for r in rows]


def leak(held_out: Collection[str], asked: Collection[str]) -> str:
    """"5 of 5 held-out questions are also trained on", from the keys of both; "" if none is."""
    known = len({*held_out} & {*asked})
    return known and (f"{known:,} of {quantity(len(held_out), 'held-out questions')} "
                      f"{'is' if known == 1 else 'are'} also trained on") or ""


def most_held_out(rows: list[Row]) -> int:
    return max(1, min(200, round(0.1 * len(rows))))


def never_held_out(rows: list[Row]) -> str:
    """A line if `holdout` cannot hold out a question, because it has too many rows; else ""."""
    for text, n in Counter(map(first_question, rows)).most_common(1):
        if n >= FEW and n > most_held_out(rows):
            return f'{n:,} rows begin with "{shorten(text, 40)}": too many to be held out'
    return ""


def holdout(rows: list[Row]) -> tuple[list[Row], list[Row]]:
    """(train, held out). A tenth of the rows is held out, at most 200, by a hash of the first
    question. So equal questions stay on one side."""
    keys = question_keys(rows)
    groups, aim = Counter(keys), most_held_out(rows)
    held: dict[str, int] = {}
    for name in sorted(groups):
        if sum(held.values()) + groups[name] <= aim and len(held) + 1 < len(groups):
            held[name] = groups[name]
    sides: tuple[list[Row], list[Row]] = [], []
    for r, key in zip(rows, keys):
        sides[key in held].append(r)
    return sides
