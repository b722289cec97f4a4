"""What the number of a setting may be. It is noted beside the setting, and read here: for --help,
for the refusal of a wrong value, and by the tests.

    beta: Annotated[float, "> 0"] = 0.1             # --beta 0.0: must be above 0
    share: Annotated[float, ">= 0", "<= 0.95"] = 0.0
    margin: Annotated[float, "any"] = 0.0
"""
import operator
import re
import types
import typing
from dataclasses import dataclass
from typing import Any

from nanouft.plumbing.errors import UserError, flag

SIGNS = {">": ("above", operator.gt), ">=": ("at least", operator.ge),
         "<": ("below", operator.lt), "<=": ("at most", operator.le)}
Natural = typing.Annotated[int, ">= 0"]          # others are in nanouft/objective.py
END = re.compile(r"(>|>=|<|<=) (-?\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class Range:
    """`value in range`, and str(range) in words: "at least 0 and below 0.5"."""
    ends: list[tuple[str, float]]       # [(">=", 0.0), ("<", 0.5)]; [] if it may be any number

    def __contains__(self, value: float) -> bool:
        return all(SIGNS[sign][1](value, end) for sign, end in self.ends)

    def __str__(self) -> str:
        return " and ".join(f"{SIGNS[sign][0]} {end:g}" for sign, end in self.ends)


def ranges_of(cls: type) -> dict[str, Range]:
    """{setting: its range}, of all numbers that have one. A number that a subclass declares anew
    without a range keeps that of its base. TypeError for a range that cannot be read."""
    found: dict[str, Range] = {}
    for base in reversed(cls.__mro__):
        for name, hint in typing.get_type_hints(base, include_extras=True).items():
            kind, notes = without_notes(hint)
            if kind not in (int, float):
                found.pop(name, None)
            elif notes:
                found[name] = Range([read_end(name, note) for note in notes if note != "any"])
    return found


def without_notes(hint: Any) -> tuple[Any, tuple]:
    """(float, ("> 0",)) of Annotated[float, "> 0"], and of the same or None."""
    if typing.get_origin(hint) not in (typing.Annotated, typing.Union, types.UnionType):
        return hint, ()
    first = next(x for x in typing.get_args(hint) if x is not type(None))
    kind, notes = without_notes(first)
    return kind, notes + getattr(hint, "__metadata__", ())


def read_end(name: str, note: Any) -> tuple[str, float]:
    """"> 0" -> (">", 0.0)"""
    found = END.fullmatch(str(note))
    if not found:
        raise TypeError(f"{name}: the range {note!r} cannot be read; write '> 0', '>= 0', '< 1', "
                        "'<= 1' or 'any'")
    return found[1], float(found[2])


def check_ranges(record: object) -> None:
    """UserError for the first setting that is out of its range; None passes."""
    for name, limits in ranges_of(type(record)).items():
        value = getattr(record, name)
        if value is not None and value not in limits:
            raise UserError(f"{flag(name)} {value}: must be {limits}")
