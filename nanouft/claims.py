"""The papers' claims, fixed before looking: rows, contrasts, margins, rule.

    python -m nanouft.claims C1 --tune        # learning rates on validation, equal budget a row, about 30 min (2 cores)
    python -m nanouft.claims C1               # >= 10 paired seeds on two bases, test split, about 45 min; resumable
    python -m nanouft.claims C1 --map         # where the released loss breaks <|end|>, over the learning rate

C1 (arXiv:2405.11870): IFT beats SFT on the same demonstrations, and is not inferior to SFT->DPO.
    IFT is the released form with lam .2, gamma .95; SFT is the sequence mean. Endpoint: macro mean of the scores of the
    taught families on test. Superiority holds if the 95 % t-interval of the paired differences over seeds lies above 0,
    fails if it lies below, else undecided. Non-inferiority holds if the interval lies above -2 points, fails if it lies
    below -2 points. Verdicts are per base; where two bases differ the verdict is undecided.

Learning rates are chosen once per row, on validation with seeds of its own and on the first base, from one grid for
all. Finished cells are lines of docs/results/C1*.jsonl; the table and the verdicts are computed from them, never
written.
"""
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nanouft import config, runs
from nanouft.compare import Cell, interval, percent, read_cells, run_cells
from nanouft.config import UserError

RESULTS = Path("docs/results")
TAUGHT = ("rules", "list", "sum", "sort", "reverse", "truth", "unknown")       # the endpoint's families
LRS = ("1.25e-4", "2.5e-4", "5e-4", "1e-3")
DPO_LRS = ("1e-5", "3e-5", "1e-4", "3e-4")
MARGIN = 0.02

SFT, IFT = ("--objective", "sft", "--reduction", "sequence"), ("--objective", "ift")
ROWS: dict[str, tuple[str, ...]] = {
    "SFT, sequence mean": SFT,
    "SFT, token mean": ("--objective", "sft"),
    "SFT, 4/3 of the steps": (*SFT, "--epochs", "4"),
    "SFT, twice the steps": (*SFT, "--epochs", "6"),
    "SFT, detached embeddings": (*SFT, "--detach-embeddings"),
    "IFT released (lam .2, gamma .95)": IFT,
    "IFT mixing only (gamma 0)": (*IFT, "--gamma", "0"),
    "IFT weights only (lam 0)": (*IFT, "--lam", "0"),
    "IFT lam 0, gamma 0": (*IFT, "--lam", "0", "--gamma", "0"),
    "IFT released, detached": (*IFT, "--detach"),
    "IFT released, disturbed lam": (*IFT, "--lam-noise", "0.5"),
    "IFT Algorithm 1": (*IFT, "--variant", "algorithm1"),
    "IFT Algorithm 1, detached": (*IFT, "--variant", "algorithm1", "--detach"),
    "IFT Eq. 21, mean 1": (*IFT, "--variant", "eq21_mean1"),
    "scheduled sampling (replace, gamma 0)": (*IFT, "--residual", "replace", "--gamma", "0"),
}
CHAIN = "SFT -> DPO"
PRIMARY = ("IFT released (lam .2, gamma .95)", "SFT, sequence mean")


def chain(lr: str, sft_lr: str, seed: int, base: str, split: str, items: int) -> Cell:
    """SFT, then DPO on pairs over the same prompts (same seed, same prompts)."""
    start = Cell((*SFT, "--lr", sft_lr), seed, base, split, items)
    return Cell(("--objective", "dpo", "--lr", lr), seed, start, split, items)


def endpoint(cell: dict) -> float:
    return float(np.mean([cell["families"][f]["score"] for f in TAUGHT])) if "families" in cell else float("nan")


def tune(cfg) -> None:
    """Every row: four learning rates x `tune_seeds` validation seeds; DPO on top of the SFT that was chosen first."""
    file, seeds = RESULTS / "C1-tuning.jsonl", [1000 + s for s in range(cfg.tune_seeds)]
    def at(flags, lr):
        return [Cell((*flags, "--lr", lr), s, "base", "val", cfg.items) for s in seeds]
    done = run_cells([c for flags in ROWS.values() for lr in LRS for c in at(flags, lr)], file, cfg.workers)
    chosen, table = {}, {}
    for name, flags in ROWS.items():
        table[name] = {lr: float(np.mean([endpoint(done[c.key]) for c in at(flags, lr)])) for lr in LRS}
        chosen[name] = max(LRS, key=lambda lr: np.nan_to_num(table[name][lr]))
    cells = {lr: [chain(lr, chosen[PRIMARY[1]], s, "base", "val", cfg.items) for s in seeds] for lr in DPO_LRS}
    done = run_cells([c for cs in cells.values() for c in cs], file, cfg.workers)
    table[CHAIN] = {lr: float(np.mean([endpoint(done[c.key]) for c in cs])) for lr, cs in cells.items()}
    chosen[CHAIN] = max(DPO_LRS, key=lambda lr: np.nan_to_num(table[CHAIN][lr]))
    runs.write_json(RESULTS / "C1-chosen.json", {"split": "val", "seeds": seeds, "items": cfg.items,
                                                 "chosen": chosen, "mean": table})
    for name, row in table.items():
        print(f"{name:<40}" + "  ".join(f"{lr} {100 * v:5.1f}{'*' if lr == chosen[name] else ' '}"
                                        for lr, v in row.items()))


def study(cfg) -> None:
    try:
        chosen = json.loads((RESULTS / "C1-chosen.json").read_text(encoding="utf-8"))["chosen"]
    except OSError:
        raise UserError("docs/results/C1-chosen.json is missing; run --tune first (from the project's root)")
    def cells(name, base):
        if name == CHAIN:
            return [chain(chosen[CHAIN], chosen[PRIMARY[1]], s, base, "test", cfg.items) for s in range(cfg.seeds)]
        return [Cell((*ROWS[name], "--lr", chosen[name]), s, base, "test", cfg.items) for s in range(cfg.seeds)]
    names = [PRIMARY[1], PRIMARY[0], *[n for n in [*ROWS, CHAIN] if n not in PRIMARY]]
    wanted = ([Cell((), 0, b, "test", cfg.items) for b in cfg.bases]
              + [c for b in cfg.bases for n in names for c in cells(n, b)])
    done = run_cells(wanted, RESULTS / "C1.jsonl", cfg.workers)
    summary = {"chosen": chosen, "seeds": cfg.seeds, "bases": {}}
    lines = []
    for base in cfg.bases:
        start = done[Cell((), 0, base, "test", cfg.items).key]
        rows = {n: [done[c.key] for c in cells(n, base)] for n in names}
        lines += [f"### Base `{base}`: {cfg.seeds} paired seeds, test, {cfg.items} prompts a family", "",
                  "| row | lr | endpoint | minus SFT (paired) | list | list stops | retention (fact) |",
                  "|---|---|---|---|---|---|---|",
                  f"| base | | {100 * endpoint(start):.1f} | | {100 * start['families']['list']['score']:.0f} | "
                  f"{100 * start['families']['list']['ends']:.0f} | {100 * start['families']['fact']['score']:.0f} |"]
        sft, numbers = [endpoint(c) for c in rows[PRIMARY[1]]], {}
        for n in names:
            ok = [endpoint(c) for c in rows[n]]
            gap = [a - b for a, b in zip(ok, sft)]
            def family(f, k):
                return [c["families"][f][k] for c in rows[n] if "families" in c]
            numbers[n] = {"endpoint": interval(ok), "minus_sft": interval(gap)}
            lines.append(f"| {n} | {chosen[n]} | {percent(ok)} | {percent(gap) if n != PRIMARY[1] else ''} "
                         f"| {percent(family('list', 'score'))} | {percent(family('list', 'ends'))} "
                         f"| {percent(family('fact', 'score'))} |")
        dpo = interval([a - b for a, b in zip([endpoint(c) for c in rows[PRIMARY[0]]],
                                              [endpoint(c) for c in rows[CHAIN]])])
        ift = numbers[PRIMARY[0]]["minus_sft"]
        summary["bases"][base] = {"rows": numbers, "ift_minus_sft": ift, "ift_minus_sft_dpo": dpo,
                                  "superior_to_sft": verdict(*ift, 0.0),
                                  "not_inferior_to_sft_dpo": verdict(*dpo, -MARGIN)}
        lines += ["", f"IFT - SFT {100 * ift[0]:+.1f} ± {100 * ift[1]:.1f}: {verdict(*ift, 0.0)}. "
                      f"IFT - (SFT -> DPO) {100 * dpo[0]:+.1f} ± {100 * dpo[1]:.1f}: {verdict(*dpo, -MARGIN)}.", ""]
    for claim in ("superior_to_sft", "not_inferior_to_sft_dpo"):
        per_base = {b[claim] for b in summary["bases"].values()}
        summary[claim] = per_base.pop() if len(per_base) == 1 else "undecided"
    lines.append(f"C1 over both bases: IFT superior to SFT: {summary['superior_to_sft']}; "
                 f"not inferior to SFT -> DPO: {summary['not_inferior_to_sft_dpo']}.")
    runs.write_json(RESULTS / "C1.json", summary)
    (RESULTS / "C1.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


def verdict(mean: float, half: float, threshold: float) -> str:
    """holds: the whole interval above the threshold; fails: the whole interval below; else undecided."""
    return "holds" if mean - half > threshold else "does not hold" if mean + half < threshold else "undecided"


MAP_LRS = ("3e-5", "6e-5", "1.25e-4", "2.5e-4", "5e-4", "1e-3", "2e-3")
MAP_ROWS = ("SFT, sequence mean", "IFT released (lam .2, gamma .95)", "IFT weights only (lam 0)",
            "IFT released, detached", "IFT Eq. 21, mean 1")


def lr_map(cfg) -> None:
    """Share of `list` answers that stop, and their score, over the learning rate: 3 seeds, validation."""
    def at(name, lr):
        return [Cell((*ROWS[name], "--lr", lr), 1000 + s, "base", "val", cfg.items) for s in range(3)]
    earlier = read_cells(RESULTS / "C1-tuning.jsonl")                        # the same cells need not run twice
    done = {**earlier, **run_cells([c for n in MAP_ROWS for lr in MAP_LRS for c in at(n, lr) if c.key not in earlier],
                                   RESULTS / "C1-map.jsonl", cfg.workers)}
    lines = ["| `list`: answers that stop / score | " + " | ".join(MAP_LRS) + " |", "|---|" + "---|" * len(MAP_LRS)]
    for n in MAP_ROWS:
        got = [[done[c.key] for c in at(n, lr) if "families" in done[c.key]] for lr in MAP_LRS]
        lines.append(f"| {n} | " + " | ".join(
            f"{100 * np.mean([c['families']['list']['ends'] for c in g]):.0f} / "
            f"{100 * np.mean([c['families']['list']['score'] for c in g]):.0f}"
            if g else "failed" for g in got) + " |")
    (RESULTS / "C1-map.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


@dataclass
class Claims:
    tune: bool = False              # choose the learning rates on validation
    map: bool = False               # map the failure to stop over the learning rate
    seeds: int = 10                 # paired seeds a base
    tune_seeds: int = 4             # validation seeds
    items: int = 100                # prompts a family
    bases: list[str] | None = None  # folders of the bases [base and out/base-1]
    workers: int = 2                # processes of one thread each


def main(argv=None) -> int:
    parser = config.Parser(prog="python -m nanouft.claims", description=__doc__)
    parser.add_argument("claim", help="C1")
    config.add_flags(parser, Claims, "options")
    values = vars(parser.parse_args(argv))
    config.choose("claim", values.pop("claim"), ("C1",))
    cfg, _ = config.fill(Claims, values)
    cfg.bases = cfg.bases or ["base", "out/base-1"]
    if min(cfg.seeds, cfg.tune_seeds, cfg.items, cfg.workers) < 1:
        raise UserError("--seeds, --tune-seeds, --items and --workers must be at least 1")
    (tune if cfg.tune else lr_map if cfg.map else study)(cfg)
    return 0


if __name__ == "__main__":
    sys.exit(config.run(main))
