"""What each method scores after a whole run, for the page of all losses (nanouft/playground).

    scores()            # {"dpo": {"from the base model": (mean of 100, half width, source)}, ...}

From questions C13 (from the base) and C14 (after SFT), where every loss had equally many tries for
its learning rate. For methods that these questions leave out, from results/methods.csv, whose
figures are exploratory.
"""
import csv
from collections.abc import Mapping

import numpy as np

from lessons.evidence import judge, plan
from lessons.evidence.plan import FAMILIES, HERE
from nanouft.compare import stats

Score = tuple[float, float, str]        # mean of 100, half of the 95 % interval, where it is from
TABLE = HERE / "results" / "methods.csv"
EXPLORATORY = "exploratory"             # the source of a score of the table
STARTS = {                              # {start: (claim, its row of a method, that of the table)}
    "from the base model": ("C13", "{}", "{}"),
    "after SFT": ("C14", "sft, {}", "sft->{}")}


def scores() -> dict[str, dict[str, Score]]:
    """{method: {start: its score}}, without what was never measured."""
    found: dict[str, dict[str, Score]] = {}
    for start, (claim, row, of_table) in STARTS.items():
        known = without_prefix(of_table, in_table()) | without_prefix(row, of_claim(claim))
        for name, score in known.items():
            found.setdefault(name, {})[start] = score
    return found


def without_prefix(row: str, scored: Mapping[str, Score]) -> dict[str, Score]:
    """{method: score} of the rows that are named by this pattern: {"sft, dpo": x} -> {"dpo": x}."""
    prefix = row.removesuffix("{}")
    return {name.removeprefix(prefix): score for name, score in scored.items()
            if name.startswith(prefix)}


def in_table() -> dict[str, Score]:
    """Recipes of results/methods.csv, such as "dpo" and "sft->dpo", with an interval over seeds."""
    points: dict[str, list[float]] = {}
    with TABLE.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            mean = sum(float(row[family]) for family in FAMILIES) / len(FAMILIES)
            points.setdefault(row["method"], []).append(mean)
    return {name: rounded_score(np.mean(x), np.var(x, ddof=1) / len(x), len(x) - 1, EXPLORATORY)
            for name, x in points.items() if len(x) > 1}


def of_claim(name: str) -> dict[str, Score]:
    """Rows of a claim from the shipped base, with an interval over seeds and prompts."""
    run = plan.read(name)
    return {row: rounded_score(*judge.score_of(name, row, 0), name)
            for row, flags in run.trainings.items() if flags}


def rounded_score(mean: float, variance: float, freedom: float, source: str) -> Score:
    """A mean from 0 to 1 and its variance -> points of 100, in tenths."""
    half = stats.half_width(float(variance), freedom)
    return round(100 * float(mean), 1), round(100 * half, 1), source
