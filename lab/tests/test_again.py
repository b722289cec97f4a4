"""`python -m lab.again`: which cells it repeats, what it compares them with, what it says. Trains
nothing."""
from types import SimpleNamespace

import pytest
from running import ROOT, call, one_error

from lab import again
from lab import cells as the_cells
from lab.cells import read_cells
from nanouft import world

ONE = ["--rows", "sft"]


@pytest.fixture
def lab(monkeypatch):
    """Cells without training, one after the other in this process; they say what stands in `mean`
    and `lake`."""
    monkeypatch.chdir(ROOT)
    lab = SimpleNamespace(mean=0.5, lake=True, loss=0.3)
    families = {f: dict.fromkeys(the_cells.KEPT, 0.5) for f in world.FAMILIES}
    monkeypatch.setattr(the_cells, "run_cell", lambda cell, keep:
                        {"key": cell.key, "mean": lab.mean, "seconds": 1.0, "families": families,
                         "last_loss": lab.loss})
    monkeypatch.setattr(again, "finished_jobs",
                        lambda work, jobs, workers: (work(*job) for job in jobs))
    monkeypatch.setattr(again.lake_study, "first_chunk_again", lambda folder: lab.lake)
    return lab


def test_what_is_repeated_is_in_the_committed_results(lab):
    chosen = again.chosen_cells(None)
    assert chosen.keys() == {*again.ROWS, *(f"{claim}: {row}" for claim, row in again.CLAIM_ROWS)}
    for name, (cell, line) in chosen.items():
        assert " ".join(cell.flags) == line["flags"] and cell.base == line["base"], name
        assert (cell.seed, cell.split, cell.items) == (line["seed"], "test", 100), name


def test_recorded_before_and_compared_after(lab, tmp_path, capsys):
    file = tmp_path / "before.jsonl"
    assert call(again.main, "--record", file) == 0
    assert (capsys.readouterr().out.count("recorded") == len(read_cells(file))
            == len(again.chosen_cells(None)))
    lab.lake = False  # the lake has a part in the committed results only
    assert call(again.main, "--against", file) == 0
    assert capsys.readouterr().out.count("the same") == len(read_cells(file))
    lab.loss = 0.3000001
    assert call(again.main, "--against", file, *ONE) == 0
    assert "the same scores, rounding in the rest" in capsys.readouterr().out
    lab.loss = 0.31
    one_error(call(again.main, "--against", file, *ONE), capsys.readouterr().err, "1 differ")
    lab.mean = 0.5001
    code, printed = call(again.main, "--against", file, *ONE), capsys.readouterr()
    one_error(code, printed.err, "1 differ")
    assert "DIFFERENT: mean 50.0100, it was 50.0000" in printed.out


def test_against_the_committed_results_with_the_lake(lab, monkeypatch, capsys):
    committed = {cell.key: line | {"key": cell.key}
                 for cell, line in again.chosen_cells(None).values()}
    monkeypatch.setattr(the_cells, "run_cell", lambda cell, keep: committed[cell.key])
    assert call(again.main) == 0
    lab.lake = False
    one_error(call(again.main), capsys.readouterr().err, "1 differ")
    assert call(again.main, *ONE) == 0, "some rows only: no lake"


def test_mistakes_are_one_line(lab, tmp_path, capsys):
    for argv, words in ((["--record", "a", "--against", "b"], "give one"),
                        (["--rows", "stf"], "did you mean sft"),
                        (["--against", tmp_path / "none", *ONE], "--record")):
        one_error(call(again.main, *argv), capsys.readouterr().err, words)
