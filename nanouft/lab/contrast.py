"""The difference of two rows of cells, with an interval for other seeds AND other prompts.

    mean, half = contrast(uft, sft)                             # cells with `each`, the same seeds in the same order
    mean, half = contrast(uft, sft, ((*SKILLS,), ("fact",)))    # the mean of two parts, each the mean of its families
    mean, half = contrast(sft)                                  # one row alone

What is drawn are seeds and questions (stats.two_way): prompts that ask for one fact in several wordings count as one.
"""
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from nanouft import world
from nanouft.lab.cells import unpacked
from nanouft.lab.own import APART
from nanouft.look.stats import two_way
from nanouft.world.facts import read_question

Parts = tuple[tuple[str, ...], ...]
NINE: Parts = (world.FAMILIES,)             # the endpoint: the mean of the nine families


def arrays(cells: Sequence[dict], families: Sequence[str]) -> list[np.ndarray]:
    """One (S,P) array a family: the score of every answer. A run that diverged has learnt nothing: zeros."""
    return [np.stack([np.zeros(c["items"]) if "failed" in c else unpacked(c, f) for c in cells]) for f in families]


@lru_cache
def groups(split: str, items: int) -> dict[str, np.ndarray]:
    """{family: (P,) numbers of its prompts, in the order of `arrays`}; prompts that ask for one fact share a number."""
    asked: dict[str, list] = {f: [] for f in world.FAMILIES}
    for row in world.rows(split, "prompts", items * len(world.FAMILIES), 0):
        asked[row.family].append(read_question(row.prompt[-1].text) or row.prompt[-1].text)
    return {f: np.array([list(dict.fromkeys(all_)).index(x) for x in all_]) for f, all_ in asked.items()}


def contrast(row: Sequence[dict], other: Sequence[dict] = (), parts: Parts = NINE,
             minus: tuple[Sequence[dict], Sequence[dict]] | None = None) -> tuple[float, float]:
    """(mean, half width of its 95 % interval) of row - other; with `minus`, less the difference of that couple."""
    families = [f for part in parts for f in part]
    signed = [(1, row), (-1, other)] + ([(-1, minus[0]), (1, minus[1])] if minus else [])
    seeds = [[c["seed"] % APART for c in cells] for _, cells in signed if cells]
    assert all(s == seeds[0] for s in seeds), f"not the same seeds: {seeds}"
    gaps = [sum(sign * a for sign, a in zip([s for s, cells in signed if cells], four))
            for four in zip(*(arrays(cells, families) for _, cells in signed if cells))]
    shares = [len(families) / len(parts) / len(part) for part in parts for _ in part]   # two_way takes the plain mean
    drawn = groups(row[0]["split"], row[0]["items"])
    return two_way([g * share for g, share in zip(gaps, shares)], [drawn[f] for f in families])
