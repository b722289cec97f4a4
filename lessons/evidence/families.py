"""Does one family of questions carry a difference? Two numbers beside every verdict.

    largest(asked)              # the family that adds most to the difference
    without(asked, family)      # the difference without it
    is_carried(asked, verdict)  # is less than half left without it, or a limit crossed?

    python -m lessons.evidence.families     # how often is that said where it is false? 20 seconds

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
import sys
from typing import NamedTuple

import numpy as np

from lessons.evidence import stats
from nanouft.errors import command, say

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


# ---- how often is it said by chance? -------------------------------------------------------------
def redrawn(asked: Asked, effect: float, rng: np.random.Generator) -> Asked:
    """Seeds and groups of prompts drawn again, with replacement, with this effect in every family.
    Each drawn group is a draw of its own."""
    n = len(next(iter(asked.gaps.values())))
    seeds = rng.integers(0, n, n)
    gaps, groups = {}, {}
    for family, gap in asked.gaps.items():
        members = [np.flatnonzero(asked.groups[family] == number)
                   for number in np.unique(asked.groups[family])]
        drawn = [members[i] for i in rng.integers(0, len(members), len(members))]
        gaps[family] = (gap - gap.mean() + effect)[seeds][:, np.concatenate(drawn)]
        groups[family] = np.repeat(np.arange(len(drawn)), list(map(len, drawn)))
    return asked._replace(gaps=gaps, groups=groups)


def alarms(asked: Asked, half_widths: float, draws: int, seed: int = 0) -> tuple[int, int]:
    """(decided, called carried) of trials in which all families have the same effect, so many half
    widths on either side of each limit of the test: `draws` trials for each. Every "carried by" is
    false there."""
    rng = np.random.default_rng(seed)
    _, variance, freedom = moments(asked)
    away, decided, said = half_widths * stats.half_width(variance, freedom), 0, 0
    effects = [limit + side * away for limit in stats.LIMITS[asked.test] for side in (-1, 1)]
    for effect in effects * draws:
        again = redrawn(asked, effect, rng)
        mean, variance, freedom = moments(again)
        verdict = stats.verdict(mean, stats.half_width(variance, freedom), asked.test)
        decided += verdict != "undecided"
        said += is_carried(again, verdict)
    return decided, said


def main(argv: list[str]) -> int:
    from lessons.evidence import judge
    total = {test: np.zeros(2, int) for test in stats.LIMITS}
    for name in filter(judge.was_run, judge.CLAIMS):
        for i, asked in enumerate(a for base in judge.asked_by_base(name) for a in base):
            if len(asked.gaps) > 1:
                for half_widths in (1.2, 2.0):
                    total[asked.test] += alarms(asked, half_widths, draws=3, seed=i)
    for test, (decided, said) in total.items():
        say(f"{test}: {said} of {decided} decided trials are called carried, "
            f"{100 * said / decided:.1f} %")
    return 0


if __name__ == "__main__":
    sys.exit(command(main, sys.argv[1:]))
