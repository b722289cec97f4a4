"""The numbers of a row: the label or score of its answer, how sure its pair is, the scores of its two sides.

A number may be written as text (a cell of a CSV file). Grades on another scale (1 to 5 stars) become 0 to 1.
"""
from typing import Any

from nanouft.shell.errors import UserError
from nanouft.shell.text import short_json

GRADES = ("score", "rating", "reward")                                  # fields, in order of preference
LABELS = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}


def row_grades(item: dict, form: Any, where: str, has_answer: bool, has_pair: bool) -> dict[str, Any]:
    """Fields of Row: score, label, p, scores. UserError where they do not fit the row, or contradict each other."""
    score, label = number(item, form.grade, where, form.scale), truth(item.get("label"), where)
    scores = tuple(number(item, side, where, form.scale) for side in form.sides)
    p = number(item, "p", where)
    if not has_answer and (score is not None or label is not None):
        raise UserError(f"{where}: a label or score judges one response, and this row has only a pair; remove it")
    if form.scale == (0, 1) and score is not None and label is not None and (score > 0.5) != label and score != 0.5:
        raise UserError(f'{where}: "label" {short_json(label)} and "{form.grade}" {short_json(score)} contradict each '
                        "other; remove one")
    if p is not None and not has_pair:
        raise UserError(f'{where}: "p" says how sure the preference of a pair is, and this row has no pair; remove it')
    return {"score": score, "label": label, "p": p, "scores": scores if has_pair and None not in scores else ()}


def as_number(value: Any) -> float | None:
    """A finite number, also one written as text; true is none, and null neither."""
    try:
        number = float(value) if type(value) in (int, float, str) else float("nan")
    except (ValueError, OverflowError):
        return None
    return number if abs(number) < float("inf") else None


def number(item: dict, name: str, where: str, scale: tuple[float, float] = (0, 1)) -> float | None:
    """A field from 0 to 1; with `scale` (low, high): low becomes 0, high 1. None where it is missing."""
    value, (low, high) = item.get(name), scale
    if value is None:
        return None
    known = as_number(value)
    if known is None or not low <= known <= high:
        raise UserError(f'{where}: "{name}" is {short_json(value)}, not a number from {low:g} to {high:g}; '
                        "rescale or remove it")
    return (known - low) / (high - low)


def truth(value: Any, where: str) -> bool | None:
    if value is not None and str(value).lower() not in LABELS:
        raise UserError(f'{where}: "label" is {short_json(value)}, not true or false (1 or 0); write one of them')
    return None if value is None else LABELS[str(value).lower()]


def grade_scale(values: list) -> tuple[float, float]:
    """(0, 1), or the smallest and the largest grade of a file where more than a tenth lie outside: 1 to 5 stars."""
    known = [grade for value in values if (grade := as_number(value)) is not None]
    outside = sum(not 0 <= grade <= 1 for grade in known)
    return (min(known), max(known)) if outside * 10 > len(known) and min(known) < max(known) else (0, 1)
