"""The difference of two rows of runs, with an interval for other seeds and other prompts.

    moments(gaps, groups)       # mean, its variance, degrees of freedom
    half_width(variance, freedom)
    luck_of(gaps, groups).half()        # where each seed has drawn its training rows

A score is modelled as a share of the seed, plus a share of the prompt, plus what is left, and each
of the three has a variance of its own (Owen 2007, arXiv:0712.1111). Both the variance over seeds
and that over prompts contain what is left, so it is subtracted once. The sum is never less than one
of them: five seeds that agree by chance say nothing against what prompts and answers show. Nothing
is drawn at random: the same scores give the same digits everywhere. Only numpy is needed.

Your rows are one draw of many that might have been, and this luck of the file is in all seeds. The
seeds of a comparison draw their rows together, each row as often as any other (a balanced
bootstrap: Davison, Hinkley and Schechtman 1986; splits.py). So what draws do to a score that is
linear in the rows cancels in the mean of the seeds, and their mean square is the luck of the file
plus that of a training: no less than the variance to be covered. OF_FILE adds a third for scores
that are not linear, as near 0 or 100. Each part is multiplied by the t of its own degrees of
freedom; such a sum covers (Banerjee 1960). Of what is left, OF_REST is subtracted, because no rows
are in it. No proof covers that: on a grid of normal parts (2 to 50 seeds, 5 to 200 prompts, any
share of the rest) the largest error is 4.4 of 100, where six comparisons share it 5.3. All of it
subtracted, as much as 13.6 and 42.

The rule breaks where a few questions or rows weigh most (lognormal: 13 and 11 of 100), a method
tips over or not as its file has it (22), or questions share a document that no `group` names (22).
docs/python.md says how often that is.
"""
import math
from functools import cache
from typing import NamedTuple

import numpy as np

OF_FILE = 4 / 3     # luck of a file of rows, as variance, in the mean square of its seeds
OF_REST = 2 / 3     # this part of what is left is subtracted

Moments = tuple[float, float, float]            # mean, variance of the mean, degrees of freedom


class Luck(NamedTuple):
    """What chance does to a difference, as variances: of one seed, and of the mean of all in what
    prompts do to it. `rest`, what is left, is in both: all of it in that of a seed, and divided by
    the seeds in that of prompts."""
    seeds: int
    facts: int                  # prompts that are draws of their own
    seed: float
    prompts: float
    rest: float

    def moments(self) -> tuple[float, float]:
        """(variance, degrees of freedom) of the mean, where rows are not drawn."""
        over_seeds, in_both = self.seed / self.seeds, self.rest / self.seeds
        variance = max(over_seeds, self.prompts, in_both, over_seeds + self.prompts - in_both)
        # Satterthwaite's: few where the seeds differ, many where only the prompts do
        freedom = (self.seeds - 1) * max(1.0, (variance / over_seeds) ** 2) if over_seeds else (
            math.inf)
        return variance, freedom

    def half(self, comparisons: int = 1, least: float = 0.0) -> float:
        """Half of the 95 % interval where the seeds have drawn rows. least: of the prompts."""
        p = 0.025 / comparisons
        of_seed, of_rest = student(p, self.seeds - 1), student(p, math.inf)
        of_rows = OF_FILE * max(
            0.0, of_seed ** 2 * self.seed - OF_REST * of_rest ** 2 * self.rest)
        return math.sqrt(of_rows + student(p, self.facts - 1) ** 2 * max(self.prompts, least))

    def interval(self, redrawn: bool, comparisons: int = 1, least: float = 0.0) -> float:
        """Half of it, of rows that are drawn or not."""
        if redrawn:
            return self.half(comparisons, least)
        variance, freedom = self.moments()
        return half_width(max(variance, least), freedom, comparisons)


def luck_of(gaps: list[np.ndarray], groups: list[np.ndarray]) -> Luck:
    """gaps    per family one array (seeds, prompts), times the family's weight in the score
    groups  per family one array (prompts,) of numbers; prompts that share a number ask for the
            same fact, so they count as one draw
    """
    seeds, facts = len(gaps[0]), 0
    of_seed = sum(gap.mean(1) for gap in gaps).var(ddof=1)
    over_prompts = in_both = 0.0
    for gap, numbers in zip(gaps, groups):
        prompts = gap.shape[1]
        _, group_of = np.unique(numbers, return_inverse=True)
        n_groups = int(group_of.max()) + 1
        facts += n_groups
        member = np.eye(n_groups)[group_of]                                     # (prompts, groups)
        scale = n_groups / (n_groups - 1) / prompts ** 2
        around_mean = (gap - gap.mean()) @ member                               # (seeds, groups)
        over_prompts += scale * (around_mean.mean(0) ** 2).sum()
        residual = (gap - gap.mean(0) - gap.mean(1, keepdims=True) + gap.mean()) @ member
        in_both += scale * (residual ** 2).sum() / (seeds - 1) / seeds
    return Luck(seeds, facts, of_seed, over_prompts, in_both * seeds)


def moments(gaps: list[np.ndarray], groups: list[np.ndarray]) -> Moments:
    """The mean of a score over families, the variance of that mean, and its degrees of freedom;
    gaps and groups as luck_of has them."""
    return sum(gap.mean() for gap in gaps), *luck_of(gaps, groups).moments()


@cache
def student(p: float, freedom: float) -> float:
    """The value that Student's t exceeds with probability p. With t = sqrt(n) tan(a) the density
    of the angle a is cos(a)^(n-1), which is added up on a grid."""
    freedom = min(freedom, 1e4)
    edges = np.linspace(0, math.pi / 2, 20_001)
    middles = (edges[1:] + edges[:-1]) / 2
    density = np.exp((freedom - 1) * np.log(np.cos(middles)))
    below = np.concatenate([[0.0], np.cumsum(density)])
    angle = np.interp(1 - 2 * p, below / below[-1], edges)
    return math.sqrt(freedom) * math.tan(angle)


def half_width(variance: float, freedom: float, comparisons: int = 1) -> float:
    """Half of the 95 % interval; `comparisons`: so many share the error (Bonferroni)."""
    return student(0.025 / comparisons, freedom) * math.sqrt(variance)
