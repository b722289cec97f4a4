"""The extra on the tangent space, in short: a base of one layer, one step. `-m slow`: what its text claims.

    python -m pytest tests/lessons/test_tangent_extra.py    some seconds
"""
import importlib.util
import re
import sys

import pytest
from running import ROOT, SMALL, tiny_folder

from nanouft.models import load


def run(capsys, **values) -> list[list[float]]:
    """The numbers of each line that the lesson prints below a heading."""
    spec = importlib.util.spec_from_file_location("tangent_extra", ROOT / "lessons" / "extras" / "tangent.py")
    lesson = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(ROOT / "lessons" / "extras"))
    spec.loader.exec_module(lesson)
    for name, value in values.items():
        assert hasattr(lesson, name)
        setattr(lesson, name, value)
    lesson.part_ways()
    lesson.add_up()
    rows = [line for line in capsys.readouterr().out.splitlines() if re.match(r"lr|\d|linear|ordinary", line)]
    return [[float(x) for x in re.findall(r"[-+]?\d[\d.]*(?:e[-+]\d+)?", row[18:])] for row in rows]


def test_it_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(load, "BASE", tiny_folder(tmp_path / "small", SMALL))
    rows = run(capsys, STEPS=[1], RATES=[1e-4], TESTS=2)
    assert [len(row) for row in rows] == [1 + 3 + 3] + 5 * [4] + 4 * [9]


@pytest.mark.slow
def test_what_it_claims(capsys):
    rows = run(capsys)
    (low, middle, high), (start, d1, d2, whole, half), gaps = rows[:3], rows[3:8], rows[8:]
    assert 3_000 < middle[0] / low[0] < 30_000, "logits differ by O(delta^2), the KL is O(delta^4)"
    assert high[2] / middle[2] < 30 and high[2] < 10, "and saturates"
    assert low[-2] <= 0 <= low[-1], "at a small rate nothing tells the linear model from ordinary DPO"
    assert high[-2] > 10 and abs(high[5] - 50) < 10 and high[3] > 75, "at 3e-3 only the linear model has learnt"
    assert middle[3] > middle[4] + 10 and high[3] > high[4] + 10, "its weights serve the ordinary network worse"
    (linear, ordinary, linear_half, ordinary_half) = gaps
    assert linear[7] > 10, "the sum is better than the better direction alone"
    assert linear[2] < -10 and abs(whole[0] - start[0]) < 10 and whole[1] > 95, "but d2 takes what d1 gave"
    assert half[0] > start[0] + 10 and half[1] > 95 and linear_half[0] > linear[0] + 10, "half of d2 takes less"
    assert whole[2] < 10 and ordinary[8] < 5, "in the ordinary network the whole sum cannot add"
    assert abs(half[2] - d1[2]) < 12 and half[3] > 95 and ordinary_half[7] > 10, "with half of d2 it can"
    assert d1[0] > start[0] + 10 and d1[1] < 5 and d2[0] < start[0] - 10, "the directions do not teach each other"
