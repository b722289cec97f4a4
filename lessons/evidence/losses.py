"""What each loss scores, trained from a base: mean of N1 and N2, in the groups of which_loss.py.

A group is formed by a loss's formula. The interval of a score is that of stats.py on each base, put
together: the bases are trained apart, so the variances of their means add up.
"""
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from lessons.evidence import judge, stats, which_loss
from lessons.evidence.claims import CLAIMS

Kept = Mapping[str, np.ndarray]
GROUPS = {"imitate right answers": which_loss.IMITATE + which_loss.LATER,
          "pairs, with imitation": which_loss.ANCHORED,
          "pairs alone": which_loss.CONTRAST,
          "scores, labels": which_loss.GRADED}


class Score(NamedTuple):
    """A score: a mean from 0 to 1 and half of its 95 % interval."""
    mean: float
    half: float


def score(name: str, row: str, kept: Kept) -> Score:
    """Of a row of a claim, over all its bases."""
    claim = CLAIMS[name]
    found = [judge.score_of(claim, kept, row, base) for base in range(len(claim.bases))]
    bases = len(found)
    variance = sum(x[1] for x in found) / bases ** 2
    # Welch and Satterthwaite: the degrees of freedom of a sum of variances
    freedom = sum(x[1] for x in found) ** 2 / max(sum(x[1] ** 2 / x[2] for x in found), 1e-30)
    return Score(float(np.mean([x[0] for x in found])), stats.half_width(variance, freedom))


def by_group(from_base: Kept) -> dict[str, list[tuple[str, Score]]]:
    """{group: [(loss, its score from a base)]}, the best first."""
    return {group: sorted(((loss, score("C13", loss, from_base)) for loss in losses),
                          key=lambda line: -line[1].mean)
            for group, losses in GROUPS.items()}
