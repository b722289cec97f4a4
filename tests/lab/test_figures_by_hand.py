"""Figures of the laboratory, worked out by hand.

    python -m pytest tests/lab/test_figures_by_hand.py        below a second
"""
import json

import numpy as np
import pytest
from made_cells import made
from scipy import stats

from lab import ift_help, judge
from lab.cell import Cell
from lab.cells import read_cells


def test_the_jackknife_by_hand():
    """Shares without seed 1, 2, 3; their squared distances from the mean times (n-1)/n, n = 3."""
    old, new = np.array([1.0, 2.0, 3.0]), np.array([0.5, 1.5, 1.0])
    left = np.array([1 - np.delete(new, i).sum() / np.delete(old, i).sum() for i in range(3)])
    half = stats.t.ppf(0.975, 2) * np.sqrt(2 / 3 * ((left - left.mean()) ** 2).sum())
    got = ift_help.cut([{"gap": x} for x in new], [{"gap": x} for x in old], "gap")
    assert got == (pytest.approx(0.5), pytest.approx(half))


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
