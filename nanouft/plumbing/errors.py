"""Errors for the person at the keyboard: what is wrong, where, what to do, in one line.

    raise UserError("my.jsonl, line 3: no prompt")
    in_range(objective, "beta", above=True)                     # "--beta 0.0: must be above 0"
    choose("command", "trian", ["train", "sample"])             # "... did you mean train?"
"""
import difflib
from collections.abc import Iterable


class UserError(Exception):
    """One clear line: what is wrong, where, what to do."""


class Diverged(UserError):
    """Training diverged: the loss, the gradient or a weight is NaN or infinite."""


def flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def in_range(record: object, *names: str, low: float = 0, high: float = 1e30,
             above: bool = False) -> None:
    """UserError unless these fields lie from `low` (or above it) to `high`; None passes."""
    for name in names:
        value = getattr(record, name, None)
        if value is not None and not (low < value <= high or value == low and not above):
            raise UserError(f"{flag(name)} {value}: must be {'above' if above else 'at least'} "
                            f"{low}" + (f" and at most {high:,}" if high < 1e30 else ""))


def choose(what: str, word: str, known: Iterable[str]) -> str:
    """`word`, if it is known; else UserError with the nearest known one."""
    if word not in (known := list(known)):
        raise UserError(f"unknown {what} {word[:80]!r}{nearest(word, known)} "
                        f"(known: {', '.join(known)})")
    return word


def nearest(word: str, known: Iterable[str], before: str = "") -> str:
    """A question that names the known word most like this one, or nothing."""
    lowered = {x.lower(): x for x in known}
    near = difflib.get_close_matches(word.lower(), lowered, 1)
    return "".join(f"; did you mean {before}{lowered[x]}?" for x in near)
