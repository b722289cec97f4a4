"""What a setting may be: its type, and for a number the range beside it. It is read here: for
--help, for the refusal of a wrong value, given in Python or as a flag, and by the tests.

    beta: Annotated[float, Range(above=0)] = 0.1    # --beta 0.0: must be above 0
    share: Annotated[float, Range(at_least=0, at_most=0.95)] = 0.0
    margin: Annotated[float, Range()] = 0.0         # any finite number
"""
import math
import sys
import types
import typing
from contextlib import suppress
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Annotated, Any, Literal

from nanouft.plumbing.errors import UserError, flag


@dataclass(frozen=True)
class Range:
    """`value in range`, and str(range) in words: "at least 0 and below 0.5"; "" of any number."""
    at_least: float = -math.inf
    above: float = -math.inf
    at_most: float = math.inf
    below: float = math.inf

    def __contains__(self, value: float) -> bool:
        return self.at_least <= value <= self.at_most and self.above < value < self.below

    def __str__(self) -> str:
        return " and ".join(f"{name.replace('_', ' ')} {end:g}"
                            for name, end in vars(self).items() if math.isfinite(end))


Natural = Annotated[int, Range(at_least=0)]         # others are in nanouft/objective.py


def ranges_of(cls: type) -> dict[str, Range]:
    """{setting: its range}, of all numbers that have one. A number that a subclass declares anew
    without a range keeps that of its base. TypeError for a note that is no Range."""
    ranges: dict[str, Range] = {}
    for base in reversed(cls.__mro__):
        for name, hint in typing.get_type_hints(base, include_extras=True).items():
            kind, notes = strip_annotations(hint)
            if kind not in (int, float):
                ranges.pop(name, None)
            elif notes:
                ranges[name] = notes[0]
            if not all(isinstance(note, Range) for note in notes):
                raise TypeError(f"{name}: {notes[0]!r} is no range; write Range(above=0), for "
                                "instance (nanouft/plumbing/ranges.py)")
    return ranges


def strip_annotations(hint: Any) -> tuple[Any, tuple]:
    """(float, (Range(above=0),)) of Annotated[float, Range(above=0)], and of the same or None."""
    if typing.get_origin(hint) not in (typing.Annotated, typing.Union, types.UnionType):
        return hint, ()
    first = next(x for x in typing.get_args(hint) if x is not type(None))
    kind, notes = strip_annotations(first)
    return kind, notes + getattr(hint, "__metadata__", ())


def choices_of(kind: Any) -> tuple:
    """("group", "none") of Literal["group", "none"]; () of any other type."""
    return typing.get_args(kind) if typing.get_origin(kind) is Literal else ()


def check_ranges(record: object) -> None:
    """UserError for the first setting of a dataclass that is of another type than its own, or out
    of its range. None passes where it is the default."""
    hints, ranges = typing.get_type_hints(type(record)), ranges_of(type(record))
    for field in fields(record):                        # type: ignore[arg-type]
        value, (kind, _) = getattr(record, field.name), strip_annotations(hints[field.name])
        if value is None and field.default is None:
            continue
        wanted, limits = requirement_of(value, kind), ranges.get(field.name)
        if not wanted and limits and value not in limits:
            wanted = str(limits)
        if wanted:
            shown_value = value if isinstance(value, (Real, str)) else (
                " ".join(repr(value).split())[:80])
            raise UserError(flag(field.name), f" {shown_value}: must be {wanted}")


def requirement_of(value: Any, kind: Any) -> str:
    """What a setting of this type must be, in words; "" if the value is that."""
    if choices := choices_of(kind):
        return "" if isinstance(value, str) and value in choices else f"one of {', '.join(choices)}"
    is_real = isinstance(value, Real) and not isinstance(value, bool)
    if kind is int:
        whole = is_real and isinstance(value, Integral)
        return "" if whole else "a whole number" + text_hint(value, int)
    if kind is float:
        finite = is_real and abs(value) <= sys.float_info.max
        return "" if finite else "a finite number" + text_hint(value, float)
    if kind is bool:
        return "" if isinstance(value, bool) else "True or False"
    if typing.get_origin(kind) in (list, tuple):
        return "" if isinstance(value, (list, tuple)) else "a list"
    return "" if kind is not str or isinstance(value, str) else "a text"


def text_hint(value: Any, kind: type) -> str:
    """", not the text '1e-4'": only Python gives such a one."""
    with suppress(ValueError):
        if isinstance(value, str) and kind(value) is not None:
            return f", not the text {value!r}"
    return ""
