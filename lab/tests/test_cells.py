"""Cells: what is trained is what train gives, finished ones are kept, a line cut short is made
again."""
import json
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace

import pytest
from running import environment, signals_work, soon

from lab import cells as the_cells
from lab import own_files
from lab.cell import Cell
from lab.cells import read_cells, run_cell, run_cells, timeless
from lab.own import Own
from lab.runner import scratch
from nanouft import train
from nanouft.errors import Diverged, UserError
from nanouft.eval.scores import families
from nanouft.models.load import start_model
from nanouft.rewards import harvest
from nanouft.run.devices import pick
from nanouft.run.storage import Lines, beside, locked
from nanouft.world.tasks import read

pytestmark = pytest.mark.usefixtures("brief")
# Two workers: a cell that is done at once, and two that never end. Prints what it gets; argv[1]:
# who is killed instead.
WAITING = """
import contextlib, os, sys, time
from pathlib import Path
from lab.runner import finished_jobs
from nanouft.run import config, runs

def work(n):
    if n and sys.argv[1:]:
        os._exit(1)
    time.sleep(100 * n)
    return n

def main(argv):
    results = contextlib.closing(finished_jobs(work, [(0,), (1,), (2,)], 2))
    with runs.kept_lines(Path("cells.jsonl")), results as results:
        for n in results:
            print("finished", n, flush=True)

if __name__ == "__main__":
    sys.exit(config.run(main))
"""
SHORT = ("--objective", "ift", "--steps", "3", "--rows", "40", "--batch-size", "8")


def test_a_cell_is_what_train_gives_with_one_thread(tmp_path, tiny_base):
    cell = run_cell(Cell(SHORT, 5, str(tiny_base), "val", 4))
    train.main([*SHORT, "--init", str(tiny_base), "--seed", "5", "--threads", "1", "--device",
                "cpu", "--items", "0", "--save-every", "0", "--out", str(tmp_path / "run")])
    result, _ = families(*start_model(str(tmp_path / "run")), pick("cpu", "fp32", 1), "val", 4)
    log = Lines(tmp_path / "run" / "metrics.jsonl").read()
    assert cell["last_loss"] == log[-1]["loss"] and cell["tokens"] == sum(m["tokens"] for m in log)
    assert cell["families"] == {f: {k: round(r[k], 4) for k in the_cells.KEPT}
                                for f, r in result.items()}
    assert (cell["base"], cell["seed"], cell["flags"]) == (str(tiny_base), 5, " ".join(SHORT))


def test_a_start_is_trained_once_and_kept_and_the_chain_is_the_same(tmp_path, monkeypatch,
                                                                    tiny_base):
    """Scored differently, the start is the same model; with `keep` None nothing is kept and every
    digit agrees. The temporary folder is on another disk (where there is one): a model cannot be
    moved from there by renaming it."""
    if os.path.isdir("/dev/shm"):
        other = tempfile.TemporaryDirectory(dir="/dev/shm")
        monkeypatch.setattr(tempfile, "tempdir", other.name)
    calls, real = [], train.main
    monkeypatch.setattr(train, "main", lambda argv: calls.append(argv) or real(argv))
    first = Cell(SHORT, 5, str(tiny_base), "val", 2)
    chains = [Cell(("--objective", "dpo", "--steps", steps, "--rows", "20", "--batch-size", "4"), 5,
                   start, "val", 2)
              for steps, start in (("2", first), ("3", replace(first, items=1, each=True)))]
    kept = [run_cell(c, tmp_path / "kept") for c in chains]
    assert len(calls) == 3, "one start and two second stages"
    assert kept[0]["base"] == str(tiny_base)
    assert kept[0]["after"] == " ".join(SHORT)
    assert "failed" not in kept[0]
    assert timeless(run_cell(chains[0], None)) == timeless(kept[0])
    assert [f.name for f in (tmp_path / "kept").iterdir()] == [first.model_key]


def test_a_run_that_diverges_is_a_result_and_no_crash(tiny_base):
    cell = run_cell(Cell((*SHORT, "--lr", "1e8"), 0, str(tiny_base), "val", 2))
    assert re.search("diverged|no longer finite", cell["failed"]) and "families" not in cell
    assert issubclass(Diverged, UserError)


@pytest.mark.parametrize("error", [
    OSError(28, "No space left on device", "x"), UserError("out: the model cannot be written"),
    RuntimeError("oops")])
@pytest.mark.parametrize("times", [1, 2])
def test_only_divergence_is_a_result(error, times, inline, tmp_path, tiny_base, monkeypatch,
                                     capsys):
    """What else goes wrong is shown, tried once more, and then missing: no line says that the
    method gave nothing."""
    real, tries = train.main, []

    def main(argv):
        tries.append(argv)
        if len(tries) <= times:
            raise error
        return real(argv)
    monkeypatch.setattr(train, "main", main)
    file = tmp_path / "cells.jsonl"
    cells = [Cell(SHORT, 5, str(tiny_base), "val", 1), Cell((), 0, str(tiny_base), "val", 1)]
    if times == 1:
        assert run_cells(cells, file).keys() == {c.key for c in cells}
    else:
        with pytest.raises(UserError, match=r"1 of 2 cells are missing.*--objective ift.*seed "
                           r"5.*run the same command"):
            run_cells(cells, file)
        assert read_cells(file).keys() == {cells[1].key}, "the others are kept"
    assert "failed" not in file.read_text() and len(tries) == 2
    assert capsys.readouterr().err.count(f"not finished: {cells[0]}: ") == times


def whole_cell(**change) -> dict:
    families = {f: dict.fromkeys(the_cells.KEPT, 0.5) for f in the_cells.world.FAMILIES}
    return {"key": "k", "mean": 0.5, "families": families, "seconds": 1.0, **change}


@pytest.mark.parametrize("line, words", [
    ("<<<<<<< HEAD", "no JSON object"), ("[1]", "no JSON object"), ("", ""),
    ({"mean": 0.5}, "no key"),
    (whole_cell(mean=True), "not a whole"), (whole_cell(mean=math.nan), "not a whole cell"),
    (whole_cell(families={}), "not a whole cell"), (whole_cell(families=[]), "not a whole cell"),
    (whole_cell(families={f: dict.fromkeys(the_cells.KEPT, 1.5) for f in the_cells.world.FAMILIES}),
     "not a whole"),
    (whole_cell(seconds="1"), "not a whole cell"), (whole_cell(), "not a whole cell")],
                         ids=range(11))
def test_a_broken_line_is_named_and_nothing_behind_it_is_lost(line, words, tmp_path, tiny_base):
    """A merge marker, an edit: the file stays as it is, byte for byte. The last case lacks what the
    page shows."""
    file = tmp_path / "cells.jsonl"
    lines = [json.dumps(whole_cell(key=f"a{i}")) for i in range(4)]
    lines[1] = line if isinstance(line, str) else json.dumps(line)
    file.write_text("\n".join(lines) + "\n")
    before, cell = file.read_bytes(), Cell((), 0, "k", each=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Cell, "key", "k")
        if words:
            with pytest.raises(UserError, match=f"cells.jsonl, line 2: .*{words}"):
                read_cells(file, [cell])
        else:
            assert read_cells(file, [cell]).keys() == {"a0", "a2", "a3"}
    assert file.read_bytes() == before


def test_two_commands_in_one_file_and_a_lock_that_was_left(inline, tmp_path, tiny_base):
    """The second is told who works there. A lock file alone holds nothing: its process was
    killed."""
    file, cell = tmp_path / "cells.jsonl", Cell((), 0, str(tiny_base), "val", 1)
    with locked(beside(file)), pytest.raises(UserError, match="cells.jsonl: process "
                                             f"{os.getpid()}, since .*--out"):
        run_cells([cell], file)
    beside(file).write_text("process 1, since 2001-01-01 00:00:00,")
    run_cells([cell], file)
    assert [f.name for f in tmp_path.iterdir()] == ["cells.jsonl"]


def test_what_killed_workers_left_goes_and_what_lives_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    dead = tmp_path / "nanouft-cell-dead"
    dead.mkdir()
    beside(dead).touch()
    with scratch("nanouft-cell-") as alive:
        (alive / "model").touch()
        with scratch("nanouft-cell-") as other:
            assert {f.name for f in tmp_path.iterdir() if f.is_dir()} == {alive.name, other.name}
        assert (alive / "model").exists()
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("number, group, argv", [
    (signal.SIGINT, True, []), (signal.SIGTERM, False, []), (signal.SIGKILL, False, []),
    (None, False, ["killed"])])
def test_an_interrupted_command_ends_at_once_and_keeps_what_is_finished(number, group, argv,
                                                                        tmp_path):
    """Ctrl-C reaches the workers, too; SIGTERM and kill -9 only the command. No worker is left:
    each holds the pipes of the command. A worker that dies is one line."""
    (tmp_path / "waiting.py").write_text(WAITING)
    with signals_work():
        process = subprocess.Popen([sys.executable, "waiting.py", *argv], cwd=tmp_path,
                                   env=environment(), text=True, start_new_session=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert argv or process.stdout.readline() == "finished 0\n"
    began = time.time()
    if number:
        (os.killpg if group else os.kill)(process.pid, number)
    _, err = process.communicate(timeout=60)
    if number == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
        return
    assert "Traceback" not in err and "Warning" not in err, err
    if number:
        assert time.time() - began < soon() and process.returncode == 128 + number
        assert "what is finished is in cells.jsonl; go on with: python waiting.py" in err
    else:
        assert (process.returncode == 2
                and err.startswith("error: a worker was killed from outside")), err
    with pytest.raises(ProcessLookupError):
        wait_for(lambda: os.killpg(process.pid, 0), "a worker goes on alone", 10)


def test_what_is_finished_stays_and_a_cut_line_is_made_again(tmp_path, tiny_base, request):
    """Two cells, the second one's line cut in the middle: only that one runs again, here without a
    worker, and the first is not touched."""
    file = tmp_path / "cells.jsonl"
    cells = [Cell((), 0, str(tiny_base), "val", items) for items in (1, 2)]
    whole = run_cells(cells, file, workers=1)
    kept = {**whole[cells[0].key], "mark": "not run again"}
    file.write_text(json.dumps(kept) + "\n" + json.dumps(whole[cells[1].key])[:40],
                    encoding="utf-8")
    request.getfixturevalue("inline")
    again = run_cells(cells, file)
    assert again[cells[0].key] == kept
    assert timeless(again[cells[1].key]) == timeless(whole[cells[1].key])
    assert read_cells(file).keys() == {c.key for c in cells}, "the file holds whole lines only"


def test_answers_of_a_prompt_with_a_right_one_are_left_out_but_of_facts(tmp_path):
    """The best answer of a prompt earns .2 to .8, and no other prompt of a skill is in the
    files."""
    own = Own(Cell(()), 60, seed=3, form="graded")
    asked = harvest.find_prompts(harvest.Harvest(prompts=60, skills=own_files.QUESTIONS, seed=3))
    lines = [{"row": i, "answers": ["a", "b"], "rewards": [0.0, (0.0, 0.2, 0.5, 1.0)[i % 4]],
              "ended": [True] * 2, "clean": [True] * 2} for i in range(len(asked))]
    Lines(tmp_path / "answers.jsonl").add(*lines)
    own_files.write(tmp_path, own)
    facts = {r.prompt[0].text for r in asked if read(r.prompt[0].text)[0] == "fact"}
    kept = facts | {r.prompt[0].text for i, r in enumerate(asked) if i % 4 in (1, 2)}
    assert {row["prompt"] for row in Lines(tmp_path / "scores.jsonl").read()} == kept
    assert {read(row["prompt"])[0] for row in Lines(tmp_path / "a.jsonl").read()} == {
        "truth", "unknown"}


def test_mixed_feedback_is_scores_labels_and_pairs_of_a_third_of_the_prompts_each(tmp_path):
    """Of a prompt with a right, a half right and a wrong answer; a pair is two labels."""
    own = Own(Cell(()), 60, seed=3, form="mixed")
    asked = harvest.find_prompts(harvest.Harvest(prompts=60, seed=3))
    lines = [{"row": i, "answers": ["a", "b", "c"], "rewards": [1.0, 0.5, 0.0],
              "ended": [True] * 3, "clean": [True] * 3} for i in range(len(asked))]
    Lines(tmp_path / "answers.jsonl").add(*lines)
    own_files.write(tmp_path, own)
    forms = ([("a", "score", 1.0), ("b", "score", 0.5), ("c", "score", 0.0)],
             [("a", "label", True), ("b", "label", False), ("c", "label", False)],
             [("a", "label", True), ("c", "label", False)])
    expected = [{"prompt": r.prompt[0].text, "response": answer, name: grade}
                for i, r in enumerate(asked) for answer, name, grade in forms[i % 3]]
    assert Lines(tmp_path / "mixed.jsonl").read() == expected


def test_of_a_cell_that_was_run_twice_the_later_counts(tmp_path):
    file = tmp_path / "cells.jsonl"
    Lines(file).add(whole_cell(mean=0.4), whole_cell(mean=0.7))
    assert read_cells(file)["k"]["mean"] == 0.7


def test_keys_know_what_a_cell_is_made_of():
    cells = [Cell(SHORT, 0), Cell(SHORT, 1), Cell((*SHORT, "--lr", "1e-4"), 0),
             Cell(SHORT, 0, split="val"),
             Cell(SHORT, 0, items=50), Cell(SHORT, 0, Cell((), 0)), Cell(SHORT, 0, each=True)]
    assert len({c.key for c in cells}) == len(cells)


def wait_for(what, otherwise: str, seconds: int = 60) -> None:
    end = time.time() + seconds
    while not what():
        assert time.time() < end, otherwise
        time.sleep(0.1)
