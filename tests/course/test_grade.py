"""A class is graded whatever its students hand in: notebooks, folders in folders, copies, programs
that change the check, run out of a limit, or attack the others."""
import csv
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from programs.classes import (
    CHEATS,
    ENDS,
    HOSTILE,
    OTHERWISE,
    RENAMED,
    RIGHT,
    SPIES,
    WRONG,
    notebook,
)

from lessons.tasks import child, grade
from lessons.tasks.call import Seen, attempt, from_line, program_in, to_line
from lessons.tasks.submission import Student, definition, job_for
from lessons.tasks.task import KEYS, STUBS, Judge, tasks
from nanouft.plumbing.entry import command
from nanouft.run.folder import locked

POSIX = pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without limits")
SHUT_IN = pytest.mark.skipif(bool(child.no_container()), reason=child.no_container())
STUB = (STUBS / "ex02.py").read_text(encoding="utf-8")
KEY = "\n".join(["import math", *(tasks()[name].source for name in ("02a", "02b"))])


def hand_in(folder: Path, source: str, name: str = "ex02.py") -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(source)
    return folder


def told(folder: Path) -> str:
    """What is said of a student's 02b, in a second of computing."""
    student, judge = Student(folder, folder), Judge(tasks()["02b"], 1)
    job = replace(job_for("02b", judge, *student.program("02b")), seconds=1)
    seen = child.run_all([job], folder.resolve(), [folder.resolve().parent])["02b"]
    return grade.new_mark(judge, "02b", seen, "")["output"]


def table(folder: Path, *which: str) -> dict[str, dict]:
    out = folder.parent / "out"
    assert command(grade.main, [str(folder), *which, "--out", str(out)]) == 0
    rows = csv.DictReader((out / "points.csv").open(encoding="utf-8"))
    return {x["student"]: x for x in rows}


@pytest.fixture
def graded(monkeypatch, tmp_path) -> list[tuple[str, str]]:
    """Students and tasks in turn, as they are graded: here, without a process."""
    found = []

    def run_all(jobs, student, hidden):
        for job in jobs:
            found.append((student.name, job.name))
            file = hand_in(tmp_path / "here" / student.name, job.text, job.file) / job.file
            program, missing = program_in(file, job.function)
            yield job.name, [Seen(error="Missing", words=missing) if missing else
                             attempt(job.look, program, case, str(file)) for case in job.cases]
    monkeypatch.setattr(grade, "run_all", lambda *x: dict(run_all(*x)))
    return found


# ---- what a program may do -----------------------------------------------------------------------
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
    assert words in told(hand_in(tmp_path / "ada", source))


@SHUT_IN
def test_a_program_sees_no_key_and_no_classmate_and_changes_nothing(tmp_path):
    hand_in(tmp_path / "bob", RIGHT)
    spies = {name: source.replace("FOLDER", str(tmp_path)).replace("ROOT", str(child.ROOT))
             for name, (source, _) in SPIES.items()}
    for name, source in spies.items():
        hand_in(tmp_path / name, source)
    with ThreadPoolExecutor(2) as pool:
        found = dict(zip(spies, pool.map(told, [tmp_path / name for name in spies])))
    for name, (_, words) in SPIES.items():
        assert words in found[name], (name, found[name])
    assert (tmp_path / "bob" / "ex02.py").read_text() == RIGHT


def test_what_comes_back_is_plain_data():
    import torch
    seen = Seen({"gives": [torch.tensor([[1.5, float("nan")]]).double(), None, "yes", 2]})
    again = from_line(to_line(seen))
    torch.testing.assert_close(again.values["gives"][0], seen.values["gives"][0], equal_nan=True)
    assert again.values["gives"][1:] == [None, "yes", 2]
    judge = Judge(tasks()["02b"], 0)
    for calls in ([], [Seen()], [Seen()] * 99, [Seen({"gives": [[[]]]})] * 60):
        assert grade.new_mark(judge, "02b", calls, "")["score"] < 1


def test_a_process_that_was_ended_costs_one_task(tmp_path):
    """Another one goes on with the next."""
    hand_in(tmp_path / "all" / "ada", RIGHT + "\ndef response_mask(tokens):\n    import os\n"
            "    os._exit(0)\n")
    found = table(tmp_path / "all", "02")["ada"]
    assert (found["02a"], found["02b"], found["points"]) == ("0", "1", "1")


def test_the_file_that_has_begun_counts(tmp_path):
    def program(name):
        return Student(tmp_path, tmp_path).program(name)
    hand_in(tmp_path, STUB)
    hand_in(tmp_path, RIGHT, "__MACOSX/ex02.py")
    hand_in(tmp_path, RIGHT, ".git/ex02.py")
    assert program("02b")[0] == tmp_path / "ex02.py"
    hand_in(tmp_path, notebook("%time\nimport torch", "raise SystemExit", "x = (", RIGHT, "f(3)"),
            "deep/er/my work.ipynb")
    file, text = program("02b")
    assert file.suffix == ".ipynb" and "SystemExit" not in text and "f(3)" not in text
    hand_in(tmp_path, RIGHT, "exercises/ex02.py")
    assert program("02b")[0] == tmp_path / "exercises/ex02.py"
    assert program("09a") is None


def test_in_a_clone_of_the_project_only_the_exercises_count(tmp_path):
    """Keys lie in it too, and methods that have the name of a piece."""
    for file in (*KEYS.glob("*.py"), *(child.ROOT / "nanouft/objectives").glob("*.py"),
                 *(child.ROOT / "lessons/evidence").glob("*.py"), STUBS / "ex02.py"):
        hand_in(tmp_path / "ada", file.read_text(encoding="utf-8"), file.relative_to(child.ROOT))
    student = Student(tmp_path / "ada", tmp_path)
    assert [*student.texts] == [tmp_path / "ada/lessons/exercises/ex02.py"]
    hand_in(tmp_path / "ada", KEY, "lessons/exercises/luffy.py")
    hand_in(tmp_path / "ada", KEY, "psft.py")
    assert len(Student(tmp_path / "ada", tmp_path).texts) == 3


def test_what_is_only_imported_from_the_project_gets_no_point(tmp_path, graded):
    hand_in(tmp_path / "all" / "ada", "from nanouft.simple import *\n", "mine.py")
    assert table(tmp_path / "all", "token_logp")["ada"]["points"] == "0"


def test_a_notebook_has_one_of_two_tasks_with_one_name(tmp_path):
    """Both 02b and a part of mine.py are called sft_loss."""
    other = WRONG.replace("logp, mask, reduction", "model, reference, rows, tok, step")
    for name, source in (("02b", RIGHT), ("sft_loss", other + "pass")):
        hand_in(tmp_path / name, notebook(source), "week2.ipynb")
        student = Student(tmp_path / name, tmp_path)
        assert [x for x in ("02b", "sft_loss") if student.program(x)] == [name]


def test_what_is_not_read_is_named(tmp_path, graded):
    hand_in(tmp_path / "all" / "ada", "{", "ex02.ipynb")
    hand_in(tmp_path / "all" / "bob", KEY)
    (tmp_path / "all" / "ada" / "ex02.py").symlink_to(tmp_path / "all" / "bob" / "ex02.py")
    ada = table(tmp_path / "all", "02")["ada"]
    assert ada["02a"] == "not handed in" and "ex02.ipynb (" in ada["not read"]
    assert "ex02.py (" in ada["not read"]


# ---- a mark belongs to the bytes that it was given for -------------------------------------------
def test_a_file_that_is_handed_in_again_is_graded_again_and_no_other(tmp_path, graded):
    hand_in(tmp_path / "all" / "ann", STUB)
    hand_in(tmp_path / "all" / "bob", OTHERWISE)
    assert table(tmp_path / "all", "02")["ann"]["points"] == "0"
    graded.clear()
    hand_in(tmp_path / "all" / "ann", KEY)
    found = table(tmp_path / "all", "02")
    assert (found["ann"]["points"], found["bob"]["points"]) == ("2", "1")
    assert sorted(graded) == [("ann", "02a"), ("ann", "02b")]
    graded.clear()
    assert table(tmp_path / "all", "02") == found and not graded


def test_the_marks_of_earlier_weeks_stay(tmp_path, graded):
    """As long as they belong to the same bytes: what has changed since is graded again, too."""
    hand_in(tmp_path / "all" / "ann", KEY)
    table(tmp_path / "all", "02")
    graded.clear()
    hand_in(tmp_path / "all" / "ann", (KEYS / "ex03.py").read_text(), "ex03.py")
    found = table(tmp_path / "all", "03")["ann"]
    assert (found["points"], found["02a"], found["02b"], found["03a"]) == ("3", "1", "1", "1")
    assert graded == [("ann", "03a")]
    results = json.loads((tmp_path / "out" / "ann.json").read_text())
    assert [x["name"] for x in results["tests"]] == ["02a", "02b", "03a"] and results["score"] == 3
    hand_in(tmp_path / "all" / "ann", STUB)
    assert table(tmp_path / "all", "03")["ann"]["points"] == "1"


def test_who_hands_in_late_has_a_mark(tmp_path, graded):
    hand_in(tmp_path / "all" / "ann", OTHERWISE)
    (tmp_path / "all" / "bob").mkdir()
    found = table(tmp_path / "all", "02")
    assert found["bob"]["02b"] == "not handed in" and found["bob"]["points"] == "0"
    assert not found["ann"]["the same program as"] and not found["bob"]["the same program as"]
    hand_in(tmp_path / "all" / "bob", OTHERWISE.replace("rows", "parts"))
    found = table(tmp_path / "all", "02")
    assert found["bob"]["02b"] == "1"
    assert found["bob"]["the same program as"] == "02b: ann"


def test_a_repaired_neighbour_is_graded_again(tmp_path):
    """In processes: ex02.py imports it, from the folder in which it lies."""
    ann = tmp_path / "all" / "ann"
    hand_in(ann, "from ex03 import halve\nfrom helper import sft_loss\n", "week 2/ex02.py")
    hand_in(ann, "def halve(x):\n    return x / 2\n", "week 2/ex03.py")
    hand_in(ann, WRONG + "return logp.sum()", "week 2/helper.py")
    assert table(tmp_path / "all", "02b")["ann"]["02b"] != "1"
    hand_in(ann, RIGHT, "week 2/helper.py")
    assert table(tmp_path / "all", "02b")["ann"]["02b"] == "1"
    hand_in(ann, "", "week 2/ex03.py")
    assert table(tmp_path / "all", "02b")["ann"]["02b"] == "0"


def test_another_judge_grades_again(tmp_path, graded, monkeypatch):
    """A key that was repaired, for its own tasks; and other cases."""
    hand_in(tmp_path / "all" / "ann", KEY)
    hand_in(tmp_path / "all" / "ann", (KEYS / "ex03.py").read_text(), "ex03.py")
    keys = tmp_path / "keys"
    shutil.copytree(KEYS, keys)
    monkeypatch.setattr(grade, "KEYS", keys)
    table(tmp_path / "all", "02", "03")
    graded.clear()
    hand_in(keys, (keys / "ex03.py").read_text() + "\n", "ex03.py")
    table(tmp_path / "all", "02")
    assert graded == [("ann", "03a")]
    hand_in(tmp_path / "out", "1", "seed.txt")
    table(tmp_path / "all", "02")
    assert len(graded) == 4


def test_a_process_that_was_ended_is_tried_again(tmp_path, monkeypatch):
    """It may have been the computer's fault."""
    hand_in(tmp_path / "all" / "ann", KEY)
    for said in ("it ended Python", [Seen()]):
        monkeypatch.setattr(grade, "run_all", lambda jobs, *more, said=said:
                            {job.name: said for job in jobs})
        table(tmp_path / "all", "02")
        ended = "it ended Python" in (tmp_path / "out" / "ann.md").read_text()
        assert ended == isinstance(said, str)


def test_the_same_program_is_told_of_others_and_the_key(tmp_path, graded):
    """Nobody copies from himself, in two files or by two names of a folder."""
    for name, source in {"ada": OTHERWISE, "bob": OTHERWISE.replace("rows", "parts"),
                         "cleo": RENAMED}.items():
        hand_in(tmp_path / "all" / name, source)
    hand_in(tmp_path / "all" / "ada", OTHERWISE, "again/ex02.py")
    (tmp_path / "all" / "dora").mkdir()
    (tmp_path / "all" / "robert").symlink_to(tmp_path / "all" / "bob")
    found = table(tmp_path / "all", "02b")
    assert [x["02b"] for x in found.values()] == ["1", "1", "1", "not handed in", "1"]
    assert [x["the same program as"] for x in found.values()] == [
        "02b: bob, robert", "02b: ada", "02b: the key", "", "02b: ada"]


# ---- one student's files, and all others ---------------------------------------------------------
def test_no_program_takes_the_table_from_a_class(tmp_path, graded):
    """Python's own tools give up where an expression or a chain of elif is nested too deep."""
    deep = "def response_mask(tokens):\n    return " + "+".join("1" * 1200)
    chain = "def sft_loss(logp, mask, reduction):\n    if mask == 0:\n        return 0\n" + "".join(
        f"    elif mask == {k}:\n        return 0\n" for k in range(400))
    hand_in(tmp_path / "all" / "ada", f"{deep}\n\n\n{chain}")
    hand_in(tmp_path / "all" / "bob", KEY)
    long = "x" * 252
    hand_in(tmp_path / "all" / long, KEY)
    found = table(tmp_path / "all", "02")
    assert found["bob"]["points"] == found[long]["points"] == "2"
    assert "too long" in found[long]["not read"]


def test_each_file_has_a_process_of_its_own(tmp_path, monkeypatch):
    """So a right program loses nothing by what another file of its student sets in PyTorch."""
    hand_in(tmp_path, "import torch\ntorch.set_grad_enabled(False)\n", "ex00.py")
    hand_in(tmp_path, KEY)
    student, seen = Student(tmp_path, tmp_path), []

    def run_some(jobs, *more):
        seen.append([job.name for job in jobs])
        return {name: ([], True) for name in seen[-1]}, ""
    monkeypatch.setattr(child, "run_some", run_some)
    child.run_all([job_for(name, Judge(tasks()[name], 1), *student.program(name))
                   for name in ("00a", "02a", "02b")], tmp_path, [])
    assert seen == [["00a"], ["02a", "02b"]]


def test_two_that_grade_into_one_folder_do_not_lose_marks(tmp_path, graded, capsys):
    hand_in(tmp_path / "all" / "ann", KEY)
    table(tmp_path / "all", "02")
    with locked(tmp_path / "out", "seed.txt"):
        assert command(grade.main, [str(tmp_path / "all"), "--out", str(tmp_path / "out")]) == 2
    assert "another process works there" in capsys.readouterr().err


@pytest.mark.parametrize("line, file", [
    ("from _lib.helper import half", "_lib/helper.py"),
    ("from pack import (\n    ex05,\n)\nhalf = ex05.half", "pack/ex05.py")])
def test_whatever_a_program_may_import_belongs_to_its_mark(line, file, tmp_path, graded):
    hand_in(tmp_path / "all" / "ann", f"{line}\n{KEY}")
    hand_in(tmp_path / "all" / "ann", "half = 2\n", file)
    table(tmp_path / "all", "02b")
    graded.clear()
    hand_in(tmp_path / "all" / "ann", "half = 0.5\n", file)
    table(tmp_path / "all", "02b")
    assert graded == [("ann", "02b")]


def test_what_nobody_reads_is_named(tmp_path, graded, capsys):
    """Names that are nearly those of a task, files without a student, and marks that are lost."""
    hand_in(tmp_path / "all" / "ann", KEY)
    hand_in(tmp_path / "all" / "ann", KEY, "ex02 (1).py")
    hand_in(tmp_path / "all", KEY, "zoe_ex02.py")
    (tmp_path / "all" / "_max").mkdir()
    table(tmp_path / "all", "02")
    (tmp_path / "out" / "ann.json").write_text('{"score": 2, "tes')
    assert "ex02 (1).py (no task has" in table(tmp_path / "all", "02")["ann"]["not read"]
    said = capsys.readouterr().out
    assert "each student needs a folder: _max, zoe_ex02.py" in said
    assert "ann.json: its marks are lost" in said


def test_what_python_can_read_of_a_notebook_counts(tmp_path):
    cells = ["%time\nONE: float = 1.0", "THIRD = float(1) / 3\ntorch.where?", "loss = train()",
             "def half(x, n):\n    return (x\n            % n)", "NINE = 9\n!ls"]
    hand_in(tmp_path, notebook(*cells), "ex02.ipynb")
    (text,) = Student(tmp_path, tmp_path).texts.values()
    space: dict = {}
    exec(text, space)
    assert (space["ONE"], space["THIRD"], space["NINE"]) == (1.0, 1 / 3, 9)
    assert space["half"](7, 4) == 3 and "loss" not in space


@pytest.mark.parametrize("cell", [
    "%time\ndef half(x, n):\n    return (x\n            % n)",
    "files = !ls\nif files:\n    %cd ..\ndef half(x, n):\n    return x % n",
    "half = lambda x, n: list([x % n])[0]",
    "table = {1: lambda x, n: x % n}\ndef half(x, n):\n    return table[1](x, n)",
    "import math\nLOG = math.log(1)\ndef half(x, n):\n    return x % n + LOG",
    "try:\n    import math as m\nexcept ImportError:\n    m = None\n"
    "def half(x, n):\n    return m.fmod(x, n)"])
def test_a_cell_means_what_it_means_in_its_notebook(cell, tmp_path):
    hand_in(tmp_path, notebook(cell), "work.ipynb")
    student, space = Student(tmp_path, tmp_path), {}
    (text,) = student.texts.values()
    exec(text, space)
    assert space["half"](7, 4) == 3 and definition(text, "half") and not student.not_read


def test_a_cell_that_python_cannot_read_is_named(tmp_path):
    hand_in(tmp_path, notebook("def sft_loss(logp:\n    return 1", RIGHT), "work.ipynb")
    student = Student(tmp_path, tmp_path)
    assert student.program("02b") and len(student.not_read) == 1
    assert student.not_read[0].startswith("work.ipynb (") and "def sft_loss" in student.not_read[0]


@pytest.mark.parametrize("body, begun", [
    ("raise NotImplementedError", False), ('"""Half."""\n    raise NotImplementedError()', False),
    ("if x:\n        return x\n    else:\n        raise NotImplementedError(x)", True),
    ("if x:\n        return x\n    raise NotImplementedError(x)", True)])
def test_a_stub_does_nothing_but_raise(body, begun):
    function = f"def half(x):\n    {body}\n"
    method = "class Half:\n" + "".join(f"    {line}\n" for line in function.splitlines())
    assert bool(definition(function, "half")) == bool(definition(method, "")) == begun


@pytest.mark.parametrize("name", ["ex02_final.py", "ex2.py", "Exercise 02.py", "EX02.PY",
                                  "zoe_ex02.py", "ex02v2.py", "my-mine.py", "week2/Ex02.py"])
def test_a_name_that_is_nearly_that_of_a_task_is_told(name, tmp_path):
    hand_in(tmp_path, KEY)
    for file in (name, "helper2.py", "text1.py", "determined.py", "._ex02.py"):
        hand_in(tmp_path, "", file)
    assert Student(tmp_path, tmp_path).not_read == [f"{Path(name)} (no task has a file of this "
                                                    "name)"]


def test_a_folder_that_is_a_link_is_named(tmp_path):
    hand_in(tmp_path / "far", KEY)
    hand_in(tmp_path / "ada", KEY, "ex03.py")
    (tmp_path / "ada" / "week2").symlink_to(tmp_path / "far", target_is_directory=True)
    student = Student(tmp_path / "ada", tmp_path)
    assert student.program("02b") is None and "week2 (" in student.not_read[0]


def test_a_program_that_has_begun_is_not_called_not_started(tmp_path, graded):
    """PyTorch raises this error, too, and so may a branch that is not written yet."""
    begun = {"torch": "import torch\ndef response_mask(tokens):\n"
                      "    return torch.arange(3).softmax(0)\n",
             "branch": RIGHT.replace("return", "raise NotImplementedError(reduction)\n    return")}
    for name, source in begun.items():
        hand_in(tmp_path / "all" / name, source)
    table(tmp_path / "all", "02")
    for name in begun:
        text = (tmp_path / "out" / f"{name}.md").read_text()
        assert "Right in " in text and "NotImplementedError: " in text, text


# ---- the container -------------------------------------------------------------------------------
@POSIX
@pytest.mark.parametrize("system", ["refuses it", "has none"])
def test_without_a_container_nobody_loses_a_point_and_all_are_told(system, tmp_path, monkeypatch,
                                                                   capsys):
    """Docker refuses it, and so does Ubuntu 24.04."""
    said = "bwrap: No permissions to create new namespace"
    if system == "refuses it":
        hand_in(tmp_path / "bin", f"#!/bin/sh\necho '{said}' >&2\nexit 1\n", "bwrap")
        (tmp_path / "bin" / "bwrap").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin" if system == "refuses it" else "/nowhere")
    hand_in(tmp_path / "all" / "ann", KEY)
    found = table(tmp_path / "all", "02")["ann"]
    assert found["points"] == "2" and found["without a container"] == "02a 02b"
    assert (said if system == "refuses it" else "is missing") in capsys.readouterr().out
    results = json.loads((tmp_path / "out" / "ann.json").read_text())
    assert "without a container: 02a, 02b" in results["output"]


@SHUT_IN
def test_the_project_may_lie_in_the_class_and_the_class_in_the_project(tmp_path):
    hand_in(tmp_path / "all" / "ann", KEY)
    for hidden in ([child.ROOT.parent], [tmp_path / "all"]):
        student, judge = Student(tmp_path / "all" / "ann", tmp_path), Judge(tasks()["02b"], 1)
        jobs = [job_for("02b", judge, *student.program("02b"))]
        assert isinstance(child.run_all(jobs, student.folder, hidden)["02b"], list)
