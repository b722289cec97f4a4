"""What all claims share: where their scores are kept, and a question with its verdict."""
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lessons.evidence import stats

RESULTS = Path(__file__).parent / "results"


def scores_file(name: str) -> Path:
    """R1s asks the runs of R1."""
    return RESULTS / f"{'R1' if name == 'R1s' else name}.npz"


def packed(name: str) -> Mapping[str, np.ndarray]:
    return dict(np.load(scores_file(name)))


class Finding(NamedTuple):
    """What one base says to a question."""
    mean: float                         # difference of scores, from -1 to 1
    half: float                         # half of its 95 % interval
    verdict: str                        # corrected for the questions of the claim


@dataclass
class Line:
    """A question and its answer, as the table shows it."""
    claim: str
    question: str
    verdict: str
    figures: str
    test: str = ""
    findings: tuple[Finding, ...] = ()  # one a base; empty for C5, which has no base


def line_of(claim: str, question: str, test: str, findings: tuple[Finding, ...]) -> Line:
    """A claim holds if it holds on both bases."""
    verdicts = {finding.verdict for finding in findings}
    figures = " and ".join(f"{100 * f.mean:+.1f} ± {100 * f.half:.1f}" for f in findings)
    return Line(claim, question, verdicts.pop() if len(verdicts) == 1 else "undecided", figures,
                test, findings)


def findings_of(moments: list[tuple[float, float, float, str]]) -> list[Finding]:
    """Mean, interval and corrected verdict of all questions of a claim on one base."""
    return [Finding(mean, stats.half_width(variance, freedom), verdict)
            for (mean, variance, freedom, _), verdict in zip(moments, stats.holm(moments))]
