"""A class is graded whatever its students hand in: notebooks, folders in folders, copies, programs
that change the check, run out of a limit, or attack the others."""
import csv
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from programs.classes import CHEATS, ENDS, HOSTILE, OTHERWISE, RENAMED, RIGHT, SPIES, notebook

from lessons.tasks import child, grade
from lessons.tasks.call import Seen, from_line, to_line
from lessons.tasks.task import KEYS, Judge, Verdict, tasks
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError

POSIX = pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without limits")
SHUT_IN = pytest.mark.skipif(not shutil.which("bwrap"), reason="without bubblewrap")


def hand_in(folder: Path, source: str, name: str = "ex02.py") -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(source)
    return folder


def graded(folder: Path) -> Verdict:
    judge, (_, text) = Judge(tasks()["02b"], 1), grade.submission(folder, "02b")
    job = child.Job("02b", "sft_loss", "ex02.py", text, judge.task.look, judge.cases, 1)
    seen = child.run_all([job], folder.resolve(), [folder.resolve().parent])["02b"]
    return grade.verdict(judge, seen, ("", text))


def table(folder: Path, *which: str) -> dict[str, dict]:
    out = folder.parent / "out"
    assert command(grade.main, [str(folder), *which, "--out", str(out)]) == 0
    rows = csv.DictReader((out / "points.csv").open(encoding="utf-8"))
    return {x["student"]: x for x in rows}


@POSIX
@pytest.mark.slow
def test_nothing_that_a_program_does_gives_it_a_point_or_costs_another_one(tmp_path):
    ada = {"cheat " + name: source for name, source in CHEATS.items()} | HOSTILE
    for name, source in ada.items():
        hand_in(tmp_path / "all" / name, source)
    hand_in(tmp_path / "all" / "honest", RIGHT)
    hand_in(tmp_path / "all" / "zoe", OTHERWISE)
    hand_in(tmp_path / "all" / os.fsdecode(b"Jos\xe9"), RIGHT)
    (tmp_path / "all" / "pipe").mkdir()
    os.mkfifo(tmp_path / "all" / "pipe" / "ex02.py")
    found = table(tmp_path / "all", "02b")
    assert {name for name, x in found.items() if x["points"] == "1"} == {
        "honest", "zoe", "Jos\\udce9", "'=HYPERLINK(1)"}


@POSIX
@pytest.mark.parametrize("name", ENDS)
def test_limits_are_told_apart(name, tmp_path):
    source, words = ENDS[name]
    assert words in graded(hand_in(tmp_path / "ada", source)).told


@SHUT_IN
def test_a_program_sees_no_key_and_no_classmate_and_changes_nothing(tmp_path):
    hand_in(tmp_path / "bob", RIGHT)
    spies = {name: source.replace("FOLDER", str(tmp_path)).replace("ROOT", str(child.ROOT))
             for name, (source, _) in SPIES.items()}
    for name, source in spies.items():
        hand_in(tmp_path / name, source)
    with ThreadPoolExecutor(2) as pool:
        told = dict(zip(spies, pool.map(graded, [tmp_path / name for name in spies])))
    for name, (_, words) in SPIES.items():
        assert words in told[name].told, (name, told[name].told)
    assert (tmp_path / "bob" / "ex02.py").read_text() == RIGHT


def test_what_comes_back_is_plain_data():
    import torch
    seen = Seen({"gives": [torch.tensor([[1.5, float("nan")]]).double(), None, "yes", 2]})
    again = from_line(to_line(seen))
    torch.testing.assert_close(again.values["gives"][0], seen.values["gives"][0], equal_nan=True)
    assert again.values["gives"][1:] == [None, "yes", 2]
    judge = Judge(tasks()["02b"], 0)
    for calls in ([], [Seen()], [Seen()] * 99, [Seen({"gives": [[[]]]})] * 60):
        assert grade.verdict(judge, calls, ("", "")).state == "wrong"


def test_a_process_that_was_ended_costs_one_task(tmp_path):
    """Another one goes on with the next."""
    hand_in(tmp_path / "all" / "ada", RIGHT + "\ndef response_mask(tokens):\n    import os\n"
            "    os._exit(0)\n")
    found = table(tmp_path / "all", "02")["ada"]
    assert (found["02a"], found["02b"], found["points"]) == ("0", "1", "1")


def test_the_file_that_has_begun_counts(tmp_path):
    stub = (KEYS.parent / "exercises" / "ex02.py").read_text()
    hand_in(tmp_path, stub, "ex02.py")
    hand_in(tmp_path, RIGHT, "__MACOSX/ex02.py")
    hand_in(tmp_path, RIGHT, ".git/ex02.py")
    assert grade.submission(tmp_path, "02b")[0] == tmp_path / "ex02.py"
    hand_in(tmp_path, notebook("%time\nimport torch", "raise SystemExit", "x = (", RIGHT, "f(3)"),
            "deep/er/my work.ipynb")
    file, text = grade.submission(tmp_path, "02b")
    assert file.suffix == ".ipynb" and "SystemExit" not in text and "f(3)" not in text
    hand_in(tmp_path, RIGHT, "exercises/ex02.py")
    assert grade.submission(tmp_path, "02b")[0] == tmp_path / "exercises/ex02.py"
    assert grade.submission(tmp_path, "09a") is None


def test_the_table_names_the_same_program_and_goes_on_where_it_stopped(tmp_path, monkeypatch):
    for name, source in {"ada": OTHERWISE, "bob": OTHERWISE.replace("rows", "parts"),
                         "cleo": RENAMED}.items():
        hand_in(tmp_path / "all" / name, source)
    (tmp_path / "all" / "dora").mkdir()
    runs = []

    def run_all(jobs, student, hidden):
        runs.append(student.name)
        return {job.name: [judge.ours(judge.task.right, k) for k in range(60)] for job in jobs
                for judge in [Judge(tasks()[job.name], (tmp_path / "out/seed.txt").read_text())]}
    monkeypatch.setattr(grade, "run_all", run_all)
    for _ in range(2):
        found = table(tmp_path / "all", "02b")
        assert [x["points"] for x in found.values()] == ["1", "1", "1", "0"]
        assert [x["the same program as"] for x in found.values()] == [
            "02b: bob", "02b: ada", "02b: the key", ""]
    assert sorted(runs) == ["ada", "bob", "cleo", "dora"]
    results = json.loads((tmp_path / "out" / "ada.json").read_text())
    assert results["score"] == 1 and results["tests"][0]["output"] == "right"
    assert "## 02b: 1" in (tmp_path / "out" / "ada.md").read_text()
    with pytest.raises(UserError, match="no folder of a student"):
        grade.grade_class(tmp_path / "all" / "ada", [], tmp_path / "x", False)
