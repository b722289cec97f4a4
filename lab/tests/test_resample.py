"""Does drawing again pay? The table is of the seeds that are there, and its figures are theirs."""
import json

import numpy as np
import pytest
from house import ROOT
from running import call

from lab import resample
from lab.runner import Missing

FILE = ROOT / "docs" / "results" / "resample.jsonl"


def test_the_table_is_of_the_seeds_that_are_there(tmp_path, monkeypatch, capsys):
    """A part of the study is a table, too; gains are those of the cells."""
    cells = [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()]
    some = [c for c in cells if c["key"][-1] in "02"]
    (tmp_path / "r.jsonl").write_text("".join(json.dumps(c) + "\n" for c in some))
    monkeypatch.setattr(resample, "FILE", tmp_path / "r.jsonl")
    assert call(resample.main, "--table") == 0
    shown = capsys.readouterr().out
    assert "Seeds: 0, 2" in shown
    for start in resample.STARTS:
        score = {name: [c["score"] for c in some if c["key"].startswith(f"{start}: {name}, seed")]
                 for name in (resample.PLAIN, resample.RESAMPLE)}
        gain = 100 * np.mean(np.subtract(score[resample.RESAMPLE], score[resample.PLAIN]))
        part = shown.split(f"Start: {start}")[1].split("Start:")[0]
        assert f"| {gain:+.1f} ± " in part


def test_one_seed_is_no_table(tmp_path, monkeypatch):
    monkeypatch.setattr(resample, "FILE", tmp_path / "none.jsonl")
    with pytest.raises(Missing, match="only seeds"):
        resample.main(["--table"])
