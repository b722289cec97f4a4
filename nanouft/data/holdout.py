"""Hold out a tenth of the rows, by their questions; equal ones stay on one side."""
import hashlib
from collections import Counter
from collections.abc import Collection, Iterable
from unicodedata import normalize

from nanouft.data.row import Row
from nanouft.plumbing.printing import quantity


def question_keys(rows: Iterable[Row]) -> list[str]:
    """A hash of the first question of each row, without the differences that make no other
    question: white space, capital letters, the writing of accents."""
    keys = []
    for r in rows:
        text = next((t.text for t in r.prompt if t.role == "user"), "")
        plain = " ".join(normalize("NFC", normalize("NFC", text).casefold()).split())
        keys.append(hashlib.sha256(plain.encode("utf-8", "replace")).hexdigest())
    return keys


def leak(held_out: Collection[str], asked: Collection[str]) -> str:
    """"5 of 5 held-out questions are also trained on", from the keys of both; "" if none is."""
    known = len({*held_out} & {*asked})
    return known and (f"{known:,} of {quantity(len(held_out), 'held-out prompts')} "
                      f"{'is' if known == 1 else 'are'} also trained on") or ""


def holdout(rows: list[Row]) -> tuple[list[Row], list[Row]]:
    """(train, held out). A tenth of the rows is held out, at most 200, by a hash of the first
    question. So equal questions stay on one side; those of more rows than that are learned."""
    keys = question_keys(rows)
    groups, aim = Counter(keys), max(1, min(200, round(0.1 * len(rows))))
    held: dict[str, int] = {}
    for name in sorted(groups):
        if sum(held.values()) + groups[name] <= aim and len(held) + 1 < len(groups):
            held[name] = groups[name]
    sides: tuple[list[Row], list[Row]] = [], []
    for r, key in zip(rows, keys):
        sides[key in held].append(r)
    return sides
