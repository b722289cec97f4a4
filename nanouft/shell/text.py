"""Text from outside: control characters are made visible, and only plain files are read.

    print(visible(answer))                              # control characters as text: \\x1b
    loads(text); regular(file)                          # JSON of any depth; no pipe, no folder, no device

Data, models and file names come from others. On a terminal an escape sequence can hide or forge what is printed.
"""
import difflib
import errno
import json
import os
import re
import stat
from pathlib import Path

from nanouft.shell.errors import UserError

# C0 but newline and tab, DEL, C1, and the signs that turn the direction of writing round
CONTROL = [*range(9), *range(11, 32), *range(127, 160), *range(0x202a, 0x202f), *range(0x2066, 0x206a)]
SHOWN = {c: f"\\x{c:02x}" if c < 256 else f"\\u{c:04x}" for c in CONTROL}
HUB = "hub:"                        # before a name on the hub; a path with a typing error is never looked up there


def visible(text: str) -> str:
    """Control characters written out, newlines and tabs kept."""
    return text.translate(SHOWN)


def said(value, n: int = 80) -> str:
    """A value in a message: quoted, at most `n` characters."""
    text = repr(value)
    return text if len(text) <= n else text[:n] + "..."


def shorter(line: str, n: int = 200) -> str:
    """A message with its endless words cut: a name of 5,000 letters helps nobody."""
    return re.sub(rf"\S{{{n},}}", lambda word: word[0][:80] + "...", line)


# ---- the words of a message ----------------------------------------------------------------------------------------
def nearest(word: str, known, cutoff: float = 0.5) -> str:
    """'; did you mean X?' or nothing."""
    close = difflib.get_close_matches(word, list(known), 1, cutoff)
    return f"; did you mean {close[0]}?" if close else ""


def choose(what: str, word: str, known) -> str:
    if not isinstance(word, str) or word not in known:
        raise UserError(f"unknown {what} {said(word)}{nearest(str(word), known)} (known: {', '.join(known)})")
    return word


def one_line(text: str, n: int = 160) -> str:
    """White space folded, control characters written out, at most `n` characters."""
    text = visible(" ".join(text.split()))
    return text if len(text) <= n else text[:n] + " ..."


# ---- files -----------------------------------------------------------------------------------------------------------
def regular(file: Path) -> Path:
    """`file`, if it is a plain file. OSError else: reading a pipe would wait, reading a device would not end."""
    mode = os.stat(file).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(file))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "is a pipe or a device, not a file", str(file))
    return file


def loads(text: str):
    """json.loads; ValueError also for nesting without end."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def read_json(file: Path) -> dict:
    """The object in a JSON file; UserError if it is missing, damaged or no object."""
    try:
        value = loads(regular(file).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{file}: no such file; is {file.parent} a run folder of nanouft?")
    except (OSError, ValueError) as e:
        raise UserError(f"{file}: cannot be read ({getattr(e, 'strerror', None) or e}); copy it again, "
                        "or start a new run")
    if not isinstance(value, dict):
        raise UserError(f"{file}: holds no JSON object; copy it again, or start a new run")
    return value
