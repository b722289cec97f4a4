"""A difference, task by task, and the task that it rests on.

The verdict is always that over all parts: the tasks of NanoWorld, or one part of your rows. Beside
it stands the largest task, which adds most in the direction of the mean, and the difference without
it; then the others of its group share what it had, and a group of one task goes with it. That a
verdict rests on task X needs more, because leaving out the largest one lowers every mean: the
verdict is decided; X differs from the mean of the others, at 5 % divided by the number of tasks;
and the mean without X lies beyond a limit of the test or, where the limit is 0, is below half of
the mean.
"""
from typing import NamedTuple

import numpy as np

from nanouft.compare import stats

Parts = tuple[tuple[str, ...], ...]


class Difference(NamedTuple):
    """What a question asks for, on one model, task by task."""
    gaps: dict[str, np.ndarray]         # (seeds, prompts) of each task
    groups: dict[str, np.ndarray]       # (prompts,) one number for prompts that ask the same fact
    parts: Parts                        # the mean is that of the means of the parts
    limits: tuple[float, ...] = (0.0,)  # of the test: 0 if it asks for a lead
    redrawn: bool = False               # are the training rows of each seed drawn anew?


def weights(parts: Parts, without: str = "") -> dict[str, float]:
    """The share of each task in the mean, of all or without one."""
    left = [[task for task in part if task != without] for part in parts]
    left = [part for part in left if part]
    return {task: 1 / len(left) / len(part) for part in left for task in part}


def mean_and_variance(difference: Difference,
                      shares: dict[str, float] | None = None) -> stats.Moments:
    """Mean, variance, degrees of freedom of the tasks' sum with these shares [of the parts]."""
    shares = shares or weights(difference.parts)
    return stats.moments([difference.gaps[task] * share for task, share in shares.items()],
                         [difference.groups[task] for task in shares])


def luck_of(difference: Difference) -> stats.Luck:
    """What chance does to the difference."""
    shares = weights(difference.parts)
    return stats.luck_of([difference.gaps[task] * share for task, share in shares.items()],
                         [difference.groups[task] for task in shares])


def mean_without(difference: Difference, task: str) -> float:
    return sum(share * difference.gaps[name].mean()
               for name, share in weights(difference.parts, task).items())


def dominant_task(difference: Difference) -> str:
    """The task that adds most in the direction of the mean."""
    adds = {task: share * difference.gaps[task].mean()
            for task, share in weights(difference.parts).items()}
    direction = np.sign(sum(adds.values()))
    return max(adds, key=lambda task: direction * adds[task])


def rests_on_dominant_task(difference: Difference) -> bool:
    """Of a difference whose verdict is decided."""
    task, tasks = dominant_task(difference), len(difference.gaps)
    if tasks == 1:
        return False
    against = {name: -share for name, share in weights(difference.parts, task).items()}
    apart, variance, freedom = mean_and_variance(difference, {task: 1.0} | against)
    if abs(apart) < stats.half_width(variance, freedom, comparisons=tasks):
        return False
    mean, rest = mean_without(difference, ""), mean_without(difference, task)
    beyond = any((mean > limit) != (rest > limit) for limit in difference.limits)
    return beyond or difference.limits == (0.0,) and rest * np.sign(mean) < abs(mean) / 2
