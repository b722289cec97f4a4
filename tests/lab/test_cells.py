"""Cells: what is trained is what train gives, finished ones are kept, a line cut short is made again."""
import json
import math
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from nanouft import train
from nanouft.lab import cells as the_cells
from nanouft.lab.cells import Cell, read_cells, run_cell, run_cells, timeless
from nanouft.look.scores import families
from nanouft.look.stats import interval
from nanouft.models.load import start_model
from nanouft.shell.devices import pick
from nanouft.shell.files import Lines

pytestmark = pytest.mark.usefixtures("brief")
ORPHAN = """
import sys, time, multiprocessing, concurrent.futures
from pathlib import Path
from nanouft.lab.cells import leave_with_parent

def beat(file):
    while True:
        Path(file).write_text(str(time.time()))
        time.sleep(0.05)

if __name__ == "__main__":
    pool = concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), leave_with_parent)
    pool.submit(beat, sys.argv[1]).result()
"""
SHORT = ("--objective", "ift", "--steps", "3", "--rows", "40", "--batch-size", "8")


def test_a_cell_is_what_train_gives_with_one_thread(tmp_path, tiny_base):
    cell = run_cell(Cell(SHORT, 5, str(tiny_base), "val", 4))
    train.main([*SHORT, "--init", str(tiny_base), "--seed", "5", "--threads", "1", "--device", "cpu", "--items", "0",
                "--save-every", "0", "--out", str(tmp_path / "run")])
    result, _ = families(*start_model(str(tmp_path / "run")), pick("cpu", "fp32", 1), "val", 4)
    log = Lines(tmp_path / "run" / "metrics.jsonl").read()
    assert cell["last_loss"] == log[-1]["loss"] and cell["tokens"] == sum(m["tokens"] for m in log)
    assert cell["families"] == {f: {k: round(r[k], 4) for k in the_cells.KEPT} for f, r in result.items()}
    assert (cell["base"], cell["seed"], cell["flags"]) == (str(tiny_base), 5, " ".join(SHORT))


def test_a_start_is_trained_once_and_kept_and_the_chain_is_the_same(tmp_path, monkeypatch, tiny_base):
    """Scored differently, the start is the same model; with `keep` None nothing is kept and every digit agrees."""
    calls, real = [], train.main
    monkeypatch.setattr(train, "main", lambda argv: calls.append(argv) or real(argv))
    first = Cell(SHORT, 5, str(tiny_base), "val", 2)
    chains = [Cell(("--objective", "dpo", "--steps", steps, "--rows", "20", "--batch-size", "4"), 5, start, "val", 2)
              for steps, start in (("2", first), ("3", replace(first, items=1, probes=True)))]
    kept = [run_cell(c, tmp_path / "kept") for c in chains]
    assert len(calls) == 3, "one start and two second stages"
    assert kept[0]["base"] == str(tiny_base) and kept[0]["after"] == " ".join(SHORT) and "failed" not in kept[0]
    assert timeless(run_cell(chains[0], None)) == timeless(kept[0])
    assert [f.name for f in (tmp_path / "kept").iterdir()] == [first.model_key]


def test_a_run_that_diverges_is_a_result_and_no_crash(tiny_base):
    cell = run_cell(Cell((*SHORT, "--lr", "1e30"), 0, str(tiny_base), "val", 2))
    assert "diverged" in cell["failed"] and "families" not in cell


def test_what_is_finished_stays_and_a_cut_line_is_made_again(tmp_path, tiny_base, monkeypatch):
    """Two cells, the second one's line cut in the middle: only that one runs again, here without a worker, and the
    first is not touched."""
    file, cells = tmp_path / "cells.jsonl", [Cell((), 0, str(tiny_base), "val", items) for items in (1, 2)]
    whole = run_cells(cells, file, workers=1)
    kept = {**whole[cells[0].key], "mark": "not run again"}
    file.write_text(json.dumps(kept) + "\n" + json.dumps(whole[cells[1].key])[:40], encoding="utf-8")
    monkeypatch.setattr(the_cells, "finished", lambda work, jobs, workers: (work(*job) for job in jobs))
    again = run_cells(cells, file)
    assert again[cells[0].key] == kept
    assert timeless(again[cells[1].key]) == timeless(whole[cells[1].key])
    assert read_cells(file).keys() == {c.key for c in cells}, "the file holds whole lines only"


def test_keys_know_what_a_cell_is_made_of():
    cells = [Cell(SHORT, 0), Cell(SHORT, 1), Cell((*SHORT, "--lr", "1e-4"), 0), Cell(SHORT, 0, split="val"),
             Cell(SHORT, 0, items=50), Cell(SHORT, 0, Cell((), 0)), Cell(SHORT, 0, probes=True)]
    assert len({c.key for c in cells}) == len(cells)


def test_one_seed_has_no_interval():
    assert interval([0.5]) == (0.5, float("inf")) and interval([0.1, 0.1, 0.1])[1] < 1e-12
    assert math.isnan(interval([])[0]) and interval([])[1] == float("inf"), "nothing ran: no number, and no warning"


def test_workers_end_when_their_parent_is_killed(tmp_path):
    heart, script = tmp_path / "heart", tmp_path / "orphan.py"
    script.write_text(ORPHAN)
    parent = subprocess.Popen([sys.executable, str(script), str(heart)])
    try:
        wait_for(heart.exists, "the worker never began")
    finally:
        parent.kill()
        parent.wait()

    def still() -> bool:
        before = heart.read_text()
        time.sleep(0.5)
        return heart.read_text() == before
    wait_for(still, "the worker goes on alone")


def wait_for(what, otherwise: str, seconds: int = 60) -> None:
    end = time.time() + seconds
    while not what():
        assert time.time() < end, otherwise
        time.sleep(0.1)
