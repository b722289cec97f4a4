"""The words of a message: values in quotes, the nearest name, one line.

    raise UserError(f"{flag(name)} {quoted(value)}: not a number")
    choose("objective", "dpoo", OBJECTIVES)         # UserError: ...; did you mean dpo?
"""
import difflib
import importlib
import re
from collections.abc import Iterable
from typing import Any

from nanouft.errors import UserError, visible


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
