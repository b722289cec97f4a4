"""What the JSON files of a run folder hold, and the one reader that holds them to it.

    about = read(folder / "run.json")       # UserError: m/run.json: threads is -1: ...

The folder may come from somebody else. Fields that are not in the table are passed over.
"""
from pathlib import Path
from typing import Any

from nanouft.errors import UserError
from nanouft.run.config import misfit
from nanouft.run.storage import read_json
from nanouft.run.words import quoted
from nanouft.world import FAMILIES

# A type, a range, [a list of ...] or {an object}. `name?` may be missing; `*`: any other field.
STEP = range(1, 10**10)
FIGURES: dict = {"families?": {"*": float}, "*": float}
SAMPLE = {"prompt": str, "reference": str, "answer": str, "ended": bool, "score?": float}
FAMILY = dict.fromkeys(("score", "low", "high", "strict", "ends"), float)
LOOK = {"held_out": FIGURES, "samples": [SAMPLE], "reward?": FIGURES,
        "families?": dict.fromkeys(FAMILIES, FAMILY)}
CONFIG = {"init?": str, "data?": list[str] | None, "corpus?": list[str] | None, "reward?": str}
ABOUT = {"command?": str, "steps?": STEP, "config?": CONFIG, "from?": {"*": str},
         "tokenizer?": str, "threads?": STEP, "device?": str, "key?": str}
FILES: dict[str, dict] = {
    "run.json": ABOUT,
    "harvest.json": ABOUT,
    "eval.json": {"before?": LOOK, "after?": LOOK, "step?": STEP},
    "step.json": {"step": STEP, "sha256": {"*": str}, "best?": int | None, "scaler?": {"*": float}},
    "trained_on.json": {"questions": [str]},
    "metrics.jsonl": {"step?": STEP, "held_out?": FIGURES, "*": float | None},      # of each line
}


def read(file: Path) -> dict:
    """The object in one of FILES; UserError if a field does not fit."""
    value = read_json(file)
    if why := wrong(value, FILES[file.name]):
        raise UserError(f"{file}: {why}; copy the file again, or remove it")
    return value


def wrong(value: Any, kind: Any, name: str = "") -> str:
    """Which field does not fit, and why; "" if all do."""
    found: list[str] = []
    if isinstance(kind, dict) and isinstance(value, dict):
        found = [f"{name}.{key} is missing".strip(".") for key in kind
                 if key not in value and key[-1] not in "?*"]
        for key, x in value.items():
            if want := kind.get(key) or kind.get(f"{key}?") or kind.get("*"):
                found.append(wrong(x, want, f"{name}.{key}".strip(".")))
    elif isinstance(kind, list) and isinstance(value, list):
        found = [wrong(x, kind[0], name) for x in value]
    elif isinstance(kind, range):
        if type(value) is not int or value not in kind:
            found = [f"{name} is {quoted(value)}: it must be a whole number above 0"]
    elif isinstance(kind, (dict, list)):
        what = "a list" if isinstance(kind, list) else "an object"
        found = [f"{name} is {quoted(value)}: it must be {what}"]
    elif why := misfit(value, kind):
        found = [f"{name} is {quoted(value)}: {why}"]
    return next(filter(None, found), "")
