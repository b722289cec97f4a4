"""The extra on the tangent space, in short: a base of one layer, one step. `-m slow`: what its text claims.

    python -m pytest tests/lessons/test_tangent_extra.py    some seconds
"""
import importlib.util
import re

import pytest
from running import ROOT, SMALL, tiny_folder

from nanouft.models import load


def run(capsys, **values) -> list[list[float]]:
    """The numbers of each line that the lesson prints below a heading."""
    spec = importlib.util.spec_from_file_location("tangent_extra", ROOT / "lessons" / "extras" / "tangent.py")
    lesson = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(lesson)
    for name, value in values.items():
        assert hasattr(lesson, name)
        setattr(lesson, name, value)
    lesson.part_ways()
    lesson.add_up()
    lines = capsys.readouterr().out.splitlines()
    return [[float(x) for x in re.findall(r"(?<=  )-?[\d.]+(?=  |$)", line[11:])] for line in lines]


def test_it_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(load, "BASE", tiny_folder(tmp_path / "small", SMALL))
    rows = run(capsys, STEPS=[1], RATES=[1e-4], TESTS=2)
    assert len(rows) == 1 + 1 + 2 + 6 and len(rows[1]) == 4 and all(len(row) == 4 for row in rows[4:])


@pytest.mark.slow
def test_what_it_claims(capsys):
    _, low, middle, high, _, _, base, first, second, both, *_ = run(capsys)
    assert middle[2] > 100 * low[2], "ten times the rate, more than a hundred times the KL"
    for row in (middle, high):
        assert row[3] > row[4] + 10, "the weights are good for the straight model only"
    skills, honesty, bent_skills, bent_honesty = both
    assert skills > base[0] + 20 and honesty > base[1] + 20, "the sum knows both"
    assert bent_skills < skills - 10 and bent_honesty < honesty - 20, "the bent model at these weights does not"
