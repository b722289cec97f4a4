"""A class: each mark belongs to its program, whatever all the others do; the arena's verdict is
that of the scores; the plan of ten weeks, and the answers to the exam, are right."""
import csv
import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from programs.class_submissions import (
    CELLS,
    ENDS,
    HOSTILE,
    OTHERWISE,
    RIGHT,
    SEEN,
    SPY,
    WRONG,
    notebook,
)
from safetensors.torch import load_file

from lessons.behind.classroom import arena, exam
from lessons.behind.lesson_list import NUMBERS, lesson_of
from lessons.behind.tasks import call, child, grade, simple_parts
from lessons.behind.tasks.call import Seen, call_program, from_line, program_in, to_line
from lessons.behind.tasks.submission import Student, definition
from lessons.behind.tasks.task import KEYS, STUBS, Judge, Measure, Verdict, differ, tasks
from lessons.behind.website import pages
from nanouft import train
from nanouft.gpt import BASE
from nanouft.objective import Objective
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError
from nanouft.run.config import RunConfig, parse_run
from nanouft.run.folder import locked

POSIX = pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without limits")
SHUT_IN = pytest.mark.skipif(bool(child.no_container()), reason=child.no_container())
STUB = (STUBS / "ex12.py").read_text(encoding="utf-8")
KEY = "\n".join(["import torch", *(tasks()[name].source for name in ("12a", "12b"))])
KEY_OF_03 = (KEYS / "ex03.py").read_text(encoding="utf-8")
ROOT = child.ROOT


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """all/ has a folder for each student, out/ the marks."""
    monkeypatch.chdir(tmp_path)


def hand_in(student: str, source: str, name: str = "ex12.py") -> Path:
    file = Path("all", student, name)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(source)
    return file


def student_of(name: str = "ann") -> Student:
    return Student(Path("all", name), Path("out"))


def table(*which: str) -> dict[str, dict]:
    assert command(grade.main, ["all", *which, "--out", "out"]) == 0
    return {x["student"]: x for x in csv.DictReader(open("out/points.csv", encoding="utf-8"))}


def without_a_process(jobs, student, hidden) -> dict[str, list[Seen]]:
    found = {}
    for job in jobs:
        file = Path("here", student.name, job.file)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(job.text)
        program, missing = program_in(file, job.function)
        found[job.name] = [Seen(error="Missing", words=missing) if missing else
                           call_program(job.look, program, case, str(file)) for case in job.cases]
    return found


@pytest.fixture
def graded(monkeypatch) -> list[tuple[str, str]]:
    """Students and tasks in turn, as they are graded: here, without a process."""
    found = []

    def run_all(jobs, student, hidden):
        found.extend((student.name, job.name) for job in jobs)
        return without_a_process(jobs, student, hidden)
    monkeypatch.setattr(grade, "run_all", run_all)
    return found


# ---- one class, graded once ----------------------------------------------------------------------
NONE = "not handed in"
CLONED = [STUBS / "ex12.py", *(x for folder in ("behind/keys", "../nanouft/objectives")
                               for x in (ROOT / "lessons" / folder).resolve().glob("*.py"))]
NEAR = ["EX02.PY", "Exercise 02.py", "ex02 (1).py", "ex02_final.py", "ex02v2.py", "ex2.py",
        "my-mine.py", "zoe_ex02.py", str(Path("week2/Ex02.py"))]
ROOM = {        # student: files (a text: of ex12.py), and what is in the line of the table
    "stub": ({"ex12.py": STUB} | {f"{x}/ex12.py": KEY for x in ("__MACOSX", "_old", ".git")},
             {"12b": "0", "told": ["## 12b: 0\n\n    not started"]}),
    "notebook": ({"ex12.py": STUB, "deep/er/my work.ipynb": notebook(
        "%time\nimport torch", "raise SystemExit", "x = (", RIGHT, "f(3)")}, {"12b": "1"}),
    "nearer": ({"deep/er/my work.ipynb": notebook(KEY), "exercises/ex12.py": WRONG + "return 0"},
               {"12b": "0", "03a": NONE}),
    # in a clone only the exercises: keys lie in it too, and methods with the name of a piece
    "clone": ({x.relative_to(ROOT): x.read_text("utf-8") for x in CLONED}
              | {"lessons/exercises/luffy.py": KEY, "psft.py": KEY},
              {"points": "0", "12b": "0", "luffy": "0", "psft": "0", "03a": NONE,
               "ift: loss": NONE}),
    # begun: a branch that is not written yet raises the error of a stub, and so does PyTorch
    "raises": (RIGHT.replace("return", "raise NotImplementedError(eps)\n    return"),
               {"12b": "0", "told": ["Passes 0 of", "NotImplementedError: "]}),
    # deeper than Python's own tools can read
    "sum": ("def advantages(method, R):\n    return " + "+".join("1" * 1200), {"points": "0"}),
    "chain": (WRONG + "if beta == 0:\n        return 0\n" + "".join(
        f"    elif beta == {k}:\n        return 0\n" for k in range(400)), {"points": "0"}),
    "half": (KEY.replace(" * plain", ""), {"12b": "0.2"}),
    "=HYPERLINK(1)": (KEY, {"student": "'=HYPERLINK(1)", "points": "2"}),
    "near": (dict.fromkeys([*NEAR, *"ex02.py helper2.py text1.py determined.py ._ex02.py".split()],
                           KEY),
             {"not read": ", ".join(f"{x} (no task has a file of this name)" for x in NEAR)}),
    "unread": ({"ex12.ipynb": "{", "work.zip": KEY, "ex08.py.txt": KEY, "work.ipynb": notebook(
        "import torch\n\ndef grpo_push(logp:\n    return 1", KEY_OF_03)},
        {"12a": NONE, "12b": NONE, "03a": "1", "not read": [
            "work.zip (OSError('unpack it", "ex08.py.txt (", "ex12.ipynb (", "ex12.py (", "week2 (",
            "work.ipynb (cell 'grpo_push': ", "(this cell, line 3)"]})}


@pytest.fixture(scope="module")
def room(tmp_path_factory) -> dict[str, dict]:
    """{student: its line of the table, and the text to hand back}"""
    with pytest.MonkeyPatch.context() as now:
        now.chdir(tmp_path_factory.mktemp("room"))
        now.setattr(grade, "run_all", without_a_process)
        for student, (files, _) in ROOM.items():
            for name, source in (files if isinstance(files, dict) else {"ex12.py": files}).items():
                hand_in(student, source, name)
        Path("all/unread/ex12.py").symlink_to(Path("all/half/ex12.py").resolve())
        Path("all/unread/week2").symlink_to(Path("all/half").resolve(), target_is_directory=True)
        Path("out").mkdir()
        Path("out/seed.txt").write_text("1")
        lines = table("03", "ex12", "ift", "luffy", "psft").values()
        return {name: line | {"told": Path("out", f"{name}.md").read_text()}
                for name, line in zip(sorted(ROOM), lines)}


@pytest.mark.parametrize("student", ROOM)
def test_a_student_gets_what_is_right_and_is_told_what_was_not_read(student, room):
    for what, wanted in ROOM[student][1].items():
        said = room[student][what]
        assert said == wanted or isinstance(wanted, list) and all(x in said for x in wanted), what


# ---- which program counts ------------------------------------------------------------------------
def test_a_notebook_may_hold_every_task_that_is_a_function():
    """A piece asks twice about one function."""
    for name in (name for name, task in tasks().items() if task.name):
        hand_in(name, notebook(tasks()[name].source), "work.ipynb")
        assert student_of(name).program(name), name


@pytest.mark.parametrize("cells", CELLS)
def test_a_cell_means_what_it_means_in_its_notebook(cells):
    """All of these make the same function."""
    hand_in("ann", notebook(*cells), "work.ipynb")
    student, space = student_of(), {}
    (text,) = student.texts.values()
    exec(text, space)
    assert space["half"](7, 4) == 3 and definition(text, "half") and not student.not_read


def test_notebooks_of_the_project_count_and_their_helpers_and_what_is_imported_do_not(graded):
    """07, 09 and 12b have helpers with the names of other tasks."""
    pytest.importorskip("jupytext")
    for name in ("07a", "09a", "12c"):
        lesson = NUMBERS[lesson_of(name)]
        pages.write_notebook(lesson, hand_in("ann", KEY).parent, "")
        file = Path("all/ann", lesson.with_suffix(".ipynb").name)
        body = json.dumps("import math\n" + tasks()[name].source.partition("\n")[2])[1:-1]
        file.write_text(file.read_text("utf-8").replace("raise NotImplementedError", body))
    assert student_of().program("dpo_loss") is student_of().program("una_loss") is None
    hand_in("ann", Path(simple_parts.simple.__file__).read_text("utf-8"), "mine.py")
    hand_in("bob", "from nanouft.simple import *\n", "mine.py")
    found = table("02", "07", "09", "12", "12c", "dpo_loss")
    assert (found["ann"]["points"], found["bob"]["points"]) == ("5", "0")


@pytest.mark.parametrize("body, begun", [
    ("raise NotImplementedError", False), ('"""Half."""\n    raise NotImplementedError()', False),
    ("if x:\n        return x\n    else:\n        raise NotImplementedError(x)", True),
    ("if x:\n        return x\n    raise NotImplementedError(x)", True)])
def test_a_stub_does_nothing_but_raise(body, begun):
    function = f"def half(x):\n    {body}\n"
    method = "class Half:\n" + "".join(f"    {line}\n" for line in function.splitlines())
    assert bool(definition(function, "half")) == bool(definition(method, "")) == begun
    again = "def half(x):\n    return x / 2\n"         # of two the last one counts, as in Python
    assert definition(again + function, "half") is None or begun
    assert definition(function + again, "half").lineno > 1


# ---- a mark belongs to the bytes that it was given for -------------------------------------------
AGAIN = [       # in turn, a file and what it gets more; whose exercises are graded then
    ("all/ann/ex12.py", KEY, "ann12"), ("all/bob/ex12.py", KEY, "bob12"),
    ("all/ann/ex03.py", KEY_OF_03, "ann03"), ("all/ann/ex12.py", "1\n", "ann12"),
    ("all/ann/_lib/helper.py", "1\n", "ann03 ann12"), ("all/ann/ex06.py", "1\n", "ann03 ann12"),
    ("all/ann/pack/ex05.py", "1\n", "ann03 ann12"), ("all/ann/ex07.py", "1\n", ""),
    ("all/ann/notes.txt", "1\n", ""), ("keys/ex12.py", "1\n", "ann12 bob12"),
    ("keys/ex09.py", "1\n", ""), ("out/seed.txt", "1", "ann03 ann12 bob12"),
    ("out/ann.json", "and more", "ann03 ann12")]


def test_what_a_program_may_import_its_judge_and_it_itself_make_a_new_mark(graded, monkeypatch,
                                                                           capsys):
    """Also in a task of earlier weeks. All other marks stay, and nothing is left out in silence."""
    shutil.copytree(KEYS, "keys")
    monkeypatch.setattr(grade, "KEYS", Path("keys").resolve())
    hand_in("ann", "from _lib.helper import half\nfrom pack import (\n    ex05,\n)\n"
            "from ex06 import balance\n", "own.py")
    for name in ("_lib/helper.py", "pack/ex05.py", "ex06.py", "ex07.py", "notes.txt"):
        hand_in("ann", "half = 2\n", name)
    for name in ("bob", "_max"):
        Path("all", name).mkdir()
    hand_in("", KEY, "zoe_ex12.py")
    Path("all/eve").symlink_to("ann")
    for k, (file, more, again) in enumerate(AGAIN):
        graded.clear()
        with open(file, "a") as some:
            some.write(more)
        found = table("ex12" if k < 2 else "03")
        assert {f"{student}{name[:2]}" for student, name in graded} == {*again.split()}, file
    assert [found["ann"][x] for x in ("points", "12a", "12b", "03a")] == ["3", "1", "1", "1"]
    assert (found["bob"]["points"], found["bob"]["03a"]) == ("2", NONE)
    results = json.loads(Path("out/ann.json").read_text())
    assert [x["name"] for x in results["tests"]] == ["03a", "12a", "12b", "12c"]
    assert results["score"] == 3
    with locked(Path("out"), "seed.txt"):
        assert command(grade.main, ["all", "--out", "out"]) == 2
    said = "".join(capsys.readouterr())
    for words in ("a link, or a name that begins with _): _max, eve, zoe_ex12.py",
                  "ann.json: its marks are lost", "is in use by another"):
        assert words in said


def test_a_process_that_was_ended_is_tried_again(monkeypatch):
    """It may have been the computer's fault."""
    hand_in("ann", KEY)
    for said in ("it exited", [Seen()]):
        monkeypatch.setattr(grade, "run_all", lambda jobs, *more, said=said:
                            {job.name: said for job in jobs})
        table("ex12")
        assert ("it exited" in Path("out/ann.md").read_text()) == isinstance(said, str)


# ---- one student's files, and all others ---------------------------------------------------------
def test_what_is_wrong_has_half_of_the_share_of_its_cases_that_is_right(monkeypatch):
    judge = Judge(tasks()["12b"], 0)
    for share, mark in ((0.19, 0), (0.2, 0.1), (0.39, 0.1), (1 - 1e-3, 0.4)):
        monkeypatch.setattr(Judge, "verdict", lambda self, seen, share=share: Verdict("no", share))
        assert grade.new_mark(judge, "12b", [], "")["score"] == mark
    assert all(grade.one_line(f"{sign}1") == f"'{sign}1" for sign in "=+-@")


def test_what_comes_back_is_plain_data():
    seen = Seen({"gives": [torch.tensor([[1.5, float("nan")]]).double(), None, "yes", 2]})
    again = from_line(to_line(seen))
    torch.testing.assert_close(again.values["gives"][0], seen.values["gives"][0], equal_nan=True)
    assert again.values["gives"][1:] == [None, "yes", 2]
    for x in (True, np.array(True), torch.tensor(True)):
        assert call.shown(call.plain([x, 1])) == "[True, 1]"
    judge = Judge(tasks()["12b"], 0)
    for calls in ([], [Seen()], [Seen()] * len(judge.cases), [Seen()] * 99,
                  [Seen({"gives": [[[]]]})] * 60):
        assert grade.new_mark(judge, "12b", calls, "")["score"] < 1
    assert "Does it start a process" in grade.new_mark(judge, "12b", [Seen()] * 99, "")["output"]


def test_each_file_has_a_process_of_its_own(monkeypatch):
    """So a right program loses nothing by what another file of its student sets in PyTorch."""
    seen = []

    def run_some(jobs, *more):
        seen.append([job.name for job in jobs])
        return {name: ([], True) for name in seen[-1]}, ""
    monkeypatch.setattr(child, "run_until_one_fails", run_some)
    child.run_all([child.Job(name, "", "", Path(), text, None, [], 1) for name, text in (
        ("00a", "one file"), ("12a", "another"), ("12b", "another"))], Path(), [])
    assert seen == [["00a"], ["12a", "12b"]]


@POSIX
def test_a_process_that_ends_before_it_begins_is_no_wrong_program(monkeypatch, capsys):
    """A full disk, or a PyTorch that cannot be read: what it says last is told."""
    broken = Path("python")
    broken.write_text("#!/bin/sh\necho 'No space left' >&2\nexit 7\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(child, "PYTHON", broken.resolve())
    hand_in("ann", KEY)
    assert command(grade.main, ["all", "ex12", "--out", "out"]) == 2
    assert "it exited (exit code 7); No space left" in capsys.readouterr().err
    assert not Path("out/points.csv").exists()


# ---- in processes of their own -------------------------------------------------------------------
@pytest.fixture(scope="module")
def of_class(tmp_path_factory) -> dict[str, list[dict]]:
    """A class that is graded once, with a second of computing: the marks of each student.
    A spy only where there is a container."""
    place = tmp_path_factory.mktemp("class")
    programs = {name: source for name, (source, _) in ENDS.items()} | {
        "ends 12a": RIGHT + "\ndef advantages(method, R):\n    import os\n    os._exit(0)\n"}
    if not child.no_container():
        programs["spy"] = SPY.replace("ROOT", str(ROOT)).replace("CLASS", f"{place}/all")
    with pytest.MonkeyPatch.context() as now:
        now.chdir(place)
        now.setenv("A_TOKEN", "of the teacher")
        for name in ("12a", "12b"):
            now.setattr(tasks()[name], "seconds", 1)
        for name, source in programs.items():
            hand_in(name, source)
        for name, source in {"ex12.py": "from ex03 import halve\nfrom helper import grpo_push\n",
                             "ex03.py": "halve = 2\n", "helper.py": RIGHT}.items():
            hand_in("neighbours", source, f"week 2/{name}")
        hand_in("index", notebook("def grpo_push(logp=[][1]):\n    return 1"), "my work.ipynb")
        return {name: json.loads(Path("out", f"{name}.json").read_text())["tests"]
                for name in table("12a", "12b")}


@POSIX
def test_limits_are_told_apart_and_a_process_that_a_file_ends_costs_one_task(of_class):
    """Another one goes on with the next. A file imports its neighbours."""
    for name, (_, words) in ENDS.items():
        assert words in of_class[name][1]["output"], name
    assert "my work.ipynb stops when it is loaded: Ind" in of_class["index"][1]["output"]
    scores = {name: [mark["score"] for mark in marks] for name, marks in of_class.items()}
    assert {name for name, x in scores.items() if sum(x)} == {"ends 12a", "neighbours"}
    assert scores["ends 12a"] == scores["neighbours"] == [0, 1]


@SHUT_IN
def test_a_program_sees_nothing_that_it_does_not_need_and_changes_nothing(of_class):
    assert f"ValueError: {SEEN}\n" in of_class["spy"][1]["output"]


@pytest.mark.parametrize("lines", [
    "say('begin', '12a')\nwhile True: say('', 1000 * 'x')",
    "for k in '12':\n    say('begin', '12a')\n    say('Error' * (k == '1'), k)\nsay('end', '')"])
def test_lines_that_a_process_writes_itself_are_no_result(lines, monkeypatch):
    """One that writes for ever waits for the judge, slow here at the first line, whose memory it
    would fill. One that begins twice does not take back what was wrong."""
    said = Path("said").resolve()
    text = f"""
import json, os
def say(*x):
    os.write(1, json.dumps([{{}}, *x]).encode() + b"\\n")
    open({str(said)!r}, "a").write("x")
{lines}"""
    monkeypatch.setattr(child, "container", lambda *told: [sys.executable, "-c", text])
    monkeypatch.setattr(child, "from_line",
                        lambda line: time.sleep(len(line) < 100) or from_line(line))
    job = child.Job("12a", "", "ex12.py", Path.cwd(), "", None, [], 1)
    assert "no result" in child.run_all([job], Path.cwd(), [])["12a"]
    most = child.MOST_RESULTS
    assert "while" not in lines or most <= len(said.read_text()) < 4 * most


@POSIX
@pytest.mark.slow
def test_nothing_that_a_program_does_gives_it_a_point_or_costs_another_one():
    """Without a container a program may end its judge, here this test."""
    for name, source in HOSTILE.items():
        if name != "server" or not child.no_container():
            hand_in(name, source)
    hand_in("honest", RIGHT)
    hand_in("zoe", OTHERWISE)
    hand_in(os.fsdecode(b"Jos\xe9"), RIGHT)
    Path("all/pipe").mkdir()
    os.mkfifo("all/pipe/ex12.py")
    points = {name for name, x in table("12b").items() if x["points"] == "1"}
    assert points == {"honest", "zoe", "Jos\\udce9"}


@POSIX
def test_without_a_container_nobody_loses_a_point_and_all_are_told(monkeypatch, capsys):
    """Docker refuses it, and so does Ubuntu 24.04."""
    monkeypatch.setenv("PATH", "/nowhere")
    assert "is missing" in child.no_container() and child.container(ROOT, []) == []
    said, bwrap = "bwrap: No permissions to create new namespace", Path("bin/bwrap")
    bwrap.parent.mkdir()
    bwrap.write_text(f"#!/bin/sh\necho '{said}' >&2\nexit 1\n")
    bwrap.chmod(0o755)
    monkeypatch.setenv("PATH", f"{bwrap.parent.resolve()}:/bin")
    monkeypatch.setenv("A_TOKEN", "of the teacher")
    hand_in("ann", KEY)
    hand_in("eve", f"import os\n{WRONG}raise ValueError({{*os.environ}} & {{'A_TOKEN', 'PATH'}})")
    found = table("12a", "12b")["ann"]
    assert found["points"] == "2" and found["without a container"] == "12a 12b"
    assert "ValueError: {'PATH'}" in Path("out/eve.md").read_text()
    assert said in capsys.readouterr().out
    results = json.loads(Path("out/ann.json").read_text())
    assert "without a container: 12a, 12b" in results["output"]


ANYWHERE = """
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from lessons.behind.tasks.child import PYTHON, ROOT, container_command
leaves = [PYTHON, "-c", "import nanouft, lessons, away; open('left', 'w')"]
for around in "./ä b", "/var/tmp", "/dev/shm":
    for student in map(Path, (".", "./ä b", "/", "/tmp", ROOT, ROOT / "lessons/exercises")):
        with TemporaryDirectory(dir=around) as room:
            hidden, room = [ROOT.parent, Path.cwd()], Path(room).resolve()
            subprocess.run([*container_command(student.resolve(), hidden, room), *leaves])
            if not (room / "left").exists():
                print(student, "cannot write into", room)
"""


@SHUT_IN
def test_student_project_python_and_what_is_left_may_lie_anywhere(monkeypatch):
    """In each other, too, and .venv may be a link: what lies deeper is mounted later."""
    Path("ä b/more/away").mkdir(parents=True)       # packages of a .pth, or of PYTHONPATH
    monkeypatch.syspath_prepend(Path("ä b/more").resolve())
    Path("ä b/.venv").symlink_to(sys.prefix)
    python = Path("ä b/.venv", *Path(sys.executable).parts[-2:]).absolute()
    done = subprocess.run([python, "-c", ANYWHERE], capture_output=True, text=True,
                          env=child.environment())
    assert not done.stdout + done.stderr


# ---- the arena -----------------------------------------------------------------------------------
ENTRY = """from nanouft.objective import Objective

class Mine(Objective):
    heavy: float = 3.0              # weight of the end

    def loss(self, batch):
        s = batch.seqs["answer"]
        return -s.mean(s.logp).sum() / batch.n, {}
"""


@pytest.mark.parametrize("part, instead, told", [
    ("def loss", "def choose", "choose may not be changed here"),
    ("heavy: float = 3.0", 'data = "pairs"', "data may not be changed here"),
    ("class Mine", "class One(Objective):\n    pass\n\nclass Mine", "has 2 classes"),
    ("class Mine", "import helper\n\nclass Mine", r"imports helper\.py; an entry is one file"),
    ("return", "return (", "cannot be read")])
def test_an_entry_writes_its_loss_alone(part, instead, told):
    file = Path("mine.py")
    file.write_text(ENTRY, encoding="utf-8-sig")                # as Windows' Notepad saves it
    arena.check_entry(file)
    Path("helper.py").touch()
    file.write_text(ENTRY.replace(part, instead))
    with pytest.raises(UserError, match=told):
        arena.check_entry(file)
    with pytest.raises(UserError, match="dft is a method of nanouft"):
        arena.check_entry(Path("dft.py"))


def test_the_table_keeps_all_entries_and_names_them_by_their_paths(monkeypatch, capsys):
    """After each entry its line is in the file: whoever interrupts a class loses one of them. A
    line of the same entry and task takes the place of the old one."""
    seen = []

    def enter(entry, file, task, seed, workers):
        seen.append((arena.CSV.read_text().count("/mine"), seed))
        return {"score": 50 + len(seen), "lead": 1.0, "half": 0.5}
    monkeypatch.setattr(arena, "evaluate_entry", enter)
    with pytest.raises(UserError, match="--guess nan: must be a finite number"):
        arena.main(["all", "--guess", "nan"])
    for name in ("ada", "bob"):
        hand_in(name, ENTRY, "mine.py")
    for words, lines in (("all", "ada/mine,stop,51 bob/mine,stop,52"),
                         ("all/ada/mine.py", "ada/mine,stop,51 bob/mine,stop,52 mine,stop,53"),
                         ("all", "ada/mine,stop,54 bob/mine,stop,55 mine,stop,53")):
        assert arena.main([words, "--guess", "0"]) == 0
        _, *written = arena.CSV.read_text().splitlines()
        assert [line.partition(",1.0")[0] for line in written] == lines.split()
    monkeypatch.setenv("PATH", "/nowhere")
    arena.main(["all/ada/mine.py", "--test-seed", "0"])
    assert "without a container (bubblewrap is missing)" in capsys.readouterr().out
    assert seen[:2] == [(0, None), (1, None)] and seen[-1] == (2, 0)


def test_what_an_entry_leaves_is_its_weights():
    """They are those of a method with the same loss. The verdict never comes from what a program
    prints: without weights there is none."""
    Path("mine.py").write_text(ENTRY)
    Path("ends.py").write_text(f"import os; print('verdict: better'); os._exit(0)\n{ENTRY}")
    rest = ("--skills list --rows 16 --steps 2 --batch-size 8 --lr 2e-5 --seed 0 --init base "
            "--plain --items 0 --threads 1 --device cpu").split()
    for name in ("mine", "ends"):
        Path("out", name).mkdir(parents=True)

    def entry(name: str) -> RunConfig:
        sft = parse_run(["--objective", "sft", *rest, "--out", f"out/{name}"])
        return replace(sft, method=f"{name}.py", cls=Objective)     # as `enter` has it
    with pytest.raises(UserError, match="it exited and saved no weights"):
        arena.train_in_container(entry("ends"))
    arena.train_in_container(entry("mine"))
    train.main(["--objective", "sft", "--reduction", "sequence", *rest, "--out", "out/sft"])
    mine, sft = (load_file(f"out/{name}/model.safetensors") for name in ("mine", "sft"))
    base = load_file(BASE / "model.safetensors")
    assert all(torch.equal(x, sft[name]) for name, x in mine.items())
    assert any(not torch.equal(x, base[name]) for name, x in mine.items())


# ---- the plan of ten weeks, and the exam ---------------------------------------------------------
PAGE = (ROOT / "docs" / "teaching.md").read_text(encoding="utf-8")
EXERCISE = re.compile(r"\b\d\d[a-z]\b")


def part_of(heading: str) -> str:
    """The text below a heading of docs/teaching.md."""
    return PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def test_the_ten_weeks_hold_every_lesson_and_every_part_of_the_own_program_once():
    """And name an exercise in the week of its lesson, or as optional; the weights add up to 100."""
    lines = re.findall(r"^\| (\d+ \|.*) \|$", part_of("Ten weeks"), re.M)
    weeks = [line.split("|") for line in lines]             # number, lessons, exercises, parts ...
    lessons = [re.findall(r"\b\d\db?\b", week[1]) for week in weeks]
    assert len(lessons) == 10
    assert sum(lessons, []) == [*NUMBERS]
    named = [name for week in weeks for name in re.findall(r"`(\w+)`", week[3])]
    assert sorted(named) == sorted(simple_parts.PARTS)
    for week, here in zip(weeks, lessons):
        exercises = EXERCISE.findall(week[2].partition("[")[0])
        assert {name[:2] for name in exercises} <= {*here}
    assert {*EXERCISE.findall(PAGE)} <= {*tasks()}
    numbered = {name for name in tasks() if name[0].isdigit()}
    assert numbered <= {*EXERCISE.findall(part_of("Ten weeks"))}
    assert sum(map(int, re.findall(r"\| (\d+) \|$", part_of("Ten weeks"), re.M))) == 100


def test_the_loss_of_ours_that_the_page_enters_in_the_arena_may_be_entered():
    ((file, name, task),) = re.findall(r"copy `(\S+)` to (\S+), .* arena \2 --task (\w+)", PAGE)
    arena.check_entry(shutil.copy(ROOT / file, Path(name)))
    assert task in arena.TASKS


def test_the_limits_of_an_exercise_are_those_of_the_check():
    grading = part_of("Grading")
    for limit, value in (("computing", f"{call.SECONDS} seconds"),
                         ("processes and threads", f"{child.PROCESSES}"),
                         ("memory", f"{child.GIGABYTES} GB"),
                         ("each file", f"{child.BYTES // 2**20} MB")):
        assert f"| {limit} | {value} |" in grading


def test_the_self_test_s_program_prints_its_answer(capsys):
    code = part_of("What students must know").split("```python\n")[1].split("```")[0]
    exec(compile(code, "docs/teaching.md", "exec"), {})
    assert f"\n5. {capsys.readouterr().out.strip()}. " in PAGE


@pytest.mark.parametrize("name", [name for name in tasks() if name[0].isdigit()])
def test_the_call_that_a_question_shows_gives_its_answer(name):
    """Its numbers are shown with four digits. The text is that of the exercise."""
    for seed in range(5):
        question = exam.numeric_question(name, seed)
        shown, text = question.asked.split("\n\n", 2)[1:]
        found, told = (eval(x.strip(), {"torch": torch, tasks()[name].name: tasks()[name].right})
                       for x in (shown, question.answer))
        assert not differ("gives", found, told, Measure(1e-2, 1e-2))
        assert text.startswith(f"    {name}. ") and question.lesson == lesson_of(name)


@pytest.mark.parametrize("before, many", [("", 8), ("03", 3), ("09", 3), ("17", 5)])
def test_a_seed_draws_questions_of_earlier_lessons_and_they_hold_no_answer(before, many, capsys):
    drawn = exam.exam(1, many, before)
    lessons = [x.lesson for x in drawn]
    assert len({*drawn}) == many and lessons == sorted(lessons, key=[*NUMBERS].index)
    assert not before or {*lessons} <= {*[*NUMBERS][:[*NUMBERS].index(before)]}
    assert drawn == exam.exam(1, many, before) != exam.exam(2, many, before)
    flags = ["--seed", "1", "--questions", f"{many}", "--before", before]
    assert command(exam.main, flags) == 0
    said, asked, right = capsys.readouterr().out, *(
        (exam.OUT / "1" / f"{name}.md").read_text() for name in ("questions", "answers"))
    assert command(exam.main, flags) == 2                       # words may have been changed there
    assert "out/exam/1: already exists" in capsys.readouterr().err
    for _, question, answer in drawn:
        assert question in said and question in asked and answer in right
        assert question.startswith("What does this call give?") or answer not in said + asked
        assert not re.search(r"Difficulty|you\s+are\s+done", question)


def test_more_questions_than_there_are_and_no_lesson_are_refused(capsys):
    many = sum(name[0].isdigit() for name in tasks()) + 2 * len(NUMBERS)
    assert {x.lesson for x in exam.exam(0, many)} == {*NUMBERS}
    for flags, words in (("--before 02", "1 to 6 before lesson 02"), ("--before 99", "lesson '99'"),
                         ("--lessons 00 08", "lesson '08'"), ("--before 5", "lesson '05'"),
                         ("--questions 99", f"1 to {many}"),
                         ("--questions 0 --lessons 00", "1 to 3")):
        assert command(exam.main, flags.split()) == 2 and words in capsys.readouterr().err
