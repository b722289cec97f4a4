"""An interval of a mean over families, for other seeds and other prompts.

    mean, half = two_way([gaps_of_a_family, ...])       # one (seeds, prompts) array a family
"""
import math

import numpy as np

from nanouft.shell.errors import UserError


def two_way(gaps: list[np.ndarray], groups: list[np.ndarray] | None = None, draws: int = 1000,
            looks: int = 1) -> tuple[float, float]:
    """(mean, half width of its 95 % interval) of a mean over families.
    gaps: one (S,P) array a family, the score of every answer (or its difference to another row's), the same S seeds
    everywhere. groups: (P,) numbers a family; prompts of one number (one fact in several wordings) are drawn together.
    Each draw resamples seeds and prompts (the pigeonhole bootstrap, Owen 2007, arXiv:0712.1111), S-1 seeds of S: so
    the variance of few seeds comes out unbiased. What belongs to one seed and one prompt alone is drawn in both ways
    and then counted three times; two of them are taken off. The half width is Student's t times the spread; its
    degrees of freedom (Satterthwaite) are S-1 where only seeds differ, and many where only prompts do. Two or three
    seeds cannot tell how much seeds differ, so there the freedom is S-1 in any case.
    looks: this difference was picked as the largest of so many, and its interval is wider for that (Bonferroni)."""
    rng, S = np.random.default_rng(0), len(gaps[0])
    mean = float(np.mean([g.mean() for g in gaps]))
    if S < 2:
        return mean, math.inf
    seeds = drawn_seeds(rng, S, draws)
    total, alone = np.zeros(draws), 0.0
    for i, g in enumerate(gaps):
        number = np.arange(g.shape[1]) if groups is None else np.unique(groups[i], return_inverse=True)[1]
        G = number.max() + 1
        total += drawn_means(rng, seeds, [g], number)[0] / len(gaps)
        rest = g - g.mean(0) - g.mean(1, keepdims=True) + g.mean()                          # (S,P)
        rest = rest @ (number[:, None] == np.arange(G))                                     # (S,G) sums of groups
        alone += (rest ** 2).sum() * G / max(1, (S - 1) * (G - 1)) / S / (g.shape[1] * len(gaps)) ** 2
    over_seeds = np.mean([g.mean(1) for g in gaps], 0).var(ddof=1) / S
    variance = max(total.var() - 2 * alone, over_seeds)
    freedom = S - 1
    if S >= 4:
        freedom = max(freedom, freedom * (variance / over_seeds) ** 2 if over_seeds > 0 else math.inf)
    return mean, quantile(freedom, looks) * math.sqrt(variance)


def drawn_seeds(rng: np.random.Generator, S: int, draws: int) -> np.ndarray:
    """(draws,S) weights of seeds: S-1 of S are drawn."""
    return rng.multinomial(S - 1, np.full(S, 1 / S), draws) / (S - 1)


def drawn_means(rng: np.random.Generator, seeds: np.ndarray, scores: list[np.ndarray],
                number: np.ndarray) -> list[np.ndarray]:
    """(draws,) means of each of several (S,P) arrays, all with the same draws of seeds and prompts. number: (P,) groups
    of prompts that are drawn together."""
    G = number.max() + 1
    prompts = rng.multinomial(G, np.full(G, 1 / G), len(seeds))[:, number]                  # (draws,P)
    return [((seeds @ g) * prompts).sum(1) / np.maximum(prompts.sum(1), 1) for g in scores]


def quantile(freedom: float, looks: int = 1) -> float:
    """Student's t that is exceeded with probability 2.5 %, at the whole degrees of freedom below, as printed tables
    advise; with `looks` wider by what 2.5 % / looks asks for."""
    try:
        from scipy.stats import t as student
    except ImportError:
        raise UserError('intervals over seeds and prompts need scipy: pip install -e ".[lab]"') from None
    whole = math.floor(freedom) if freedom < math.inf else freedom
    wider = student.ppf(1 - 0.025 / looks, freedom) / student.ppf(0.975, freedom)
    return float(student.ppf(0.975, whole) * wider)
