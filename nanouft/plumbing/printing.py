"""Printing: control characters written out, numbers with their nouns, and only files that exist."""
from collections.abc import Callable
from pathlib import Path
from typing import Any

# C0 except newline and tab, DEL, C1, and the signs that change the direction of writing
CONTROL = [*range(9), *range(11, 32), *range(127, 160), *range(0x202A, 0x202F),
           *range(0x2066, 0x206A)]
ESCAPES = {c: f"\\x{c:02x}" if c < 256 else f"\\u{c:04x}" for c in CONTROL}


def quantity(n: int, things: str) -> str:
    """"1 row", "2,000 rows"."""
    return f"{n:,} {things.removesuffix('s') if n == 1 else things}"


def visible(text: str) -> str:
    """The text with control characters written out: an escape sequence could hide or forge text."""
    return text.translate(ESCAPES)


def if_here(file: str, text: str = " ({})") -> str:
    """The text with this file, if the file is in the current folder and belongs to nanouft's
    checkout. Else "", as with an installed wheel."""
    ours = Path(__file__).resolve().parents[2] / file
    return text.format(file) if ours.exists() and ours == Path.cwd() / file else ""


def say(*texts: object, sep: str = " ", write: Callable = print, **how: Any) -> None:
    write(visible(sep.join(map(str, texts))), **how)
