"""From the scores of a comparison to its verdicts.

    results, questions = verdicts(c)        # of each arm, the start model first; of each pair
    questions[0].verdict                    # "better", "worse", "level" or "undecided"

An interval is over seeds and questions. All questions share 5 % (Bonferroni), and the interval that
is printed is the one that decides: above 0 is better, below 0 worse, inside the margin level.
"""
from typing import NamedTuple

import numpy as np

from nanouft.compare import runs, stats
from nanouft.compare.arms import Arm
from nanouft.compare.asked import Values
from nanouft.compare.comparison import ALL, Comparison
from nanouft.compare.judge import Asked, largest, moments, rests_on_largest
from nanouft.plumbing.errors import UserError

ORDER = ("reward", "score", "prefers", "auc", "nll")        # what judges, if it is measured
MARGIN = 0.02           # two points of 100, or .02 nats per token
OF_SPREAD = 0.1         # of rewards: this part of their standard deviation at the start
SHARES = ("score", "prefers", "auc")                        # from 0 to 1
MANY = 5                # seeds; with fewer a verdict hangs on each of them by chance


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
    def moments(self) -> stats.Moments:
        return moments(Asked(self.scores, self.groups, (tuple(self.groups),), "better",
                             self.redrawn))

    @property
    def half(self) -> float:
        """Of the 95 % interval of this score alone."""
        return stats.half_width(*self.moments[1:])

    def of_seeds(self) -> np.ndarray:
        """(seeds,) the score of each."""
        return np.mean([x.mean(1) for x in self.scores.values()], 0)


class Question(NamedTuple):
    """Is `a` better than `b`?"""
    a: Result
    b: Result
    of: int                             # questions that share the 5 %
    margin: float

    def asked(self, without: int | None = None) -> Asked:
        """What `a` scores more than `b` (of a loss: less), seed by seed, question by question."""
        way = sign(self.a.measure)
        gaps = {part: way * (x - self.b.scores[part]) for part, x in self.a.scores.items()}
        if without is not None:
            gaps = {part: np.delete(gap, without, 0) for part, gap in gaps.items()}
        return Asked(gaps, self.a.groups, (tuple(gaps),), "better", self.a.redrawn)

    def interval(self, without: int | None = None) -> tuple[float, float]:
        """(mean, half of the interval that decides); above 0 is better."""
        mean, variance, freedom = moments(self.asked(without))
        least = least_variance(self.a.groups) if self.a.measure in SHARES else 0.0
        return float(mean), stats.half_width(max(variance, least), freedom, looks=self.of)

    @property
    def verdict(self) -> str:
        return word(*self.interval(), self.margin)

    def hangs_on(self) -> list[int]:
        """Numbers of the seeds without which a lead is undecided; not asked of a few seeds."""
        seeds = len(next(iter(self.a.scores.values())))
        if self.verdict not in ("better", "worse") or seeds < MANY:
            return []
        return [seed for seed in range(seeds)
                if word(*self.interval(seed), self.margin) != self.verdict]

    def rests_on(self) -> str:
        """The one task that makes a lead; "" if there is none."""
        if self.verdict not in ("better", "worse"):
            return ""
        asked = self.asked()
        said = "holds" if self.verdict == "better" else "does not hold"
        return largest(asked) if rests_on_largest(asked, said) else ""


def least_variance(groups: dict[str, np.ndarray]) -> float:
    """Of a difference of shares. Where no question differs, more of them still might: as if one of
    two more questions did (Agresti and Min 2005)."""
    return sum((1 / len(groups) / (len({*numbers}) + 2)) ** 2 for numbers in groups.values())


def word(mean: float, half: float, margin: float) -> str:
    if abs(mean) + half < margin:
        return "level"
    return "undecided" if abs(mean) <= half else "better" if mean > 0 else "worse"


def sign(measure: str) -> int:
    return -1 if measure == "nll" else 1


def judged_by(c: Comparison, scores: Values) -> str:
    """The measure that judges, here and in tries."""
    if c.cfg.by and c.cfg.by not in scores:
        raise UserError(f"--by {c.cfg.by}: these rows give "
                        f"{', '.join(x for x in scores if ' ' not in x)}")
    return c.cfg.by or next(x for x in ORDER if x in scores)


def mean_of(parts: dict[str, np.ndarray]) -> float:
    return float(np.mean([x.mean() for x in parts.values()]))


def verdicts(c: Comparison) -> tuple[list[Result], list[Question]]:
    start = c.start()
    assert start.asked
    first = runs.values(start) or {}
    measure = judged_by(c, first)
    groups = start.asked.groups() if not c.parts else {
        part: first[f"{measure} groups"][part] for part in first[measure]}
    results = [result(c, None, [first] * len(c.seeds), groups, measure)]
    for arm in c.arms:
        found = [x for seed in c.seeds if (x := runs.values(c.job(arm, seed)))]
        results.append(result(c, arm, found, groups, measure))
    arms = results[1:]
    pairs = [(a, b) for i, b in enumerate(arms) for a in arms[i + 1:]
             if (a.arm == c.asks if c.asks else len(arms) <= ALL or i == 0)]
    margin = margin_of(c, measure, first)
    return results, [Question(a, b, len(pairs), margin) for a, b in pairs]


def margin_of(c: Comparison, measure: str, first: Values) -> float:
    scale = 100 if measure in SHARES else 1
    if c.cfg.margin:
        return c.cfg.margin / scale
    return OF_SPREAD * float(first[measure]["rows"].std()) if measure == "reward" else MARGIN


def result(c: Comparison, arm: Arm | None, found: list[Values], groups: dict,
           measure: str) -> Result:
    scores = {part: np.array([x[measure][part] for x in found]) for part in groups}
    others = {what: float(np.mean([mean_of(x[what]) for x in found])) for what in found[0]
              if what != measure and " " not in what}
    if arm is None:
        return Result("start model", scores, groups, measure, others)
    cost = dict.fromkeys(("steps", "answers", "seconds"), 0.0)
    for part in arm.chain:
        pace = c.paces[part.stages[-1]]
        for seed in c.seeds:
            spent = runs.made(c.job(part, seed).folder)
            cost["steps"] += spent.get("steps", pace.steps) / len(c.seeds)
            cost["answers"] += pace.answers / len(c.seeds) * spent.get(
                "rows", pace.steps * pace.batch_size)
            cost["seconds"] += spent["seconds"] / len(c.seeds)
    return Result(arm.name, scores, groups, measure, others, arm, bool(c.parts), cost)
