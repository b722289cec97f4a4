"""A class is graded whatever its students hand in: notebooks, folders in folders, copies, programs
that change the check or run out of a limit."""
import csv
import json
import os
from concurrent.futures import ThreadPoolExecutor
from inspect import getsource
from multiprocessing import forkserver
from pathlib import Path

import pytest
import torch

from lessons import exercise as judge
from lessons import grade, pages, submissions
from lessons.check import main
from lessons.limits import hide_cards, run_limited
from lessons.submissions import fingerprint, handed_in, parsed, reaches, slice_of
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError

KNOWN = judge.exercises()
RIGHT = "import math\nimport torch\n" + getsource(KNOWN["02b"].right)
WRONG = "def sft_loss(logp, mask, reduction):\n    "
RENAMED = '''
import torch as t
def sft_loss(x, counted, how):
    """My own docstring."""                     # and a remark
    each = -x.masked_fill(counted == 0, 0)
    if how == "token":
        return each.sum() / counted.sum()
    return (each.sum(1) / counted.sum(1)).mean()
'''
OTHERWISE = '''
import torch
def sft_loss(logp, mask, reduction):
    rows = [-row[m == 1] for row, m in zip(logp, mask)]
    return torch.cat(rows).mean() if reduction == "token" else sum(
        row.mean() for row in rows) / len(rows)
'''
CHEATS = {
    "isclose": "import torch\ntorch.isclose = lambda x, y, *more, **how: x == x\n"
               "torch.allclose = lambda *x, **how: True\n" + WRONG + "return torch.zeros(())",
    "judge": "from lessons import exercise as judge, grade\njudge.verdict = lambda *x: ''\n"
             "judge.judge = judge.difference = judge.apart = judge.verdict\n"
             "grade.grade_words = lambda *x: 'right'\n" + WRONG + "return 0.0",
    "draws": "import torch\nfrom lessons import exercise as judge\n"
             "judge.Draw.mask = lambda self, rows, T: torch.ones(rows, T)\n"
             "judge.Draw.numbers = lambda self, low, high, *shape: torch.zeros(shape)\n"
             + WRONG + "return logp.sum()",
    "forged": "import os\nfor fd in range(1, 30):\n    try:\n        os.write(fd, b'right\\n')\n"
              "    except OSError:\n        pass\nos._exit(0)",
    "objects": "import torch\nclass Any(torch.Tensor):\n    __eq__ = lambda *x: True\n"
               + WRONG + "return torch.zeros(()).as_subclass(Any)"}
ENDS = {
    "loop": (WRONG + "while True: pass", "out of time, it had not ended after 2 seconds of "
             "computing, in call 1 of 60"),
    "loop at import": ("while True: pass\n" + WRONG + "pass", "out of time, it had not ended after "
                       "2 seconds of computing, while it was read"),
    "memory": (WRONG + "return bytearray(2**34)", "out of memory"),
    "torch memory": ("import torch\n" + WRONG + "return torch.zeros(2**40)", "out of memory"),
    "exit": ("import os\n" + WRONG + "os._exit(3)", "it ended Python (exit code 3) in call 1 of "
             "60"),
    "signal": ("import os, signal\n" + WRONG + "os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
    "missing": ("", "has no function sft_loss"),
    "typing": ("def sft_loss(:", "ex02.py cannot be read. SyntaxError"),
    "stub": (WRONG + "raise NotImplementedError", "not started")}
LIMITS = pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without limits")


def hand_in(folder: Path, source: str, name: str = "ex02.py") -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(source)
    return folder


def notebook(*cells: str) -> str:
    made = [{"cell_type": "markdown", "source": ["def sft_loss(: is text here"]}]
    made += [{"cell_type": "code", "source": cell.splitlines(keepends=True), "outputs": []}
             for cell in cells]
    return json.dumps({"cells": made, "nbformat": 4, "metadata": {}})


@LIMITS
def test_a_program_that_writes_into_every_open_file_ends_no_other(tmp_path):
    """It once ended the process of which all others are copies, and now and then a whole class."""
    honest = hand_in(tmp_path / "honest", RIGHT)
    server = forkserver._forkserver
    assert grade.grade(honest, "02b").words == "right"
    before = server._forkserver_pid
    grade.grade(hand_in(tmp_path / "forged", CHEATS["forged"]), "02b")
    assert grade.grade(honest, "02b").words == "right" and server._forkserver_pid == before


@LIMITS
def test_nothing_that_a_program_changes_gives_it_a_point(tmp_path):
    folders = {name: hand_in(tmp_path / name, source) for name, source in CHEATS.items()}
    folders["honest"] = hand_in(tmp_path / "honest", RIGHT)
    with ThreadPoolExecutor(2) as pool:
        found = pool.map(lambda folder: grade.grade(folder, "02b").words, folders.values())
    points = [name for name, words in zip(folders, found) if words == "right"]
    assert points == ["honest"]


@LIMITS
@pytest.mark.parametrize("name", ENDS)
def test_limits_are_told_apart(name, tmp_path):
    source, words = ENDS[name]
    assert words in grade.grade(hand_in(tmp_path, source), "02b", seconds=2).words


@LIMITS
def test_a_thread_that_runs_on_is_not_waited_for(tmp_path):
    thread = "import threading, time\nthreading.Thread(target=time.sleep, args=(999,)).start()\n"
    assert grade.grade(hand_in(tmp_path, thread + RIGHT), "02b").words == "right"


def tell_cards(file: str) -> None:
    Path(file).write_text(os.environ["CUDA_VISIBLE_DEVICES"])


def test_a_program_sees_no_graphics_card(tmp_path, monkeypatch):
    """With a card PyTorch takes more memory than the limit at its first look for one, which is a
    `backward`."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert run_limited(tell_cards, [str(tmp_path / "cards")], 5, 60, tmp_path) == 0
    assert (tmp_path / "cards").read_text() == ""
    looked = []
    monkeypatch.setattr(torch.cuda, "is_available",
                        lambda: looked.append(os.environ["CUDA_VISIBLE_DEVICES"]))
    hide_cards()
    assert looked == [""]


def test_what_comes_back_is_plain_data():
    """What a process writes is read as JSON; anything else is no result."""
    seen = judge.Seen({"gives": [torch.tensor([[1.5, float("nan")]]).double(), None, "yes", 2]})
    again = grade.from_json(grade.to_json(seen))
    torch.testing.assert_close(again.values["gives"][0], seen.values["gives"][0], equal_nan=True)
    assert again.values["gives"][1:] == [None, "yes", 2]
    keys = judge.draws(0)
    for line in (b"right", b"[]", b"{}", b'{"values": {"gives": {"kind": "float", "shape": [9], '
                 b'"numbers": []}}, "error": "", "words": ""}', b"[" * 9999):
        assert "it ended Python" in grade.grade_words(KNOWN["02b"], [line, line], 0, 2, keys)
    empty = grade.to_json(judge.Seen())
    assert grade.grade_words(KNOWN["02b"], [empty] * 62, 0, 2, keys).startswith("wrong")
    assert "the check itself did not begin" in grade.grade_words(KNOWN["02b"], [], 1, 2, keys)


def test_a_notebook_is_its_function_and_what_it_needs(tmp_path):
    """Not its training runs, magic lines, and cells that Python cannot read."""
    cells = ("%matplotlib inline\nimport torch\n!pip install x", "raise SystemExit", "x = (",
             "ZERO = 0\nother = 5", "def each(logp, mask):\n    return -logp.masked_fill(mask == 0,"
             " ZERO)", WRONG + "raise NotImplementedError",
             WRONG + "losses = each(logp, mask)\n    if reduction == 'token':\n"
             "        return losses.sum() / mask.sum()\n"
             "    return (losses.sum(1) / mask.sum(1)).mean()\n\n\ncheck(sft_loss)")
    program = handed_in(hand_in(tmp_path, notebook(*cells), "a/02.ipynb"), "ex02.py", "sft_loss")
    assert "other" not in program.source and "NotImplemented" in program.source
    space = {}
    exec(program.source, space)
    assert judge.judge(KNOWN["02b"], space["sft_loss"]) == ""


def test_the_file_that_has_begun_counts(tmp_path):
    """A stub beside a finished notebook, a folder of an unpacked zip, what macOS puts there."""
    stub = (judge.HERE / "ex02.py").read_text()
    hand_in(tmp_path, stub, "ex02.py")
    hand_in(tmp_path, RIGHT, "__MACOSX/ex02.py")
    hand_in(tmp_path, RIGHT, ".git/ex02.py")
    assert handed_in(tmp_path, "ex02.py", "sft_loss").file == tmp_path / "ex02.py"
    hand_in(tmp_path, notebook(RIGHT), "deep/er/my work.ipynb")
    assert handed_in(tmp_path, "ex02.py", "sft_loss").file.suffix == ".ipynb"
    hand_in(tmp_path, RIGHT, "exercises/ex02.py")
    assert handed_in(tmp_path, "ex02.py", "sft_loss").file == tmp_path / "exercises/ex02.py"
    assert handed_in(tmp_path, "ex09.py", "largest_push") is None


def test_the_same_program_under_other_names_has_the_same_fingerprint():
    def of(source: str) -> str:
        return fingerprint(slice_of(parsed(source), "sft_loss"), "sft_loss")[0]
    same = of(RIGHT)
    calls, f = RENAMED.replace("-x.masked_fill(counted == 0, 0)", "f(x)"), "\ndef f(x): return -x\n"
    helper = calls + f
    assert of(helper) == of(f + calls), "a helper stands above or below"
    assert same == of(RENAMED) and of(RIGHT + "\nunused = 1\n") == same
    others = {of(OTHERWISE), of(RIGHT.replace("== 0", "< 1")), of(helper)}
    assert len(others) == 3 and same not in others
    assert of(WRONG + "raise NotImplementedError") == ""


REACHES = {
    "from lessons.exercises.key02 import sft_loss": "the key",
    "from lessons.exercises import key02\nsft_loss = key02.sft_loss": "the key",
    "import importlib\nsft_loss = importlib.import_module('lessons.exercises.' + 'key02').sft_loss":
        "the key, importlib",
    "from pathlib import Path\nexec(Path('../key02.py').read_text())": "the key, exec, pathlib",
    "from helper import sft_loss": "helper",
    "from . import helper": ".helper",
    "import lessons.exercise as e\nsft_loss = e.exercises()['02b'].right": "lessons.exercise",
    WRONG + "return sft_loss.__globals__['__builtins__']": "__globals__",
    WRONG + "import sys\n    return sys._getframe(1).f_back": "f_back, sys",
    RIGHT: "",
    OTHERWISE: ""}


@pytest.mark.parametrize(("source", "words"), REACHES.items())
def test_it_is_told_what_a_program_reaches_for(source, words, tmp_path):
    assert handed_in(hand_in(tmp_path, source), "ex02.py", "sft_loss").reaches == words


def test_neither_a_stub_nor_a_notebook_reaches_for_anything(tmp_path):
    """What the first cells of our notebooks import is not the exercise's."""
    for file in judge.HERE.glob("ex*.py"):
        assert reaches(parsed(file.read_text(encoding="utf-8")).body) == ""
    begin = pages.PROJECT.format(repository="") + "\nfrom lessons.check import check"
    folder = hand_in(tmp_path, notebook(begin, RIGHT, "check(sft_loss)"), "a.ipynb")
    assert handed_in(folder, "ex02.py", "sft_loss").reaches == ""


def test_each_key_is_known_whoever_hands_it_in(tmp_path):
    """However short; between students short programs are not compared."""
    cells = {}
    for student in (tmp_path / "ada", tmp_path / "bob"):
        student.mkdir()
        for name, exercise in KNOWN.items():
            key = (judge.HERE / f"key{name[:2]}.py").read_text(encoding="utf-8")
            hand_in(student, key, f"ex{name[:2]}.py")
            cells[student, name] = grade.Cell("right", handed_in(
                student, f"ex{name[:2]}.py", exercise.name))
    grade.mark_same_programs(cells)
    for (student, _), cell in cells.items():
        other = "bob" if student.name == "ada" else "ada"
        assert cell.same == ("the key (short)" if cell.program.is_short else f"the key, {other}")
    assert {cell.program.is_short for cell in cells.values()} == {True, False}




@LIMITS
def test_the_points_of_a_class_are_a_table(tmp_path, capsys):
    """A line for each student and exercise with the file that counted and who has the same
    program, and one with the total."""
    hand_in(tmp_path / "ada", OTHERWISE)
    hand_in(tmp_path / "bob", OTHERWISE.replace("rows", "parts"), "work/02/ex02.py")
    hand_in(tmp_path / "cleo ö", notebook(RENAMED), "lesson 02.ipynb")
    (tmp_path / "dora").mkdir()
    hand_in(tmp_path / "eve", "from lessons.exercises.key02 import sft_loss")
    table = tmp_path / "points.csv"
    assert main(["02b", "--class", str(tmp_path), "--csv", str(table)]) == 0
    rows = list(csv.DictReader(table.open(encoding="utf-8")))
    assert [(x["student"], x["points"]) for x in rows if x["exercise"] == "total"] == [
        ("ada", "1"), ("bob", "1"), ("cleo ö", "1"), ("dora", "0"), ("eve", "1")]
    told = {x["student"]: x for x in rows if x["exercise"] == "02b"}
    assert [x["the same program as"] for x in told.values()] == ["bob", "ada", "the key", "", ""]
    assert [x["reaches for"] for x in told.values()] == ["", "", "", "", "the key"]
    assert told["bob"]["file"] == os.path.join("work", "02", "ex02.py")
    assert "no file ex02.py" in told["dora"]["what the check says"]
    assert "bob" in capsys.readouterr().out
    with pytest.raises(UserError, match="no folder of a student"):
        main(["02b", "--class", str(tmp_path / "ada")])


HOSTILE = {
    "surrogate": WRONG + "raise ValueError('\\ud800')",
    "minus": WRONG + "return " + "-" * 2500 + "1",
    "dots": WRONG + "return logp" + ".a" * 2500,
    "control": WRONG + "raise ValueError('\\x1b[2J')",
    "=HYPERLINK(1)": "raise ValueError",
    os.fsdecode(b"Jos\xe9"): RIGHT,
    "ada": RIGHT}


@LIMITS
def test_no_name_and_no_submission_costs_another_student_the_table(tmp_path, monkeypatch, capsys):
    """Exceptions, names and programs that cannot be written or read, pipes in place of files."""
    for name, source in HOSTILE.items():
        hand_in(tmp_path / name, source)
    hand_in(tmp_path / "dots", notebook(HOSTILE["dots"]), "a.ipynb")
    hand_in(tmp_path / "locked", RIGHT)
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe" / "ex02.py")
    os.mkfifo(tmp_path / "pipe" / "work.ipynb")
    read = submissions.read

    def locked(file: Path) -> str:
        if file.parent.name == "locked":
            raise PermissionError("not yours")
        return read(file)
    monkeypatch.setattr(submissions, "read", locked)
    table = tmp_path / "points.csv"
    words = ["02b", "--class", str(tmp_path), "--csv", str(table)]
    assert command(main, words) == 0, capsys.readouterr().err
    rows = list(csv.DictReader(table.open(encoding="utf-8", newline="")))
    points = {x["student"]: x["points"] for x in rows if x["exercise"] == "02b"}
    assert [name for name, x in points.items() if x == "1"] == ["Jos\\udce9", "ada"]
    assert len(points) == len(HOSTILE) + 2 and "'=HYPERLINK(1)" in points
    told = {x["student"]: x["what the check says"] for x in rows if x["exercise"] == "02b"}
    assert "no result" in told["locked"] and "not yours" in told["locked"]
    assert "ValueError: \\ud800" in told["surrogate"] and "\\x1b[2J" in told["control"]
    assert "no file ex02.py" in told["pipe"] and "wrong" in told["dots"]
    assert sorted(tmp_path.glob("points*")) == [table]


def test_what_is_graded_is_kept_when_the_rest_is_not(tmp_path, monkeypatch):
    """An older table too."""
    def graded(student, name, seed):
        if student.name == "bob":
            raise KeyboardInterrupt
        return grade.Cell("right")
    monkeypatch.setattr(grade, "grade", graded)
    for name in ("ada", "bob"):
        (tmp_path / "all" / name).mkdir(parents=True)
    table = tmp_path / "points.csv"
    table.write_text("older")
    with pytest.raises(KeyboardInterrupt):
        main(["02b", "--class", str(tmp_path / "all"), "--csv", str(table)])
    assert table.read_text() == "older"
    assert "ada,02b,1,right" in (tmp_path / "points.csv.unfinished").read_text()


def test_the_place_of_the_table_is_made_before_the_work(tmp_path, monkeypatch):
    """And a table that cannot be written is told before it."""
    there, table = [], tmp_path / "new" / "points.csv"

    def graded(student, name, seed):
        there.append(table.parent.is_dir())
        return grade.Cell("right")
    monkeypatch.setattr(grade, "grade", graded)
    (tmp_path / "all" / "ada").mkdir(parents=True)
    words = ["02b", "--class", str(tmp_path / "all"), "--csv"]
    assert main([*words, str(table)]) == 0
    assert there == [True] and "ada,02b,1,right" in table.read_text(encoding="utf-8")
    with pytest.raises(OSError):
        main([*words, str(tmp_path)])
    assert there == [True]
