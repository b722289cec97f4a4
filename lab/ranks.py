"""Ranks that admit ties: which rows of a comparison does an experiment tell apart?

    minus(scores["dpo"], scores["sft"])         # ([mean, half width of its 95 % interval], "worse")
    places(scores)                              # {"sft": [1, 19], ...}: the places that a row may hold

Two rows are compared seed by seed: the same seed drew the same data for both, so most of its luck cancels.
"""
import math
from collections.abc import Mapping

from lab.words import difference_word
from nanouft.look.stats import interval

Scores = Mapping[int, float]    # {seed: score}


def minus(mine: Scores, other: Scores | None) -> tuple[list, str] | None:
    """([mean, half or None], word) of mine - other over their common seeds; None if they have none in common."""
    seeds = sorted(mine.keys() & other.keys()) if other else []
    if not seeds:
        return None
    mean, half = interval([mine[s] - other[s] for s in seeds])
    return [mean, half if half < math.inf else None], difference_word(mean, half)


def places(scores: Mapping[str, Scores]) -> dict[str, list[int]]:
    """{row: [best, worst place]}: from 1 + the number of rows that are significantly better, to the number of all rows
    less those that are significantly worse (each pair of rows for itself, 95 %)."""
    there = {name: s for name, s in scores.items() if s}
    words = {name: [got[1] for other, s in there.items() if other != name and (got := minus(mine, s))]
             for name, mine in there.items()}
    return {name: [1 + seen.count("worse"), len(there) - seen.count("better")] for name, seen in words.items()}
