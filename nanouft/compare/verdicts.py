"""From the scores of a comparison to its verdicts.

    results, questions = verdicts(c)        # of each arm, the start model first; of each pair
    questions[0].verdict                    # "better", "worse", "level" or "undecided"

An interval is over seeds and questions. All questions share 5 % (Bonferroni), and the interval that
is printed is the one that decides: above 0 is better, below 0 worse, inside the margin level.
"""
from typing import NamedTuple

import numpy as np

from nanouft.compare import runs
from nanouft.compare.arms import Arm
from nanouft.compare.asked import Values
from nanouft.compare.comparison import ALL, TRIES, Comparison
from nanouft.compare.judge import Difference, largest, luck_of, moments, rests_on_largest
from nanouft.plumbing.errors import UserError

MARGIN = 0.02           # two points of 100, or .02 nats per token
OF_SPREAD = 0.1         # of rewards: this part of their standard deviation at the start
MANY = 5                # seeds; with fewer a verdict hangs on each of them by chance


class Measure(NamedTuple):
    title: str
    unit: str = ""
    sign: int = 1                       # -1: less is better
    trained: str = ""                   # which losses train it directly

    @property
    def scale(self) -> int:
        """A share is printed as points of 100."""
        return 100 if self.unit == "points" else 1

    def text(self, x: float, sign: str = "") -> str:
        return f"{self.scale * x:{sign}.{1 if self.scale == 100 else 3}f}"


MEASURES = {                            # the first that there is judges, here and in tries
    "reward": Measure("reward"),
    "score": Measure("score of 100", "points"),
    "prefers": Measure("pairs won, %", "points", trained="losses of pairs train what judges here, "
                       "the share of pairs won; a reward (--reward) would judge answers"),
    "auc": Measure("AUC of 100", "points"),
    "nll": Measure("nats per token", "nats", -1, "sft and its relatives train what judges here, "
                   "the loss of demonstrations; a reward (--reward) would judge answers"),
    "stops": Measure("stop, %", "points")}


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
    def asked(self) -> Difference:
        return Difference(self.scores, self.groups, (tuple(self.groups),), "better", self.redrawn)

    @property
    def mean(self) -> float:
        return float(np.mean(self.of_seeds()))

    @property
    def half(self) -> float:
        """Of the 95 % interval of this score alone."""
        return luck_of(self.asked).interval(self.redrawn)

    def of_seeds(self) -> np.ndarray:
        """(seeds,) the score of each."""
        return np.mean([x.mean(1) for x in self.scores.values()], 0)


class Question(NamedTuple):
    """Is `a` better than `b`?"""
    a: Result
    b: Result
    of: int                             # questions that share the 5 %
    margin: float

    def asked(self, without: int | None = None) -> Difference:
        """What `a` scores more than `b` (of a loss: less), seed by seed, question by question."""
        gaps = {part: MEASURES[self.a.measure].sign * (x - self.b.scores[part])
                for part, x in self.a.scores.items()}
        if without is not None:
            gaps = {part: np.delete(gap, without, 0) for part, gap in gaps.items()}
        return self.a.asked._replace(gaps=gaps)

    def interval(self, without: int | None = None) -> tuple[float, float]:
        """(mean, half of the interval that decides); above 0 is better."""
        asked = self.asked(without)
        mean = sum(gap.mean() for gap in asked.gaps.values()) / len(asked.gaps)
        return float(mean), luck_of(asked).interval(self.a.redrawn, self.of, self.least)

    @property
    def least(self) -> float:
        """Of the variance."""
        return least_variance(self.a.groups) if MEASURES[self.a.measure].unit == "points" else 0.0

    @property
    def verdict(self) -> str:
        return word(*self.interval(), self.margin)

    def hangs_on(self) -> list[int]:
        """Numbers of the seeds without which a lead is undecided; not asked of a few seeds."""
        seeds = len(self.a.of_seeds())
        if self.verdict not in ("better", "worse") or seeds < MANY:
            return []
        return [seed for seed in range(seeds)
                if word(*self.interval(seed), self.margin) != self.verdict]

    def rests_on(self) -> str:
        """The one task that makes a lead; "" if there is none."""
        said = {"better": "holds", "worse": "does not hold"}.get(self.verdict, "undecided")
        return largest(self.asked()) if rests_on_largest(self.asked(), said) else ""


def least_variance(groups: dict[str, np.ndarray]) -> float:
    """Of a difference of shares. Where no question differs, more of them still might: as if one of
    two more questions did (Agresti and Min 2005)."""
    return sum((1 / len(groups) / (len({*numbers}) + 2)) ** 2 for numbers in groups.values())


def word(mean: float, half: float, margin: float) -> str:
    if abs(mean) + half < margin:
        return "level"
    return "undecided" if abs(mean) <= half else "better" if mean > 0 else "worse"


def judged_by(c: Comparison, scores: Values) -> str:
    """The measure that judges, here and in tries."""
    if c.cfg.by and c.cfg.by not in scores:
        raise UserError(f"--by {c.cfg.by}: these rows give "
                        f"{', '.join(x for x in scores if ' ' not in x)}")
    return c.cfg.by or next(x for x in MEASURES if x in scores)


def mean_of(parts: dict[str, np.ndarray]) -> float:
    return float(np.mean([x.mean() for x in parts.values()]))


def verdicts(c: Comparison) -> tuple[list[Result], list[Question]]:
    start = c.start()
    assert start.asked
    first = runs.values(start) or {}
    measure = judged_by(c, first)
    groups = first[f"{measure} groups"] if c.parts else start.asked.groups()
    results = [result("start model", [first] * len(c.seeds), groups, measure)]
    for arm in c.arms:
        found = [x for seed in c.seeds if (x := runs.values(c.job(arm, seed)))]
        results.append(result(arm.name, found, groups, measure)._replace(
            arm=arm, redrawn=bool(c.parts), cost=cost(c, arm)))
    asked = pairs(c, results[1:])
    margin = MARGIN if measure != "reward" else OF_SPREAD * float(first[measure]["rows"].std())
    if c.cfg.margin:
        margin = c.cfg.margin / MEASURES[measure].scale
    return results, [Question(a, b, len(asked), margin) for a, b in asked]


def pairs(c: Comparison, arms: list) -> list[tuple]:
    """(a, b) of those that are compared, from as many things as there are arms."""
    return [(a, b) for i, b in enumerate(arms) for j, a in enumerate(arms[i + 1:], i + 1)
            if (c.arms[j] == c.asks if c.asks else len(arms) <= ALL or i == 0)]


def of_tries(c: Comparison, arm: Arm, rate: float) -> Result | None:
    """The scores of a rate that was tried with several seeds; None if one of them diverged."""
    found = [x for seed in TRIES if (x := runs.values(c.job(arm, seed, rate)))]
    if len(found) < len(TRIES):
        return None
    measure = judged_by(c, found[0])
    groups = found[0][f"{measure} groups"] if c.parts else c.asked("val").groups()
    return result(arm.name, found, groups, measure)._replace(arm=arm, redrawn=bool(c.parts))


def lead(a: Result, b: Result) -> tuple[float, float]:
    """(what `a` scores more than `b`, its standard error)."""
    mean, variance, _ = moments(Question(a, b, 1, 0.0).asked())
    return float(mean), float(variance) ** 0.5


class Missed(NamedTuple):
    """A rate that scored more in the tries than the one that was taken, by no more than a standard
    error."""
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
    """Steps, answers read and CPU seconds of all stages, the mean over seeds."""
    total = dict.fromkeys(("steps", "answers", "seconds"), 0.0)
    for part in arm.chain:
        pace = c.paces[part.stages[-1]]
        for seed in c.seeds:
            spent = runs.made(c.job(part, seed).folder)
            read = pace.answers * spent.get("rows", pace.steps * pace.batch_size)
            for what, x in (("steps", spent.get("steps", pace.steps)), ("answers", read),
                            ("seconds", spent["seconds"])):
                total[what] += x / len(c.seeds)
    return total
