"""What the JSON files of a run folder hold, and the one reader that holds them to it.

    about = read(folder / "run.json")       # UserError: m/run.json: threads is "x": ...

A run folder may come from somebody else, so no field is believed before it was looked at. Fields
that this table does not name are passed over. `--resume` also checks `config` and `hp`, by the
dataclasses of their flags.
"""
from pathlib import Path
from typing import Any

from nanouft.errors import UserError
from nanouft.run.config import misfit
from nanouft.run.storage import read_json
from nanouft.run.words import quoted
from nanouft.world import FAMILIES

# A field is a type, a range, [a list of ...] or {an object}. `name?` may be missing; under `str`
# stands what every other field of an object is.
STEP = range(1, 10**10)
FIGURES = {"families?": {str: float}, str: float}
SAMPLE = {"prompt": str, "reference": str, "answer": str, "ended": bool, "score?": float}
FAMILY = {name: float for name in ("score", "low", "high", "strict", "ends")}
LOOK = {"held_out": FIGURES, "samples": [SAMPLE], "reward?": FIGURES,
        "families?": dict.fromkeys(FAMILIES, FAMILY)}
CONFIG = {"init?": str, "data?": list[str] | None, "corpus?": list[str] | None, "reward?": str}
ABOUT = {"command?": str, "objective?": str, "steps?": STEP, "config?": CONFIG, "from?": {str: str},
         "tokenizer?": str, "threads?": STEP, "device?": str, "held_out_rows?": [str], "key?": str}
FILES: dict[str, dict] = {
    "run.json": ABOUT,
    "harvest.json": ABOUT,
    "eval.json": {"before?": LOOK, "after?": LOOK, "step?": STEP},
    "step.json": {"step": STEP, "sha256": {str: str}, "best?": int | None, "scaler?": {str: float}},
    "trained_on.json": {"questions": [str]},
    "metrics.jsonl": {"step?": STEP, "held_out?": FIGURES, str: float | None},      # of each line
}


def read(file: Path) -> dict:
    """The object in one of FILES; UserError if a field does not fit."""
    value = read_json(file)
    if why := wrong(value, FILES[file.name]):
        raise UserError(f"{file}: {why}; copy the file again, or remove it")
    return value


def wrong(value: Any, kind: Any, name: str = "") -> str:
    """Which field does not fit, and why; "" if all do."""
    if isinstance(kind, dict) and isinstance(value, dict):
        inside = f"{name}." if name else ""
        lost = [key for key in kind if key is not str and key not in value and key[-1] != "?"]
        kinds = {key: kind.get(key, kind.get(f"{key}?", kind.get(str))) for key in value}
        found = [f"{inside}{key} is missing" for key in lost]
        found += [wrong(value[key], k, inside + key) for key, k in kinds.items() if k is not None]
        return next(filter(None, found), "")
    if isinstance(kind, list) and isinstance(value, list):
        return next(filter(None, (wrong(x, kind[0], name) for x in value)), "")
    if isinstance(kind, (dict, list)):
        why = "it must be a list" if isinstance(kind, list) else "it must be an object"
    elif isinstance(kind, range):
        least, most = kind[0], kind[-1]
        fits = type(value) is int and value in kind
        why = "" if fits else f"it must be a whole number from {least:,} to {most:,}"
    else:
        why = misfit(value, kind)
    return why and f"{name} is {quoted(value)}: {why}"
