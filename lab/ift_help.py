"""Where could IFT help? Predictions, each with what would falsify it; then trained, judged by rule.

    python -m lab.ift_help              # trains and scores what is missing: two hours of one core
    python -m lab.ift_help --only 2     # one experiment
    python -m lab.ift_help --write      # docs/ift_help.md, .png and results.json from kept cells

An experiment is a prediction (in words: pages/ift_help.md), `run` (asks for the runs it needs and
computes figures) and limits of figures, from which its verdict follows by one rule. In 1 to 3
learning rates are chosen on validation (search.py), with seeds of their own, and every arm is IFT
with some switches off: `plain` is lam = gamma = 0. Intervals are 95 %: over seeds and prompts
(contrast.two_way) for scores, over seeds for what is one number a model.
"""
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from frozen_lake.measure import joined
from lab.cell import Cell
from lab.cells import unpack_scores
from lab.contrast import contrast, holm, quantile, two_way
from lab.ift_tasks import Job, Moved, run_task
from lab.pictures import interval_picture
from lab.runner import Store, open_store, results_of, run_missing
from lab.search import VAL_SEED, Search, run_searches
from lab.study import BASES
from lab.words import format_interval, read_template
from nanouft.errors import UserError, in_range
from nanouft.eval.stats import interval, verdict
from nanouft.run import config
from nanouft.run.storage import write_json, write_text

FOLDER, PAGE = Path("docs/results/ift_help"), Path("docs/ift_help.md")
SEEDS = 5
IFT = ("--objective", "ift", "--batch-size", "16")
PLAIN = ("--lam", "0", "--gamma", "0")
NATS = ("gap", "end", "nats from the start")    # figures that are no shares
Get = Callable[[dict], dict]            # {row: its runs} -> {row: their results}
Figure = tuple[float, float]            # mean, half width of its 95 % interval


@dataclass(frozen=True)
class Experiment:
    name: str
    run: Callable[[Get], dict]          # {"judged": {name: Figure}, "rows": {row: {...}}}
    above: dict[str, float]             # {figure: what its interval must lie above}
    below: dict[str, float] = field(default_factory=dict)
    within: dict[str, Figure] = field(default_factory=dict)     # means that a task must have
    lost: tuple[str, ...] = ()          # must be above 0 for "holds"; refute nothing


def judge(e: Experiment, f: dict[str, Figure]) -> str:
    """holds | does not hold | undecided. All intervals must lie on their side of the limit; one
    that lies on the other side refutes. Nothing is said where the task is not the one that the
    prediction is about."""
    if not all(low <= f[name][0] <= high for name, (low, high) in e.within.items()):
        return "undecided"
    words = [*verdicts(e, f).values()]
    return joined(words + ["undecided" for name in e.lost if not f[name][0] > f[name][1]])


def verdicts(e: Experiment, f: dict[str, Figure]) -> dict[str, str]:
    """{figure: does its interval lie above, or below, its limit?}"""
    return {**{name: verdict(*f[name], limit) for name, limit in e.above.items()},
            **{name: verdict(-f[name][0], f[name][1], -limit) for name, limit in e.below.items()}}


# ---- figures of runs -----------------------------------------------------------------------------
def each(runs: list[dict], what: str = "scores") -> np.ndarray:
    """(S,P) of every seed and prompt of a task; of a run that diverged nothing is right."""
    found = [unpack_scores({"each": r}, what) if what in r else None for r in runs]
    n = max((len(x) for x in found if x is not None), default=1)
    return np.array([np.zeros(n) if x is None else x for x in found])


def total(*gaps: np.ndarray, looks: int = 1) -> Figure:
    """The interval of a sum of gaps that share their seeds. looks: it is one of so many
    (contrast.two_way)."""
    mean, half = two_way(list(gaps), looks=looks)
    return len(gaps) * mean, len(gaps) * half


def cut(new: list[dict], old: list[dict], key: str) -> Figure:
    """By which share a figure falls: 1 - mean(new) / mean(old), with the jackknife over seeds."""
    pairs = np.array([(a[key], b[key]) for a, b in zip(new, old) if key in a and key in b])
    n = len(pairs)
    share = 1 - pairs[:, 0].mean() / pairs[:, 1].mean()
    others = (pairs.sum(0) - pairs) / (n - 1)                   # means without each seed
    left = 1 - others[:, 0] / others[:, 1]
    return (float(share),
            float(quantile(n - 1) * np.sqrt((n - 1) / n * ((left - left.mean()) ** 2).sum())))


def over(runs: list[dict], key: str) -> Figure:
    """A figure over seeds. Of a run that diverged nothing is right, and no distance is known."""
    return interval([r.get(key, 0.0) for r in runs if key in r or key not in NATS])


# ---- 1, 2, 3: tasks made for the question --------------------------------------------------------
STEPS = (11, 15)
GAMMAS, FRESH_20 = ("0.5", "0.8", "0.95"), range(400, 420)
FORMS = {"plain": PLAIN, "detached": ("--lam", "0"),
         "released": ("--lam", "0", "--variant", "released")}
FORMS |= {f"gamma {g}": (*FORMS["released"], "--gamma", g) for g in GAMMAS}
MIXED = {f"lam {lam}": ("--lam", lam, "--gamma", "0", "--guess", "sampled")
         for lam in ("0.2", "0.5", "1")}
RATES = ("2.5e-4", "5e-4", "1e-3", "2e-3")
# rows of sums in 1, of lists in 2: as many for every arm
EXAMPLES = 300
LISTS = 1200
# rows of sums in 3; share of numbers right that it is about
SIZES = (75, 150, 300)
RANGE = (0.9, 0.97)
LENGTHS = (8, 16, 32, 64)
NAMED = {name: FORMS[name] for name in ("plain", "released")}


def sums(task: str, rows: int, how: tuple[str, ...]) -> Job:
    return Job(task, STEPS, rows, (*IFT, "--epochs", "4", *how), 0)


def things(tokens: int, how: tuple[str, ...]) -> Job:
    """An answer of n things is 2 n tokens; n varies by a quarter, so that the end must be read, not
    learnt by heart."""
    return Job("things", (3 * tokens // 8, 5 * tokens // 8), LISTS, (*IFT, "--epochs", "6", *how),
               0)


def tried(job: Job, setting: tuple[str, ...], seed: int) -> Job:
    return replace(job, flags=(*job.flags, "--lr", *setting), seed=seed, split="val")


def tuned(get: Get, arms: dict, more: int,
          seeds: Sequence[int] = range(SEEDS)) -> tuple[dict, dict]:
    """({arm: its runs on test, one a seed}, {arm: (rate, its score on validation, is it at the
    edge?)}). The rate is chosen by score on validation: one seed for each, `more` for the best
    three."""
    kept: dict[str, dict] = {}

    def run(jobs: list[Job]) -> dict[str, dict]:
        kept.update({key: found for key, (found,) in get({job.key: [job] for job in jobs}).items()})
        return kept
    searches = {a: Search(partial(tried, job), {"--lr": list(RATES)}, more=more,
                          measure=lambda r: r.get("score", 0.0)) for a, job in arms.items()}
    best = {a: setting["--lr"] for a, setting in run_searches(searches, run).items()}
    return (get({a: [replace(job, flags=(*job.flags, "--lr", best[a]), seed=s) for s in seeds]
                 for a, job in arms.items()}),
            {a: (lr, searches[a].score((lr,), 1 + more, kept), bool(searches[a].edges))
             for a, lr in best.items()})


def rows_of(found: dict, chosen: dict, *keys: str) -> dict:
    """Every arm with its rate; one at the edge of the rates that were tried is marked."""
    return {" ".join(map(str, a)): {"examples": runs[0]["rows"],
                                    "rate": chosen[a][0] + " (edge)" * chosen[a][2],
                                    **{k: over(runs, k) for k in keys}}
            for a, runs in found.items()}


def propagation(form: str, get: Get, rivals: Sequence[str] = (), rows: int = EXAMPLES,
                seeds: Sequence[int] = range(SEEDS)) -> dict:
    """With rivals, of which the form is one, its intervals are corrected for their number, by
    Holm's rule."""
    rivals = rivals or (form,)
    arms = {(t, f): sums(t, rows, FORMS[f]) for t in ("chain", "steps") for f in ("plain", *rivals)}
    found, chosen = tuned(get, arms, 3, seeds)

    def figures(f: str, looks: int) -> dict[str, Figure]:
        gain, control = (each(found[t, f]) - each(found[t, "plain"]) for t in ("chain", "steps"))
        return {"gain": total(gain, looks=looks), "control": total(control),
                "advantage": total(gain, -control, looks=looks)}

    def word(f: str, looks: int) -> str:
        return joined([verdict(*figures(f, looks)[name], limit) for name, limit in SPREADS.items()])
    clear = {}  # by how many half widths it holds, or one of its figures refutes it
    for f in rivals:
        far = min((mean - SPREADS[name]) / half
                  for name, (mean, half) in figures(f, 1).items() if name in SPREADS)
        clear[f] = max(far, -far)
    looks, _ = holm(clear, word)[form]
    return {"judged": figures(form, looks),
            "rows": rows_of(found, chosen, "score", "strict", "token", "ends")}


def length(get: Get) -> dict:
    arms = {(n, f): things(n, how) for n in LENGTHS for f, how in NAMED.items()}
    found, chosen = tuned(get, arms, more=1)
    lost = {n: each(found[n, "plain"]) - each(found[n, "released"]) for n in LENGTHS}
    return {"judged": {**{f"loss at {n}": total(x) for n, x in lost.items()},
                       "beyond": total(lost[8], -3 * lost[64]),
                       **{f"plain at {n}": over(found[n, "plain"], "score") for n in (8, 64)}},
            "rows": rows_of(found, chosen, "score", "ends", "end")}


def exposure(get: Get) -> dict:
    """Of sums there are so many that `plain` says nearest to 93.5 % of the numbers right, on
    validation. The lam that scores best on validation is judged; the others are shown."""
    known = get({n: [tried(sums("chain", n, PLAIN), RATES[1:2], VAL_SEED)] for n in SIZES})
    rows = min(SIZES, key=lambda n: abs(known[n][0].get("token", 0.0) - sum(RANGE) / 2))
    arms = {("chain", f): sums("chain", rows, how) for f, how in {"plain": PLAIN, **MIXED}.items()}
    found, chosen = tuned(get, arms, more=3)
    plain = ("chain", "plain")
    best = max((a for a in arms if a[1] != "plain"), key=lambda a: chosen[a][1])
    strict = total(each(found[best], "stricts") - each(found[plain], "stricts"))
    return {"judged": {"cut": cut(found[best], found[plain], "gap"), "strict": strict,
                       "token": over(found[plain], "token")},
            "best": best[1],
            "rows": rows_of(found, chosen, "score", "strict", "token", "differ", "gap")}


# ---- 4, 5, 6: NanoWorld --------------------------------------------------------------------------
SFT = ("--objective", "sft", "--reduction", "sequence", "--batch-size", "16")
RELEASED = (*IFT, "--variant", "released")
GENTLE, ROUGH, STILL = ("1e-5", "3e-5", "6e-5"), "2.5e-4", ("5e-7", "5e-5")
FRESH = range(100, 110)                 # seeds that no earlier study of these arms has seen


def after_sft(*flags: str) -> list[Cell]:
    return [Cell((*RELEASED, *flags), seed, Cell(SFT, seed)) for seed in range(SEEDS)]


def stopping(get: Get) -> dict:
    """The last rate is not judged: there lists are known to run on."""
    runs = get({lr: after_sft("--lr", lr, "--epochs", "8") for lr in (*GENTLE, ROUGH)})

    def lists(lr: str, what: str) -> Figure:
        return interval([r["families"]["list"][what] if "families" in r else 0.0 for r in runs[lr]])
    return {"judged": {f"lists that stop at {lr}": lists(lr, "ends") for lr in GENTLE},
            "rows": {lr: {"mean score": over(x, "mean"), "list": lists(lr, "score"),
                          "list, strict": lists(lr, "strict"), "lists that stop": lists(lr, "ends")}
                     for lr, x in runs.items()}}


def still(get: Get) -> dict:
    """Only the paper's rate is judged; the other is a hundred times as large."""
    found = get({lr: [Moved(c) for c in after_sft("--lr", lr, "--optimizer", "rmsprop")]
                 for lr in STILL})
    rows = {}
    for lr, runs in found.items():
        rows[lr] = {k: over(runs, k) for k in ("largest change", "nats from the start")}
        changes = [r["after"] - r["before"] for r in runs if "after" in r]
        rows[lr]["change of the mean"] = interval(changes)
    return {"judged": {k: rows[STILL[0]][k] for k in ("largest change", "nats from the start")},
            "rows": rows}


def gains(flags: tuple[str, ...], against: tuple[str, ...], families: tuple[str, ...],
          get: Get) -> dict:
    """What one change gains, family by family, on both bases."""
    found = get({(base, how): [Cell(how, s, base, each=True) for s in FRESH]
                 for base in BASES for how in (flags, against)})
    judged = {}
    for name, base in zip(("first base", "second base"), BASES):
        for family in families:
            gain = contrast(found[base, flags], found[base, against], ((family,),))
            judged[f"{family}, {name}"] = gain
    return {"judged": judged, "rows": {}}


FROZEN = (*SFT, "--detach-embeddings")
SPREADS = {"gain": 0.02, "advantage": 0.02}
KEEPS = {f"{family}, {base} base": 0.01 for family in ("fact", "truth")
         for base in ("first", "second")}
FACTS = {name: limit for name, limit in KEEPS.items() if name.startswith("fact")}
EXPERIMENTS = (
    Experiment("1a. Propagation, constant weights", partial(propagation, "detached"), SPREADS),
    Experiment("1b. Propagation, the released weights", partial(propagation, "released"), SPREADS),
    *(Experiment(f"{number}. The same, powered, gamma {gamma}",
                 partial(propagation, f"gamma {gamma}", rivals=[f"gamma {g}" for g in GAMMAS],
                         rows=SIZES[1], seeds=FRESH_20), SPREADS)
      for number, gamma in zip(("1c", "1d", "1e"), GAMMAS)),
    Experiment("2. Length", length, {"beyond": 0.0}, {"loss at 64": 0.03},
               {f"plain at {n}": (0.8, 1.0) for n in (8, 64)}, lost=("loss at 8",)),
    Experiment("3. Exposure bias", exposure, {"cut": 0.3, "strict": 0.01}, within={"token": RANGE}),
    Experiment("4. A gentle start", stopping, {f"lists that stop at {lr}": 0.98 for lr in GENTLE}),
    Experiment("5. The paper's optimizer", still, {},
               {"largest change": 0.01, "nats from the start": 0.01}),
    Experiment("6a. Frozen input embeddings", partial(gains, FROZEN, SFT, ("fact", "truth")),
               KEEPS),
    Experiment("6b. Mixing and facts", partial(gains, (*IFT, "--gamma", "0"), FROZEN, ("fact",)),
               FACTS),
)


# ---- trained, kept, written ----------------------------------------------------------------------
def results_from(store: Store, workers: int, rows: dict) -> dict:
    """The results of the runs of every row; what is missing is trained (workers > 0), or
    Missing."""
    runs = [run for row in rows.values() for run in row]
    if workers:
        run_missing(runs, store, workers, run_task)
    results_of(runs, store.done, "Run python -m lab.ift_help, and it makes them")
    return {name: [store.done[run.key] for run in row] for name, row in rows.items()}


def judged(experiment: Experiment, get: Get) -> dict:
    found = experiment.run(get)
    return {"verdict": judge(experiment, found["judged"]), **found}


# ---- the page ------------------------------------------------------------------------------------
def write(results: dict[str, dict], folder: Path, page: Path) -> None:
    """results.json in `folder`, the page and its picture."""
    write_json(folder / "results.json", results)
    write_text(page, page_text(results))
    picture(results, page.with_suffix(".png"))


def page_text(results: dict[str, dict]) -> str:
    """The template, filled: {n2[line]} is what was judged in experiment 2, {n2[rows][64
    released][ends]} a figure."""
    told = {}
    for name, r in results.items():
        figures = formatted(r["judged"])
        told["n" + name.split(".")[0]] = {
            "judged": figures,
            "line": "; ".join(f"{what} {figure}" for what, figure in figures.items()),
            "verdict": r["verdict"], "best": r.get("best"),
            "rows": {row: formatted(columns) for row, columns in r["rows"].items()}}
    return read_template("ift_help.md")[0].format(**told)


def formatted(figures: dict) -> dict[str, str]:
    return {name: format_figure(name, value) for name, value in figures.items()}


def format_figure(name: str, value) -> str:
    """Shares in percent, nats as they are, a learning rate and a number of examples as they are
    written."""
    if isinstance(value, (str, int)):
        return f"{value}"
    return format_interval(*value, 1, 4) if name in NATS else format_interval(*value)


def picture(results: dict[str, dict], file: Path) -> Path:
    """A panel an experiment: its judged shares, and the limits of the prediction."""
    panels = {}
    for e in (e for e in EXPERIMENTS if e.name in results):
        figures, limits = results[e.name]["judged"], e.above | e.below
        words = verdicts(e, figures)
        panels[f"{e.name}: {results[e.name]['verdict']}"] = [
            (name, [(*figures[name], words[name])], (limits[name],))
            for name in words if name not in NATS]
    return interval_picture(panels, file, 3, "percent")


# ---- the command ---------------------------------------------------------------------------------
@dataclass
class IftHelp:
    only: str | None = None         # one experiment: the beginning of its name, such as 1a or 3
    write: bool = False             # page, picture and results.json from what is kept; no training
    workers: int = 2                # processes of one thread each
    out: str = str(FOLDER)          # folder of cells.jsonl and results.json

    def check(self) -> None:
        in_range(self, "workers", low=1, high=64)
        if self.only and not any(e.name.startswith(self.only) for e in EXPERIMENTS):
            raise UserError(f"--only {self.only}: there is "
                            f"{', '.join(e.name.split('.')[0] for e in EXPERIMENTS)}")
        if self.write and self.only:
            raise UserError("--write tells all experiments; drop --only")


def main(argv=None) -> int:
    cfg, _ = config.parse(IftHelp, argv, "python -m lab.ift_help", __doc__)
    cfg.check()
    file = Path(cfg.out) / "cells.jsonl"
    with open_store(file) as store:
        get = partial(results_from, store, 0 if cfg.write else cfg.workers)
        results = {e.name: judged(e, get) for e in EXPERIMENTS if e.name.startswith(cfg.only or "")}
    for name, r in results.items():
        figures = [f"{what} {format_figure(what, f)}" for what, f in r["judged"].items()]
        print(f"{r['verdict']:<13} {name}: {', '.join(figures)}")
    if cfg.write:
        write(results, file.parent, PAGE)
    return 0


if __name__ == "__main__":
    sys.exit(config.run(main))
