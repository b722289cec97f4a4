"""The difference of two rows of runs, with an interval for other seeds and other prompts.

    moments(gaps, groups)       # mean, its variance, degrees of freedom
    half_width(variance, freedom)
    decide([(mean, variance, freedom, "better"), ...])  # half width and verdict of each, corrected

A score is modelled as a share of the seed, plus a share of the prompt, plus what is left, and each
of the three has a variance of its own (Owen 2007, arXiv:0712.1111). Both the variance over seeds
and that over prompts contain what is left, so it is subtracted once. The sum is never less than one
of them: five seeds that agree by chance say nothing against what prompts and answers show. Nothing
is drawn at random: the same scores give the same digits everywhere. Only numpy is needed.
"""
import math
from functools import cache

import numpy as np

MARGIN = 0.02       # of "not inferior" and "as good": two points
OF_FILE = 4 / 3     # luck of a file of rows, as variance, in that of a draw of it; so simulated
LIMITS = {"better": (0.0,), "not inferior": (-MARGIN,), "as good": (-MARGIN, MARGIN),
          "within 3": (-0.03, 0.03)}            # C13, C14: three points

Moments = tuple[float, float, float]            # mean, variance of the mean, degrees of freedom


def moments(gaps: list[np.ndarray], groups: list[np.ndarray], redrawn: bool = False) -> Moments:
    """The mean of a score over families, the variance of that mean, and its degrees of freedom.

    gaps      per family one array (seeds, prompts), times the family's weight in the score
    groups    per family one array (prompts,) of numbers; prompts that share a number ask for the
              same fact, so they count as one draw
    redrawn   did each seed train on rows drawn anew, with replacement, from one file? The luck of
              the file itself is in all of them: it is about as large as that of a draw (the
              bootstrap's idea), and does not shrink with more seeds. A third more is taken:
              where shares come near 0 or 1, draws of a lucky file differ less
    """
    seeds = len(gaps[0])
    mean = sum(gap.mean() for gap in gaps)
    of_seed = sum(gap.mean(1) for gap in gaps).var(ddof=1)
    over_seeds = of_seed / seeds
    over_prompts = in_both = 0.0
    for gap, numbers in zip(gaps, groups):
        prompts = gap.shape[1]
        _, group_of = np.unique(numbers, return_inverse=True)
        n_groups = group_of.max() + 1
        member = np.eye(n_groups)[group_of]                                     # (prompts, groups)
        scale = n_groups / (n_groups - 1) / prompts ** 2
        around_mean = (gap - gap.mean()) @ member                               # (seeds, groups)
        over_prompts += scale * (around_mean.mean(0) ** 2).sum()
        residual = (gap - gap.mean(0) - gap.mean(1, keepdims=True) + gap.mean()) @ member
        in_both += scale * (residual ** 2).sum() / (seeds - 1) / seeds
    if redrawn:
        over_seeds += OF_FILE * of_seed
    variance = max(over_seeds, over_prompts, in_both, over_seeds + over_prompts - in_both)
    # Satterthwaite's degrees of freedom: few where the seeds differ, many where only the prompts do
    freedom = (seeds - 1) * max(1.0, (variance / over_seeds) ** 2) if over_seeds else math.inf
    if redrawn:             # few seeds that agree by chance would hide the luck of the file
        freedom = seeds - 1
    return mean, variance, freedom


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


def half_width(variance: float, freedom: float, looks: int = 1) -> float:
    """Half of the 95 % interval; `looks`: so many questions share the error (Bonferroni)."""
    return student(0.025 / looks, freedom) * math.sqrt(variance)


def verdict(mean: float, half: float, test: str) -> str:
    """Where does the interval lie, compared with the limits of the test?"""
    low, high = LIMITS[test][0], LIMITS[test][-1]
    between = low < high                                            # "as good" has two limits
    if mean - half > low and (not between or mean + half < high):
        return "holds"
    if mean + half < low or (between and mean - half > high):
        return "does not hold"
    return "undecided"


def clearness(mean: float, variance: float, freedom: float, test: str) -> float:
    """How many half widths a difference lies away from the nearest limit."""
    distance = min(abs(mean - limit) for limit in LIMITS[test])
    return distance / max(half_width(variance, freedom), 1e-9)


def decide(questions: list[tuple[float, float, float, str]]) -> list[tuple[float, str]]:
    """(half of the interval that decides, verdict) of each (mean, variance, freedom, test),
    corrected by Holm's rule: the clearest question is judged as one of all, the next as one of the
    others, and so on. After the first doubt all that follow are undecided, by its correction."""
    decided, looks, doubt = [(0.0, "undecided")] * len(questions), len(questions), False
    for i in sorted(range(len(questions)), key=lambda i: -clearness(*questions[i])):
        mean, variance, freedom, test = questions[i]
        half = half_width(variance, freedom, looks)
        said = "undecided" if doubt else verdict(mean, half, test)
        decided[i] = half, said
        doubt = said == "undecided"
        looks -= not doubt
    return decided
