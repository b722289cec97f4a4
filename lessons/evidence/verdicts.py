"""From differences to verdicts: is one better, not inferior, as good?

    findings_of([difference, ...])      # of all questions of a run, corrected by Holm's rule

A comparison (nanouft/compare/verdicts.py) asks one thing, whether a lead is there; these are the
other tests of the papers' claims, and their correction. Intervals are those of compare/stats.py.
"""
from typing import NamedTuple

from lessons.evidence.by_task import (
    Difference,
    dominant_task,
    mean_and_variance,
    mean_without,
    rests_on_dominant_task,
)
from nanouft.compare import stats

MARGIN = 0.02       # of "not inferior" and "as good": two points
LIMITS = {"better": (0.0,), "not inferior": (-MARGIN,), "as good": (-MARGIN, MARGIN),
          "within 3": (-0.03, 0.03)}            # C13, C14: three points


class Finding(NamedTuple):
    """What came of a question; `half` of its interval is not corrected, `verdict` is (Holm)."""
    mean: float
    half: float
    verdict: str
    largest: str = ""                   # the task that adds most; "" where one task is asked
    without: float = 0.0                # the difference without it
    rests: bool = False                 # does the verdict rest on it?


def verdict(mean: float, half: float, limits: tuple[float, ...]) -> str:
    """Where does the interval lie, compared with the limits of the test?"""
    low, high = limits[0], limits[-1]
    between = low < high                                            # "as good" has two limits
    if mean - half > low and (not between or mean + half < high):
        return "holds"
    if mean + half < low or (between and mean - half > high):
        return "does not hold"
    return "undecided"


def clearness(moments: stats.Moments, limits: tuple[float, ...]) -> float:
    """How many half widths a difference lies away from the nearest limit."""
    mean, variance, freedom = moments
    distance = min(abs(mean - limit) for limit in limits)
    return distance / max(stats.half_width(variance, freedom), 1e-9)


def decide(questions: list[tuple[stats.Moments, tuple[float, ...]]]) -> list[str]:
    """The verdict of each (moments, limits), corrected by Holm's rule: the clearest question is
    judged as one of all, the next as one of the others, and so on. After the first doubt all that
    follow are undecided."""
    decided, looks = ["undecided"] * len(questions), len(questions)
    for i in sorted(range(len(questions)), key=lambda i: -clearness(*questions[i])):
        (mean, variance, freedom), limits = questions[i]
        decided[i] = verdict(mean, stats.half_width(variance, freedom, looks), limits)
        if decided[i] == "undecided":
            break
        looks -= 1
    return decided


def findings_of(questions: list[Difference]) -> list[Finding]:
    """What came of all questions of a run, on one model."""
    out, moments = [], [mean_and_variance(asked) for asked in questions]
    verdicts = decide([(x, asked.limits) for x, asked in zip(moments, questions)])
    for asked, (mean, variance, freedom), verdict in zip(questions, moments, verdicts):
        out.append(Finding(mean, stats.half_width(variance, freedom), verdict))
        if len(asked.gaps) > 1:
            task = dominant_task(asked)
            rests = verdict != "undecided" and rests_on_dominant_task(asked)
            out[-1] = out[-1]._replace(largest=task, without=mean_without(asked, task),
                                       rests=rests)
    return out


def points(mean: float, half: float) -> str:
    return f"{100 * mean:+.1f} ± {100 * half:.1f}"
