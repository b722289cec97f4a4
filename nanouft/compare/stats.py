"""The difference of two rows of runs, with an interval for other seeds and other prompts.

    luck = luck_of(gaps, groups)                # from arrays (seeds, prompts)
    luck.moments()                              # NanoWorld: variance of the mean, freedom
    luck.interval(redrawn=True)                 # your rows: half of the 95 % CI, for another file
    luck.on_this_file()                         # the narrower claim, for the rows you have
    p_value(mean, luck.on_this_file)            # below .05 where that interval excludes 0

A score is modelled as a share of the seed, plus a share of the prompt, plus what is left, and each
of the three has a variance of its own (Owen 2007, arXiv:0712.1111). Both the variance over seeds
and that over prompts contain what is left, so NanoWorld's rule, moments(), subtracts it once. The
sum is never less than one of them: five seeds that agree by chance say nothing against what prompts
and answers show. Nothing is drawn at random: the same scores give the same digits everywhere. Only
numpy is needed.

Your rows are one file of many that might have been, and its luck is in all seeds. The seeds of a
comparison draw their rows together, each row as often as any other (a balanced bootstrap: Davison,
Hinkley and Schechtman 1986; splits.py). So what draws do to a score that is linear in the rows
cancels in the mean of the seeds, and the variance between seeds is the luck of the file plus that
of a training. Undivided, it covers another file; divided by the seeds, only another training on
this one. The variance over prompts is added, each part multiplied by the squared t of its own
degrees of freedom: with one t for both, three seeds would see nothing (Banerjee 1960).

docs/python.md has the errors of these rules, and where they break.
"""
import math
from collections.abc import Callable, Iterable
from functools import cache
from typing import NamedTuple

import numpy as np

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

    def interval(self, redrawn: bool, comparisons: int = 1, least: float = 0.0,
                 alpha: float = 0.05) -> float:
        """Half of the interval that decides: of rows that each seed has drawn from a file of yours,
        for another file, seed and prompt; of NanoWorld's for another seed and prompt."""
        if redrawn:
            return self.sum_of_parts(self.seed, comparisons, least, alpha)
        variance, freedom = self.moments()      # a floor must not narrow: it adds no freedom
        return half_width(max(variance, least), freedom, comparisons, alpha)

    def on_this_file(self, comparisons: int = 1, least: float = 0.0, alpha: float = 0.05) -> float:
        """Half of the interval for another seed and prompt, of rows that each seed has drawn."""
        return self.sum_of_parts(self.seed / self.seeds, comparisons, least, alpha)

    def sum_of_parts(self, of_seeds: float, comparisons: int, least: float, alpha: float) -> float:
        """Half of the interval from two variances, each with the t of its own freedom."""
        p = alpha / 2 / comparisons
        seeds, prompts = student(p, self.seeds - 1), student(p, self.facts - 1)
        return math.sqrt(seeds ** 2 * of_seeds + prompts ** 2 * max(self.prompts, least))


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


def half_width(variance: float, freedom: float, comparisons: int = 1,
               alpha: float = 0.05) -> float:
    """Half of the interval, by default of 95 %; `comparisons`: so many share the error
    (Bonferroni)."""
    return student(alpha / 2 / comparisons, freedom) * math.sqrt(variance)


def p_value(mean: float, half: Callable[[float], float]) -> float:
    """The smallest alpha whose interval excludes 0, at most 1.

    half    alpha -> half of that interval, corrected as it is printed; it grows as alpha falls

    Below .05 exactly where the 95 % interval excludes 0, because the search starts there. Below
    1e-10 it is 0.
    """
    low, high = (0.0, 0.05) if abs(mean) > half(0.05) else (0.05, 1.0)
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (low, middle) if abs(mean) > half(middle) else (middle, high)
    return low


def least_variance(groups: Iterable[np.ndarray]) -> float:
    """The least that the variance of a share is taken for, of one score or of a difference. Where
    no prompt differs more of them still might: as if one of two more did (Agresti and Min 2005).

    groups  per task one array (prompts,), as luck_of has them; all tasks weigh alike
    """
    sizes = [len(np.unique(numbers)) for numbers in groups]
    return sum((1 / len(sizes) / (size + 2)) ** 2 for size in sizes)


def expected_half_width(tries: list[Luck], methods: int, seeds: int, prompts: int, redrawn: bool,
                        comparisons: int = 1, least: float = 0.0) -> tuple[float, float, float]:
    """(low, middle, high) of the ± that a test will print.

    tries           luck_of differences of two methods on validation prompts, at each pair of rates
                    that have three seeds
    methods         that were compared: their differences have 2 degrees of freedom for each but one
    seeds, prompts  of the test; comparisons and least belong to it, too

    What is not known is how far variances, those of the search and those of the test, are from the
    true ones. The quotient of the two has an F distribution, of which 400 draws are taken. The ±
    is inside in 78 to 92 of 100 tests; where methods fail in one of five trainings or few rows
    weigh most in 52 to 84 (python -m tests.bench.search_rules told).
    """
    seed, of_prompts, rest = np.mean([luck[2:] for luck in tries], 0)
    facts, rng = tries[0].facts, np.random.default_rng(0)
    of_prompts = max(0.0, of_prompts - rest / tries[0].seeds) * facts / prompts
    seed, rest = max(0.0, seed - rest), rest * facts / prompts
    quotients = zip(rng.f(seeds - 1, 2 * (methods - 1), 400), rng.f(prompts - 1, facts - 1, 400))
    lucks = [Luck(seeds, prompts, x * (seed + rest), y * (of_prompts + rest / seeds), rest)
             for x, y in quotients]
    low, middle, high = np.quantile([luck.interval(redrawn, comparisons, least) for luck in lucks],
                                    [0.1, 0.5, 0.9])
    return float(low), float(middle), float(high)
