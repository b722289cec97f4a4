"""Frozen Lake, the experiment on one map: the command, its numbers and pictures."""
import json
import re

import pytest
from running import call
from studied import STUDY

from frozen_lake import __main__ as lake_main

QUICK = ["--seeds", "2", "--updates", "30", "--map", "corridor4", "--objective", "sft", "ift",
         "orpo", "dpo", "pg"]


@pytest.fixture(autouse=True)
def no_page(monkeypatch):
    """The page has tests of its own."""
    monkeypatch.setattr(lake_main.page, "write", lambda folder, data: None)


def test_the_default_experiment(tmp_path, capsys, monkeypatch):
    (tmp_path / "C5.json").write_text(json.dumps(STUDY))
    study = ["--study", tmp_path / "C5.json"]
    assert call(lake_main.main, *QUICK, *study, "--out", tmp_path / "x") == 0
    out = capsys.readouterr().out
    assert "ghosts: 7" in out and "optimal for 2" in out
    for name in ("changes.png", "curves.png"):
        assert (tmp_path / "x" / name).stat().st_size > 5000, name
    data = json.loads((tmp_path / "x" / "results.json").read_text(encoding="utf-8"),
                      parse_constant=lambda c: pytest.fail(f"{c} is no JSON"))
    assert {r["method"] for r in data["rows"]} == {"sft", "ift", "orpo", "dpo", "pg"}
    assert len(data["rows"]) == 20
    assert data["study"] == STUDY, "for the last scene of the page"
    for arm in data["curves"].values():
        assert all(len(c["steps"]) == len(c["distance"]) == 7 for c in arm.values())
    monkeypatch.setattr(lake_main.pictures, "everything", lambda *a: [])
    assert call(lake_main.main, *QUICK, *study, "--out", tmp_path / "y") == 0
    first, second = ((tmp_path / name / "results.json").read_bytes() for name in "xy")
    assert first == second, "the same command gives the same numbers"


@pytest.mark.parametrize("argv", [["--map", "default4", "--slippery"], ["--objective", "reinforce"],
                                  ["--loser", "dither", "--objective", "sft", "--seeds", "1"]])
def test_other_lakes_and_choices(tmp_path, argv, capsys):
    few = [] if "--objective" in argv else ["--objective", "sft", "ift"]
    quick = ["--seeds", "2", "--updates", "3"]
    assert call(lake_main.main, *quick, *few, *argv, "--out", tmp_path) == 0
    out = capsys.readouterr().out
    assert (tmp_path / "curves.png").exists() and "distance" in out
    assert not re.search(r"\binf\b", out)
    assert ("±" in out) == ("1" not in argv), "one seed has no interval"
    assert ("cancel in DPO" in out) == ("--slippery" not in argv)
