"""From kept scores to the lines that `python -m lessons.evidence` prints.

The verdict is always that over all tasks. Beside it stands the largest task, which adds most in the
direction of the mean, and the difference without it; then the others of its part share what it had,
and a part of one task goes with it. That a verdict rests on task X needs more, because leaving out
the largest one lowers every mean: the verdict is decided; X differs from the mean of the others, at
5 % divided by the number of tasks; and the mean without X lies beyond a limit of the test or, where
the limit is 0, is below half of the mean.
"""
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import NamedTuple

import numpy as np

from lessons.evidence import plan, stats
from lessons.evidence.plan import HERE, UNIT, Parts, Run, parse_question

Kept = Mapping[str, np.ndarray]
Figure = tuple[float, float]            # mean, half of its 95 % interval; of 100
FROZEN = json.loads((HERE / "results" / "frozen.json").read_text(encoding="utf-8"))     # C5, C7
ASKED = [x for x in plan.NAMES if plan.is_judged(x)]
RUNS = sorted([*ASKED, "C5", "C7"], key=plan.number)


class Asked(NamedTuple):
    """The difference that a question asks for, on one model, task by task."""
    gaps: dict[str, np.ndarray]         # (seeds, prompts) of each task
    groups: dict[str, np.ndarray]       # (prompts,) one number for prompts that ask the same fact
    parts: Parts                        # the mean is that of the means of the parts
    test: str                           # "better", "not inferior" or "as good"


class Finding(NamedTuple):
    """What came of it; `half` of its interval is not corrected, `verdict` is (Holm)."""
    mean: float
    half: float
    verdict: str
    largest: str = ""                   # the task that adds most; "" where one task is asked
    without: float = 0.0                # the difference without it
    rests: bool = False                 # does the verdict rest on it?


@dataclass
class Line:
    claim: str
    question: str
    verdict: str
    figures: str
    test: str = ""
    findings: tuple[Finding, ...] = ()  # one per model; in C5 of moves alone
    key: str = ""                       # "C1 better: released - SFT"; in C5 and C7 its words
    whose: str = ""                     # "the paper's", "ours" or "premise"
    doubts: dict[str, list[str]] = field(default_factory=dict)  # {a doubt: trainings that it is of}

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
def asked_of(run: Run, formula: str, model: int, kept: Kept | None = None) -> Asked:
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
    return Asked({task: gap[:, i] for task, i in place.items()},
                 {task: kept["groups"][i] for task, i in place.items()}, parts, test)


def mean_where(gap: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(seeds, tasks, prompts) -> the same, so that its mean over seeds and prompts, and the
    variance of that mean, are those of the gap where `counts` is true. (A mean over a random number
    of answers is a ratio; this is its linearization.)"""
    share = counts.mean((0, 2), keepdims=True)
    mean = (gap * counts).mean((0, 2), keepdims=True) / share
    return mean + (gap - mean) * counts / share


def weights(parts: Parts, without: str = "") -> dict[str, float]:
    """The share of each task in the mean, of all or without one."""
    left = [[task for task in part if task != without] for part in parts]
    left = [part for part in left if part]
    return {task: 1 / len(left) / len(part) for part in left for task in part}


def moments(asked: Asked, share: dict[str, float] | None = None) -> stats.Moments:
    """Mean, variance, degrees of freedom of the tasks' sum with these shares [of the parts]."""
    share = share or weights(asked.parts)
    return stats.moments([asked.gaps[task] * of_task for task, of_task in share.items()],
                         [asked.groups[task] for task in share])


def mean_without(asked: Asked, task: str) -> float:
    return sum(share * asked.gaps[name].mean()
               for name, share in weights(asked.parts, task).items())


def largest(asked: Asked) -> str:
    """The task that adds most in the direction of the mean."""
    adds = {task: share * asked.gaps[task].mean() for task, share in weights(asked.parts).items()}
    direction = np.sign(sum(adds.values()))
    return max(adds, key=lambda task: direction * adds[task])


def rests_on_largest(asked: Asked, verdict: str) -> bool:
    task, tasks = largest(asked), len(asked.gaps)
    if verdict == "undecided" or tasks == 1:
        return False
    against = {name: -share for name, share in weights(asked.parts, task).items()}
    apart, variance, freedom = moments(asked, {task: 1.0} | against)
    if abs(apart) < stats.half_width(variance, freedom, looks=tasks):
        return False
    mean, rest = mean_without(asked, ""), mean_without(asked, task)
    limits = stats.LIMITS[asked.test]
    beyond = any((mean > limit) != (rest > limit) for limit in limits)
    return beyond or limits == (0.0,) and rest * np.sign(mean) < abs(mean) / 2


# ---- verdicts ------------------------------------------------------------------------------------
def findings_of(questions: list[Asked]) -> list[Finding]:
    """What came of all questions of a run, on one model."""
    out = []
    for asked, verdict in zip(questions, holm(questions)):
        mean, variance, freedom = moments(asked)
        out.append(Finding(mean, stats.half_width(variance, freedom), verdict))
        if len(asked.gaps) > 1:
            task = largest(asked)
            out[-1] = out[-1]._replace(largest=task, without=mean_without(asked, task),
                                       rests=rests_on_largest(asked, verdict))
    return out


def holm(questions: list[Asked]) -> list[str]:
    """The verdicts of questions that share one correction."""
    return [said for _, said in stats.decide([(*moments(asked), asked.test)
                                              for asked in questions])]


def asked_by_model(name: str, kept: Kept | None = None) -> list[list[Asked]]:
    run = plan.read(name)
    return [[asked_of(run, formula, model, kept) for formula in run.questions]
            for model in range(len(run.models))]


@cache
def lines(name: str) -> list[Line]:
    """The questions of one run with their verdicts."""
    return frozen("lines", name) if name in ("C5", "C7") else judged(name)


def frozen(part: str, name: str) -> list[Line]:
    """C5 and C7, which were measured by version 1.1.0; `lake`: C5 in four lines."""
    out = [Line(**entry | {"findings": tuple(Finding(*x) for x in entry.get("findings", ()))})
           for entry in FROZEN[part] if entry["claim"] == name]
    return [replace(line, key=(key := f"{name} {line.question}"), whose=whose(key)) for line in out]


def judged(name: str, kept: Kept | None = None) -> list[Line]:
    """All questions of a run, from its kept scores or from others."""
    run, by_model, out = plan.read(name), asked_by_model(name, kept), []
    by_question = zip(*map(findings_of, by_model))
    for (formula, words), asked, found in zip(run.questions.items(), by_model[0], by_question):
        verdicts = {f.verdict for f in found}       # it holds if it holds on all models
        out.append(Line(name, words, verdicts.pop() if len(verdicts) == 1 else "undecided",
                        " and ".join(points(f.mean, f.half) for f in found), asked.test, found,
                        f"{name} {formula}", whose(f"{name} {formula}"), doubts_of(run, formula)))
    return out


@cache
def fragile(name: str) -> list[tuple[Line, str]]:
    """Decided questions of a run that are undecided without one seed, each with how many such
    seeds there are: "N2 7 of 8"."""
    run, kept, out = plan.read(name), plan.scores(name), []
    without = [judged(name, {what: np.delete(x, seed, 2) if x.ndim > 2 else x
                             for what, x in kept.items()}) for seed in range(len(run.seeds()))]
    for line, *others in zip(lines(name), *without):
        seeds = [sum(x.findings[model].verdict != line.verdict for x in others)
                 for model in range(len(run.models))]
        if line.verdict != "undecided" and any(seeds):
            out.append((line, ", ".join(f"{plan.MODELS[model]} {n} of {len(others)}"
                                        for model, n in zip(run.models, seeds) if n)))
    return out


def points(mean: float, half: float) -> str:
    return f"{100 * mean:+.1f} ± {100 * half:.1f}"


def whose(key: str) -> str:
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
    run = plan.read(name) if name in plan.NAMES else None
    return [f"{what}: " + " and ".join(
        f"{100 * mean:.1f} ± {100 * stats.half_width(variance, freedom):.1f}"
        for mean, variance, freedom in (moments(asked_of(run, f"better, {formula}", model))
                                        for model in range(len(run.models))))
            for formula, what in (run.premises if run else {}).items()]


def score_of(name: str, training: str, model: int) -> stats.Moments:
    """The score of a training on a model, from 0 to 1."""
    return moments(asked_of(plan.read(name), f"better: {training}", model))


def mean_of(runs: tuple[stats.Moments, ...]) -> stats.Moments:
    """The mean of runs that share neither seeds nor prompts; freedom as Welch has it."""
    means, variances, freedoms = zip(*runs)
    variance = sum(variances)
    freedom = variance ** 2 / max(1e-30, sum(v ** 2 / n for v, n in zip(variances, freedoms)))
    return sum(means) / len(runs), variance / len(runs) ** 2, freedom


def of_100(difference: stats.Moments) -> Figure:
    mean, variance, freedom = difference
    return 100 * mean, 100 * stats.half_width(variance, freedom)


def as_one_family() -> str:
    """"17 of 24": how many of the decided verdicts of C1 to C6 stay decided if all questions of
    these runs share one correction."""
    names = [name for name in plan.NAMES if plan.number(name) < ("C", 7, "")]
    alone = [line.verdict for name in names for line in lines(name)]
    together = [holm(sum(of_runs, [])) for of_runs in zip(*map(asked_by_model, names))]
    decided = sum(verdict != "undecided" for verdict in alone)
    stay = sum(a == b == c != "undecided" for a, b, c in zip(*together, alone))
    return f"{stay} of {decided}"
