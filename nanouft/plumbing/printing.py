"""Printing: control characters written out, numbers with their nouns, and only files that exist."""
import html
import os
import re
import shlex
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

# C0 except newline and tab, DEL, C1, and the signs that change the direction of writing
CONTROL = [*range(9), *range(11, 32), *range(127, 160), *range(0x202A, 0x202F),
           *range(0x2066, 0x206A)]
ESCAPES = {c: f"\\x{c:02x}" if c < 256 else f"\\u{c:04x}" for c in CONTROL}
LeftOut = list[tuple[str, str]]     # where a row is, why it is left out or what is changed of it
MOST_REASONS = 8                    # reasons


def quantity(n: int, things: str) -> str:
    """"1 row", "2,000 rows"."""
    return f"{n:,} {things.removesuffix('s') if n == 1 else things}"


def reasons(left_out: LeftOut) -> str:
    """In words: "3: no answer, as in my.jsonl, lines 4, 6 and 7; 1: too long, as in ..."."""
    return "; ".join(each_reason(left_out))


def each_reason(left_out: LeftOut) -> list[str]:
    """The parts of `reasons`. Reasons that differ in a number are one; those after MOST_REASONS are
    counted."""
    groups: dict[str, LeftOut] = {}
    for where, why in left_out:
        groups.setdefault(re.sub(r"\d[\d.,]*", "", why), []).append((where, why))
    shown = [*groups.values()][:MOST_REASONS]
    out = [f"{len(group):,}: {group[0][1]}, as in {places([where for where, _ in group])}"
           for group in shown]
    rest = len(left_out) - sum(map(len, shown))
    return [*out, f"{rest:,}: other reasons"] if rest else out


def places(wheres: Iterable[str]) -> str:
    """The first three rows of the first file, of "a/my.jsonl, line 4" ...: "my.jsonl, lines 4, 6
    and 7"."""
    apart = [where.rpartition(" ") for where in dict.fromkeys(wheres)]
    file, _, number = apart[0]
    numbers = [x for name, _, x in apart if name == file][:3]
    if len(numbers) == 1 or not file:
        return Path(f"{file} {number}".strip()).name
    return f"{Path(file).name}s {', '.join(numbers[:-1])} and {numbers[-1]}"


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


MUTE, BRIEF, ALL = range(3)         # how much is said: nothing, a line and the bars, everything
volume = ALL
notes: list[str] = []               # of the block that is quiet now
volume_lock = threading.RLock()     # is in such a block


def is_shown(at: int) -> bool:
    return volume >= at and not SILENT


def say(*texts: object, sep: str = " ", write: Callable = print, at: int = ALL, **how: Any) -> None:
    """Print it, where so much is said; errors, which have a file, always."""
    if is_shown(at) or "file" in how:
        write(visible(sep.join(map(str, texts))), **how)


def note(text: str, **how: Any) -> None:
    """Say it, and keep it for whoever has asked for quiet."""
    say(text, **how)
    notes.append(visible(text).strip())


@contextmanager
def quiet(but_for: int = MUTE) -> Iterator[list[str]]:
    """This block says no more than that. It gives the list of its notes. Other threads wait for its
    end: how much is said, and random numbers, are of the whole process."""
    global volume, notes
    with volume_lock:
        before = volume, notes
        volume, notes = min(volume, but_for), []
        try:
            yield notes
        finally:
            before[1].extend(notes)
            volume, notes = before


# ---- what a cell of a notebook shows -------------------------------------------------------------
class Picture(NamedTuple):
    file: Path

    def _repr_png_(self) -> bytes | None:
        return self.file.read_bytes() if self.file.suffix == ".png" else None

    def _repr_svg_(self) -> str | None:
        return self.file.read_text("utf-8") if self.file.suffix == ".svg" else None


class Table(list):
    """Dictionaries with the same keys."""

    def _repr_html_(self) -> str:
        lines = [[*row.values()] for row in self]
        texts = [[html.escape(f"{x:.4g}" if isinstance(x, float) else str(x)) for x in line]
                 for line in [[*self[0]], *lines]]
        return f"<table><tr>{'<tr>'.join('<td>' + '<td>'.join(line) for line in texts)}</table>"


# ---- a progress bar ------------------------------------------------------------------------------
def bar_interval() -> float:
    """Seconds between two lines of a bar: few where it moves, many in a file."""
    return 0.5 if sys.stderr.isatty() or "ipykernel" in sys.modules else 30


def progress(total: int, what: str, rows: Iterable | None = None, begun: int = 0,
             training: bool = False, unit: str = "row") -> Any:
    """A progress bar for `total` rows; it iterates over `rows` if they are given. It appears after
    two seconds and disappears at the end. The bar of `training` counts steps, appears at once, and
    stays with its last loss. unit: what others count, such as students."""
    return tqdm(
        rows, total=total, initial=begun, desc=what, unit="step" if training else unit,
        disable=not is_shown(BRIEF), delay=0 if training else 2, leave=training, miniters=0,
        mininterval=bar_interval())
