"""Did a change of code move a number? Some cells of every kind are trained once more; their scores
must be the same to the digit.

    python -m lab.again                             # against the committed results: 10 minutes
    python -m lab.again --record out/before.jsonl   # on another processor: before the change ...
    python -m lab.again --against out/before.jsonl  # ... and after it

The committed results were made on one processor. On another one the last digits of a loss differ,
which is called rounding and is no error; now and then one answer differs, too, which is one. There,
record before the change and compare after it.
"""
import contextlib
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from lab import claims, lake_study
from lab.cell import Cell
from lab.cells import read_cells, repeat_cell
from lab.runner import finished_jobs
from lab.study import Study
from nanouft.errors import UserError
from nanouft.run import config
from nanouft.run.storage import Lines, read_json
from nanouft.run.words import choose

COMPARED = Path("docs/results/compare/cells.jsonl")
LAKE = "C5"                             # fp64: its digits are the same on every machine
ROWS = ("sft", "ift", "dpo", "kto", "uft", "poft", "sftmix", "sft->reinforce", "sft->rloo",
        "sft->grpo", "sft->ppo", "sft->online_dpo", "sft->online_una")
CLAIM_ROWS = (("C1", claims.IFT_ROW), ("C1", claims.CHAIN), ("C3", claims.UFT_AB),
              ("C4", claims.LIKELIEST))


@dataclass
class Again:
    record: str | None = None       # write the new numbers into this file instead of comparing them
    against: str | None = None      # compare with such a file instead of the committed results
    rows: list[str] | None = None   # only these rows of the comparison, or C5: the lake alone
    workers: int = 2                # processes of one thread each


def chosen_cells(rows: list[str] | None) -> dict[str, tuple[Cell, dict]]:
    """{name: (a cell of the first seed, its line in the committed results)}."""
    compared, out = read_cells(COMPARED).values(), {}
    for name in rows or ROWS:
        if choose("row", name, (*ROWS, LAKE)) != LAKE:
            out[name] = of_comparison(name, compared)
    done = {} if rows else read_cells(claims.FOLDER / "cells.jsonl")
    for claim, row in () if rows else CLAIM_ROWS:
        found = read_json(claims.FOLDER / "results.json")["claims"][claim]["search"]["base"]
        study = Study(claims.CLAIMS.__getitem__,
                      {(claim, name, "base"): s["chosen"] for name, s in found.items()})
        cell = study.cell(claim, row, claims.CLAIMS[claim].seeds[0], "base")
        out[f"{claim}: {row}"] = cell, done[cell.key]
    return out


def of_comparison(name: str, lines: Iterable[dict]) -> tuple[Cell, dict]:
    """The first seed of a row of the comparison, which is no study any more: its cell, made of the
    line."""
    *before, objective = name.split("->")
    flags = {f"--objective {objective}", f"--objective {objective} --epochs 1.5"}
    after = " ".join(f"--objective {n}" for n in before)
    line = next(x for x in lines if x["flags"] in flags and x["seed"] == 0
                and x.get("after", "") == after)
    start = Cell(tuple(after.split()), 0, line["base"]) if after else line["base"]
    return Cell(tuple(line["flags"].split()), 0, start, line["split"], line["items"]), line


def main(argv=None) -> int:
    cfg, _ = config.parse(Again, argv, "python -m lab.again", __doc__)
    if cfg.record and cfg.against:
        raise UserError("--record and --against are two runs, before and after a change; give one")
    jobs, names = [], {}
    recorded = read_cells(Path(cfg.against)) if cfg.against else {}
    for name, (cell, line) in chosen_cells(cfg.rows).items():
        if cfg.against and cell.key not in recorded:
            raise UserError(f"{name}: not in {cfg.against}; make that file with --record")
        jobs.append((cell, recorded.get(cell.key, line)))
        names[cell.key] = name
    different = 0
    with contextlib.closing(finished_jobs(repeat_cell, jobs, cfg.workers)) as results:
        for new, verdict in tqdm(results, total=len(jobs), desc="cells", mininterval=1.0):
            if cfg.record:
                Lines(Path(cfg.record)).add(new)
            tqdm.write(f"{names[new['key']]:<40} {'recorded' if cfg.record else verdict}")
            different += verdict.startswith("DIFFERENT")
    if LAKE in (cfg.rows or [LAKE]) and not cfg.record and not cfg.against:
        same = lake_study.first_chunk_again(Path(lake_study.Study.out))
        print(f"{LAKE:<40} {'the same' if same else 'DIFFERENT'}")
        different += not same
    if different and not cfg.record:
        raise UserError(f"{different} differ: other code, another processor or another torch")
    return 0


if __name__ == "__main__":
    sys.exit(config.run(main))
