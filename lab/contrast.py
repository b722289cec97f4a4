"""The difference of two rows of cells, with an interval for other seeds AND other prompts.

    mean, half = contrast(uft, sft)                             # cells with `each`, the same seeds in the same order
    mean, half = contrast(uft, sft, ((*SKILLS,), ("fact",)))    # the mean of two parts, each the mean of its families
    mean, half = contrast(sft)                                  # one row alone

Seeds and questions are resampled (intervals.two_way); prompts that ask for one fact in several wordings count as one.
"""
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from lab.cells import unpack_scores
from lab.intervals import two_way
from lab.own import APART
from nanouft import world
from nanouft.world.facts import read_question

Parts = tuple[tuple[str, ...], ...]
NINE: Parts = (world.FAMILIES,)             # the endpoint: the mean of the nine families


def arrays(cells: Sequence[dict], families: Sequence[str]) -> list[np.ndarray]:
    """One (S,P) array a family: the score of every answer. A run that diverged has learnt nothing: zeros."""
    return [np.stack([np.zeros(c["items"]) if "failed" in c else unpack_scores(c, f) for c in cells]) for f in families]


@lru_cache
def prompt_groups(split: str, items: int, seed: int = 0) -> dict[str, np.ndarray]:
    """{family: (P,) numbers of its prompts, in the order of `arrays`}; prompts that ask for one fact share a number."""
    asked: dict[str, list] = {f: [] for f in world.FAMILIES}
    for row in world.rows(split, "prompts", items * len(world.FAMILIES), seed):
        asked[row.family].append(read_question(row.prompt[-1].text) or row.prompt[-1].text)
    return {f: np.array([list(dict.fromkeys(all_)).index(x) for x in all_]) for f, all_ in asked.items()}


def endpoint_score(cell: dict, parts: Parts = NINE) -> float:
    """The mean over parts of the mean over families; a run that diverged has learnt nothing."""
    if "failed" in cell:
        return 0.0
    return float(np.mean([np.mean([cell["families"][f]["score"] for f in part]) for part in parts]))


def contrast(row: Sequence[dict], other: Sequence[dict] = (), parts: Parts = NINE,
             minus: tuple[Sequence[dict], Sequence[dict]] | None = None, looks: int = 1) -> tuple[float, float]:
    """(mean, half width of its 95 % interval) of row - other; with `minus`, less the difference of that couple.
    looks: the pair was picked from so many by the same figures."""
    signed = [(1, row), (-1, other), *zip((-1, 1), minus or ())]
    signed = [(sign, cells) for sign, cells in signed if cells]
    seeds = [[c["seed"] % APART for c in cells] for _, cells in signed]
    assert all(s == seeds[0] for s in seeds), f"not the same seeds: {seeds}"
    families = [f for part in parts for f in part]
    share = {f: len(families) / len(parts) / len(part) for part in parts for f in part}     # two_way: the plain mean
    every = [(sign, arrays(cells, families)) for sign, cells in signed]
    gaps = [share[f] * sum(sign * of_family[i] for sign, of_family in every) for i, f in enumerate(families)]
    drawn = prompt_groups(row[0]["split"], row[0]["items"], row[0].get("prompts", 0))
    return two_way(gaps, [drawn[f] for f in families], looks=looks)
