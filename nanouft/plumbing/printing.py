"""Printing: control characters written out, numbers with their nouns, and only files that exist."""
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tqdm import tqdm

# C0 except newline and tab, DEL, C1, and the signs that change the direction of writing
CONTROL = [*range(9), *range(11, 32), *range(127, 160), *range(0x202A, 0x202F),
           *range(0x2066, 0x206A)]
ESCAPES = {c: f"\\x{c:02x}" if c < 256 else f"\\u{c:04x}" for c in CONTROL}
LeftOut = list[tuple[str, str]]     # where a row is, why it is left out or what is changed of it
MOST_TOLD = 8                       # reasons


def quantity(n: int, things: str) -> str:
    """"1 row", "2,000 rows"."""
    return f"{n:,} {things.removesuffix('s') if n == 1 else things}"


def reasons(left_out: LeftOut) -> str:
    """In words: "3: no answer, as in my.jsonl, line 4; 1: too long, as in my.jsonl, line 9"."""
    return "; ".join(each_reason(left_out))


def each_reason(left_out: LeftOut) -> list[str]:
    """The parts of `reasons`. Reasons that differ in a number are one; those after MOST_TOLD are
    counted."""
    groups: dict[str, LeftOut] = {}
    for where, why in left_out:
        groups.setdefault(re.sub(r"\d[\d.,]*", "", why), []).append((where, why))
    told = [*groups.values()][:MOST_TOLD]
    out = [f"{len(some):,}: {some[0][1]}, as in {Path(some[0][0]).name}" for some in told]
    rest = len(left_out) - sum(map(len, told))
    return [*out, f"{rest:,}: other reasons"] if rest else out


def visible(text: str) -> str:
    """The text with control characters written out: an escape sequence could hide or forge text."""
    return text.translate(ESCAPES)


def if_in_checkout(file: str, text: str = " ({})") -> str:
    """The text with this file, if the file is in the current folder and belongs to nanouft's
    checkout. Else "", as with an installed wheel."""
    ours = Path(__file__).resolve().parents[2] / file
    return text.format(file) if ours.exists() and ours == Path.cwd() / file else ""


def quoted(path: str | Path) -> str:
    """A path as one types it in a command line."""
    return shlex.quote(Path(path).as_posix())


# of the processes that torchrun starts, only the first one prints; errors are printed by all
SILENT = os.environ.get("WORLD_SIZE", "1") != "1" and os.environ.get("RANK") != "0"


def say(*texts: object, sep: str = " ", write: Callable = print, **how: Any) -> None:
    if not SILENT or "file" in how:
        write(visible(sep.join(map(str, texts))), **how)


# ---- a progress bar ------------------------------------------------------------------------------
bar_class = tqdm            # a worker of nanouft.compare has another


def progress(total: int, what: str, rows: Iterable | None = None, begun: int = 0,
             training: bool = False) -> Any:
    """A progress bar for `total` rows; it iterates over `rows` if they are given. It appears after
    two seconds and disappears at the end. The bar of `training` counts steps, appears at once, and
    stays with its last loss."""
    seen = sys.stderr.isatty() or "ipykernel" in sys.modules
    return bar_class(
        rows, total=total, initial=begun, desc=what, unit="step" if training else "row",
        disable=SILENT, delay=0 if training else 2, leave=training, miniters=0,
        mininterval=0.5 if seen else 30)
