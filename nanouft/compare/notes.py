"""Why a verdict may be unfair although its interval is right."""
import shlex
from collections.abc import Iterator

import numpy as np

from nanouft.compare import stats
from nanouft.compare.plan import Comparison, short_lr
from nanouft.compare.row_notes import each_note_once
from nanouft.compare.runs import made_record
from nanouft.compare.search import Found, Tried, at_edge
from nanouft.compare.verdicts import MARGIN, MEASURES, Question, Result

UNEQUAL_EOS = 0.1       # of all responses: from here on a difference of their ends is told


def notes(c: Comparison, found: Found, results: list[Result]) -> list[str]:
    measure, arms = MEASURES[results[0].measure], results[1:]
    texts = c.row_notes + [*floor_ceiling(c, results), *failed_seeds(c, results)]
    texts += [text for arm, tried in found.items() for text in rate_at_edge(arm.name, tried)]
    texts += [*unequal_compute(arms), *unequal_ends(arms)]
    texts += each_note_once({arm.name: made_record(c.run(arm, c.seeds[0])).get("notes", ())
                             for arm in c.all_arms})
    texts += [measure.trained] if measure.trained else []
    texts += [f"{arm.name} optimises the reward of this test" for arm in c.arms
              if any("reward" in c.configs[stage].given for stage in arm.stages)]
    if len(c.seeds) < 3:
        two, three, five = (stats.student(0.025, freedom) for freedom in (1, 2, 4))
        texts.append(f"with two seeds a 95 % CI is ±{two:.1f} standard errors; with three "
                     f"{three:.1f}, with five {five:.1f}: give --seeds 3 or more")
    return texts


def floor_ceiling(c: Comparison, results: list[Result]) -> Iterator[str]:
    """A line of the methods whose scores are all 0, and one of those whose scores are all 100."""
    measure = MEASURES[results[0].measure]
    for end, name in ((0.0, "floor"), (1.0, "ceiling")):
        at_end = [x.name for x in results[1:]
                  if all((part == end).all() for part in x.scores.values())]
        if at_end and (measure.unit == "points" or end == 0):           # a reward may be 1 or more
            other = "; another metric (--by nll, --reward) may show more" if c.parts else ""
            yield (f"{measure.title}: {measure.text(end)} at each prompt for "
                   f"{', '.join(at_end)}, a {name} that hides differences{other}")


def failed_seeds(c: Comparison, results: list[Result]) -> Iterator[str]:
    """A seed that is far from the others: by ten margins, and four times as far as these are from
    each other. The interval supposes that seeds scatter alike."""
    measure = MEASURES[results[0].measure]
    for x in results[1:]:
        scores = x.seed_scores()
        for i, seed in enumerate(c.seeds if len(scores) > 2 else ()):
            others = np.delete(scores, i)
            away = scores[i] - np.median(others)
            if abs(away) > max(10 * MARGIN, 4 * np.ptp(others)):
                yield (f"{x.name}: seed {seed} is {measure.text(away, '+')} from the others. A "
                       "method that fails on some seeds needs more of them (--seeds 10), because "
                       "five often have none that fails")


def rate_at_edge(name: str, tried: Tried) -> Iterator[str]:
    """Might a rate beyond those that were searched be better?"""
    if len(tried.scores) > 2 and at_edge(tried.taken, tried.scores):
        side = ("lowest", "lower") if tried.taken == min(tried.scores) else ("highest", "higher")
        yield (f"{name}: the best learning rate, {short_lr(tried.taken)}, is the {side[0]} of "
               f"{len(tried.scores)} values searched; a {side[1]} one may be better (--tries 5, or "
               "another --lr in its quotes)")


def unequal_compute(arms: list[Result]) -> Iterator[str]:
    """A line for each chain beside single methods, and one that says in what those, or the chains
    alone, differ."""
    single = [x for x in arms if x.arm and len(x.arm.stages) == 1]
    for x in arms:
        first, *more = x.arm.stages if x.arm else ((),)
        if more and single and all(other.steps < x.steps for other in single):
            equal = shlex.join([*first, "--steps", f"{x.steps:.0f}"])
            yield (f"{x.name} takes {x.steps:.0f} steps, the others fewer, so compute is not "
                   f"matched; add \"{equal}\" as a baseline that is")
    unequal = []
    for what, of in (("steps", lambda x: x.steps), ("batch size", lambda x: x.rows / x.steps),
                     ("sequences per row", lambda x: x.sequences / x.rows)):
        amounts = {x.name: of(x) for x in single or arms}
        least = min(amounts, key=amounts.__getitem__)
        times = {name: float(f"{x / amounts[least]:.2g}") for name, x in amounts.items()}
        unequal += [f"{name} has {x:g} times the {what} of {least}"
                    for name, x in times.items() if x != 1]
    if unequal:
        yield f"compute is not equal: {'; '.join(unequal)}"


def unequal_ends(arms: list[Result]) -> Iterator[str]:
    """Part of a lead in NanoWorld's score may be that a method has learned to stop."""
    ends = {x.name: x.others["stops"] for x in arms if "stops" in x.others}
    if ends and max(ends.values()) - min(ends.values()) > UNEQUAL_EOS:
        shares = ", ".join(f"{name} {100 * x:.0f} %" for name, x in ends.items())
        yield f"part of a lead may be learning to stop: responses end with EOS in {shares}"


def caveats(q: Question, sign: int) -> list[str]:
    """What to know of a verdict. sign: -1 where the lead beside it is not that of q.a over q.b."""
    task, rest = q.driven_by()
    texts = [f"driven by task {task}: without it {MEASURES[q.a.measure].text(sign * rest, '+')}"]
    return texts * bool(task) + ["all scores are the same to the last digit"] * (
        not any(gap.any() for gap in q.gaps().values()))
