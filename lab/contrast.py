"""The difference of two rows of cells, with an interval for other seeds AND other prompts.

    mean, half = contrast(uft, sft)         # cells with `each`, the same seeds in the same order
    mean, half = contrast(uft, sft, ((*SKILLS,), ("fact",)))    # two parts, each a mean of families
    mean, half = contrast(sft)              # one row alone
    mean, half = two_way([gaps, ...])       # the interval: one (seeds, prompts) array a family

Seeds and questions are resampled; prompts that ask for one fact in several wordings count as one.
Of what is one number a seed, the interval is Student's t (nanouft.eval.stats.interval).
"""
import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from lab.cells import unpack_scores
from lab.own import APART
from nanouft import world
from nanouft.data.rows import Row
from nanouft.errors import UserError
from nanouft.world.facts import read_question

Parts = tuple[tuple[str, ...], ...]
NINE: Parts = (world.FAMILIES,)             # the endpoint: the mean of the nine families


def arrays(cells: Sequence[dict], families: Sequence[str]) -> list[np.ndarray]:
    """One (S,P) array a family: the score of every answer. A run that diverged has learnt nothing:
    zeros."""
    return [np.stack([np.zeros(c["items"]) if "failed" in c else unpack_scores(c, f)
                      for c in cells]) for f in families]


@lru_cache
def prompt_groups(split: str, items: int, seed: int = 0) -> dict[str, np.ndarray]:
    """{family: (P,) numbers of its prompts, in the order of `arrays`}; prompts that ask for one
    fact share a number."""
    rows = world.rows(split, "prompts", items * len(world.FAMILIES), seed)
    groups = {f: same_question([row for row in rows if row.family == f]) for f in world.FAMILIES}
    return groups | {"sums": np.arange(items)}  # of the second world: each question once


def same_question(rows: Sequence[Row]) -> np.ndarray:
    """(P,) numbers of the prompts of these rows; those that ask for one fact share a number."""
    asked = [read_question(row.prompt[-1].text) or row.prompt[-1].text for row in rows]
    numbers = {question: i for i, question in enumerate(dict.fromkeys(asked))}
    return np.array([numbers[question] for question in asked])


def endpoint_score(cell: dict, parts: Parts = NINE) -> float:
    """The mean over parts of the mean over families; a run that diverged has learnt nothing."""
    if "failed" in cell:
        return 0.0
    return float(np.mean([np.mean([cell["families"][f]["score"] for f in part]) for part in parts]))


def contrast(row: Sequence[dict], other: Sequence[dict] = (), parts: Parts = NINE,
             minus: tuple[Sequence[dict], Sequence[dict]] | None = None,
             looks: int = 1) -> tuple[float, float]:
    """(mean, half width of its 95 % interval) of row - other; with `minus`, less the difference of
    that couple. looks: the pair was picked from so many by the same figures."""
    signed = [(1, row), (-1, other), *zip((-1, 1), minus or ())]
    signed = [(sign, cells) for sign, cells in signed if cells]
    seeds = [[c["seed"] % APART for c in cells] for _, cells in signed]
    assert all(s == seeds[0] for s in seeds), f"not the same seeds: {seeds}"
    families = [f for part in parts for f in part]
    # two_way: the plain mean
    share = {f: len(families) / len(parts) / len(part) for part in parts for f in part}
    every = [(sign, arrays(cells, families)) for sign, cells in signed]
    gaps = [share[f] * sum(sign * of_family[i] for sign, of_family in every)
            for i, f in enumerate(families)]
    drawn = prompt_groups(row[0]["split"], row[0]["items"], row[0].get("prompts", 0))
    return two_way(gaps, [drawn[f] for f in families], looks=looks)


# ---- intervals over seeds and prompts ------------------------------------------------------------
def two_way(gaps: list[np.ndarray], groups: list[np.ndarray] | None = None, draws: int = 1000,
            looks: int = 1) -> tuple[float, float]:
    """(mean, half width of its 95 % interval) of a mean over families.
    gaps: one (S,P) array a family, the score of every answer (or its difference to another row's),
    the same S seeds everywhere. groups: (P,) numbers a family; prompts of one number (one fact in
    several wordings) are drawn together. Each draw resamples seeds and prompts (the pigeonhole
    bootstrap, Owen 2007, arXiv:0712.1111), S-1 seeds of S: so the variance of few seeds comes out
    unbiased. What belongs to one seed and one prompt alone is drawn in both ways and then counted
    three times; two of them are taken off. The half width is Student's t times the spread; its
    degrees of freedom (Satterthwaite) are S-1 where only seeds differ, and many where only prompts
    do. Two or three seeds cannot tell how much seeds differ, so there the freedom is S-1 in any
    case.
    looks: this difference was picked as the largest of so many, and its interval is wider for that
    (Bonferroni)."""
    rng, S = np.random.default_rng(0), len(gaps[0])
    mean = float(np.mean([g.mean() for g in gaps]))
    if S < 2:
        return mean, math.inf
    seeds = drawn_seeds(rng, S, draws)
    total, alone = np.zeros(draws), 0.0
    for i, g in enumerate(gaps):
        number = (np.arange(g.shape[1])
                  if groups is None else np.unique(groups[i], return_inverse=True)[1])
        G = number.max() + 1
        total += drawn_means(rng, seeds, [g], number)[0] / len(gaps)
        rest = g - g.mean(0) - g.mean(1, keepdims=True) + g.mean()                          # (S,P)
        rest = rest @ (number[:, None] == np.arange(G))  # (S,G) sums of groups
        answers = g.shape[1] * len(gaps)
        alone += (rest ** 2).sum() * G / max(1, (S - 1) * (G - 1)) / S / answers ** 2
    over_seeds = np.mean([g.mean(1) for g in gaps], 0).var(ddof=1) / S
    variance = max(total.var() - 2 * alone, over_seeds)
    freedom = S - 1
    if S >= 4:
        freedom = max(freedom,
                      freedom * (variance / over_seeds) ** 2 if over_seeds > 0 else math.inf)
    return mean, quantile(freedom, looks) * math.sqrt(variance)


def drawn_seeds(rng: np.random.Generator, S: int, draws: int) -> np.ndarray:
    """(draws,S) weights of seeds: S-1 of S are drawn."""
    return rng.multinomial(S - 1, np.full(S, 1 / S), draws) / (S - 1)


def drawn_means(rng: np.random.Generator, seeds: np.ndarray, scores: list[np.ndarray],
                number: np.ndarray) -> list[np.ndarray]:
    """(draws,) means of each of several (S,P) arrays, all with the same draws of seeds and prompts.
    number: (P,) groups of prompts that are drawn together."""
    G = number.max() + 1
    prompts = rng.multinomial(G, np.full(G, 1 / G), len(seeds))[:, number]  # (draws,P)
    return [((seeds @ g) * prompts).sum(1) / np.maximum(prompts.sum(1), 1) for g in scores]


def quantile(freedom: float, looks: int = 1) -> float:
    """Student's t that is exceeded with probability 2.5 %, at the whole degrees of freedom below,
    as printed tables advise; with `looks` wider by what 2.5 % / looks asks for."""
    try:
        from scipy.stats import t as student
    except ImportError:
        raise UserError('intervals over seeds and prompts need scipy: pip install -e lab') from None
    whole = math.floor(freedom) if freedom < 1e9 else freedom       # scipy wants an int of 64 bits
    wider = student.ppf(1 - 0.025 / looks, freedom) / student.ppf(0.975, freedom)
    return float(student.ppf(0.975, whole) * wider)


def holm(clear: dict, word: Callable[[object, int], str]) -> dict[object, tuple[int, str]]:
    """{name: (looks, verdict)} of m contrasts, by Holm's rule: word(name, looks) judges the
    clearest by an interval of level 1 - 5 %/m, the next one by 1 - 5 %/(m - 1), and so on; after
    the first one that is undecided, all are. clear: {name: how clear it is}."""
    found, looks, verdict = {}, len(clear), ""
    for name in sorted(clear, key=lambda name: -clear[name]):
        verdict = verdict if verdict == "undecided" else word(name, looks)
        found[name] = looks, verdict
        looks -= verdict != "undecided"
    return found
