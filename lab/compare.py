"""Every way of fine-tuning from one base, over seeds: one table.

    python -m lab.compare                        # all offline rows x 5 seeds -> out/compare/table.md
    python -m lab.compare --objectives sft ift dpo "sft->dpo" --seeds 2              # some rows only
    python -m lab.compare --on-policy                         # also sft->ppo and its kin, which cost more
    python -m lab.compare --objectives dpo --lrs 1e-5 3e-5 1e-4 --split val --seeds 4 --first-seed 1000

Rows: every objective from the base at its default settings, four chains (a second stage starts from the first one's
model) and a control, SFT for twice the steps. Sizes are fixed before any timing: 100 test prompts a family, 5 seeds,
probes on 20 prompts a family. Of every row one setting was chosen, its learning rate, among three or more, on two
validation seeds (docs/LOG.md); claims.py tunes more, for the contrasts that it judges.
Finished cells are kept in out/compare/cells.jsonl (cells.py): interrupt at any time, start again, and only what is
missing or has changed runs. Written beside: results.json (every figure) and table.md.
With --lrs or --split val it chooses instead of reporting: a table, choice.md.
"""
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from lab.cell import Cell
from lab.cells import refuse_smaller, run_cells, stops
from lab.table import MEASURES, Row, summarise
from lab.words import format_interval, markdown_row, markdown_table
from nanouft.look.stats import interval
from nanouft.objective import Objective
from nanouft.objectives import OBJECTIVES
from nanouft.shell import config
from nanouft.shell.errors import UserError, in_range
from nanouft.shell.files import write_json, write_text
from nanouft.shell.text import choose, read_json

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
    lrs: list[str] | None = None    # learning rates to compare, each a row of its own [the objective's default]
    seeds: int = 5                  # a seed draws demonstrations and their order
    first_seed: int = 0             # number of the first seed; 1000 and up are used for choosing
    init: str = "base"              # where all start
    split: str = "test"             # val to choose, test to report
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
        for lr in self.lrs or []:
            if not config.number("--lrs", float)(lr) > 0:
                raise UserError(f"--lrs {lr}: not a learning rate")


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
    def at(r: Row, lr: str) -> Row:
        return Row((*(f for f in r.flags if f not in GENTLE), "--lr", lr), r.group, r.after)
    return {f"{n} lr {lr}": at(r, lr) for n, r in rows.items() for lr in cfg.lrs} if cfg.lrs else rows


# ---- tables ----------------------------------------------------------------------------------------------------------
def table(rows: dict[str, list[dict]], base: dict, about: str) -> list[str]:
    """Markdown: the base, then a row of each name with its seeds; runs that diverged are counted, not averaged."""
    names = list(base["families"])
    lines = [about, "", *markdown_table(["", "mean", "minus base", "stops", "list stops", *names], [
        ["base", f"{100 * base['mean']:.1f}", "", f"{100 * stops(base):.0f}",
         f"{100 * base['families']['list']['ends']:.0f}",
         *(f"{100 * f['score']:.0f}" for f in base["families"].values())]])]
    for name, cells in rows.items():
        got = [c for c in cells if "failed" not in c]
        if not got:
            lines.append(markdown_row([name, f"all {len(cells)} seeds failed: {cells[0]['failed']}"]))
            continue
        label = name if len(got) == len(cells) else f"{name} ({len(cells) - len(got)} of {len(cells)} seeds diverged)"
        figures = [[g["mean"] for g in got], [g["mean"] - base["mean"] for g in got], [stops(g) for g in got],
                   [g["families"]["list"]["ends"] for g in got],
                   *[[g["families"][f]["score"] for g in got] for f in names]]
        lines.append(markdown_row([label, *(format_interval(*interval(x)) for x in figures)]))
    return lines


BEHAVIOUR = ("score", "strict", "ends", "diversity", "kl_own", "own_prefix_gap", "chosen", "rejected", "corpus_nll")


def second_table(results: dict) -> list[str]:
    """Markdown: what a score does not show, what it costs, what it needs."""
    titles = [MEASURES[m].title for m in BEHAVIOUR]
    lines = []
    for name, row in results["rows"].items():
        cost = row["cost"]
        price = ["–"] * 3 if not cost else [f"{cost['tokens']:,}", f"{cost['flops'] / 1e9:,.0f}",
                                            f"{cost['relative']:.2f}"]
        *figures, seconds = [MEASURES[m].write(row["figures"][m]) for m in (*BEHAVIOUR, "seconds")]
        lines.append([name, *figures, *price, seconds, row["data"], row["models"]])
    titles = ["", *titles, "gradient tokens", "GFLOP", "x SFT", "CPU s", "data", "other models"]
    return ["", "KL, gap and Δ in nats; the cost is that of all stages and of models made first, counted "
            "(python -m lab.cost), seconds are measured and noisy", "", *markdown_table(titles, lines)]


def refuse_less(out: Path, cfg: Compare, rows: int) -> None:
    """UserError if the comparison in `out` is larger. Fewer rows are fine but over the committed one: to have them back
    costs nothing, their cells are kept."""
    file = out / "results.json"
    if not file.exists():
        return
    there = read_json(file)
    mine = {"seeds": cfg.seeds, "items": cfg.items}
    if out.resolve() == COMMITTED.resolve():
        there, mine = there | {"objectives": len(there.get("rows", [])) - 1}, mine | {"objectives": rows}
    refuse_smaller(file, {n: there.get(n) for n in mine}, mine)


def main(argv=None) -> int:
    cfg, _ = config.parse(Compare, argv, "python -m lab.compare", __doc__)
    cfg.check()
    rows, report = wanted(cfg), cfg.split == "test" and not cfg.lrs
    base = Cell((), 0, cfg.init, cfg.split, cfg.items, snapshot=report)
    count = {n: min(cfg.seeds, cfg.on_policy_seeds) if r.group == "on-policy" else cfg.seeds for n, r in rows.items()}
    cells = {n: [r.cell(cfg.first_seed + s, cfg.init, cfg.split, cfg.items, report) for s in range(count[n])]
             for n, r in rows.items()}
    out = Path(cfg.out)
    if report:
        refuse_less(out, cfg, len(rows))
    done = run_cells([base, *[c for some in cells.values() for c in some]], out / "cells.jsonl", cfg.workers)
    about = f"{cfg.seeds} seed{'s' * (cfg.seeds > 1)}, {cfg.items} {cfg.split} prompts a family, scores in percent" + (
        ", 95 % t-interval over seeds" if cfg.seeds > 1 else "") + "; stops = answers that end by themselves"
    got = {name: [done[c.key] for c in some] for name, some in cells.items()}
    lines = table(got, done[base.key], about)
    if report:
        results = summarise({"base": Row((), "start"), **rows}, {"base": [done[base.key]], **got}, {
            "command": shlex.join(["python", "-m", "lab.compare", *(sys.argv[1:] if argv is None else argv)]),
            "seeds": cfg.seeds, "first_seed": cfg.first_seed, "items": cfg.items, "split": cfg.split, "init": cfg.init,
            "same": SAME})
        lines += second_table(results)
        write_json(out / "results.json", results)
    write_text(out / ("table.md" if report else "choice.md"), "\n".join(lines) + "\n")
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(config.run(main))
