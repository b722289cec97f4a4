"""C5 and C7: figures that no code here can measure again, as one table (results/frozen.json).

    python -m lessons.evidence C5           # Frozen Lake
    python -m lessons.evidence C7           # SFT's estimate of its model, step by step

They were judged by reads.py and estimates.py of the commit that the table names, from the scores
that lie there too (`git show 3d4dcf7a:lessons/evidence/reads.py`). The scores were made by older
versions: the ends of training on the lake by 0.5.0 (`git show 3c61a24f:lab/lake_study.py`), all
others by 1.1.0 (`git show ffb6a607:lessons/evidence/reads.py`, and estimates.py beside it).

C5 asks on 100 lakes (seeds 100 to 199, 5 x 5 cells, with a best path and a detour). Each question
was written down before its figures. A lake's number is the mean over its policies, and differences
are paired by lake. An order holds if all of its differences lie above 0; it does not hold if one of
them lies below 0.
    Ends: 24 settings, eight policies a lake.
    What is read: the share of what a method reads that lies where the policy goes, before the first
    update, is sum over cells of min(read, visited). The visits are exact, with discount .99. SFT
    reads the best path. IFT reads it with weight 1 - lam, and with lam = .2 the cell to which the
    policy's own move, one step earlier, would have led. DPO reads the best path and the detour. In
    part this is given by construction: IFT's guess is the cell that the policy would enter next,
    and DPO rejects the path that a policy with the habit walks.
    Moves: a best move's chance in the demonstrator's cells (SFT's estimate), and where the policy's
    own walks stand at the same step. Walks that have fallen in are left out.

C7 trained SFT on four numbers of demonstrations and two bases. In three tasks a rule says which
word is right after nearly any words: sum, sort and reverse. The truth is whether the model's word
is right after its OWN words, in eight sampled answers to each prompt. The estimates are the chance
of the demonstrated word after the demonstrated words (SFT), and the same with IFT's blend read (lam
.2 and 1). Of whole answers SFT's product is exact, so no question is asked of it. Two limits: in
sums a word that is left out shifts all places behind it; and where SFT says too much, "the blend
lies nearer" asks only whether the smaller number of the blend stays above the truth.
"""
import json
from functools import cache
from typing import Any

from lessons.evidence.claim import RESULTS
from lessons.evidence.verdicts import Finding, Line

NAMES = ("C5", "C7")
EXPECTED = {"C7": (
    "The first holds and the last does not, because a word after own mistakes is harder than one "
    "after right words. The blend always lowers the estimate: lam .2 lies nearer, lam 1 falls "
    "below and is undecided. A half-width of 2 points.")}
COLUMNS = ("model", "SFT", "lam .2", "lam 1", "whole", "product")
FLAGS = "--objective sft --rows {rows} --batch-size 16 --lr 1.25e-4 --epochs {passes}"


@cache
def table() -> dict[str, Any]:
    return json.loads((RESULTS / "frozen.json").read_text(encoding="utf-8"))


def read_line(entry: dict[str, Any]) -> Line:
    found = tuple(Finding(*x) for x in entry.get("findings", ()))
    return Line(**entry | {"findings": found})


def lines(name: str) -> list[Line]:
    """The questions of C5 or C7."""
    return [read_line(entry) for entry in table()["lines"] if entry["claim"] == name]


def page_lines() -> list[Line]:
    """C5 in four lines. What is read holds there if it holds for a table and for a network."""
    return [read_line(entry) for entry in table()["lake"]]


def endings() -> list[dict[str, tuple[float, float]]]:
    """For each setting, the paper's own first: differences that are above 0 in its order, each with
    half of its interval."""
    return table()["endings"]


def row_lines(name: str) -> list[str]:
    """C7: what each estimate says, in percent, against the truth: step by step, and in whole
    answers."""
    if name != "C7":
        return []
    out = [f"{'%, means over seeds':22}" + "".join(f"{column:>10}" for column in COLUMNS)]
    for base, rows, *numbers in table()["rows"]:
        out.append(f"{base:8}{rows:>6} rows   " + "".join(f"{x:10.1f}" for x in numbers))
    return [*out, f"    {FLAGS}"]
