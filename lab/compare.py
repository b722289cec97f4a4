"""Every way of fine-tuning from one base, over seeds: one table.

    python -m lab.compare                       # all rows x 5 seeds -> out/compare/table.md
    python -m lab.compare --objectives sft ift "sft->dpo" --seeds 2     # only some rows

Rows: every objective from the base at its default settings, after SFT those that sample while they
train; four chains (a second stage starts from the first one's model) and a control, SFT for twice
the steps. Sizes are fixed before any timing: 100 test prompts a family, 5 seeds, probes on 20
prompts a family. Of every row one setting was chosen, its learning rate, among three or more, on
two validation seeds (docs/LOG.md); claims.py tunes more, for its contrasts.
Written beside cells.jsonl: results.json (every figure) and table.md; intervals are Student's t over
seeds.
"""
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from lab.cell import Cell
from lab.cells import run_cells, stops
from lab.cost import Cost, cost_of, made_first
from lab.study import Look, Plan, Row, Study
from lab.words import difference_word, format_gain, format_interval, markdown_table
from nanouft import world
from nanouft.errors import in_range
from nanouft.eval.stats import interval
from nanouft.objectives import OBJECTIVES
from nanouft.run import config
from nanouft.run.storage import write_json, write_text
from nanouft.run.words import choose

CHAINS = (("sft", "dpo"), ("sft", "kto"), ("sft", "una"), ("poft", "dpo"))
# of the second stage of a chain: the best of three learning rates (docs/LOG.md)
GENTLE = "--lr 3e-6"
# of methods that sample: half the default, about 35 s of one core a run
OWN_PASSES = "--epochs 1.5"
TWICE = "sft, twice the steps"
COMMITTED = Path("docs/results/compare")
SAME = {"tpo": "cpo"}  # gold answers are the chosen ones in NanoWorld: cpo to the last digit


@dataclass
class Compare:
    objectives: list[str] | None = None  # such as sft, "sft->dpo" or "sft, twice the steps" [all]
    seeds: int = 5                  # a seed draws demonstrations and their order
    init: str = "base"              # where all start
    items: int = 100                # test prompts a family
    workers: int = 2                # processes of one thread each
    out: str = "out/compare"        # folder of cells.jsonl, results.json, table.md

    def check(self) -> None:
        in_range(self, "seeds", low=1, high=1_000)
        in_range(self, "items", low=1, high=10_000)
        in_range(self, "workers", low=1, high=64)


# ---- rows ----------------------------------------------------------------------------------------
def all_rows() -> dict[str, Row]:
    """{name: row}: objectives from the base, chains, the control, and what samples while it
    trains."""
    sampled = [n for n, o in OBJECTIVES.items() if o.on_policy]
    alone = {n: Row(f"--objective {n}") for n in OBJECTIVES if n not in (*sampled, *SAME)}
    chains = {f"{a}->{b}": Row(f"--objective {b} {GENTLE}", after=a) for a, b in CHAINS}
    control = {TWICE: Row("--objective sft --epochs 6")}
    own = {f"sft->{n}": Row(f"--objective {n} {OWN_PASSES}", after="sft") for n in sampled}
    return alone | chains | control | own


def cells_of(cfg: Compare) -> dict[str, list[Cell]]:
    """{row: its cells, one a seed}, of all rows; the base is one model."""
    plan = Plan(all_rows(), "sft", bases=(cfg.init,), seeds=range(cfg.seeds))
    look = Look("test", cfg.items, False, snapshot=True)
    base = Cell((), 0, cfg.init, "test", cfg.items, snapshot=True)
    return {"base": [base], **Study({"": plan}.__getitem__).test_cells("", look)[cfg.init]}


def objective(row: Row):
    return OBJECTIVES[row.flags.split()[1]]


# ---- figures -------------------------------------------------------------------------------------
PERCENT, NATS = (100, 1), (1, 2)                # how a figure is written: scale, digits


def probe(name: str) -> Callable[[dict], float]:
    return lambda c: c["portrait"]["probes"][name]


MEASURES: dict[str, tuple[str, tuple, Callable[[dict], float]]] = {
    # name: title, how it is written, where it stands
    "score": ("score", PERCENT, lambda c: c["mean"]),
    "strict": ("strict", PERCENT,
               lambda c: float(np.mean([f["strict"] for f in c["families"].values()]))),
    "ends": ("stops", PERCENT, stops),
    "diversity": ("diversity", PERCENT, probe("diversity")),
    "kl_own": ("KL to base", (1, 3), probe("kl_own")),
    "own_prefix_gap": ("own-prefix gap", NATS, probe("own_prefix_gap")),
    "chosen": ("Δ chosen", NATS, lambda c: c["portrait"]["pairs"]["chosen"]),
    "rejected": ("Δ rejected", NATS, lambda c: c["portrait"]["pairs"]["rejected"]),
    "corpus_nll": ("corpus loss", NATS, probe("corpus_nll")),
    **{f: (f.replace("_", " "), PERCENT, lambda c, f=f: c["families"][f]["score"])
       for f in world.FAMILIES},
}


def with_half(mean: float, half: float) -> list:
    return [mean, half if half < float("inf") else None]


def write_figure(figure: list | None, how: tuple) -> str:
    """'79.9 ± 2.3', or without the interval, or '–' where there is nothing; -0.00 is 0.00."""
    written = format_interval(*figure, *how) if figure else "–"
    return written if not figure or float(written.split()[0]) else written.removeprefix("-")


def priced(stages: list[Row], cells: list[dict]) -> Cost | None:
    """Gradient tokens and FLOPs of all stages, counted for one seed; of a stage that samples while
    it trains the mean of what its cells counted (None if none is left)."""
    def stage(row: Row) -> Cost:
        if not objective(row).on_policy:
            return cost_of([*row.flags.split(), "--seed", "0"])
        return (made_first(objective(row), 0)
                + Cost(round(np.mean([c["tokens"] for c in cells])),
                       float(np.mean([c["portrait"]["flops"] for c in cells]))))
    if not cells and any(objective(row).on_policy for row in stages):
        return None
    return sum(map(stage, stages), Cost())


def minus(mine: dict[int, float], other: dict[int, float]) -> tuple[list | None, str | None]:
    """([mean, half width], word) of mine - other over their common seeds: the same seed drew the
    same data for both, so most of its luck cancels."""
    gaps = [mine[s] - other[s] for s in sorted(mine.keys() & other.keys())]
    if not gaps:
        return None, None
    mean, half = interval(gaps)
    return with_half(mean, half), difference_word(mean, half)


def summarise(rows: dict[str, Row], done: dict[str, list[dict]]) -> dict[str, dict]:
    """{name: its figures} of the base, which is one model and stands beside every seed, and of the
    rows in `done`."""
    out, unit = {}, priced([rows["sft"]], []).flops
    for name, cells in done.items():
        good = [c for c in cells if "failed" not in c]
        stages = [rows[n] for n in (rows[name].after, name) if n] if name in rows else []
        price = priced(stages, good)
        out[name] = {"group": "trained" if stages else "start", "flags": cells[0]["flags"],
                     "after": cells[0].get("after", ""),
                     "scores": {c["seed"]: c["mean"] for c in good},
                     "failed": {c["seed"]: c["failed"] for c in cells if "failed" in c},
                     "figures": {key: with_half(*interval([of(c) for c in good])) if good else None
                                 for key, (_, _, of) in MEASURES.items()},
                     "cost": asdict(price) | {"relative": price.flops / unit} if price else None}
    sft = out["sft"]["scores"] if "sft" in out else {}
    for name, row in out.items():
        scores = row["scores"] if name in rows else dict.fromkeys(sft, *row["scores"].values())
        row["minus_sft"], row["verdict"] = minus(scores, sft) if name != "sft" else (None, None)
    return out


# ---- written -------------------------------------------------------------------------------------
def table(results: dict) -> list[str]:
    """Markdown: a line of each row with all its figures, what it costs and what it needs."""
    lines = []
    for name, row in results["rows"].items():
        figures = [write_figure(row["figures"][key], how) for key, (_, how, _) in MEASURES.items()]
        cost, gap = row["cost"], row["minus_sft"]
        price = ([f"{cost['tokens']:,}", f"{cost['flops'] / 1e9:,.0f}", f"{cost['relative']:.2f}"]
                 if cost else ["–"] * 3)
        gain = [format_gain(*gap), row["verdict"]] if gap else ["–"] * 2
        lost = f" ({len(row['failed'])} seeds diverged)" if row["failed"] else ""
        lines.append([name + lost, *figures, *gain, *price])
    titles = ["", *(title for title, _, _ in MEASURES.values()), "minus SFT", "", "gradient tokens",
              "GFLOP", "x SFT"]
    return [f"{results['seeds']} seeds, {results['items']} test prompts a family; ± is a 95 % "
            "t-interval over seeds. Scores and shares in percent, KL, gap, Δ and losses in nats. "
            "The cost is that of all stages and of models made first, counted (python -m "
            "lab.cost). What a method needs: docs/methods.md.", "", *markdown_table(titles, lines)]


def main(argv=None) -> int:
    cfg, _ = config.parse(Compare, argv, "python -m lab.compare", __doc__)
    cfg.check()
    rows, out, every = all_rows(), Path(cfg.out), cells_of(cfg)
    wanted = [choose("objective", name, rows) for name in cfg.objectives or rows]
    cells = {name: every[name] for name in ("base", *wanted)}
    done = run_cells([c for some in cells.values() for c in some], out / "cells.jsonl", cfg.workers)
    finished = {name: [done[c.key] for c in some] for name, some in cells.items()}
    results = {"command": "python -m lab.compare", "seeds": cfg.seeds, "items": cfg.items,
               "init": cfg.init, "rows": summarise(rows, finished)}
    write_json(out / "results.json", results)
    lines = table(results)
    write_text(out / "table.md", "\n".join(lines) + "\n")
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(config.run(main))
