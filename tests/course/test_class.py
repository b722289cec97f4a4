"""A class: each mark is that of the student's own calls, whatever his file does; and the answers to
the exam are right. tests/recorded/class.txt has the table of a class and what is handed back."""
import csv
import json
import os
import sys
from pathlib import Path

import golden
import pytest
import torch

from lessons.behind import exam
from lessons.behind.lesson_list import FOLDER, NUMBERS, PARTS, ROOT
from lessons.behind.tasks import call, child, grade, limits
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


# ---- one class, graded once ----------------------------------------------------------------------
NAMES = ("with_lora", "gae")
HALF = f"import torch\n{tasks()['with_lora'].source}\n"                     # with_lora is right
KEY = f"{HALF}{tasks()['gae'].source}\n"
WRONG = "def gae(R, V, gamma, lam):\n    "
MINE = (FOLDER / "mine.py").relative_to(ROOT).as_posix()
LINES = "\n".join(json.dumps([name, [[{"gives": 1.0}, "", ""]] * 20]) for name in NAMES)
FORGED = f'''import json, os, pathlib, sys
marks = {{"score": 2, "tests": [{{"name": x, "score": 1, "output": "right"}} for x in {NAMES}]}}
for file in [*sys.argv[1:], "results.json", "OUT/forged.json", "OUT/points.csv"]:
    pathlib.Path(file).write_text(json.dumps(marks))
def forge():
    for fd in range(1, 30):
        try:
            os.write(fd, {LINES!r}.encode() + b"\\n")
        except OSError:
            pass
'''
CLASS = {               # student: files
    os.fsdecode(b"Jos\xe9"): {"mine.py": KEY},
    "half": {"mine.py": KEY.replace(" + gamma * lam * later", "")},
    "neighbours": {"mine.py": "from helper import with_lora, gae", "helper.py": KEY},
    "clone": {MINE: KEY, "mine.py": WRONG, "lessons/behind/keys/parts.py": WRONG},
    "other names": {"mine (1).py": KEY, "week 2/mine.py": KEY, "work.ipynb": "{}"},
    "forges at load": {"mine.py": FORGED + "forge()\nos._exit(0)\n"},
    "forges in a call": {"mine.py": HALF + FORGED + WRONG + "while True:\n        forge()\n"},
    "changes Python": {"mine.py": "import builtins, json, torch\n"
                       "import lessons.behind.tasks.task as judge\n"
                       "builtins.isinstance = lambda *x: True\n"
                       "builtins.all = builtins.any = builtins.len = lambda *x: 1\n"
                       "torch.isclose = torch.ones_like\njson.dumps = lambda *x, **how: 'right'\n"
                       "judge.Judge.verdict = judge.differ = lambda *x, **how: ''\n"
                       + WRONG + "return 0.0"},
    "no letter": {"mine.py": HALF + WRONG + "raise ValueError('\\ud800')"},
    "loops at the second": {"mine.py": KEY + "right, calls = gae, []\n" + WRONG +
                            "calls.append(1)\n    while len(calls) > 1: pass\n"
                            "    return right(R, V, gamma, lam)"},
    "loops at load": {"mine.py": "while True: pass\n" + KEY},
    "sleeps": {"mine.py": HALF + WRONG + "import time\n    time.sleep(999)"},
    "catches": {"mine.py": HALF + WRONG + "while True:\n        try:\n"
                "            for x in iter(int, 1): x + 1\n        except BaseException: pass"},
    "memory": {"mine.py": HALF + WRONG + "return bytearray(2**33)"},
    "exits": {"mine.py": KEY + "import os\ndef with_lora(*x):\n    os._exit(0)"}}


@POSIX
def test_a_mark_is_that_of_the_own_calls_whatever_a_file_does(tmp_path, monkeypatch, recorded):
    """No file gives itself a point, and none costs another student one, nor another task."""
    for name in NAMES:
        monkeypatch.setattr(tasks()[name], "seconds", 1)                    # of computing
    for student, files in CLASS.items():
        for name, source in files.items():
            hand_in(student, source.replace("OUT", f"{tmp_path}/out"), name)
    Path("all/_old").mkdir()
    Path("out").mkdir()
    assert command(grade.main, ["all", *NAMES, "--seed", "1", "--out", "out"]) == 0
    for typed in golden.read("class"):
        recorded("class", typed, Path(typed.removeprefix("cat ")).read_text("utf-8"))


def test_without_names_only_what_somebody_has_handed_in_is_in_the_table(monkeypatch):
    monkeypatch.setattr(grade, "call_file", lambda file, judges: dict.fromkeys(judges, "ended"))
    hand_in("ann", "", "luffy.py")
    hand_in("bob", KEY)
    assert command(grade.main, ["all", "--out", "out"]) == 0
    ann, bob = csv.DictReader(Path("out/points.csv").open(encoding="utf-8"))
    own = [name for name, task in tasks().items() if task.file == "mine.py"]
    assert [*ann] == ["student", "points", *own, "luffy", "other files"]
    assert ann["gae"] == grade.NOT_HANDED_IN and bob["gae"] == "0"
    results = json.loads(Path("out/ann.json").read_text())
    assert [(x["name"], x["output"]) for x in results["tests"]][-2:] == [
        (own[-1], grade.NOT_HANDED_IN), ("luffy", "ended")]


def test_what_is_wrong_has_half_of_the_share_of_its_cases_that_is_right():
    for share, mark in ((0.19, 0), (0.2, 0.1), (0.39, 0.1), (1 - 1e-3, 0.4)):
        assert grade.mark_entry("gae", Verdict("no", share))["score"] == mark


def test_what_comes_back_is_plain_data_and_nothing_else_ends_the_table():
    seen = Seen({"gives": [torch.tensor([[1.5, float("nan")]]).double(), None, "yes", 2]})
    again, = from_line(to_line("gae", [seen]), "gae")
    torch.testing.assert_close(again.values["gives"][0], seen.values["gives"][0], equal_nan=True)
    assert again.values["gives"][1:] == [None, "yes", 2]
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


# ---- the exam, and docs/teaching.md --------------------------------------------------------------
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


@pytest.mark.parametrize("before, many", [("", 8), ("03", 3), ("17", 5)])
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


def test_an_exam_can_ask_all_questions_of_each_lesson():
    many = len(exam.NUMERIC) + 2 * len(NUMBERS)
    assert {x.lesson for x in exam.exam(0, many)} == {*NUMBERS}


def test_the_page_for_teachers_has_the_limits_and_the_answer_of_its_program(capsys):
    page = (ROOT / "docs" / "teaching.md").read_text(encoding="utf-8")
    assert f"{call.SECONDS} seconds of computing" in page
    assert f"{limits.GIGABYTES} GB of memory" in page
    exec(page.split("```python\n")[1].split("```")[0], {})
    assert f"\n5. {capsys.readouterr().out.strip()}. " in page
