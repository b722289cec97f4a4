"""From kept scores to the lines that `python -m lessons.evidence` prints.

verdicts.py has the tests, nanouft/compare/by_task.py the task that a verdict rests on.
"""
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np

from lessons.evidence import plan
from lessons.evidence.plan import FROZEN, UNIT, Run, parse_question
from lessons.evidence.verdicts import LIMITS, Finding, findings_of, points, verdict
from nanouft.compare import stats
from nanouft.compare.by_task import Difference, mean_and_variance

Kept = Mapping[str, np.ndarray]
Figure = tuple[float, float]            # mean, half of its 95 % interval; of 100
ASKED = [x for x in plan.NAMES if plan.read(x).questions]
LAKES = plan.HERE.parents[1] / "frozen_lake" / "hundred.json"
RUNS = sorted([*ASKED, *FROZEN["asks"]], key=plan.number)


@dataclass
class Line:
    claim: str
    question: str
    verdict: str
    figures: str
    findings: tuple[Finding, ...] = ()  # one per model; in C5 of moves alone
    key: str = ""                       # "C1 better: released - SFT"; in C5 and C7 its words
    whose: str = ""                     # "the paper's", "ours" or "premise"
    doubts: dict[str, list[str]] = field(default_factory=dict)  # {a doubt: trainings that it is of}
    test: str = ""                      # of frozen.json

    @property
    def without(self) -> str:
        """ "list -0.0 and +0.6": the largest task and the difference without it."""
        found = [f for f in self.findings if f.largest]
        numbers = [f"{100 * f.without:+.1f}" for f in found]
        if len({f.largest for f in found}) == 1:
            return f"{found[0].largest} {' and '.join(numbers)}"
        return " and ".join(f"{f.largest} {x}" for f, x in zip(found, numbers))

    @property
    def rests_on(self) -> str:
        """ "list", with the model if it is so on one of two; "" for none."""
        if self.verdict == "undecided":
            return ""
        everywhere = all(f.rests for f in self.findings)
        names = [f.largest + ("" if everywhere else f" on {model}")
                 for f, model in zip(self.findings, ("N1", "N2")) if f.rests]
        return " and ".join(dict.fromkeys(names))


# ---- a difference --------------------------------------------------------------------------------
def asked_of(run: Run, formula: str, model: int, kept: Kept | None = None) -> Difference:
    test, signed, what, parts = parse_question(run, formula)
    kept, names = kept or plan.scores(run.name), [*run.trainings]
    at = [names.index(name) for _, name in signed]
    array = "scores" if what == "both stop" else what
    x = kept[array][:, model]                                   # (trainings, seeds, tasks, prompts)
    x = x / (UNIT if array == "scores" else 1)
    gap = sum(sign * x[i] for (sign, _), i in zip(signed, at))
    if what == "both stop":
        gap = mean_where(gap, kept["ended"][at, model].all(0))
    place = {task: run.tasks.index(task) for part in parts for task in part}
    return Difference({task: gap[:, i] for task, i in place.items()},
                 {task: kept["groups"][i] for task, i in place.items()}, parts, LIMITS[test])


def mean_where(gap: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(seeds, tasks, prompts) -> the same, so that its mean over seeds and prompts, and the
    variance of that mean, are those of the gap where `counts` is true. (A mean over a random number
    of answers is a ratio; this is its linearization.)"""
    share = counts.mean((0, 2), keepdims=True)
    mean = (gap * counts).mean((0, 2), keepdims=True) / share
    return mean + (gap - mean) * counts / share


# ---- verdicts ------------------------------------------------------------------------------------
def asked_by_model(name: str, kept: Kept | None = None) -> list[list[Difference]]:
    run = plan.read(name)
    return [[asked_of(run, formula, model, kept) for formula in run.questions]
            for model in range(len(run.models))]


@cache
def verdict_lines(name: str) -> list[Line]:
    """The questions of one run with their verdicts."""
    if name not in FROZEN["asks"]:
        return judged(name)
    return frozen("lines", name) + (against_placebo() if name == "C5" else [])


def frozen(part: str, name: str) -> list[Line]:
    """C5 and C7, which were measured by version 1.1.0; `lake`: C5 in four lines."""
    out = [Line(**entry | {"findings": tuple(Finding(*x) for x in entry.get("findings", ()))})
           for entry in FROZEN[part] if entry["claim"] == name]
    return [replace(line, key=(key := f"{name} {line.question}"), whose=claimed_by(key))
            for line in out]


def against_placebo() -> list[Line]:
    """C5's later question, of 100 other lakes; docs/results/lake.md says what was asked before."""
    out = []
    for policy, leads in json.loads(LAKES.read_text(encoding="utf-8")).items():
        for k, lam in enumerate((0.2, 1)):          # the LAMS of frozen_lake/record.py
            mean, half = leads["lead"]["random cell"][k]
            word = verdict(mean, half, LIMITS["better"])
            question = (f"IFT's residual (lam {lam}) estimates better than a placebo of its size "
                        f"({policy})")
            figures = [f"{100 * mean:+.3f} ± {100 * half:.3f}" for mean, half in (
                (mean, half), leads["lead"]["uniform"][k], leads["lead by move"]["random cell"][k])]
            out.append(Line("C5", question, word, "closer to the true value by {} points in the "
                            "mean of updates 0 to 8; than uniform logits by {}; move by move by {}"
                            .format(*figures), (Finding(mean, half, word),),
                            f"C5 {question}", "ours"))
    return out


def judged(name: str, kept: Kept | None = None) -> list[Line]:
    """All questions of a run, from its kept scores or from others."""
    run, by_model, out = plan.read(name), asked_by_model(name, kept), []
    by_question = zip(*map(findings_of, by_model))
    for (formula, words), found in zip(run.questions.items(), by_question):
        verdicts = {f.verdict for f in found}       # it holds if it holds on all models
        out.append(Line(name, words, verdicts.pop() if len(verdicts) == 1 else "undecided",
                        " and ".join(points(f.mean, f.half) for f in found), found,
                        f"{name} {formula}", claimed_by(f"{name} {formula}"),
                        doubts_of(run, formula)))
    return out


@cache
def fragile(name: str) -> list[tuple[Line, str]]:
    """Decided questions of a run that are undecided without one seed, each with how many such
    seeds there are: "N2 7 of 8"."""
    run, kept, out = plan.read(name), plan.scores(name), []
    without = [judged(name, {what: np.delete(x, seed, 2) if x.ndim > 2 else x
                             for what, x in kept.items()}) for seed in range(len(run.seeds))]
    for line, *others in zip(verdict_lines(name), *without):
        seeds = [sum(x.findings[model].verdict != line.verdict for x in others)
                 for model in range(len(run.models))]
        if line.verdict != "undecided" and any(seeds):
            out.append((line, ", ".join(f"{plan.MODELS.get(model, model)} {n} of {len(others)}"
                                        for model, n in zip(run.models, seeds) if n)))
    return out


def claimed_by(key: str) -> str:
    if key.startswith("C3 better, skills: A - A -> "):
        return "premise"
    of_papers = {question for says in plan.PAPERS for question in says.asked}
    return "the paper's" if key in of_papers or key.startswith("C5 ") else "ours"


def doubts_of(run: Run, formula: str) -> dict[str, list[str]]:
    """{doubt: its trainings}: the run's own, then what the search for settings lacks."""
    own = "; ".join(filter(None, map(run.doubts.get, ("all", formula))))
    out: dict[str, list[str]] = {doubt: [] for doubt in filter(None, own.split("; "))}
    for _, name in parse_question(run, formula)[1]:
        for line in filter(None, run.edges.get(name, "").split("\n")):
            doubt, _, stage = line.partition(" | ")
            of = out.setdefault(doubt, [])
            if (stage or name) not in of:
                of.append(stage or name)
    return out


def premises(name: str) -> list[str]:
    """What a run presumes, measured: "Answers of the start model that stop: 55.3 ± 2.0"."""
    run = plan.read(name)
    return [f"{what}: " + " and ".join(
        f"{100 * mean:.1f} ± {100 * stats.half_width(variance, freedom):.1f}"
        for mean, variance, freedom in (
            mean_and_variance(asked_of(run, f"better, {formula}", model))
                                        for model in range(len(run.models))))
            for formula, what in run.premises.items()]


def score_of(name: str, training: str, model: int) -> stats.Moments:
    """The score of a training on a model, from 0 to 1."""
    return mean_and_variance(asked_of(plan.read(name), f"better: {training}", model))


def mean_of(runs: tuple[stats.Moments, ...]) -> stats.Moments:
    """The mean of runs that share neither seeds nor prompts; freedom as Welch has it."""
    means, variances, freedoms = zip(*runs)
    variance = sum(variances)
    freedom = variance ** 2 / max(1e-30, sum(v ** 2 / n for v, n in zip(variances, freedoms)))
    return sum(means) / len(runs), variance / len(runs) ** 2, freedom


def in_points(difference: stats.Moments) -> Figure:
    mean, variance, freedom = difference
    return 100 * mean, 100 * stats.half_width(variance, freedom)


def as_one_family() -> str:
    """"17 of 24": how many of the decided verdicts of C1 to C6 stay decided if all questions of
    these runs share one correction."""
    names = [name for name in plan.NAMES if plan.number(name) < ("C", 7, "")]
    alone = [line.verdict for name in names for line in verdict_lines(name)]
    together = [findings_of(sum(of_runs, [])) for of_runs in zip(*map(asked_by_model, names))]
    decided = sum(verdict != "undecided" for verdict in alone)
    stay = sum(a.verdict == b.verdict == c != "undecided" for a, b, c in zip(*together, alone))
    return f"{stay} of {decided}"
