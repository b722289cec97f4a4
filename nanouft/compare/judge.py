"""From scores to verdicts, for comparisons and for lessons/evidence.

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
    test: str                           # "better", "not inferior" or "as good"
    redrawn: bool = False               # are the training rows of each seed drawn anew?


class Finding(NamedTuple):
    """What came of it; `half` of its interval is not corrected, `verdict` is (Holm)."""
    mean: float
    half: float
    verdict: str
    largest: str = ""                   # the task that adds most; "" where one task is asked
    without: float = 0.0                # the difference without it
    rests: bool = False                 # does the verdict rest on it?


def weights(parts: Parts, without: str = "") -> dict[str, float]:
    """The share of each task in the mean, of all or without one."""
    left = [[task for task in part if task != without] for part in parts]
    left = [part for part in left if part]
    return {task: 1 / len(left) / len(part) for part in left for task in part}


def moments(asked: Difference, share: dict[str, float] | None = None) -> stats.Moments:
    """Mean, variance, degrees of freedom of the tasks' sum with these shares [of the parts]."""
    share = share or weights(asked.parts)
    return stats.moments([asked.gaps[task] * of_task for task, of_task in share.items()],
                         [asked.groups[task] for task in share])


def luck_of(asked: Difference) -> stats.Luck:
    """What chance does to the difference."""
    share = weights(asked.parts)
    return stats.luck_of([asked.gaps[task] * of_task for task, of_task in share.items()],
                         [asked.groups[task] for task in share])


def mean_without(asked: Difference, task: str) -> float:
    return sum(share * asked.gaps[name].mean()
               for name, share in weights(asked.parts, task).items())


def largest(asked: Difference) -> str:
    """The task that adds most in the direction of the mean."""
    adds = {task: share * asked.gaps[task].mean() for task, share in weights(asked.parts).items()}
    direction = np.sign(sum(adds.values()))
    return max(adds, key=lambda task: direction * adds[task])


def rests_on_largest(asked: Difference, verdict: str) -> bool:
    task, tasks = largest(asked), len(asked.gaps)
    if verdict == "undecided" or tasks == 1:
        return False
    against = {name: -share for name, share in weights(asked.parts, task).items()}
    apart, variance, freedom = moments(asked, {task: 1.0} | against)
    if abs(apart) < stats.half_width(variance, freedom, looks=tasks):
        return False
    mean, rest = mean_without(asked, ""), mean_without(asked, task)
    limits = stats.LIMITS[asked.test]
    beyond = any((mean > limit) != (rest > limit) for limit in limits)
    return beyond or limits == (0.0,) and rest * np.sign(mean) < abs(mean) / 2


def findings_of(questions: list[Difference]) -> list[Finding]:
    """What came of all questions of a run, on one model."""
    out, found = [], [(*moments(asked), asked.test) for asked in questions]
    for asked, (mean, variance, freedom, _), (_, verdict) in zip(questions, found,
                                                                 stats.decide(found)):
        out.append(Finding(mean, stats.half_width(variance, freedom), verdict))
        if len(asked.gaps) > 1:
            task = largest(asked)
            out[-1] = out[-1]._replace(largest=task, without=mean_without(asked, task),
                                       rests=rests_on_largest(asked, verdict))
    return out


def points(mean: float, half: float) -> str:
    return f"{100 * mean:+.1f} ± {100 * half:.1f}"
