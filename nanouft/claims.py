"""The papers' claims, fixed before looking: rows, contrasts, margins, rule.

    python -m nanouft.claims C1 --tune        # settings of every row on validation, equal budgets, 25 min (2 cores)
    python -m nanouft.claims C1               # 10 paired seeds on two bases, test split, about 30 min
    python -m nanouft.claims C1 --map         # where the released loss breaks <|end|>, over the learning rate, and why
    python -m nanouft.claims C1 --again 3     # trains three finished cells once more: the numbers must be the same

All of it is resumable: a finished cell is a line of docs/results/<claim>*.jsonl, and tables and verdicts are computed
from these lines, never written. A shorter trial (fewer seeds, one base) goes elsewhere: --out out/trial. The second
base is `python -m nanouft.pretrain --seed 1 --out out/base-1`.

Tuning, per row, on validation with seeds of its own and on the first base: four learning rates, then at the best one
two other values of one more setting (batch size; beta for DPO). Six settings x `tune_seeds` seeds, the same for all.

C1 (arXiv:2405.11870): IFT beats SFT on the same demonstrations, and is not inferior to SFT -> DPO.
    IFT is the released form with lam .2, gamma .95; SFT is the sequence mean. Endpoint: macro mean of the scores of the
    taught families. Superiority holds if the 95 % t-interval of the paired differences over seeds lies above 0, fails
    if it lies below, else it is undecided. Non-inferiority holds if the interval lies above -2 points, fails if it lies
    below -2 points. Verdicts are per base; where two bases differ the verdict is undecided.
"""
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nanouft import config, runs
from nanouft.cells import Cell, interval, percent, read_cells, run_cell, run_cells
from nanouft.config import UserError

RESULTS = "docs/results"
BASES = ("base", "out/base-1")
TAUGHT = ("rules", "list", "sum", "sort", "reverse", "truth", "unknown")       # the endpoint's families
MARGIN = 0.02                                                                  # of non-inferiority


@dataclass(frozen=True)
class Recipe:
    """One row of a table: flags of train, and what is tuned. `after` names the row that it starts from (a chain)."""
    flags: tuple[str, ...]
    after: str | None = None
    lrs: tuple[str, ...] = ("1.25e-4", "2.5e-4", "5e-4", "1e-3")
    second: tuple[str, tuple[str, ...]] = ("--batch-size", ("16", "64"))       # beside its default


@dataclass(frozen=True)
class Contrast:
    """row - other on the endpoint; `threshold` 0 asks for superiority, -MARGIN for non-inferiority."""
    text: str
    row: str
    other: str
    threshold: float = 0.0


@dataclass(frozen=True)
class Claim:
    rows: dict[str, Recipe]
    baseline: str                       # the row that all others are shown against
    contrasts: tuple[Contrast, ...]
    mapped: tuple[str, ...] = ()        # rows of --map
    map_lrs: tuple[str, ...] = ()
    families: tuple[str, ...] = TAUGHT


SEQ, IFT = ("--objective", "sft", "--reduction", "sequence"), ("--objective", "ift", "--variant")
RELEASED = (*IFT, "released")
SFT_ROW, IFT_ROW, CHAIN = "SFT, sequence mean", "IFT released (lam .2, gamma .95)", "SFT -> DPO"
CLAIMS = {"C1": Claim(
    rows={
        SFT_ROW: Recipe(SEQ),
        IFT_ROW: Recipe(RELEASED),
        "SFT, token mean": Recipe(("--objective", "sft")),
        "SFT, 4 passes": Recipe((*SEQ, "--epochs", "4")),
        "SFT, 6 passes": Recipe((*SEQ, "--epochs", "6")),
        "SFT, detached embeddings": Recipe((*SEQ, "--detach-embeddings")),
        "IFT mixing only (gamma 0)": Recipe((*RELEASED, "--gamma", "0")),
        "IFT weights only (lam 0)": Recipe((*RELEASED, "--lam", "0")),
        "IFT lam 0, gamma 0": Recipe((*RELEASED, "--lam", "0", "--gamma", "0")),
        "IFT released, detached": Recipe((*RELEASED, "--detach")),
        "IFT released, disturbed lam": Recipe((*RELEASED, "--lam-noise", "0.5")),
        "IFT Algorithm 1": Recipe((*IFT, "algorithm1")),
        "IFT Algorithm 1, detached": Recipe((*IFT, "algorithm1", "--detach")),
        "IFT Eq. 21, mean 1": Recipe((*IFT, "eq21_mean1")),
        "scheduled sampling (replace, gamma 0)": Recipe((*RELEASED, "--residual", "replace", "--gamma", "0")),
        CHAIN: Recipe(("--objective", "dpo"), after=SFT_ROW, lrs=("1e-5", "3e-5", "1e-4", "3e-4"),
                      second=("--beta", ("0.03", "0.3"))),
    },
    baseline=SFT_ROW,
    contrasts=(Contrast("IFT is better than SFT", IFT_ROW, SFT_ROW),
               Contrast("IFT is not inferior to SFT -> DPO", IFT_ROW, CHAIN, -MARGIN)),
    mapped=(SFT_ROW, IFT_ROW, "IFT weights only (lam 0)", "IFT released, detached"),
    map_lrs=("6e-5", "1.25e-4", "2.5e-4", "5e-4", "1e-3", "2e-3"),
)}


# ---- rows -> cells ---------------------------------------------------------------------------------------------------
def cell(claim: Claim, name: str, settings: dict, seed: int, base: str, split: str, items: int) -> Cell:
    """The training run of a row with its chosen settings; its start has the same seed, hence the same prompts."""
    recipe = claim.rows[name]
    start = cell(claim, recipe.after, settings, seed, base, split, items) if recipe.after else base
    return Cell((*recipe.flags, *settings[name]), seed, start, split, items)


def endpoint(cell: dict, families=TAUGHT, key: str = "score") -> float:
    """Macro mean over families; a run that diverged counts as nothing learnt (0), so that it cannot help its row."""
    return float(np.mean([cell["families"][f][key] for f in families])) if "families" in cell else 0.0


# ---- tuning ----------------------------------------------------------------------------------------------------------
def tune(name: str, claim: Claim, cfg: "Claims") -> None:
    """Choose the settings of every row on validation and write <claim>-chosen.json. Rows that start from another row
    wait until that one is chosen."""
    seeds, chosen, tried = [1000 + s for s in range(cfg.tune_seeds)], {}, {n: {} for n in claim.rows}

    def look(settings: dict[str, list[tuple[str, ...]]]) -> None:
        """Run some settings of some rows, and keep the best of all that was tried in `chosen`."""
        def cells(n, s):
            return [cell(claim, n, {**chosen, n: s}, seed, cfg.bases[0], "val", cfg.items) for seed in seeds]
        done = run_cells([c for n, many in settings.items() for s in many for c in cells(n, s)],
                         cfg.folder / f"{name}-tuning.jsonl", cfg.workers)
        for n, many in settings.items():
            for s in many:
                tried[n][s] = float(np.mean([endpoint(done[c.key], claim.families) for c in cells(n, s)]))
        chosen.update({n: max(tried[n], key=tried[n].get) for n in settings})

    for chains in (False, True):
        stage = {n: r for n, r in claim.rows.items() if bool(r.after) == chains}
        look({n: [("--lr", lr) for lr in r.lrs] for n, r in stage.items()})
        look({n: [(*chosen[n], r.second[0], value) for value in r.second[1]] for n, r in stage.items()})
    runs.write_json(cfg.folder / f"{name}-chosen.json", {
        "split": "val", "seeds": seeds, "items": cfg.items, "base": cfg.bases[0], "chosen": chosen,
        "tried": {n: {" ".join(s): round(v, 4) for s, v in row.items()} for n, row in tried.items()}})
    for n, row in tried.items():
        figures = [f"{' '.join(s[1::2])} {100 * v:.1f}{'*' * (s == chosen[n])}" for s, v in row.items()]
        print(f"{n:<40}" + "  ".join(figures))


def chosen_settings(name: str, folder: Path) -> dict[str, tuple[str, ...]]:
    """What tuning chose, from the folder of this run or else from the committed one."""
    files = [place / f"{name}-chosen.json" for place in (folder, Path(RESULTS))]
    file = next((f for f in files if f.exists()), files[0])
    try:
        chosen = json.loads(file.read_text(encoding="utf-8"))["chosen"]
    except OSError:
        raise UserError(f"{file} is missing; run --tune first, from the project's root") from None
    return {n: tuple(s) for n, s in chosen.items()}


# ---- the study -------------------------------------------------------------------------------------------------------
def study(name: str, claim: Claim, cfg: "Claims") -> None:
    """All rows x seeds x bases on test; writes <claim>.md (tables) and <claim>.json (contrasts and verdicts)."""
    settings = chosen_settings(name, cfg.folder)
    def cells(n, base):
        return [cell(claim, n, settings, s, base, "test", cfg.items) for s in range(cfg.seeds)]
    done = run_cells([Cell((), 0, b, "test", cfg.items) for b in cfg.bases]
                     + [c for b in cfg.bases for n in claim.rows for c in cells(n, b)],
                     cfg.folder / f"{name}.jsonl", cfg.workers)
    lines, found = [], {c.text: {} for c in claim.contrasts}
    for base in cfg.bases:
        rows = {n: [done[c.key] for c in cells(n, base)] for n in claim.rows}
        lines += table(claim, rows, done[Cell((), 0, base, "test", cfg.items).key], base, settings, cfg)
        for c in claim.contrasts:
            gap = paired(rows[c.row], rows[c.other], claim.families)
            said = verdict(*gap, c.threshold)
            found[c.text][base] = {"mean": gap[0], "half": gap[1], "verdict": said}
            lines.append(f"{c.text}: {100 * gap[0]:+.1f} ± {100 * gap[1]:.1f} points: {said}.")
        lines.append("")
    summary = {"seeds": cfg.seeds, "items": cfg.items, "seconds": seconds(done), "contrasts": {
        text: {"bases": per_base, "verdict": agree([b["verdict"] for b in per_base.values()])}
        for text, per_base in found.items()}}
    where = "both bases" if len(cfg.bases) == 2 else ", ".join(cfg.bases)
    lines += [f"{name}, {where}: {text}: **{c['verdict']}**." for text, c in summary["contrasts"].items()]
    lines.append(f"A cell took {summary['seconds']['cell']:.0f} s of one core (median), all of them "
                 f"{summary['seconds']['total'] / 3600:.1f} core hours.")
    runs.write_json(cfg.folder / f"{name}.json", summary)
    (cfg.folder / f"{name}.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


def table(claim: Claim, rows: dict[str, list[dict]], start: dict, base: str, settings: dict,
          cfg: "Claims") -> list[str]:
    """Markdown: the endpoint of every row, its paired difference to the baseline row, and what the endpoint hides."""
    no_list = tuple(f for f in claim.families if f != "list")
    def family(cells, f, key="score"):
        return [c["families"][f][key] if "families" in c else 0.0 for c in cells]
    lines = [f"### Base `{base}`: {cfg.seeds} paired seeds, {cfg.items} test prompts a family", "",
             f"Scores in percent, 95 % t-interval over seeds. d = minus *{claim.baseline}*, paired: of the endpoint, "
             "of the share of answers that are fully right and stop (strict), and of the endpoint without `list`.", "",
             "| row | settings | endpoint | d | d strict | d without list | list stops | rules_new | fact |",
             "|---|---|---|---|---|---|---|---|---|",
             f"| base | | {100 * endpoint(start, claim.families):.1f} | | | | "
             f"{100 * start['families']['list']['ends']:.0f} | {100 * start['families']['rules_new']['score']:.0f} | "
             f"{100 * start['families']['fact']['score']:.0f} |"]
    for n, cells in rows.items():
        gaps = ["", "", ""] if n == claim.baseline else [
            "{:+.1f} ± {:.1f}".format(*(100 * x for x in paired(cells, rows[claim.baseline], f, key)))
            for f, key in ((claim.families, "score"), (claim.families, "strict"), (no_list, "score"))]
        failed = sum("failed" in c for c in cells)
        lines.append(f"| {n}{f' ({failed} diverged)' * bool(failed)} | {' '.join(settings[n][1::2])} | "
                     f"{percent([endpoint(c, claim.families) for c in cells])} | {' | '.join(gaps)} | "
                     f"{percent(family(cells, 'list', 'ends'))} | {percent(family(cells, 'rules_new'))} | "
                     f"{percent(family(cells, 'fact'))} |")
    return [*lines, ""]


def paired(row: list[dict], other: list[dict], families=TAUGHT, key: str = "score") -> tuple[float, float]:
    """(mean, half width of the 95 % t-interval) of row - other, seed by seed."""
    return interval([endpoint(a, families, key) - endpoint(b, families, key) for a, b in zip(row, other)])


def verdict(mean: float, half: float, threshold: float) -> str:
    """holds: the whole interval above the threshold; does not hold: the whole interval below; else undecided."""
    return "holds" if mean - half > threshold else "does not hold" if mean + half < threshold else "undecided"


def agree(verdicts: list[str]) -> str:
    return verdicts[0] if len(set(verdicts)) == 1 else "undecided"


def seconds(done: dict[str, dict]) -> dict[str, float]:
    """Median of a cell and the sum, in seconds of one core (other jobs beside them count too)."""
    each = [c["seconds"] for c in done.values() if "seconds" in c]
    return {"cell": float(np.median(each)), "total": float(np.sum(each))} if each else {"cell": 0.0, "total": 0.0}


# ---- the map and the check -------------------------------------------------------------------------------------------
def lr_map(name: str, claim: Claim, cfg: "Claims") -> None:
    """Three validation seeds at each learning rate: answers of `list` that stop, their score, and the mean log-prob of
    the right answer's tokens after its own words and after the model's (probes.py)."""
    if not claim.mapped:
        raise UserError(f"{name} has no map")
    def at(n, lr):
        return [Cell((*claim.rows[n].flags, "--lr", lr), 1000 + s, cfg.bases[0], "val", cfg.items, probes=True)
                for s in range(3)]
    done = run_cells([c for n in claim.mapped for lr in claim.map_lrs for c in at(n, lr)],
                     cfg.folder / f"{name}-map.jsonl", cfg.workers)
    lines = []
    for title, read in (("`list` answers that stop, %", lambda c: 100 * c["families"]["list"]["ends"]),
                        ("endpoint, %", lambda c: 100 * endpoint(c, claim.families)),
                        ("own-prefix gap, nats a token", lambda c: c["probes"]["own_prefix_gap"]),
                        ("right words after one forced slip, %", lambda c: 100 * c["probes"]["recovery_1"])):
        lines += [f"| {title} | " + " | ".join(claim.map_lrs) + " |", "|---" * (1 + len(claim.map_lrs)) + "|"]
        for n in claim.mapped:
            got = [[read(done[c.key]) for c in at(n, lr) if "families" in done[c.key]] for lr in claim.map_lrs]
            digits = 2 if "nats" in title else 0
            lines.append(f"| {n} | " + " | ".join(f"{np.mean(g):.{digits}f}" if g else "diverged" for g in got) + " |")
        lines.append("")
    (cfg.folder / f"{name}-map.md").write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))


def again(name: str, claim: Claim, cfg: "Claims") -> None:
    """Train some finished cells once more and compare every number; `seconds` is no result."""
    settings, done = chosen_settings(name, cfg.folder), read_cells(cfg.folder / f"{name}.jsonl")
    cells = [c for b in cfg.bases for s in range(cfg.seeds) for n in claim.rows
             if (c := cell(claim, n, settings, s, b, "test", cfg.items)).key in done]
    if not cells:
        raise UserError(f"{name}: no finished cell to run again; run the study first")
    for c in cells[::max(1, len(cells) // cfg.again)][:cfg.again]:
        new, old = ({k: v for k, v in x.items() if k != "seconds"} for x in (run_cell(c, keep=None), done[c.key]))
        print(f"{' '.join(c.flags)} --seed {c.seed}: {'the same' if new == old else 'DIFFERENT'}")
        if new != old:
            raise UserError(f"cell {c.key} gives other numbers here: another machine, torch or code (CELL_VERSION?)")


@dataclass
class Claims:
    tune: bool = False              # choose the settings of every row on validation
    map: bool = False               # map the failure to stop over the learning rate
    again: int = 0                  # train this many finished cells once more and compare
    seeds: int = 10                 # paired seeds a base
    tune_seeds: int = 4             # validation seeds
    items: int = 100                # prompts a family
    bases: list[str] | None = None  # folders of the bases [base and out/base-1]
    workers: int = 2                # processes of one thread each
    out: str = RESULTS              # folder of cells and tables

    @property
    def folder(self) -> Path:
        return Path(self.out)

    def check(self) -> None:
        if min(self.seeds, self.tune_seeds, self.items, self.workers) < 1 or self.again < 0:
            raise UserError("--seeds, --tune-seeds, --items and --workers must be at least 1, --again not below 0")
        if self.tune + self.map + bool(self.again) > 1:
            raise UserError("--tune, --map and --again are three jobs; give one")
        whole = (self.tune_seeds >= 4 if self.tune else self.seeds >= 10 and tuple(self.bases) == BASES)
        if self.out == RESULTS and not self.again and not (whole and self.items == 100):
            raise UserError(f"a shorter form would overwrite the evidence in {RESULTS}; give it --out out/trial")
        if BASES[1] in self.bases and not (Path(BASES[1]) / "model.safetensors").exists():
            raise UserError(f"{BASES[1]} is missing; make it with python -m nanouft.pretrain --seed 1 --out {BASES[1]}")


def main(argv=None) -> int:
    parser = config.Parser(prog="python -m nanouft.claims", description=__doc__)
    parser.add_argument("claim", help=", ".join(CLAIMS))
    config.add_flags(parser, Claims, "options")
    values = vars(parser.parse_args(argv))
    name = config.choose("claim", values.pop("claim"), CLAIMS)
    cfg, _ = config.fill(Claims, values)
    cfg.bases = cfg.bases or (["base"] if cfg.tune or cfg.map else list(BASES))
    cfg.check()
    (tune if cfg.tune else lr_map if cfg.map else again if cfg.again else study)(name, CLAIMS[name], cfg)
    return 0


if __name__ == "__main__":
    sys.exit(config.run(main))
