"""Figures of the laboratory, worked out by hand.

    python -m pytest tests/lab/test_figures_by_hand.py        below a second
"""
import base64
import json

import numpy as np
import pytest
from made_cells import made
from scipy import stats

from lab import compare, ift_help, judge
from lab.cell import Cell
from lab.cells import pack_scores, read_cells
from lab.contrast import two_way


def runs_of(scores: np.ndarray) -> list[dict]:
    return [{"scores": pack_scores(row)} for row in scores]


def test_a_sum_of_gaps_has_the_interval_of_the_sum():
    """The same gap twice is one gap of double size: mean and half width double."""
    a, b = (np.random.default_rng(seed).integers(0, 2, (5, 40)).astype(float) for seed in (0, 1))
    gap = ift_help.gap(runs_of(a), runs_of(b))
    assert np.allclose(gap, a - b)
    mean, half = two_way([a - b], None)
    assert ift_help.total(gap) == (pytest.approx(mean), pytest.approx(half)) and half > 0
    assert ift_help.total(gap, gap) == (pytest.approx(2 * mean), pytest.approx(2 * half))


def test_the_jackknife_by_hand():
    """Shares without seed 1, 2, 3; their squared distances from the mean times (n-1)/n, n = 3."""
    old, new = np.array([1.0, 2.0, 3.0]), np.array([0.5, 1.5, 1.0])
    left = np.array([1 - np.delete(new, i).sum() / np.delete(old, i).sum() for i in range(3)])
    half = stats.t.ppf(0.975, 2) * np.sqrt(2 / 3 * ((left - left.mean()) ** 2).sum())
    got = ift_help.cut([{"gap": x} for x in new], [{"gap": x} for x in old], "gap")
    assert got == (pytest.approx(0.5), pytest.approx(half))


def test_rows_three_points_apart_are_not_equal():
    mine = {s: 0.80 + 0.001 * s for s in range(5)}
    for gap, word in ((0.0, "equal"), (0.001, "undecided"), (0.03, "undecided")):
        other = {s: x - gap + 0.012 * (-1) ** s * (s < 4) * (gap > 0.002) for s, x in mine.items()}
        assert word != "equal" or compare.minus(mine, other)[1] == "equal"
    loud = {s: x - 0.015 + 0.02 * (-1) ** s * (s < 4) for s, x in mine.items()}       # 1.5 points, +- 2.3
    (mean, half), word = compare.minus(mine, loud)
    assert mean == pytest.approx(0.015) and 0.02 < mean + half < 0.04 and mean < half and word == "undecided"


def test_of_a_cell_that_was_run_twice_the_later_counts(tmp_path):
    cell, file = Cell((), 0), tmp_path / "cells.jsonl"
    file.write_text("".join(json.dumps(made(cell, mean)) + "\n" for mean in (0.4, 0.7)))
    assert read_cells(file)[cell.key]["mean"] == pytest.approx(0.7)


def test_a_new_verdict_replaces_the_old_one(tmp_path, monkeypatch):
    monkeypatch.setattr(judge, "page", lambda name, claim: "")
    monkeypatch.setattr(judge, "picture", lambda name, claim, file: file)

    def claim(verdict: str) -> dict:
        return {"contrasts": [{"preset": True, "verdict": verdict}]}
    judge.write(tmp_path, {"C1": claim("holds"), "C2": claim("holds")})
    judge.write(tmp_path, {"C1": claim("undecided")})
    found = json.loads((tmp_path / "results.json").read_text())
    assert {name: c["contrasts"][0]["verdict"] for name, c in found["claims"].items()} == {"C1": "undecided",
                                                                                           "C2": "holds"}
    assert found["contrasts"] == found["preset"] == 2


def test_scores_of_answers_are_packed_to_a_240th():
    shares = [0, 1 / 3, 1 / 2, 4 / 5, 1]
    assert np.allclose(np.frombuffer(base64.b64decode(pack_scores(shares)), np.uint8) / 240, shares)
