"""From a difference, family by family, to a line with its verdict; does it rest on one family?

    lines_of("C4", questions, by_base)      # each question with its verdict on all bases

The verdict is always that over all families. Beside it stands the largest family, which contributes
most in the direction of the mean, and the difference without it. Parts of families have equal
shares of the mean, and so have the families of a part. When a family goes, the others of its part
share what it had; a part of one family goes with it.

That a verdict rests on family X needs more, because leaving out the largest family lowers every
mean: the verdict is decided; X differs from the mean of the others, at 5 % divided by the number of
families; and the mean without X lies beyond a limit of the test or, where the limit is 0, is below
half of the mean (half of a difference says nothing of a margin of two points).
"""
from dataclasses import dataclass, field
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


class Finding(NamedTuple):
    """What came of it."""
    mean: float                         # difference of scores, from -1 to 1
    half: float                         # half of its 95 % interval
    verdict: str                        # corrected for the questions of the claim
    largest: str = ""                   # the family that adds most; "" where one family is asked
    without: float = 0.0                # the difference without it
    rests: bool = False                 # does the verdict rest on that family?


@dataclass
class Line:
    """A question and its answer, as the table shows it."""
    claim: str
    question: str
    verdict: str
    figures: str
    test: str = ""
    findings: tuple[Finding, ...] = ()  # one per base; in C5 of moves alone
    whose: str = ""                     # "the paper's", "ours" or "premise" (papers.py)
    doubts: dict[str, list[str]] = field(default_factory=dict)  # {a doubt: rows that it is of}

    @property
    def without(self) -> str:
        """ "list **-0.0** and +0.6": each base's largest family, and the difference without it,
        in bold where the verdict rests on that family."""
        found = [f for f in self.findings if f.largest]
        bold = ["**" if f.rests and self.verdict != "undecided" else "" for f in found]
        numbers = [f"{mark}{100 * f.without:+.1f}{mark}" for f, mark in zip(found, bold)]
        if len({f.largest for f in found}) == 1:
            return f"{found[0].largest} {' and '.join(numbers)}"
        return " and ".join(f"{f.largest} {x}" for f, x in zip(found, numbers))

    @property
    def rests_on(self) -> str:
        """ "list", with the model if it is so on one of two; "" for none."""
        if self.verdict == "undecided":             # over both bases, though one may be decided
            return ""
        everywhere = all(f.rests for f in self.findings)
        names = [f.largest + ("" if everywhere else f" on {model}")
                 for f, model in zip(self.findings, ("N1", "N2")) if f.rests]
        return " and ".join(dict.fromkeys(names))


def points(mean: float, half: float) -> str:
    return f"{100 * mean:+.1f} ± {100 * half:.1f}"


def on_all(verdicts: list[str]) -> str:
    """A claim holds if it holds on all bases."""
    return verdicts[0] if len(set(verdicts)) == 1 else "undecided"


# ---- families ------------------------------------------------------------------------------------
def weights(parts: Parts, without: str = "") -> dict[str, float]:
    """The share of each family in the mean, of all or without one."""
    left = [[family for family in part if family != without] for part in parts]
    left = [part for part in left if part]
    return {family: 1 / len(left) / len(part) for part in left for family in part}


def moments(asked: Asked, share: dict[str, float] | None = None) -> stats.Moments:
    """Mean, variance, degrees of freedom of the families' sum with these shares [of the parts]."""
    share = share or weights(asked.parts)
    return stats.moments([asked.gaps[family] * of_family for family, of_family in share.items()],
                         [asked.groups[family] for family in share])


def mean_without(asked: Asked, family: str) -> float:
    return sum(share * asked.gaps[name].mean()
               for name, share in weights(asked.parts, family).items())


def largest(asked: Asked) -> str:
    """The family that contributes most in the direction of the mean."""
    adds = {family: share * asked.gaps[family].mean()
            for family, share in weights(asked.parts).items()}
    direction = np.sign(sum(adds.values()))
    return max(adds, key=lambda family: direction * adds[family])


def rests_on_largest(asked: Asked, verdict: str) -> bool:
    """Does this verdict, which is that over all families, rest on the largest one?"""
    family, families = largest(asked), len(asked.gaps)
    if verdict == "undecided" or families == 1:
        return False
    against = {name: -share for name, share in weights(asked.parts, family).items()}
    apart, variance, freedom = moments(asked, {family: 1.0} | against)
    if abs(apart) < stats.half_width(variance, freedom, looks=families):
        return False
    mean, rest = mean_without(asked, ""), mean_without(asked, family)
    limits = stats.LIMITS[asked.test]
    beyond = any((mean > limit) != (rest > limit) for limit in limits)
    return beyond or limits == (0.0,) and rest * np.sign(mean) < abs(mean) / 2


# ---- verdicts ------------------------------------------------------------------------------------
def holm(questions: list[Asked]) -> list[str]:
    """The verdicts of questions that share one correction."""
    return stats.holm([(*moments(asked), asked.test) for asked in questions])


def findings_of(questions: list[Asked]) -> list[Finding]:
    """What came of all questions of a claim, on one base."""
    out = []
    for asked, verdict in zip(questions, holm(questions)):
        mean, variance, freedom = moments(asked)
        out.append(Finding(mean, stats.half_width(variance, freedom), verdict))
        if len(asked.gaps) > 1:
            family = largest(asked)
            out[-1] = out[-1]._replace(largest=family, without=mean_without(asked, family),
                                       rests=rests_on_largest(asked, verdict))
    return out


def lines_of(claim: str, questions: list[str], by_base: list[list[Asked]]) -> list[Line]:
    """Each question with its verdict."""
    return [Line(claim, question, on_all([f.verdict for f in found]),
                 " and ".join(points(f.mean, f.half) for f in found), asked.test, found)
            for question, asked, found in zip(questions, by_base[0],
                                              zip(*map(findings_of, by_base)))]
