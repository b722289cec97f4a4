"""Tables, numbers and verdicts as the pages of the laboratory write them.

    markdown_table(("row", "score"), [("SFT", format_interval(0.799, 0.023))])  # lines of Markdown
    format_interval(0.799, 0.023)                       # "79.9 ± 2.3", of shares in percent
    difference_word(mean, half, margin=0.02)            # "better" | "worse" | "equal" | "undecided"
    claim_verdict(mean, half, "superiority")            # "holds" | "does not hold" | "undecided"
"""
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from nanouft.eval.stats import verdict

MARGIN = 0.02               # of "equal", non-inferiority and equivalence: two points of the score
LIMITS = {"superiority": (0.0,), "non-inferiority": (-MARGIN,), "equivalence": (-MARGIN, MARGIN)}
PAGES = Path(__file__).parent / "pages"


# ---- tables and pages ----------------------------------------------------------------------------
def markdown_table(titles: Sequence[str], rows: Iterable[Sequence]) -> list[str]:
    """The lines of a table; a cell is anything that str() writes."""
    return [markdown_row(titles), "|---" * len(titles) + "|", *map(markdown_row, rows)]


def markdown_row(cells: Sequence) -> str:
    return "|" + "|".join(f" {cell} " if cell != "" else " " for cell in cells) + "|"


def read_template(name: str) -> list[str]:
    """The parts of a page's text in lab/pages, which lines of dashes divide."""
    return (PAGES / name).read_text(encoding="utf-8").split("\n-----\n")


# ---- numbers -------------------------------------------------------------------------------------
def format_interval(mean: float, half: float | None = None, scale: float = 100, digits: int = 1,
                    sign: str = "") -> str:
    """"79.9 ± 2.3"; without the half width where there is none (one seed). sign: "+" for a
    difference."""
    known = half is not None and half < math.inf
    return f"{scale * mean:{sign}.{digits}f}" + (f" ± {scale * half:.{digits}f}" if known else "")


def format_gain(mean: float, half: float | None) -> str:
    """"+2.3 ± 1.0", in points."""
    return format_interval(mean, half, sign="+")


# ---- verdicts ------------------------------------------------------------------------------------
def difference_word(mean: float, half: float, margin: float = MARGIN) -> str:
    """A difference and its 95 % interval in a word: better or worse where it lies on one side of 0;
    equal where it lies within the margin (two one-sided tests, 2.5 % each); a small difference can
    be better and equal: "better"."""
    if mean - half > 0 or mean + half < 0:
        return "better" if mean > 0 else "worse"
    return "equal" if -margin < mean - half and mean + half < margin else "undecided"


def claim_verdict(mean: float, half: float, test: str) -> str:
    """holds | does not hold | undecided, of superiority, non-inferiority or equivalence."""
    low, high = LIMITS[test][0], LIMITS[test][-1]
    if low == high:
        return verdict(mean, half, low)
    if low < mean - half and mean + half < high:
        return "holds"
    return "does not hold" if mean - half > high or mean + half < low else "undecided"


def common_verdict(verdicts: list[str]) -> str:
    """The verdict that all bases share; "undecided" where they differ."""
    return verdicts[0] if len(set(verdicts)) == 1 else "undecided"
