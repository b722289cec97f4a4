"""From kept scores to the lines that `python -m lessons.evidence` prints.

verdicts.py has the tests, by_task.py the task that a verdict rests on.
"""
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np

from lessons.evidence import plan
from lessons.evidence.by_task import Difference, mean_and_variance
from lessons.evidence.plan import FROZEN, UNIT, Run, parse_question
from lessons.evidence.verdicts import LIMITS, Finding, findings_of, points, verdict
from nanouft.compare import stats

Kept = Mapping[str, np.ndarray]
LAKES = plan.HERE.parents[1] / "frozen_lake" / "hundred.json"
RUNS = [name for name in plan.NAMES if name in FROZEN["asks"] or plan.read(name).questions]


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
        return beside_tasks([(f.largest, f"{100 * f.without:+.1f}") for f in self.findings
                             if f.largest])

    @property
    def rests_on(self) -> str:
        """ "list", with the model if it is so on one of two; "" for none."""
        if self.verdict == "undecided":
            return ""
        everywhere = all(f.rests for f in self.findings)
        names = [f.largest + ("" if everywhere else f" on {model}")
                 for f, model in zip(self.findings, ("N1", "N2")) if f.rests]
        return " and ".join(dict.fromkeys(names))


def beside_tasks(figures: list[tuple[str, str]]) -> str:
    """One task and its figures, or each figure with its task."""
    if len({task for task, _ in figures}) == 1:
        return f"{figures[0][0]} {' and '.join(figure for _, figure in figures)}"
    return " and ".join(f"{task} {figure}" for task, figure in figures)


# ---- a difference --------------------------------------------------------------------------------
def asked_of(run: Run, formula: str, model: int, kept: Kept | None = None) -> Difference:
    """What a formula asks on a model of the run (0, 1), from its kept scores or from others."""
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


def asked_on_each(name: str, formula: str, kept: Kept | None = None) -> list[Difference]:
    """The same on each model of a run."""
    run = plan.read(name)
    return [asked_of(run, formula, model, kept) for model in range(len(run.models))]


def in_points(moments: stats.Moments) -> str:
    """ "-4.3 ± 1.6"."""
    mean, variance, freedom = moments
    return points(mean, stats.half_width(variance, freedom))


# ---- verdicts ------------------------------------------------------------------------------------
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
    run, out = plan.read(name), []
    by_question = [asked_on_each(name, formula, kept) for formula in run.questions]
    by_model = [findings_of([*asked]) for asked in zip(*by_question)]
    for (formula, words), found in zip(run.questions.items(), zip(*by_model)):
        verdicts = {f.verdict for f in found}       # it holds if it holds on all models
        out.append(Line(name, words, verdicts.pop() if len(verdicts) == 1 else "undecided",
                        " and ".join(points(f.mean, f.half) for f in found), found,
                        f"{name} {formula}", claimed_by(f"{name} {formula}"),
                        doubts_of(run, formula)))
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
    return [f"{what}: " + " and ".join(in_points(mean_and_variance(asked)).lstrip("+")
                                       for asked in asked_on_each(name, f"better, {formula}"))
            for formula, what in plan.read(name).premises.items()]
