"""Objectives from one base over seeds, as one table.

    python -m nanouft.compare --objectives sft ift dpo --seeds 5       # -> out/compare/table.md
    python -m nanouft.compare --objectives dpo --lrs 1e-5 3e-5 1e-4 --split val --seeds 4 --first-seed 1000

Finished runs are kept (cells.py): interrupt at any time, start again, and only what is missing runs.
"""
import sys
from dataclasses import dataclass
from pathlib import Path

from nanouft import config
from nanouft.cells import Cell, percent, run_cells, stops
from nanouft.config import UserError
from nanouft.objectives import OBJECTIVES


@dataclass
class Compare:
    objectives: list[str] | None = None     # which [all]
    lrs: list[str] | None = None    # learning rates to compare, each a row of its own [the objective's default]
    seeds: int = 5                  # a seed draws demonstrations and their order
    first_seed: int = 0             # number of the first seed; 1000 and up are used for choosing
    init: str = "base"              # where all start
    split: str = "test"             # val to choose, test to report
    items: int = 100                # prompts a family
    workers: int = 2                # processes of one thread each
    out: str = "out/compare"        # folder of cells.jsonl and table.md

    def check(self) -> None:
        config.choose("--split", self.split, ("val", "test"))
        if min(self.seeds, self.items, self.workers) < 1 or self.first_seed < 0:
            raise UserError("--seeds, --items and --workers must be at least 1, --first-seed not below 0")
        for lr in self.lrs or []:
            try:
                ok = float(lr) > 0
            except ValueError:
                ok = False
            if not ok:
                raise UserError(f"--lrs {lr}: not a learning rate")


def table(rows: dict[str, list[dict]], base: dict, about: str) -> list[str]:
    """Markdown: the base, then a row of each name with its seeds; runs that diverged are counted, not averaged."""
    names = list(base["families"])
    lines = [about, "", "| | mean | minus base | stops | list stops | " + " | ".join(names) + " |",
             "|---" * (5 + len(names)) + "|",
             f"| base | {100 * base['mean']:.1f} | | {100 * stops(base):.0f} | "
             f"{100 * base['families']['list']['ends']:.0f} | "
             + " | ".join(f"{100 * f['score']:.0f}" for f in base["families"].values()) + " |"]
    for name, cells in rows.items():
        got = [c for c in cells if "failed" not in c]
        if not got:
            lines.append(f"| {name} | all {len(cells)} seeds failed: {cells[0]['failed']} |")
            continue
        label = name if len(got) == len(cells) else f"{name} ({len(cells) - len(got)} of {len(cells)} seeds diverged)"
        figures = [[g["mean"] for g in got], [g["mean"] - base["mean"] for g in got], [stops(g) for g in got],
                   [g["families"]["list"]["ends"] for g in got],
                   *[[g["families"][f]["score"] for g in got] for f in names]]
        lines.append(f"| {label} | " + " | ".join(percent(x) for x in figures) + " |")
    return lines


def main(argv=None) -> int:
    cfg, _ = config.parse(Compare, argv, "python -m nanouft.compare", __doc__)
    cfg.check()
    names = [config.choose("objective", n, OBJECTIVES) for n in cfg.objectives or OBJECTIVES]
    arms = {f"{n} lr {lr}" if lr else n: ("--objective", n, *(("--lr", lr) if lr else ()))
            for n in names for lr in cfg.lrs or [None]}
    base = Cell((), 0, cfg.init, cfg.split, cfg.items)
    seeds = range(cfg.first_seed, cfg.first_seed + cfg.seeds)
    rows = {name: [Cell(flags, s, cfg.init, cfg.split, cfg.items) for s in seeds] for name, flags in arms.items()}
    out = Path(cfg.out)
    done = run_cells([base, *[c for cells in rows.values() for c in cells]], out / "cells.jsonl", cfg.workers)
    if "failed" in done[base.key]:
        raise UserError(f"{cfg.init} could not be scored: {done[base.key]['failed']}")
    about = f"{cfg.seeds} seed{'s' * (cfg.seeds > 1)}, {cfg.items} {cfg.split} prompts a family, scores in percent" + (
        ", 95 % t-interval over seeds" if cfg.seeds > 1 else "") + "; stops = answers that end by themselves"
    lines = table({name: [done[c.key] for c in cells] for name, cells in rows.items()}, done[base.key], about)
    (out / "table.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(config.run(main))
