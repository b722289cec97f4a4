"""Every way of fine-tuning from one base, over seeds: one table.

    python -m lab.compare                        # all offline rows x 5 seeds -> out/compare/table.md
    python -m lab.compare --objectives sft ift dpo "sft->dpo" --seeds 2              # some rows only
    python -m lab.compare --on-policy                         # also sft->ppo and its kin, which cost more

Rows: every objective from the base at its default settings, four chains (a second stage starts from the first one's
model) and a control, SFT for twice the steps. Sizes are fixed before any timing: 100 test prompts a family, 5 seeds,
probes on 20 prompts a family. Of every row one setting was chosen, its learning rate, among three or more, on two
validation seeds (docs/LOG.md); claims.py tunes more, for the contrasts that it judges.
Finished cells are kept in out/compare/cells.jsonl (cells.py): interrupt at any time, start again, and only what is
missing or has changed runs. Written beside: results.json (every figure) and table.md.
"""
import math
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from lab.cell import Cell
from lab.cells import run_cells
from lab.runner import refuse_other_form
from lab.table import MEASURES, Row, summarise
from lab.words import format_gain, markdown_table
from nanouft.objective import Objective
from nanouft.objectives import OBJECTIVES
from nanouft.shell import config
from nanouft.shell.errors import UserError, in_range
from nanouft.shell.files import write_json, write_text
from nanouft.shell.text import choose

CHAINS = (("sft", "dpo"), ("sft", "kto"), ("sft", "una"), ("poft", "dpo"))
GENTLE = ("--lr", "3e-6")               # of the second stage of a chain: the best of three learning rates (docs/LOG.md)
OWN_PASSES = ("--epochs", "1.5")        # of methods that sample: half the default, about 35 s of one core a run
TWICE = "sft, twice the steps"
COMMITTED = Path("docs/results/compare")
SAME = {"tpo": "cpo"}                   # gold answers are the chosen ones in NanoWorld: cpo to the last digit


@dataclass
class Compare:
    objectives: list[str] | None = None     # which rows: objectives, "sft->dpo" ..., "sft, twice the steps" [all]
    on_policy: bool = False         # also the objectives that sample while they train, each after SFT
    on_policy_seeds: int = 5        # their number of seeds: such a run takes many times as long
    seeds: int = 5                  # a seed draws demonstrations and their order
    first_seed: int = 0             # number of the first seed
    init: str = "base"              # where all start
    split: str = "test"             # whose prompts: val or test
    items: int = 100                # prompts a family
    workers: int = 2                # processes of one thread each
    out: str = "out/compare"        # folder of cells.jsonl, results.json, table.md

    def check(self) -> None:
        choose("--split", self.split, ("val", "test"))
        in_range(self, "seeds", "on_policy_seeds", low=1, high=1_000)
        in_range(self, "items", low=1, high=10_000)
        in_range(self, "workers", low=1, high=64)
        if self.objectives and self.on_policy:
            raise UserError("--on-policy adds rows to all; with --objectives name them: sft->ppo")
        in_range(self, "first_seed")
        refuse_other_form(self, Path(self.out), COMMITTED, "objectives", "seeds", "items", "split", "init")


# ---- rows ------------------------------------------------------------------------------------------------------------
def group(o: Objective) -> str:
    """What an objective learns from, with its default settings."""
    kinds = o.kinds(o.hp())
    return "both" if len(kinds) > 1 else {"demos": "demonstrations", "pairs": "pairs"}.get(kinds[0], "grades")


def all_rows() -> dict[str, Row]:
    """{name: row}: objectives from the base, chains, the control, and what samples while it trains."""
    sampled = [n for n, o in OBJECTIVES.items() if o.on_policy]
    alone = {n: Row(("--objective", n), group(o)) for n, o in OBJECTIVES.items() if n not in (*sampled, *SAME)}
    chains = {f"{a}->{b}": Row(("--objective", b, *GENTLE), "chain", ("--objective", a)) for a, b in CHAINS}
    control = {TWICE: Row(("--objective", "sft", "--epochs", "6"), "control")}
    own = {f"sft->{n}": Row(("--objective", n, *OWN_PASSES), "on-policy", ("--objective", "sft")) for n in sampled}
    return alone | chains | control | own


def wanted(cfg: Compare) -> dict[str, Row]:
    rows = all_rows()
    if cfg.objectives:
        rows = {choose("objective", n, rows): rows[n] for n in cfg.objectives}
    elif not cfg.on_policy:
        rows = {n: r for n, r in rows.items() if r.group != "on-policy"}
    return rows


# ---- written ---------------------------------------------------------------------------------------------------------
def table(results: dict) -> list[str]:
    """Markdown: a line of each row with all its figures, what it costs and what it needs."""
    lines = []
    for name, row in results["rows"].items():
        figures = [MEASURES[m].write(row["figures"][m]) for m in MEASURES]
        cost, gap = row["cost"], row["minus_sft"]
        price = [f"{cost['tokens']:,}", f"{cost['flops'] / 1e9:,.0f}", f"{cost['relative']:.2f}"] if cost else ["–"] * 3
        gain = [format_gain(gap[0], math.inf if gap[1] is None else gap[1]), row["verdict"]] if gap else ["–"] * 2
        lost = f" ({len(row['failed'])} seeds diverged)" if row["failed"] else ""
        lines.append([name + lost, *figures, *gain, *price, row["data"], row["models"]])
    titles = ["", *(m.title for m in MEASURES.values()), "minus SFT", "", "gradient tokens", "GFLOP", "x SFT", "data",
              "other models"]
    return [f"{results['seeds']} seeds, {results['items']} {results['split']} prompts a family; ± is a 95 % t-interval "
            "over seeds. Scores and shares in percent, KL, gap, Δ and losses in nats. The cost is that of all stages "
            "and of models made first, counted (python -m lab.cost); seconds are measured and noisy.", "",
            *markdown_table(titles, lines)]


def main(argv=None) -> int:
    cfg, _ = config.parse(Compare, argv, "python -m lab.compare", __doc__)
    cfg.check()
    rows, base = wanted(cfg), Cell((), 0, cfg.init, cfg.split, cfg.items, snapshot=True)
    count = {n: min(cfg.seeds, cfg.on_policy_seeds) if r.group == "on-policy" else cfg.seeds for n, r in rows.items()}
    cells = {n: [r.cell(cfg.first_seed + s, cfg.init, cfg.split, cfg.items, True) for s in range(count[n])]
             for n, r in rows.items()}
    out = Path(cfg.out)
    done = run_cells([base, *[c for some in cells.values() for c in some]], out / "cells.jsonl", cfg.workers)
    got = {"base": [done[base.key]], **{name: [done[c.key] for c in some] for name, some in cells.items()}}
    results = summarise({"base": Row((), "start"), **rows}, got, {
        "command": shlex.join(["python", "-m", "lab.compare", *(sys.argv[1:] if argv is None else argv)]),
        "seeds": cfg.seeds, "first_seed": cfg.first_seed, "items": cfg.items, "split": cfg.split, "init": cfg.init,
        "same": SAME})
    write_json(out / "results.json", results)
    lines = table(results)
    write_text(out / "table.md", "\n".join(lines) + "\n")
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(config.run(main))
