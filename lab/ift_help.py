"""Where could IFT help? Predictions, each with what would falsify it; then trained, judged by rule.

    python -m lab.ift_help              # trains and scores what is missing; about an hour of one core
    python -m lab.ift_help --only 2     # one experiment
    python -m lab.ift_help --write      # docs/ift_help.md, .png and results.json from what is kept

An experiment is its prediction, what would falsify it, `run` (asks for the runs it needs and computes figures) and
`judge` (figures -> holds | does not hold | undecided). In 1 to 3 learning rates are chosen on validation (search.py),
with seeds of their own. All is resumable: a finished run is a line of docs/results/ift_help/cells.jsonl.
1 and 3 use long sums, 2 lists of a given length, 4 to 6 NanoWorld: does a gentle start keep lists that stop (4), does
the paper's optimizer setting move anything (5), do frozen input embeddings keep facts and truths (6a), and mixing (6b)?
Intervals are 95 %: over seeds and prompts (intervals.two_way) for scores, over seeds for what is one number a model.
Every arm of experiments 1 to 3 is IFT with some switches off, so that nothing else differs: `plain` is lam = gamma = 0.
"""
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from lab import ift_verdicts as verdicts
from lab.cell import Cell
from lab.ift_tasks import Job, World, run_task
from lab.ift_verdicts import Figure, cut, facts, gap, over, total
from lab.runner import Store, open_store, results_of, run_missing
from lab.search import Search, run_searches
from nanouft.look.stats import interval
from nanouft.shell import config
from nanouft.shell.errors import UserError, in_range

FOLDER, PAGE = Path("docs/results/ift_help"), Path("docs/ift_help.md")
BASES = ("base", "docs/results/base-1")
SEEDS, VAL_SEED = 5, 1000
Get = Callable[[list], list[dict]]      # runs -> their results, in that order
IFT = ("--objective", "ift", "--batch-size", "16")
PLAIN = ("--lam", "0", "--gamma", "0")


@dataclass(frozen=True)
class Experiment:
    name: str
    prediction: str
    falsified_if: str
    run: Callable[[Get], dict]          # {"judged": {name: Figure}, "rows": {row: {column: Figure}}}
    judge: Callable[[dict[str, Figure]], str]


# ---- 1, 2, 3: tasks made for the question ----------------------------------------------------------------------------
STEPS = (11, 15)
FORMS = {"plain": PLAIN, "detached": ("--lam", "0"), "released": ("--lam", "0", "--variant", "released")}
MIXED = {f"lam {lam}": ("--lam", lam, "--gamma", "0", "--guess", "sampled") for lam in ("0.2", "0.5", "1")}
RATES = ("2.5e-4", "5e-4", "1e-3", "2e-3")
EXAMPLES, LISTS = 300, 1200                     # rows of sums in 1, of lists in 2: as many for every arm
SIZES, RANGE = (75, 150, 300), (0.9, 0.97)      # rows of sums in 3; share of numbers right that it is about
LENGTHS = (8, 16, 32, 64)
NAMED = {name: FORMS[name] for name in ("plain", "released")}


def sums(task: str, rows: int, how: tuple[str, ...]) -> Job:
    return Job(task, STEPS, rows, (*IFT, "--epochs", "4", *how), 0)


def things(tokens: int, how: tuple[str, ...]) -> Job:
    """An answer of n things is 2 n tokens; n varies by a quarter, so that the end must be read, not learnt by heart."""
    return Job("things", (3 * tokens // 8, 5 * tokens // 8), LISTS, (*IFT, "--epochs", "6", *how), 0)


def enough(get: Get) -> int:
    """How many chained sums: with these `plain` says nearest to 93.5 % of the numbers right, on validation."""
    tries = [replace(sums("chain", n, (*PLAIN, "--lr", RATES[1])), seed=VAL_SEED, split="val") for n in SIZES]
    right = [r.get("token", 0.0) for r in get(tries)]
    return min(zip(SIZES, right), key=lambda found: abs(found[1] - sum(RANGE) / 2))[0]


def tuned(get: Get, arms: dict, more: int) -> tuple[dict, dict]:
    """({arm: its runs on test, one a seed}, {arm: (rate, its score on validation, is it at the edge?)}). The rate is
    chosen by score on validation: one seed for each, `more` for the best three."""
    kept: dict[str, dict] = {}

    def run(jobs: list[Job]) -> dict[str, dict]:
        kept.update(zip((job.key for job in jobs), get(jobs)))
        return kept
    searches = {a: Search(partial(tried, job), {"--lr": list(RATES)}, more=more, measure=lambda r: r.get("score", 0.0))
                for a, job in arms.items()}
    best = {a: setting["--lr"] for a, setting in run_searches(searches, run).items()}
    jobs = [replace(job, flags=(*job.flags, "--lr", best[a]), seed=s) for a, job in arms.items() for s in range(SEEDS)]
    found = get(jobs)
    return ({a: found[i * SEEDS:(i + 1) * SEEDS] for i, a in enumerate(arms)},
            {a: (lr, searches[a].score((lr,), 1 + more, kept), bool(searches[a].edges)) for a, lr in best.items()})


def tried(job: Job, setting: tuple[str, ...], seed: int) -> Job:
    return replace(job, flags=(*job.flags, "--lr", *setting), seed=seed, split="val")


def rows_of(found: dict, chosen: dict, *keys: str) -> dict:
    """Every arm with its rate; one at the edge of the rates that were tried is marked."""
    return {" ".join(map(str, a)): {"examples": runs[0]["rows"], "rate": chosen[a][0] + " (edge)" * chosen[a][2],
                                    **{k: over(runs, k) for k in keys}} for a, runs in found.items()}


def propagation(form: str, get: Get) -> dict:
    arms = {(t, f): sums(t, EXAMPLES, FORMS[f]) for t in ("chain", "steps") for f in ("plain", form)}
    found, chosen = tuned(get, arms, more=3)
    gain, control = (gap(found[t, form], found[t, "plain"]) for t in ("chain", "steps"))
    return {"judged": {"gain": total(gain), "control": total(control), "advantage": total(gain, -control)},
            "rows": rows_of(found, chosen, "score", "strict", "token", "ends")}


def length(get: Get) -> dict:
    arms = {(n, f): things(n, how) for n in LENGTHS for f, how in NAMED.items()}
    found, chosen = tuned(get, arms, more=1)
    lost = {n: gap(found[n, "plain"], found[n, "released"]) for n in LENGTHS}
    return {"judged": {**{f"loss at {n}": total(x) for n, x in lost.items()}, "beyond": total(lost[8], -3 * lost[64]),
                       **{f"plain at {n}": over(found[n, "plain"], "score") for n in (8, 64)}},
            "rows": rows_of(found, chosen, "score", "ends", "end")}


def exposure(get: Get) -> dict:
    """The lam that scores best on validation is judged; the others are shown."""
    rows = enough(get)
    arms = {("chain", f): sums("chain", rows, how) for f, how in {"plain": PLAIN, **MIXED}.items()}
    found, chosen = tuned(get, arms, more=3)
    plain, best = ("chain", "plain"), max((a for a in arms if a[1] != "plain"), key=lambda a: chosen[a][1])
    strict = total(gap(found[best], found[plain], "stricts"))
    return {"judged": {"cut": cut(found[best], found[plain], "gap"), "strict": strict,
                       "token": over(found[plain], "token")},
            "best": best[1], "rows": rows_of(found, chosen, "score", "strict", "token", "differ", "gap")}


# ---- 4, 5, 6: NanoWorld ----------------------------------------------------------------------------------------------
SFT = ("--objective", "sft", "--reduction", "sequence", "--batch-size", "16")
RELEASED = (*IFT, "--variant", "released")
GENTLE, ROUGH, STILL = ("1e-5", "3e-5", "6e-5"), "2.5e-4", ("5e-7", "5e-5")
FRESH = range(100, 110)                 # seeds that no earlier study of these arms has seen


def after_sft(flags: tuple[str, ...], seed: int) -> Cell:
    return Cell((*RELEASED, *flags), seed, Cell(SFT, seed))


def stopping(get: Get) -> dict:
    """The last rate is not judged: there lists are known to run on."""
    rates = (*GENTLE, ROUGH)
    found = get([World(after_sft(("--lr", lr, "--epochs", "8"), s)) for lr in rates for s in range(SEEDS)])
    runs = {lr: found[i * SEEDS:(i + 1) * SEEDS] for i, lr in enumerate(rates)}

    def lists(lr: str, what: str) -> Figure:
        return interval([r["families"]["list"][what] if "families" in r else 0.0 for r in runs[lr]])
    return {"judged": {f"lists that stop at {lr}": lists(lr, "ends") for lr in GENTLE},
            "rows": {lr: {"mean score": over(x, "mean"), "list": lists(lr, "score"),
                          "list, strict": lists(lr, "strict"), "lists that stop": lists(lr, "ends")}
                     for lr, x in runs.items()}}


def still(get: Get) -> dict:
    """Only the paper's rate is judged; the other is a hundred times as large."""
    cells = {lr: [World(after_sft(("--lr", lr, "--optimizer", "rmsprop"), s), moved=True) for s in range(SEEDS)]
             for lr in STILL}
    found = get([c for row in cells.values() for c in row])
    rows = {}
    for i, lr in enumerate(STILL):
        runs = found[i * SEEDS:(i + 1) * SEEDS]
        rows[lr] = {k: over(runs, k) for k in ("largest change", "nats from the start")}
        rows[lr]["change of the mean"] = interval([r["after"] - r["before"] for r in runs if "after" in r])
    return {"judged": {k: rows[STILL[0]][k] for k in ("largest change", "nats from the start")}, "rows": rows}


def gains(flags: tuple[str, ...], against: tuple[str, ...], families: tuple[str, ...], get: Get) -> dict:
    """What one change gains, family by family, on both bases."""
    cells = [World(Cell(how, s, base, each=True)) for base in BASES for how in (flags, against) for s in FRESH]
    found, n, judged = get(cells), len(FRESH), {}
    for i, base in enumerate(("first base", "second base")):
        new, old = (found[(2 * i + k) * n:(2 * i + k + 1) * n] for k in (0, 1))
        for family in families:
            judged[f"{family}, {base}"] = total(facts(new, family) - facts(old, family), groups=family)
    return {"judged": judged, "rows": {}}


FROZEN = (*SFT, "--detach-embeddings")
EXPERIMENTS = (
    Experiment("1a. Propagation, constant weights",
               "Answers in which a mistake spoils what follows gain from propagation, and others do not.",
               "the gain on chained sums, or its advantage over sums with independent steps, is below 2 points",
               partial(propagation, "detached"), verdicts.judge_propagation),
    Experiment("1b. Propagation, the released weights", "The same for the released form.",
               "the gain on chained sums, or its advantage over sums with independent steps, is below 2 points",
               partial(propagation, "released"), verdicts.judge_propagation),
    Experiment("2. Length", "What the released form loses to SFT at 8 tokens is at least three times that at 64.",
               "three points or more are still lost at 64 tokens, or the loss shrinks less than threefold",
               length, verdicts.judge_length),
    Experiment("3. Exposure bias",
               "In sums of 11 to 15 steps, mixing in sampled guesses cuts the own-prefix gap by 30 % or more.",
               "the gap shrinks by less, or strict scores rise by less than one point",
               exposure, verdicts.judge_exposure),
    Experiment("4. A gentle start", "From SFT, at rates of 1e-5 to 6e-5 and eight passes, 98 % of the lists stop.",
               "at one of these rates fewer stop", stopping, verdicts.judge_each),
    Experiment("5. The paper's optimizer", "RMSprop at 5e-7 moves a model of this size by nothing that can be seen.",
               "some family's score changes by more than a point, or the model moves by more than 0.01 nats a token",
               still, verdicts.judge_still),
    Experiment("6a. Frozen input embeddings", "SFT keeps more facts and truths when no gradient reaches its input "
               "embeddings.", "one of these gains is below a point",
               partial(gains, FROZEN, SFT, ("fact", "truth")), verdicts.judge_each),
    Experiment("6b. Mixing and facts", "Mixing keeps more facts than frozen input embeddings alone.",
               "one of these gains is below a point",
               partial(gains, (*IFT, "--gamma", "0"), FROZEN, ("fact",)), verdicts.judge_each),
)


# ---- trained, kept, written ------------------------------------------------------------------------------------------
def results_from(store: Store, workers: int, runs: list) -> list[dict]:
    """The results of runs; what is missing is trained (workers > 0), or Missing."""
    if workers:
        run_missing(runs, store, workers, run_task)
    return results_of(runs, store.done, "Run python -m lab.ift_help, and it makes them")


def judged(experiment: Experiment, get: Get) -> dict:
    found = experiment.run(get)
    return {"prediction": experiment.prediction, "falsified_if": experiment.falsified_if,
            "verdict": experiment.judge(found["judged"]), **found}


@dataclass
class IftHelp:
    only: str | None = None         # one experiment: the beginning of its name, such as 1a or 3
    write: bool = False             # page, picture and results.json from what is kept; trains nothing
    workers: int = 2                # processes of one thread each
    out: str = str(FOLDER)          # folder of cells.jsonl and results.json
    page: str = str(PAGE)           # the page; its picture stands beside it

    def check(self) -> None:
        in_range(self, "workers", low=1, high=64)
        if self.only and not any(e.name.startswith(self.only) for e in EXPERIMENTS):
            raise UserError(f"--only {self.only}: there is {', '.join(e.name.split('.')[0] for e in EXPERIMENTS)}")
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
        figures = [f"{what} {verdicts.format_figure(what, f)}" for what, f in r["judged"].items()]
        print(f"{r['verdict']:<13} {name}: {', '.join(figures)}")
    if cfg.write:
        verdicts.write(results, file.parent, Path(cfg.page))
    return 0


if __name__ == "__main__":
    sys.exit(config.run(main))
