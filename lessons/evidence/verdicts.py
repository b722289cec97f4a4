"""What all claims share: where their scores are kept, and a question with its verdict."""
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lessons.evidence import families, stats
from lessons.evidence.claim import RESULTS
from lessons.evidence.claims import CLAIMS
from lessons.evidence.families import Asked


def scores_file(name: str) -> Path:
    other = CLAIMS[name].scores_of if name in CLAIMS else ""
    return RESULTS / f"{other or name}.npz"


def packed(name: str) -> Mapping[str, np.ndarray]:
    return dict(np.load(scores_file(name)))


class Finding(NamedTuple):
    """The difference that a question asks for, on one base."""
    mean: float                         # difference of scores, from -1 to 1
    half: float                         # half of its 95 % interval
    verdict: str                        # corrected for the questions of the claim
    largest: str = ""                   # the family that adds most; "" where one family is asked
    without: float = 0.0                # the difference without it
    carried: bool = False               # does the verdict rest on that family?


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
        """ "list -0.0 and +0.6": each base's largest family, and the difference without it."""
        return self.marked.replace("**", "")

    @property
    def marked(self) -> str:
        """ "list **-0.0** and +0.6": the same, bold on a base where that family carries it."""
        found = [f for f in self.findings if f.largest]
        bold = ["**" if f.carried and self.verdict != "undecided" else "" for f in found]
        numbers = [f"{mark}{100 * f.without:+.1f}{mark}" for f, mark in zip(found, bold)]
        if len({f.largest for f in found}) == 1:
            return f"{found[0].largest} {' and '.join(numbers)}"
        return " and ".join(f"{f.largest} {x}" for f, x in zip(found, numbers))

    @property
    def carried(self) -> str:
        """ "carried by list", with the base if it is so on one of two; else ""."""
        if self.verdict == "undecided":             # over both bases, though one may be decided
            return ""
        everywhere = all(f.carried for f in self.findings)
        names = [f.largest + ("" if everywhere else f" on the {base} base")
                 for f, base in zip(self.findings, ("first", "second")) if f.carried]
        return f"carried by {' and '.join(dict.fromkeys(names))}" if names else ""

    @property
    def doubt(self) -> str:
        """All doubts in words."""
        return "; ".join(f"{text} ({', '.join(rows)})" if rows else text
                         for text, rows in self.doubts.items())

    @property
    def beside(self) -> str:
        """ "without list -0.0 and +0.6, carried by list"; "" where one family is asked."""
        without = f"without {self.without}" if self.without else ""
        return ", ".join(filter(None, (without, self.carried)))


def holm(questions: list[Asked]) -> list[str]:
    """The verdicts of questions that share one correction."""
    return stats.holm([(*families.moments(asked), asked.test) for asked in questions])


def findings_of(questions: list[Asked]) -> list[Finding]:
    """Mean, interval, corrected verdict and largest family of all questions of a claim, on one
    base."""
    out = []
    for asked, verdict in zip(questions, holm(questions)):
        mean, variance, freedom = families.moments(asked)
        family = families.largest(asked) if len(asked.gaps) > 1 else ""
        out.append(Finding(mean, stats.half_width(variance, freedom), verdict, family,
                           families.without(asked, family) if family else 0.0,
                           families.is_carried(asked, verdict)))
    return out


def lines_of(claim: str, questions: list[str], by_base: list[list[Asked]]) -> list[Line]:
    """Each question with its verdict. A claim holds if it holds on all bases."""
    out = []
    for question, asked, found in zip(questions, by_base[0], zip(*map(findings_of, by_base))):
        verdicts = {finding.verdict for finding in found}
        figures = " and ".join(f"{100 * f.mean:+.1f} ± {100 * f.half:.1f}" for f in found)
        out.append(Line(claim, question, verdicts.pop() if len(verdicts) == 1 else "undecided",
                        figures, asked.test, found))
    return out
