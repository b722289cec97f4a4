"""Does one family of questions carry a difference? Two numbers beside every verdict.

    largest(asked)              # the family that adds most to the difference
    without(asked, family)      # the difference without it
    is_carried(asked, verdict)  # is less than half left without it, or a limit crossed?

The largest family is the one that contributes most in the direction of the mean: of a mean above 0
the one that adds most, of a mean below 0 the one that takes most. Where families form parts, each
part has an equal share of the mean and so has each family within its part. When a family goes, the
others of its part share what it had; a part of one family goes with it, and the other parts share.

"Carried by X" is a strong word, because leaving out the largest family lowers every mean. It needs
all three: the verdict is decided; X differs from the mean of the others, at 5 % divided by the
number of families; and the mean without X lies beyond a limit of the test or, where the limit is 0,
is below half of the mean (half of a difference says nothing of a margin of two points).
The verdict itself is always that over all families.
"""
from typing import NamedTuple

import numpy as np

from lessons.evidence import stats

Parts = tuple[tuple[str, ...], ...]


class Asked(NamedTuple):
    """The difference that a question asks for, on one base, family by family."""
    gaps: dict[str, np.ndarray]         # (seeds, prompts) of each family: difference of scores
    groups: dict[str, np.ndarray]       # (prompts,) one number for prompts that ask the same fact
    parts: Parts                        # the mean is that of the means of the parts
    test: str                           # "better", "not inferior" or "as good"


def weights(parts: Parts) -> dict[str, float]:
    """The share of each family in the mean."""
    return {family: 1 / len(parts) / len(part) for part in parts for family in part}


def moments(asked: Asked, share: dict[str, float] | None = None) -> stats.Moments:
    """Mean, variance, degrees of freedom of the families' sum with these shares [those of the
    parts]."""
    share = share or weights(asked.parts)
    return stats.moments([asked.gaps[family] * of_family for family, of_family in share.items()],
                         [asked.groups[family] for family in share])


def largest(asked: Asked) -> str:
    """The family that contributes most in the direction of the mean."""
    adds = {family: share * asked.gaps[family].mean()
            for family, share in weights(asked.parts).items()}
    direction = np.sign(sum(adds.values()))
    return max(adds, key=lambda family: direction * adds[family])


def others(parts: Parts, family: str) -> dict[str, float]:
    """The shares of the other families when one goes."""
    left = (tuple(x for x in part if x != family) for part in parts)
    return weights(tuple(part for part in left if part))


def without(asked: Asked, family: str) -> float:
    """The difference without this family."""
    return sum(share * asked.gaps[name].mean()
               for name, share in others(asked.parts, family).items())


def is_carried(asked: Asked, verdict: str) -> bool:
    """Is this verdict, of all families, carried by the largest one?"""
    family, share = largest(asked), weights(asked.parts)
    if verdict == "undecided" or len(share) == 1:
        return False
    against = {name: -x for name, x in others(asked.parts, family).items()}
    mean, variance, freedom = moments(asked, {family: 1.0} | against)
    if abs(mean) < stats.half_width(variance, freedom, looks=len(share)):
        return False
    over_all = sum(x * asked.gaps[name].mean() for name, x in share.items())
    rest = without(asked, family)
    limits = stats.LIMITS[asked.test]
    beyond = any((over_all > limit) != (rest > limit) for limit in limits)
    half = limits == (0.0,) and rest * np.sign(over_all) < abs(over_all) / 2
    return beyond or half
