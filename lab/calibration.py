"""Is the world one where methods can differ? The base and plain SFT on validation, against what was aimed at.

    python -m lab.calibration [--out docs/results/calibration]       # about 40 s on two cores, resumable

Aims, fixed before any other method was trained: SFT answers 55 to 85 % of a taught family fully right, at least 15
points of score above the base (room to rise and room to fall); the base keeps at least 85 % of the undisputed facts;
the base runs on in the skills, so that stopping has to be learnt. Four seeds of SFT, validation prompts only.
"""
import sys
from dataclasses import dataclass
from pathlib import Path

from lab.cell import Cell
from lab.cells import read_cells, refuse_smaller, run_cells
from lab.words import format_interval, markdown_table
from nanouft.look.stats import interval
from nanouft.shell import config
from nanouft.shell.errors import UserError
from nanouft.shell.files import write_text
from nanouft.world import FAMILIES, RETENTION

SEEDS, BAND, GAP, KEPT = range(1000, 1004), (0.55, 0.85), 0.15, 0.85
SHOWN = ("score", "strict", "ends")


def verdict(family: str, base: dict, sft_strict: tuple[float, float], gain: float) -> str:
    """"met", or which aim is missed; "edge" if the mean misses the band but its interval over seeds reaches into it."""
    if family in RETENTION:
        return "met" if base["score"] >= KEPT else f"base below {100 * KEPT:.0f} %"
    mean, half = sft_strict
    if gain < GAP:
        return f"gain below {100 * GAP:.0f}"
    if BAND[0] <= mean <= BAND[1]:
        return "met"
    side = "below" if mean < BAND[0] else "above"
    return f"{side} the band" if mean + half < BAND[0] or mean - half > BAND[1] else f"edge ({side})"


def report(out: Path, items: int = 100, workers: int = 2) -> list[str]:
    """Train what is missing below `out`; -> the lines of the calibration table, which are also written there."""
    base = Cell((), 0, "base", "val", items)
    sft = [Cell(("--objective", "sft"), seed, "base", "val", items) for seed in SEEDS]
    file = out / "cells.jsonl"
    refuse_smaller(file, {"items": max((c.get("items", 0) for c in read_cells(file).values()), default=0)},
                   {"items": items})
    done = run_cells([base, *sft], file, workers)
    if bad := [c for c in sft if "failed" in done[c.key]]:
        raise UserError(f"{file}: {bad[0]} diverged ({done[bad[0].key]['failed']}), so nothing can be said of SFT here")
    start, runs = done[base.key]["families"], [done[c.key]["families"] for c in sft]

    def show(family: str, key: str) -> str:
        return format_interval(*interval([r[family][key] for r in runs]), digits=0)

    lines = [f"Validation, {items} prompts a family; SFT with its defaults, {len(SEEDS)} seeds, 95 % t-interval. "
             "Percent; strict = fully right and stops.", ""]
    rows = []
    for f in FAMILIES:
        b = start[f]
        gain = interval([r[f]["score"] for r in runs])[0] - b["score"]
        rows.append([f, *(f"{100 * b[key]:.0f}" for key in SHOWN), *(show(f, key) for key in SHOWN),
                     f"{100 * gain:+.0f}", verdict(f, b, interval([r[f]["strict"] for r in runs]), gain)])
    lines += markdown_table(["family", "base: score", "strict", "stops", "SFT: score", "strict", "stops",
                             "gain in score", "aim"], rows)
    write_text(out / "table.md", "\n".join(lines) + "\n")
    return lines


@dataclass
class Calibration:
    out: str = "out/calibration"    # where cells and table are kept
    workers: int = 2                # processes of one thread each


def main(argv=None) -> int:
    cfg, _ = config.parse(Calibration, argv, "python -m lab.calibration", __doc__)
    print("\n".join(report(Path(cfg.out), workers=cfg.workers)))
    return 0


if __name__ == "__main__":
    sys.exit(config.run(main))
