"""Errors for the person at the keyboard: one clear line each, and the words that it is made of.

    raise UserError("rows.jsonl:3: no prompt; give --prompt-field NAME")    # what, where, remedy
    in_range(hp, "beta", low=0, above=True)                     # "--beta 0.0: must be above 0"
    print(visible(answer))                                      # control characters as text: \\x1b

Data, models and file names come from others, and on a terminal an escape sequence can hide or
forge what is printed. So text from outside goes through `visible` or `quoted`.
"""
import difflib
import importlib
import math
import re
from collections.abc import Iterable
from typing import Any

# C0 but newline and tab, DEL, C1, and the signs that change the direction of writing
CONTROL = [*range(9), *range(11, 32), *range(127, 160), *range(0x202A, 0x202F),
           *range(0x2066, 0x206A)]
ESCAPES = {c: f"\\x{c:02x}" if c < 256 else f"\\u{c:04x}" for c in CONTROL}


class UserError(Exception):
    """One clear line: what is wrong, where, what to do. Commands print it and exit with code 2."""


class Diverged(UserError):
    """A loss, a gradient or a weight is not finite. The one failure that is also a result."""


def flag(name: str) -> str:
    """batch_size -> --batch-size"""
    return "--" + name.replace("_", "-")


def in_range(record: object, *names: str, low: float = 0, high: float = math.inf,
             above: bool = False) -> None:
    """UserError unless these fields lie from `low` (or above it) to `high`. None and absent fields
    pass."""
    for name in names:
        value = getattr(record, name, None)
        if value is not None and (value < low or value > high or above and value == low):
            least = f"{'above' if above else 'at least'} {low}"
            most = f" and at most {high:,}" if high < math.inf else ""
            raise UserError(f"{flag(name)} {value}: must be {least}{most}")


def optional(name: str, what: str, extra: str = "hf") -> Any:
    """A library that not everybody has, imported here. UserError says how to install it."""
    try:
        return importlib.import_module(name)
    except ImportError as e:
        library = name.split(".")[0]
        lacks = "is not installed"
        if getattr(e, "name", None) is None:
            lacks = f"cannot be imported ({str(e)[:80]!r})"
        raise UserError(f"{what} needs {library}, which {lacks}: "
                        f"pip install nanouft[{extra}]") from None


# ---- the words of a message ----------------------------------------------------------------------
def visible(text: str) -> str:
    """Control characters written out; newlines and tabs stay."""
    return text.translate(ESCAPES)


def quoted(value: object, n: int = 80) -> str:
    """A value in a message: in quotes, at most `n` characters."""
    text = repr(value)
    return text if len(text) <= n else text[:n] + "..."


def one_line(text: str, n: int = 160) -> str:
    """White space folded, control characters written out, at most `n` characters."""
    text = visible(" ".join(text.split()))
    return text if len(text) <= n else text[:n] + " ..."


def shorter(line: str, n: int = 200) -> str:
    """A message with its endless words cut: a name of 5,000 letters helps nobody."""
    return re.sub(rf"\S{{{n},}}", lambda word: word[0][:80] + "...", line)


def nearest(word: str, known: Iterable[str], cutoff: float = 0.5) -> str:
    """'; did you mean X?' or nothing."""
    close = difflib.get_close_matches(word, list(known), 1, cutoff)
    return f"; did you mean {close[0]}?" if close else ""


def choose(what: str, word: Any, known: Iterable[str]) -> str:
    """`word`, if it is one of the known; else UserError with the nearest one."""
    known = list(known)
    if not isinstance(word, str) or word not in known:
        raise UserError(f"unknown {what} {quoted(word)}{nearest(str(word), known)} "
                        f"(known: {', '.join(known)})")
    return word
