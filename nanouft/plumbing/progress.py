"""A progress bar in a terminal or a notebook, and lines in a log."""
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any

from tqdm import tqdm

from nanouft.plumbing.printing import say


class ProgressLines:
    """Lines for a log, after 2 seconds, 4, 8 ... A log cannot show tqdm's moving bar."""

    def __init__(self, rows: Iterable | None, total: int, what: str, begun: int):
        self.rows, self.total, self.desc = rows, total, what
        self.n = self.begun = begun
        self.since, self.next, self.postfix = time.monotonic(), 2.0, ""

    def __iter__(self) -> Iterator:
        for row in self.rows or ():
            yield row
            self.update()

    def update(self, n: int = 1) -> None:
        self.n += n
        if (seconds := time.monotonic() - self.since) >= self.next:
            self.next = 2 * seconds
            done, rest = self.n - self.begun, self.total - self.n
            left = f", about {seconds * rest / done:.0f} s left" if done and rest else ""
            say(f"{self.desc}: {self.n:,} of {self.total:,} after {seconds:.0f} s{left}"
                f"{self.postfix}", file=sys.stderr)

    def set_postfix_str(self, text: str, refresh: bool = True) -> None:
        self.postfix = f", {text}"

    def __enter__(self) -> "ProgressLines":
        return self

    def __exit__(self, *_: object) -> None:
        pass


def progress(total: int, what: str, rows: Iterable | None = None, begun: int = 0,
             training: bool = False) -> Any:
    """A progress bar for `total` rows; it iterates over `rows` if they are given. It appears after
    two seconds and disappears at the end. The bar of `training` counts steps, appears at once, and
    stays with its last loss. In a log, lines are printed instead."""
    if not (sys.stderr.isatty() or "ipykernel" in sys.modules):
        return ProgressLines(rows, total, what, begun)
    return tqdm(rows, total=total, initial=begun, desc=what, unit="step" if training else "row",
                delay=0 if training else 2, leave=training, miniters=0, mininterval=0.5)
