"""How sure is a number? Bootstrap over prompts, t-intervals over seeds, verdicts by rule.

    low, high = bootstrap(scores)                       # one model, many prompts
    mean, half = interval([run1, run2, run3])           # many seeds of training
    verdict(mean, half, threshold=0.0)                  # "holds" | "does not hold" | "undecided"
"""
import math
from collections.abc import Sequence

import numpy as np

Numbers = Sequence[float] | np.ndarray
T95 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262,
       10: 2.228, 11: 2.201, 12: 2.179, 13: 2.160, 14: 2.145, 15: 2.131, 16: 2.120, 17: 2.110,
       18: 2.101, 19: 2.093, 24: 2.064, 29: 2.045, 40: 2.021, 60: 2.000, 99: 1.984, 200: 1.972,
       1000: 1.962, 10_000: 1.960}                      # 97.5 % of Student's t, by its freedom


def bootstrap(values: Numbers, counts: Numbers | None = None,
              draws: int = 1000) -> tuple[float, float]:
    """95 % interval of the mean over prompts: they are drawn again with replacement, always with
    the same draws. With `counts`, values are sums over that many tokens, and the mean is one over
    tokens."""
    x = np.asarray(values, float)
    n = np.ones(len(x)) if counts is None else np.asarray(counts, float)
    drawn = np.random.default_rng(0).integers(0, len(x), (draws, len(x)))
    means = x[drawn].sum(1) / n[drawn].sum(1)
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def interval(values: Numbers) -> tuple[float, float]:
    """(mean, half width of its 95 % t-interval) over seeds. One seed: infinite; none: no mean."""
    x = np.asarray(values, float)
    if len(x) < 2:
        return (float(x[0]) if len(x) else math.nan), math.inf
    t = T95[max(freedom for freedom in T95 if freedom < len(x))]    # between rows: the wider one
    return float(x.mean()), float(t * x.std(ddof=1) / math.sqrt(len(x)))


def verdict(mean: float, half: float, threshold: float) -> str:
    """holds: the whole interval lies above the threshold; does not hold: below; else undecided."""
    if mean - half > threshold:
        return "holds"
    return "does not hold" if mean + half < threshold else "undecided"
