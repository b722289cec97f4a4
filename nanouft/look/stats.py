"""How sure is a number? Bootstrap over prompts, t-intervals over seeds, verdicts by rule.

    low, high = bootstrap(scores)                       # one model, many prompts
    mean, half = interval([run1, run2, run3])           # many seeds of training
    mean, half = two_way([gaps_of_a_family, ...])       # many seeds and many prompts: (seeds, prompts) each
    compared(mean, half, margin=0.02)                   # "better" | "worse" | "equal" | "undecided"
    verdict(mean, half, threshold=0.0)                  # "holds" | "does not hold" | "undecided"
"""
import math

import numpy as np

T95 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262, 10: 2.228,
       11: 2.201, 12: 2.179, 13: 2.160, 14: 2.145, 15: 2.131, 16: 2.120, 17: 2.110, 18: 2.101, 19: 2.093, 24: 2.064,
       29: 2.045, 40: 2.021, 60: 2.000, 99: 1.984, 200: 1.972, 1000: 1.962, 10_000: 1.960}      # Student's t, 97.5 %


def bootstrap(values, counts=None, draws: int = 1000) -> tuple[float, float]:
    """95 % interval of the mean over prompts: resampled with replacement, always with the same draws. With `counts`,
    values are sums over that many tokens each, and the mean is one over tokens."""
    x = np.asarray(values, float)
    n = np.ones(len(x)) if counts is None else np.asarray(counts, float)
    drawn = np.random.default_rng(0).integers(0, len(x), (draws, len(x)))
    means = x[drawn].sum(1) / n[drawn].sum(1)
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def interval(values: list[float]) -> tuple[float, float]:
    """(mean, half width of its 95 % t-interval) over seeds; infinite for one seed, no mean of none."""
    x = np.asarray(values, float)
    if len(x) < 2:
        return (float(x[0]) if len(x) else math.nan), math.inf
    return float(x.mean()), float(t95(len(x) - 1) * x.std(ddof=1) / math.sqrt(len(x)))


def two_way(gaps: list[np.ndarray], groups: list[np.ndarray] | None = None, draws: int = 1000,
            looks: int = 1) -> tuple[float, float]:
    """(mean, half width of its 95 % interval) of a mean over families, for other seeds AND other prompts.
    gaps: one (S,P) array a family, score of every answer (or its difference to another row's), the same S seeds
    everywhere. groups: (P,) numbers a family; prompts of one number (one fact in several wordings) are drawn together.
    Seeds and prompts are drawn anew in each draw (the pigeonhole bootstrap, Owen 2007, arXiv:0712.1111), S-1 seeds of
    S: so the variance of few seeds comes out unbiased. What belongs to one seed and one prompt alone is drawn in both
    ways and then counted three times; two of them are taken off. The width is Student's t times the spread; its degrees
    of freedom (Satterthwaite) are S-1 where only seeds differ, and many where only prompts do.
    looks: this difference was picked as the largest of so many, and its interval is wider for that (Bonferroni)."""
    rng, S = np.random.default_rng(0), len(gaps[0])
    mean = float(np.mean([g.mean() for g in gaps]))
    if S < 2:
        return mean, math.inf
    seeds = rng.multinomial(S - 1, np.full(S, 1 / S), draws) / (S - 1)                      # (draws,S)
    total, alone = np.zeros(draws), 0.0
    for i, g in enumerate(gaps):
        number = np.arange(g.shape[1]) if groups is None else np.unique(groups[i], return_inverse=True)[1]
        G = number.max() + 1
        prompts = rng.multinomial(G, np.full(G, 1 / G), draws)[:, number]                   # (draws,P)
        total += ((seeds @ g) * prompts).sum(1) / np.maximum(prompts.sum(1), 1) / len(gaps)
        rest = g - g.mean(0) - g.mean(1, keepdims=True) + g.mean()                          # (S,P)
        rest = rest @ (number[:, None] == np.arange(G))                                     # (S,G) sums of groups
        alone += (rest ** 2).sum() * G / max(1, (S - 1) * (G - 1)) / S / (g.shape[1] * len(gaps)) ** 2
    over_seeds = np.mean([g.mean(1) for g in gaps], 0).var(ddof=1) / S
    variance = max(total.var() - 2 * alone, over_seeds)
    freedom = (S - 1) * (variance / over_seeds) ** 2 if over_seeds > 0 else math.inf
    freedom = max(S - 1, freedom)
    return mean, float(t95(freedom) * wider(freedom, looks) * math.sqrt(variance))


def t95(freedom: float) -> float:
    """Student's t, 97.5 %; between two rows of the table the wider one."""
    return T95[max(k for k in T95 if k <= freedom)]


def wider(freedom: float, looks: int) -> float:
    """Student's t that is exceeded with probability 2.5 % / looks, over that of 2.5 %. With t = sqrt(v) tan(a) the
    density of the angle a is in proportion to cos(a)^(v-1), which is summed here."""
    if looks == 1:
        return 1.0
    angle = np.linspace(0, math.pi / 2, 20_001)[:-1]
    density = np.cos(angle) ** (min(freedom, 10_000) - 1)
    beyond = np.cumsum(density[::-1])[::-1] / density.sum() / 2                             # 0.5 at angle 0
    t = np.tan(np.interp([0.025 / looks, 0.025], beyond[::-1], angle[::-1]))
    return float(t[0] / t[1])


def compared(mean: float, half: float, margin: float) -> str:
    """A difference and its 95 % interval in a word: better or worse where it lies on one side of 0; equal where it
    lies within the margin (two one-sided tests, 2.5 % each); a small difference can be better and equal: "better"."""
    if mean - half > 0 or mean + half < 0:
        return "better" if mean > 0 else "worse"
    return "equal" if -margin < mean - half and mean + half < margin else "undecided"


def shown(mean: float, half: float, scale: float = 100, digits: int = 1) -> str:
    """"79.9 ± 2.3", of shares in percent; one seed has no interval."""
    return f"{scale * mean:.{digits}f}" + (f" ± {scale * half:.{digits}f}" if half < math.inf else "")


def percent(values: list[float]) -> str:
    return shown(*interval(values))


def verdict(mean: float, half: float, threshold: float) -> str:
    """holds: the whole interval above the threshold; does not hold: the whole interval below; else undecided."""
    return "holds" if mean - half > threshold else "does not hold" if mean + half < threshold else "undecided"
