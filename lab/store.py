"""Finished cells in a JSON-lines file: each is found again by its key, and only what is missing runs.

    with open_store(file, read) as store:               # read(file) -> {key: result}; one process at a time
        store.add({"key": "c0ffee", "mean": 0.8})       # a line of the file
    results_of(cells, store.done)                       # in the order of the cells; Missing where one is not there

A cell is anything with a key.
"""
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from nanouft.shell import runs
from nanouft.shell.errors import UserError
from nanouft.shell.files import Lines, beside, locked


class Missing(UserError):
    """A cell is not there yet: nothing is said from a part of the cells."""


@dataclass
class Store:
    file: Path
    done: dict
    key_of: Callable[[dict], object]

    def add(self, *results: dict) -> None:
        Lines(self.file).add(*results)
        self.done.update({self.key_of(r): r for r in results})


@contextlib.contextmanager
def open_store(file: Path, read: Callable[[Path], dict],
               key_of: Callable[[dict], object] = lambda result: result["key"]) -> Iterator[Store]:
    """The results in `file`, to which nobody else may add meanwhile. Ctrl-C says that they are kept."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with locked(beside(file)), runs.kept_lines(file):
        yield Store(file, read(file), key_of)


def results_of(cells: list, done: dict[str, dict], advice: str) -> list[dict]:
    """The result of each cell, in their order."""
    if missing := [c for c in cells if c.key not in done]:
        names = "; ".join(map(str, missing[:5])) + f"; and {len(missing) - 5} more" * (len(missing) > 5)
        raise Missing(f"{len(missing)} of {len(cells)} cells are missing, so nothing is said: {names}. {advice}")
    return [done[c.key] for c in cells]
