"""The growth of cost: slopes are those of power laws, and the smallest run writes its picture and its figures."""
import math

import pytest
from running import call, one_error

from nanouft.lab import growth
from nanouft.shell.files import read_json


def test_a_slope_is_the_power_and_what_was_too_small_to_see_is_left_out():
    assert growth.slope([(x, 3 * x ** 2) for x in (1, 10, 100, 1000)]) == pytest.approx(2)
    assert growth.slope([(1, 500.0), (10, 1.0), (100, 10.0), (1000, 100.0)]) == pytest.approx(1), "the last three count"
    assert growth.slope([(1, 0.0), (10, 2.0), (100, 20.0)]) == pytest.approx(1)
    assert math.isnan(growth.slope([(1, 0.0), (10, 2.0)]))


def test_the_smallest_run_has_a_point_of_every_series(here, monkeypatch, capsys):
    monkeypatch.setattr(growth.workers, "finished", lambda work, jobs, workers: (work(*job) for job in jobs))
    monkeypatch.setattr(growth, "TURNS", 1)
    assert call(growth.main, "--rows", 1000, "--length", 16, "--width", 64, "--out", "new/growth.png") == 0
    got = read_json(here / "new" / "growth.json")
    assert (here / "new" / "growth.png").exists() and list(got["rows"]) == ["read", "tokens", "100 batches"]
    for axis in ("length", "size"):
        assert list(got[axis]) == list(growth.METHODS)
    points = [p for axis in ("rows", "length", "size") for series in got[axis].values() for p in series]
    assert len(points) == 11 and all(x > 0 and seconds > 0 and mb >= 0 for x, seconds, mb in points)
    assert capsys.readouterr().out.count("slope of time") == 11


def test_mistakes_are_one_line(here, capsys):
    one_error(call(growth.main, "--out", "growth.txt"), capsys.readouterr().err, "--out", ".png")
    one_error(call(growth.main, "--rows", "10"), capsys.readouterr().err, "--rows", "1000")
