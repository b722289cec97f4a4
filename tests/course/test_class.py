"""A class: each mark is that of the student's own calls, whatever his file does; and the answers to
the exam are right."""
import csv
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from programs.right import HEAD, OTHERWISE

from lessons.behind import exam
from lessons.behind.lesson_list import FOLDER, NUMBERS, PARTS, ROOT
from lessons.behind.tasks import call, check, child, grade, limits
from lessons.behind.tasks.call import Seen, from_line, to_line
from lessons.behind.tasks.task import Judge, Measure, Verdict, differ, tasks
from nanouft.plumbing.entry import command

POSIX = pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without limits")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def hand_in(student: str, source: str, name: str = "mine.py") -> None:
    file = Path("all", student, name)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(source, encoding="utf-8")


def table(*words: str) -> dict[str, dict]:
    assert command(grade.main, ["all", *words, "--out", "out"]) == 0
    return {x["student"]: x for x in csv.DictReader(open("out/points.csv", encoding="utf-8"))}


# ---- one class, graded once ----------------------------------------------------------------------
HALF = f"import torch\n{tasks()['with_lora'].source}\n"      # with_lora is right
KEY = f"{HALF}{tasks()['gae'].source}\n"
WRONG = "def gae(R, V, gamma, lam):\n    "
NONE, NAMES = grade.NOT_HANDED_IN, ("with_lora", "gae")
MINE = (FOLDER / "mine.py").relative_to(ROOT).as_posix()
LINES = "\n".join(json.dumps([name, [[{"gives": 1.0}, "", ""]] * 20]) for name in NAMES)
TO_ALL = f"""import os
def forge():
    for fd in range(1, 30):
        try:
            os.write(fd, {LINES!r}.encode() + b"\\n")
        except OSError:
            pass
"""
FORGED = '''import json, os, pathlib, sys
marks = {"score": 2, "tests": [{"name": x, "score": 1, "output": "right"}
                               for x in ("with_lora", "gae")]}
for file in [*sys.argv[1:], "results.json", "OUT/forged.json", "OUT/points.csv"]:
    pathlib.Path(file).write_text(json.dumps(marks))
os._exit(0)
'''
HONEST = {          # student: files; the marks of with_lora and gae; words told
    "ada": ({"mine.py": KEY}, "1 1", "2 of 2"),
    "zoe": ({"mine.py": HEAD + OTHERWISE}, "1 1", "right"),
    os.fsdecode(b"Jos\xe9"): ({"mine.py": KEY}, "1 1", ""),
    "half": ({"mine.py": KEY.replace(" + gamma * lam * later", "")}, "1 0.2", "delta alone"),
    "neighbours": ({"mine.py": "from helper import with_lora, gae", "helper.py": KEY},
                   "1 1", "helper.py"),
    "clone": ({MINE: KEY, "mine.py": WRONG, "lessons/behind/keys/parts.py": WRONG}, "1 1", ""),
    "stub": ({"mine.py": (FOLDER / "mine.py").read_text("utf-8")}, "0 0", "not started"),
    "another name": ({"mine (1).py": KEY, "week 2/mine.py": KEY, "work.ipynb": "{}"},
                     f"{NONE},{NONE}", "mine (1).py, week 2, work.ipynb")}
HOSTILE = {
    "forged file": ({"mine.py": FORGED}, "0 0", "its process ended"),
    "forged lines": ({"mine.py": TO_ALL + "forge()\nos._exit(0)"}, "0 0", "Passes"),
    "forged in a call": ({"mine.py": HALF + TO_ALL + WRONG + "forge()\n    return 0"}, "1 0",
                         "cannot be read"),
    "flood": ({"mine.py": HALF + TO_ALL + WRONG + "while True:\n        forge()"}, "1 0",
              "cannot be read"),
    "builtins": ({"mine.py": "import builtins, json, torch\nbuiltins.isinstance = lambda *x: True\n"
                  "builtins.all = builtins.any = builtins.len = lambda *x: 1\n"
                  "torch.isclose = torch.ones_like\njson.dumps = lambda *x, **how: 'right'\n"
                  + WRONG + "return 0.0"}, "0 0", ""),
    "judge": ({"mine.py": "import lessons.behind.tasks.task as judge\n"
               "judge.Judge.verdict = judge.differ = lambda *x, **how: ''\n"
               + WRONG + "return 0.0"}, "0 0", "Passes 0 of"),
    "objects": ({"mine.py": "import torch\nclass Any(torch.Tensor):\n    __eq__ = lambda *x: True\n"
                 + WRONG + "return torch.zeros(()).as_subclass(Any)"}, "0 0", "Passes 0 of"),
    "surrogate": ({"mine.py": HALF + WRONG + "raise ValueError('\\ud800')"}, "1 0", "ValueError"),
    "key": ({"mine.py": "from lessons.behind.keys.parts import with_lora, gae"}, "0 0",
            "not started"),
    "loop": ({"mine.py": HALF + WRONG + "while True: pass"}, "1 0", ": while True: pass"),
    "loop at load": ({"mine.py": "while True: pass\n" + KEY}, "0 0",
                     "stops when it is loaded: TooLong"),
    "sleep": ({"mine.py": HALF + WRONG + "import time\n    time.sleep(999)"}, "1 0",
              "seconds on the clock"),
    "catches": ({"mine.py": HALF + WRONG + "while True:\n        try:\n"
                 "            for x in iter(int, 1): x + 1\n"
                 "        except BaseException: pass"}, "1 0", "timed out after 9 seconds"),
    "memory": ({"mine.py": HALF + WRONG + "return bytearray(2**33)"}, "1 0",
               "MemoryError"),
    "exit": ({"mine.py": KEY + "import os\ndef with_lora(*x):\n    os._exit(0)"}, "0 1",
             "its process ended"),
    "exit at load": ({"mine.py": "import os\nos._exit(0)\n" + KEY}, "0 0", "its process ended")}
CLASS = HONEST | HOSTILE


@pytest.fixture(scope="module")
def graded(tmp_path_factory) -> dict[str, tuple[dict, str]]:
    """{student: its line of the table, and the text to hand back}, with a second of computing."""
    with pytest.MonkeyPatch.context() as now:
        place = tmp_path_factory.mktemp("class")
        now.chdir(place)
        for name in NAMES:
            now.setattr(tasks()[name], "seconds", 1)
        for student, (files, *_) in CLASS.items():
            for name, source in files.items():
                hand_in(student, source.replace("OUT", f"{place}/out"), name)
        Path("all/_old").mkdir()
        Path("out").mkdir()
        lines = table(*NAMES, "--seed", "1")
        return {student: (lines[student.encode("utf-8", "backslashreplace").decode()],
                          Path("out", f"{student}.md").read_text()) for student in CLASS}


@POSIX
@pytest.mark.parametrize("student", CLASS)
def test_a_mark_is_that_of_the_own_calls_whatever_a_file_does(student, graded):
    """No file gives itself a point, and none costs another student one, nor another task."""
    _, marks, words = CLASS[student]
    line, told = graded[student]
    assert [line[x] for x in NAMES] == (marks.split(",") if "," in marks else marks.split())
    assert float(line["points"]) == sum(float(x) for x in marks.split() if x[0] in "01")
    assert words in told + line["other files"], told
    assert "exit" not in student or "os._exit" in told


@POSIX
def test_nothing_else_is_in_the_table_and_its_marks_are_those_of_the_files(graded):
    assert len({line["student"] for line, _ in graded.values()}) == len(CLASS) == len(graded)


@POSIX
def test_the_exit_code_of_check_is_not_that_of_the_file(capsys):
    """As GitHub Classroom reads it."""
    hand_in("eve", "import os\nos._exit(0)\n")
    assert command(check.main, ["gae", "--folder", "all/eve"]) == 1
    assert "its process ended" in capsys.readouterr().out


def test_without_names_only_what_somebody_has_handed_in_is_in_the_table(monkeypatch, capsys):
    monkeypatch.setattr(grade, "call_file", lambda file, judges: dict.fromkeys(judges, "ended"))
    hand_in("ann", "", "luffy.py")
    hand_in("bob", KEY)
    found = table()
    own = [name for name, task in tasks().items() if task.file == "mine.py"]
    assert [*found["ann"]] == ["student", "points", *own, "luffy", "other files"]
    assert found["ann"]["gae"] == NONE and found["bob"]["gae"] == "0"
    results = json.loads(Path("out/ann.json").read_text())
    assert [(x["name"], x["output"]) for x in results["tests"]][-2:] == [
        (own[-1], NONE), ("luffy", "ended")]
    assert command(grade.main, ["all/ann"]) == 2
    assert "has no student folders" in capsys.readouterr().err


def test_what_is_wrong_has_half_of_the_share_of_its_cases_that_is_right():
    for share, mark in ((0.19, 0), (0.2, 0.1), (0.39, 0.1), (1 - 1e-3, 0.4)):
        assert grade.mark_entry("gae", Verdict("no", share))["score"] == mark
    assert grade.mark_entry("gae", Verdict())["score"] == 1


def test_what_comes_back_is_plain_data():
    seen = Seen({"gives": [torch.tensor([[1.5, float("nan")]]).double(), None, "yes", 2]})
    again, = from_line(to_line("gae", [seen]), "gae")
    torch.testing.assert_close(again.values["gives"][0], seen.values["gives"][0], equal_nan=True)
    assert again.values["gives"][1:] == [None, "yes", 2]
    for x in (True, np.array(True), torch.tensor(True)):
        assert call.shown(call.plain([x, 1])) == "[True, 1]"
    for line in (to_line("with_lora", [seen]), b"{}", b"[", b"[" * 9999,
                 b'["gae", [[{"a": {}}, "", ""]]]'):
        with pytest.raises(ValueError, match="its result cannot be read"):
            from_line(line, "gae")
    judge = Judge(tasks()["gae"], 0)
    for calls in ([], [Seen()], [Seen()] * len(judge.cases), [Seen()] * 99, "no result",
                  [Seen({"gives": [[[]]]})] * 20):
        assert child.verdict_of(judge, calls).state == "wrong"


@POSIX
def test_a_process_that_ends_before_it_begins_is_no_wrong_program(monkeypatch, capsys):
    """A full disk, or a PyTorch that cannot be read."""
    broken = Path("python")
    broken.write_text("#!/bin/sh\nexit 7\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken.resolve()))
    hand_in("ann", KEY)
    assert command(grade.main, ["all", "mine", "--out", "out"]) == 2
    assert "ended before it ran a program" in capsys.readouterr().err
    assert not Path("out/points.csv").exists()


# ---- what docs/teaching.md says, and the exam ---------------------------------------------------
PAGE = (child.ROOT / "docs" / "teaching.md").read_text(encoding="utf-8")


def part_of(heading: str) -> str:
    """The text below a heading of docs/teaching.md."""
    return PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def test_the_limits_of_an_exercise_are_those_of_the_check():
    for words in (f"{call.SECONDS} seconds of computing", f"{limits.GIGABYTES} GB of memory"):
        assert words in part_of("Grading")


def test_the_self_test_s_program_prints_its_answer(capsys):
    code = part_of("What students must know").split("```python\n")[1].split("```")[0]
    exec(compile(code, "docs/teaching.md", "exec"), {})
    assert f"\n5. {capsys.readouterr().out.strip()}. " in PAGE


@pytest.mark.parametrize("name", exam.NUMERIC)
def test_the_call_that_a_question_shows_gives_its_answer(name):
    """Its numbers are shown with four digits. The text is the contract of the lesson."""
    for seed in range(5):
        question = exam.numeric_question(name, seed)
        shown, text = question.asked.split("\n\n", 2)[1:]
        found, told = (eval(x.strip(), {"torch": torch, name: tasks()[name].right})
                       for x in (shown, question.answer))
        assert not differ("gives", call.plain(found), told, Measure(1e-2, 1e-2))
        assert text.startswith(f"    def {name}(") and question.lesson == PARTS[name]


@pytest.mark.parametrize("before, many", [("", 8), ("03", 3), ("09", 3), ("17", 5)])
def test_a_seed_draws_questions_of_earlier_lessons_and_they_hold_no_answer(before, many, capsys):
    drawn = exam.exam(1, many, before)
    lessons = [x.lesson for x in drawn]
    assert len({*drawn}) == many and lessons == sorted(lessons)
    assert not before or max(lessons) < before
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


def test_more_questions_than_there_are_and_no_lesson_are_refused(capsys):
    many = len(exam.NUMERIC) + 2 * len(NUMBERS)
    assert {x.lesson for x in exam.exam(0, many)} == {*NUMBERS}
    for flags, words in (("--before 02", "1 to 4 before lesson 02"), ("--before 99", "lesson '99'"),
                         ("--lessons 00 99", "unknown lesson '99'"),
                         ("--questions 99", f"1 to {many}"),
                         ("--questions 0 --lessons 00", "1 to 2")):
        assert command(exam.main, flags.split()) == 2 and words in capsys.readouterr().err
