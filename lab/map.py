"""Which method when? One table a regime: so many demonstrations, so many scored answers of the model's own.

    python -m lab.map                   # tunes, trains and scores what is missing; about 4 hours on two cores
    python -m lab.map --pieces grid     # only some pieces: grid, long, source, noise, second
    python -m lab.map --write           # docs/map.md, its pictures and results/map/map.json from kept cells

regimes.py has the plan: what a user may have, the rows, how their settings are chosen. All is resumable: a finished
cell is a line of docs/results/map/cells.jsonl.
"""
import sys
from dataclasses import dataclass
from pathlib import Path

from lab import map_page
from lab.cells import read_cells, run_cells
from lab.regimes import PIECES, settings, test_cells
from nanouft.shell import config
from nanouft.shell.errors import UserError, in_range
from nanouft.shell.text import choose

FOLDER = Path("docs/results/map")


@dataclass
class Map:
    pieces: list[str] | None = None     # grid, long, source, noise, second [all]
    write: bool = False                 # page, pictures and data from what is there; trains nothing
    workers: int = 2                    # processes of one thread each
    out: str = str(FOLDER)              # folder of cells.jsonl and map.json

    def check(self) -> None:
        for name in self.pieces or ():
            choose("--pieces", name, PIECES)
        in_range(self, "workers", low=1, high=64)
        if self.write and self.pieces:
            raise UserError("--write tells all pieces that are there; drop --pieces")


def train(piece: str, file: Path, workers: int) -> None:
    """Chooses the settings of a piece, then trains its test cells."""
    firsts, chosen, _ = settings(PIECES[piece], lambda cells: run_cells(cells, file, workers))
    cells = [c for r in PIECES[piece] for row in test_cells(r, firsts, chosen).values() for c in row]
    run_cells(cells, file, workers)


def main(argv=None) -> int:
    cfg, _ = config.parse(Map, argv, "python -m lab.map", __doc__)
    cfg.check()
    file = Path(cfg.out) / "cells.jsonl"
    if cfg.write:
        print(*map_page.write(Path(cfg.out), read_cells(file)), sep="\n")
        return 0
    for piece in cfg.pieces or PIECES:
        train(piece, file, cfg.workers)
    return 0


if __name__ == "__main__":
    sys.exit(config.run(main))
