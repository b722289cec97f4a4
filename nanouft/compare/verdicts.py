"""From the scores of a comparison to its verdicts.

    results, questions = verdicts(c)        # of each arm, the initial model first; of each pair
    questions[0].verdict                    # "better", "worse", "equivalent" or "undecided"

A confidence interval is over seeds and prompts. All comparisons share 5 % (Bonferroni), and the
interval that is printed decides: above 0 is better, below 0 worse, inside the margin equivalent.
"""
from typing import NamedTuple

import numpy as np

from nanouft.compare import runs
from nanouft.compare.arms import Arm
from nanouft.compare.by_task import (
    Difference,
    dominant_task,
    luck_of,
    mean_and_variance,
    mean_without,
    rests_on_dominant_task,
)
from nanouft.compare.plan import ALL, TRIES, Comparison
from nanouft.compare.scoring import Values
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.printing import quantity
from nanouft.run.metrics import wins

MARGIN = 0.02           # two points of 100, or .02 nats per token
OF_SPREAD = 0.1         # of rewards: this part of their standard deviation before training


class Measure(NamedTuple):
    title: str
    unit: str = ""
    sign: int = 1                       # -1: less is better
    trained: str = ""                   # which losses train it directly
    legend: str = ""

    @property
    def scale(self) -> int:
        """A share is printed as points of 100."""
        return 100 if self.unit == "points" else 1

    def text(self, x: float, sign: str = "") -> str:
        return f"{self.scale * x:{sign}.{1 if self.scale == 100 else 3}f}"


MEASURES = {                            # the first that the rows allow is the metric
    "reward": Measure("reward"),
    "score": Measure("score, 0-100", "points"),
    "prefers": Measure("chosen more likely, %", "points", trained="pair losses optimise the "
                       "metric of this test; --reward evaluates sampled responses instead",
                       legend="Chosen more likely: by the log-prob of the whole response, so "
                       "longer ones are less likely."),
    "auc": Measure("AUC, 0-100", "points"),
    "accuracy": Measure("reward accuracy, %", "points", legend="Reward accuracy: pairs whose "
                        "chosen response gained more log-prob over the initial model than the "
                        "rejected one."),
    "nll": Measure("nats per token", "nats", -1, "sft and its relatives optimise the metric of "
                   "this test, the loss; --reward evaluates sampled responses instead"),
    "stops": Measure("EOS, %", "points", legend="EOS: responses that end with it, not with a new "
                     "turn or a cut.")}


class Result(NamedTuple):
    name: str
    scores: dict[str, np.ndarray]       # {task or "rows": (seeds, questions)}
    groups: dict[str, np.ndarray]       # {the same: (questions,)}
    measure: str
    others: dict[str, float]            # other measures, their means
    arm: Arm | None = None
    redrawn: bool = False
    cost: dict[str, float] = {}

    @property
    def from_zero(self) -> Difference:
        return Difference(self.scores, self.groups, (tuple(self.groups),), redrawn=self.redrawn)

    def only(self, part: str) -> "Result":
        """Of one task."""
        return self._replace(scores={part: self.scores[part]}, groups={part: self.groups[part]})

    @property
    def n(self) -> str:
        """"n = 5 seeds x 900 prompts"; of your rows also how many draws they are."""
        rows = sum(map(len, self.groups.values()))
        draws = sum(len({*numbers}) for numbers in self.groups.values())
        what = quantity(rows, "prompts") if not self.redrawn or rows == draws else (
            f"{quantity(rows, 'rows')} in {quantity(draws, 'groups')}")
        return f"n = {len(self.of_seeds())} seeds x {what}"

    @property
    def mean(self) -> float:
        return float(np.mean(self.of_seeds()))

    @property
    def half(self) -> float:
        """Half of the 95 % CI of this score alone."""
        return luck_of(self.from_zero).interval(self.redrawn)

    def of_seeds(self) -> np.ndarray:
        """(seeds,) the score of each."""
        return np.mean([x.mean(1) for x in self.scores.values()], 0)


class Question(NamedTuple):
    """Is `a` better than `b`?"""
    a: Result
    b: Result
    of: int                             # comparisons that share the 5 %
    margin: float

    def only(self, part: str) -> "Question":
        """Of one task, not corrected."""
        return self._replace(a=self.a.only(part), b=self.b.only(part), of=1)

    def difference(self) -> Difference:
        """What `a` scores more than `b` (of a loss: less), seed by seed, prompt by prompt."""
        gaps = {part: MEASURES[self.a.measure].sign * (x - self.b.scores[part])
                for part, x in self.a.scores.items()}
        return self.a.from_zero._replace(gaps=gaps)

    @property
    def same(self) -> bool:
        """To the last digit?"""
        return not any(gap.any() for gap in self.difference().gaps.values())

    def interval(self) -> tuple[float, float]:
        """(mean, half of the interval that decides); above 0 is better."""
        difference = self.difference()
        mean = sum(gap.mean() for gap in difference.gaps.values()) / len(difference.gaps)
        return float(mean), luck_of(difference).interval(self.a.redrawn, self.of, self.least)

    @property
    def least(self) -> float:
        """Of the variance."""
        return least_variance(self.a.groups) if MEASURES[self.a.measure].unit == "points" else 0.0

    @property
    def verdict(self) -> str:
        return word(*self.interval(), self.margin)

    @property
    def distance(self) -> float:
        """Of a lead: half widths of the interval from 0 to the mean."""
        mean, half = self.interval()
        return abs(mean) / half if half else np.inf

    def driven_by(self) -> tuple[str, float]:
        """(the one task that makes a lead, or "", the difference without it)."""
        leads = self.verdict in ("better", "worse")
        of_tasks = self.difference()
        if not leads or not rests_on_dominant_task(of_tasks):
            return "", 0.0
        task = dominant_task(of_tasks)
        return task, float(mean_without(of_tasks, task))


def least_variance(groups: dict[str, np.ndarray]) -> float:
    """Of a difference of shares. Where no question differs, more of them still might: as if one of
    two more questions did (Agresti and Min 2005)."""
    return sum((1 / len(groups) / (len({*numbers}) + 2)) ** 2 for numbers in groups.values())


def word(mean: float, half: float, margin: float) -> str:
    if abs(mean) + half < margin:
        return "equivalent"
    return "undecided" if abs(mean) <= half else "better" if mean > 0 else "worse"


def judged_by(c: Comparison, scores: Values) -> str:
    """The metric, of the test and of the search of learning rates."""
    if c.cfg.by and c.cfg.by not in scores:
        raise UserError(f"--by {c.cfg.by}: these rows only allow "
                        f"{', '.join(x for x in scores if ' ' not in x)}")
    return c.cfg.by or next(x for x in MEASURES if x in scores)


def mean_of(parts: dict[str, np.ndarray]) -> float:
    return float(np.mean([x.mean() for x in parts.values()]))


def verdicts(c: Comparison) -> tuple[list[Result], list[Question]]:
    start = c.initial_job()
    assert start.eval_spec
    first = runs.values(start) or {}
    measure = judged_by(c, first)
    groups = first[f"{measure} groups"] if c.parts else start.eval_spec.groups()
    results = [result("initial model", [first] * len(c.seeds), groups, measure)]
    for arm in c.arms:
        scores = [with_gain(x, first) for seed in c.seeds if (x := runs.values(c.job(arm, seed)))]
        results.append(result(arm.name, scores, groups, measure)._replace(
            arm=arm, redrawn=bool(c.parts), cost=cost(c, arm)))
    compared = pairs(c, results[1:])
    margin = MARGIN if measure != "reward" else OF_SPREAD * float(first[measure]["rows"].std())
    if c.cfg.margin:
        margin = c.cfg.margin / MEASURES[measure].scale
    return results, [Question(a, b, len(compared), margin) for a, b in compared]


def with_gain(scores: Values, first: Values) -> Values:
    """And of pairs the reward accuracy: how often the chosen response gained more log-prob over the
    initial model than the rejected one."""
    if "prefers margin" not in scores:
        return scores
    gain = scores["prefers margin"]["rows"] - first["prefers margin"]["rows"]
    return {"accuracy": {"rows": wins(gain)}} | scores


def pairs(c: Comparison, arms: list) -> list[tuple]:
    """(a, b) of those that are compared, from as many things as there are arms."""
    return [(a, b) for i, b in enumerate(arms) for j, a in enumerate(arms[i + 1:], i + 1)
            if (c.arms[j] == c.asks if c.asks else len(arms) <= ALL or i == 0)]


def of_tries(c: Comparison, arm: Arm, rate: float) -> Result | None:
    """The scores of a rate that was tried with several seeds; None if one of them diverged."""
    tries = [x for seed in TRIES if (x := runs.values(c.job(arm, seed, rate)))]
    if len(tries) < len(TRIES):
        return None
    measure = judged_by(c, tries[0])
    groups = tries[0][f"{measure} groups"] if c.parts else c.eval_spec("val").groups()
    return result(arm.name, tries, groups, measure)._replace(arm=arm, redrawn=bool(c.parts))


def lead(a: Result, b: Result) -> tuple[float, float]:
    """(what `a` scores more than `b`, its standard error)."""
    mean, variance, _ = mean_and_variance(Question(a, b, 1, 0.0).difference())
    return float(mean), float(variance) ** 0.5


class Missed(NamedTuple):
    """A learning rate that scored more in the search than the one that was taken, by no more than a
    standard error."""
    rate: float
    lead: float
    error: float


def missed(c: Comparison, arm: Arm) -> Missed | None:
    tried = {rate: c.tried[arm][rate] for rate in c.again.get(arm, ())}
    best = max(tried, key=tried.__getitem__, default=0.0)
    if not tried or best == c.rate(arm):
        return None
    top, taken = of_tries(c, arm, best), of_tries(c, arm, c.rate(arm))
    return Missed(best, *lead(top, taken)) if top and taken else None


def may_be_the_rate(c: Comparison, q: Question) -> str:
    """The arm whose rate may be why it is behind: with its best one the other's lead might be
    undecided."""
    behind = {"better": q.b.arm, "worse": q.a.arm}.get(q.verdict)
    other, (mean, half) = behind and missed(c, behind), q.interval()
    return behind.name if behind and other and undoes(other, abs(mean) - half) else ""


def undoes(other: Missed, beyond: float) -> bool:
    """Might that rate take so much from a lead? By what its own interval has."""
    return beyond < other.lead + 2 * other.error


def result(name: str, found: list[Values], groups: dict, measure: str) -> Result:
    scores = {part: np.array([x[measure][part] for x in found]) for part in groups}
    others = {what: float(np.mean([mean_of(x[what]) for x in found])) for what in found[0]
              if what != measure and " " not in what}
    return Result(name, scores, groups, measure, others)


def cost(c: Comparison, arm: Arm) -> dict[str, float]:
    """Steps, rows, sequences trained on and CPU seconds of all stages, the mean over seeds."""
    total = dict.fromkeys(("steps", "rows", "sequences", "seconds"), 0.0)
    for part in arm.chain:
        pace = c.paces[part.stages[-1]]
        for seed in c.seeds:
            spent = runs.made(c.job(part, seed).folder)
            rows = spent.get("rows", pace.steps * pace.batch_size)
            for what, x in (("steps", spent.get("steps", pace.steps)), ("rows", rows),
                            ("sequences", pace.answers * rows), ("seconds", spent["seconds"])):
                total[what] += x / len(c.seeds)
    return total
