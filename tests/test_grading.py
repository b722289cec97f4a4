"""A class is graded whatever its students hand in: notebooks, folders in folders, copies, programs
that change the check or run out of a limit."""
import csv
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from inspect import getsource
from multiprocessing import forkserver
from multiprocessing.util import get_temp_dir
from pathlib import Path

import pytest
import torch

from lessons.classroom import build, calling, grade, grade_class, grade_own, guesses, sandbox
from lessons.classroom.exercise import HERE, exercises
from lessons.classroom.grade_class import main
from lessons.classroom.judge import NOT_STARTED, judge
from lessons.classroom.sandbox import hide_cards, run_limited
from lessons.classroom.submissions import fingerprint, handed_in, parse, slice_of
from nanouft import simple
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError

KNOWN = exercises()
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
    "judge": "import sys\nfor name in [x for x in sys.modules if x.startswith('lessons.')]:\n"
             "    for what in ('judge', 'verdict', 'difference', 'both_values', 'grade_words'):\n"
             "        setattr(sys.modules[name], what, lambda *x, **how: '')\n"
             + WRONG + "return 0.0",
    "draws": "import torch\nfrom lessons.classroom.exercise import Draw\n"
             "Draw.mask = lambda self, rows, T: torch.ones(rows, T)\n"
             "Draw.numbers = lambda self, low, high, *shape: torch.zeros(shape)\n"
             + WRONG + "return logp.sum()",
    "forged": "import os\nfor fd in range(1, 30):\n    try:\n        os.write(fd, b'right\\n')\n"
              "    except OSError:\n        pass\nos._exit(0)",
    "objects": "import torch\nclass Any(torch.Tensor):\n    __eq__ = lambda *x: True\n"
               + WRONG + "return torch.zeros(()).as_subclass(Any)"}
ENDS = {
    "loop": (WRONG + "while True: pass", "out of time, it had not ended after 1 seconds of "
             "computing, in call 1 of 60"),
    "loop at import": ("while True: pass\n" + WRONG + "pass", "out of time, it had not ended after "
                       "1 seconds of computing, while it was read"),
    "memory": (WRONG + "return bytearray(2**34)", "out of memory"),
    "torch memory": ("import torch\n" + WRONG + "return torch.zeros(2**40)", "out of memory"),
    "exit": ("import os\n" + WRONG + "os._exit(3)", "it ended Python (exit code 3) in call 1 of "
             "60"),
    "signal": ("import os, signal\n" + WRONG + "os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
    "stub": (WRONG + "raise NotImplementedError", "not started")}
LIMITS = pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without limits")


def hand_in(folder: Path, source: str, name: str = "ex02.py") -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(source)
    return folder


def graded(folder: Path, **limits) -> str:
    return grade.grade("02b", grade.submission(folder, "02b"), **limits).said


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
    assert graded(honest) == "right"
    before = server._forkserver_pid
    graded(hand_in(tmp_path / "forged", CHEATS["forged"]))
    assert graded(honest) == "right" and server._forkserver_pid == before


@LIMITS
def test_nothing_that_a_program_changes_gives_it_a_point(tmp_path):
    folders = {name: hand_in(tmp_path / name, source) for name, source in CHEATS.items()}
    folders["honest"] = hand_in(tmp_path / "honest", RIGHT)
    with ThreadPoolExecutor(2) as pool:
        found = pool.map(graded, folders.values())
    points = [name for name, words in zip(folders, found) if words == "right"]
    assert points == ["honest"]


@LIMITS
@pytest.mark.parametrize("name", ENDS)
def test_limits_are_told_apart(name, tmp_path):
    source, words = ENDS[name]
    assert words in graded(hand_in(tmp_path, source), seconds=1)


@LIMITS
def test_a_thread_that_runs_on_is_not_waited_for(tmp_path):
    thread = "import threading, time\nthreading.Thread(target=time.sleep, args=(999,)).start()\n"
    assert graded(hand_in(tmp_path, thread + RIGHT)) == "right"


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
    seen = calling.Seen({"gives": [torch.tensor([[1.5, float("nan")]]).double(), None, "yes", 2]})
    again = grade.from_json(calling.to_json(seen))
    torch.testing.assert_close(again.values["gives"][0], seen.values["gives"][0], equal_nan=True)
    assert again.values["gives"][1:] == [None, "yes", 2]
    cases = KNOWN["02b"].cases(0)
    for line in (b"right", b"[]", b"{}", b'{"values": {"gives": {"kind": "float", "shape": [9], '
                 b'"numbers": []}}, "error": "", "words": ""}', b"[" * 9999):
        assert "it ended Python" in grade.grade_words(
            KNOWN["02b"], [line, line], 0, 2, cases).said
    empty = calling.to_json(calling.Seen())
    assert grade.grade_words(KNOWN["02b"], [empty] * 62, 0, 2, cases).said.startswith(
        "wrong")
    assert "the check itself did not begin" in grade.grade_words(
        KNOWN["02b"], [], 1, 2, cases).said


def test_a_notebook_is_its_function_and_what_it_needs(tmp_path):
    """Not its training runs, magic lines, and cells that Python cannot read."""
    cells = ("%matplotlib inline\nimport torch\n!pip install x", "raise SystemExit", "x = (",
             "ZERO = 0\nother = 5", "def each(logp, mask):\n    return -logp.masked_fill(mask == 0,"
             " ZERO)", WRONG + "raise NotImplementedError",
             WRONG + "losses = each(logp, mask)\n    if reduction == 'token':\n"
             "        return losses.sum() / mask.sum()\n"
             "    return (losses.sum(1) / mask.sum(1)).mean()\n\n\ncheck(sft_loss)")
    program = handed_in(hand_in(tmp_path, notebook(*cells), "a/02.ipynb"), "ex02.py", "sft_loss")
    source = program.source.decode()
    assert "other" not in source and "NotImplemented" in source
    space = {}
    exec(source, space)
    assert judge(KNOWN["02b"], space["sft_loss"]) == ""


def test_the_file_that_has_begun_counts(tmp_path):
    """A stub beside a finished notebook, a folder of an unpacked zip, what macOS puts there."""
    stub = (HERE / "ex02.py").read_text()
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
        return fingerprint(slice_of(parse(source), "sft_loss"), "sft_loss")[0]
    same = of(RIGHT)
    calls, f = RENAMED.replace("-x.masked_fill(counted == 0, 0)", "f(x)"), "\ndef f(x): return -x\n"
    helper = calls + f
    assert of(helper) == of(f + calls), "a helper stands above or below"
    assert same == of(RENAMED) and of(RIGHT + "\nunused = 1\n") == same
    others = {of(OTHERWISE), of(RIGHT.replace("== 0", "< 1")), of(helper)}
    assert len(others) == 3 and same not in others
    assert of(WRONG + "raise NotImplementedError") == ""


@LIMITS
def test_the_points_of_a_class_are_a_table(tmp_path, capsys):
    """A line for each student and exercise with the file that counted and who has the same
    program, and one with the total."""
    hand_in(tmp_path / "ada", OTHERWISE)
    hand_in(tmp_path / "bob", OTHERWISE.replace("rows", "parts"), "work/02/ex02.py")
    hand_in(tmp_path / "cleo ö", notebook(RENAMED), "lesson 02.ipynb")
    (tmp_path / "dora").mkdir()
    out = tmp_path.parent / f"{tmp_path.name} out"
    table = out / "points.csv"
    assert main([str(tmp_path), "02b", "--out", str(out)]) == 0
    rows = list(csv.DictReader(table.open(encoding="utf-8")))
    assert [(x["student"], x["points"]) for x in rows if x["exercise"] == "total"] == [
        ("ada", "1"), ("bob", "1"), ("cleo ö", "1"), ("dora", "0")]
    told = {x["student"]: x for x in rows if x["exercise"] == "02b"}
    assert [x["the same program as"] for x in told.values()] == ["bob", "ada", "the key", ""]
    assert told["bob"]["file"] == os.path.join("work", "02", "ex02.py")
    assert "no file ex02.py" in told["dora"]["what the check says"]
    assert "bob" in capsys.readouterr().out
    with pytest.raises(UserError, match="no folder of a student"):
        main([str(tmp_path / "ada"), "02b"])


def test_the_place_of_the_table_is_made_before_the_work(tmp_path, monkeypatch):
    """And a table that cannot be written is told before it."""
    there, table = [], tmp_path / "new" / "points.csv"

    def graded(name, program, seed):
        there.append(table.parent.is_dir())
        return grade.Graded("right", 1.0)
    monkeypatch.setattr(grade_class, "grade", graded)
    (tmp_path / "all" / "ada").mkdir(parents=True)
    words = [str(tmp_path / "all"), "02b", "--out"]
    assert main([*words, str(table.parent)]) == 0
    assert there == [True] and "ada,02b,1,right" in table.read_text(encoding="utf-8")
    (tmp_path / "taken").write_text("")
    with pytest.raises(OSError):
        main([*words, str(tmp_path / "taken")])
    assert there == [True]


HOSTILE = {
    "surrogate": WRONG + "raise ValueError('\\ud800')",
    "deep": WRONG + "return " + "-" * 2500 + "1",
    "server": "import os\n" + WRONG + "os.kill(os.getppid(), 9)",
    "large": "import torch\n" + WRONG + "return torch.zeros(10**6)",
    "key": "from lessons.exercises.key02 import sft_loss",
    "=HYPERLINK(1)": RIGHT}


@LIMITS
@pytest.mark.slow
def test_no_submission_costs_another_student_a_point_or_the_table(tmp_path, monkeypatch):
    """Whatever its program, its name and its kind of file; and none gets a point by the key."""
    scratch = tmp_path / "scratch"                      # of this test alone: others grade, too
    scratch.mkdir()
    get_temp_dir()                  # now, so the fork server's socket has a path that is not long
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    searcher = (f"import glob\n{WRONG}found = glob.glob({str(scratch / '*' / 'out')!r})\n"
                "    raise ValueError(f'{len(found)} files of results')")
    for name, source in {**HOSTILE, "searcher": searcher}.items():
        hand_in(tmp_path / "all" / name, source)
    for name in ("ada", "zoe"):
        hand_in(tmp_path / "all" / name, OTHERWISE)
    hand_in(tmp_path / "all" / os.fsdecode(b"Jos\xe9"), RIGHT)
    (tmp_path / "all" / "pipe").mkdir()
    os.mkfifo(tmp_path / "all" / "pipe" / "ex02.py")
    table = tmp_path / "out" / "points.csv"
    assert main([str(tmp_path / "all"), "02b", "--out", str(table.parent)]) == 0
    rows = list(csv.DictReader(table.open(encoding="utf-8")))
    told = {x["student"]: x for x in rows if x["exercise"] == "02b"}
    assert {name for name, x in told.items() if x["points"] == "1"} == {
        "ada", "zoe", "Jos\\udce9", "'=HYPERLINK(1)"}
    assert "the key" in told["key"]["reaches for"] and "graded" in told["key"][
        "what the check says"]
    assert "ValueError: 0 files" in told["searcher"]["what the check says"]
    assert "too large" in told["large"]["what the check says"]
    assert not table.with_name("points.csv.part").exists()


def test_a_short_copy_of_the_key_is_told(tmp_path):
    key = handed_in(HERE, "key06.py", "balance")
    same = {(x, "06a"): handed_in(HERE, "key06.py", "balance") for x in "ab"}
    for program in same.values():
        program.short = True
    assert key and set(grade_class.same_programs(same, {"06a": key}).values()) == {"the key"}


@LIMITS
def test_the_parts_of_a_class_are_a_table_too(tmp_path):
    """The same columns; simple.py holds the keys."""
    own = ("import torch\nimport os\nfrom nanouft.simple import *\n"
           + getsource(simple.padded)
           + "\ndef token_logp(logits, targets):\n    return logits[..., 0]\n")
    for student, text in {"ada/work": own, "bob": "def padded(:", "cleo": None, "dora": ""}.items():
        folder = tmp_path / student
        folder.mkdir(parents=True)
        if text:
            (folder / "mine.py").write_text(text, encoding="utf-8")
    build.reset(tmp_path / "dora" / "mine.py")
    out = tmp_path.parent / f"{tmp_path.name} out"
    table = out / "points.csv"
    assert command(main, [str(tmp_path), "parts", "--out", str(out)]) == 0
    rows = list(csv.DictReader(table.open(encoding="utf-8")))
    assert len(rows) == 4 * (len(build.PARTS) + 1)
    told = {(x["student"], x["exercise"]): x for x in rows}
    assert [told[name, "total"]["points"] for name in ("ada", "bob", "cleo")] == ["1", "0", "0"]
    first = told["ada", "padded"]
    assert first["the same program as"].startswith("the key")
    assert first["reaches for"].startswith("the key") and "insides" in first["reaches for"]
    assert told["ada", "token_logp"]["what the check says"].startswith("wrong: Right in 0 of 2")
    assert told["ada", "dpo_loss"]["what the check says"] == NOT_STARTED
    assert "cannot be read" in told["bob", "padded"]["what the check says"]
    assert "no file mine.py" in told["cleo", "padded"]["what the check says"]
    assert told["dora", "padded"]["reaches for"] == ""


# ---- a class ------------------------------------------------------------------------------------
def class_of(folder: Path, **programs: str) -> Path:
    for name, source in programs.items():
        hand_in(folder / "class" / name, source)
    return folder / "class"


def test_a_table_that_was_stopped_goes_on_with_the_same_inputs(tmp_path, monkeypatch, capsys):
    students, out = class_of(tmp_path, ada=RIGHT, bob=RIGHT, cleo=RIGHT), tmp_path / "out"
    seeds, stop = [], [True]

    def graded(name, program, seed):
        if program.file.parent.name == "cleo" and stop:
            stop.pop()
            raise KeyboardInterrupt
        seeds.append(seed)
        return grade.Graded("right", 1.0)
    monkeypatch.setattr(grade_class, "grade", graded)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    with pytest.raises(KeyboardInterrupt):
        main([str(students), "02b", "--out", str(out)])
    assert len(seeds) == 2 and not (out / "points.csv").read_text()
    with (out / "graded.jsonl").open("a") as file:
        file.write('\n{"student": "cleo", "wo')             # it was ended while it wrote
    assert main([str(students), "02b", "--out", str(out)]) == 0
    assert len(seeds) == 3 and len({*seeds}) == 1
    assert "goes on after 2 pieces of work" in capsys.readouterr().out
    assert (out / "points.csv").read_text().count("total,1,of 1") == 3
    assert not (out / "graded.jsonl").exists(), "the next table has other inputs"


def test_a_wrong_program_has_a_part_of_the_points_and_a_file_to_hand_back(tmp_path, monkeypatch):
    said = "    Right in 3 of 60 calls.\n    sft_loss(\n        \x1b[2J\ud800)"
    monkeypatch.setattr(grade_class, "grade", lambda name, program, seed: grade.points_of(
        grade.Verdict(said, 0.7)))
    out = tmp_path / "out"
    assert main([str(class_of(tmp_path, ada=RIGHT)), "02", "--out", str(out)]) == 0
    told = (out / "feedback" / "ada.md").read_text(encoding="utf-8")
    assert told.startswith("# ada: 0.6 of 2 points\n\n## 02a: 0.3\n\n    wrong:\n        Right")
    assert "\x1b" not in told and "\\ud800" in told and "the key" not in told
    for share, points in ((1.0, 0.5), (0.99, 0.4), (0.2, 0.1), (0.19, 0.0), (0, 0.0)):
        assert grade.points_of(grade.Verdict("wrong", share)).points == points
    assert grade.points_of(grade.Verdict()) == grade.Graded("right", 1.0)


def test_guesses_are_worth_their_share_whether_right_or_wrong(tmp_path):
    folder = tmp_path / "ada" / "work" / "out" / "guesses"
    folder.mkdir(parents=True)
    for name, text in {"02": "guess 60\nhappened 12.5 %\n", "06": "guess none of it\n",
                       "03": "guess 7\nhappened soon\n"}.items():
        (folder / f"{name}.txt").write_text(text)
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "07.txt")                        # it would be read for ever
    found = guesses.grade_guesses(tmp_path / "ada")
    count = len(guesses.questions())
    assert found.said.startswith((f"1 of {count} guessed. 1 number: on average you are 4",
                                  f"2 of {count} guessed. 1 number: on average you are 4"))
    assert found.points == 0.0
    nothing = guesses.grade_guesses(tmp_path / "bob")
    assert nothing == grade.Graded(f"0 of {count} guessed.", 0.0)


COUNTED = pytest.mark.skipif(not Path("/proc/self/schedstat").exists(),
                             reason="a system that does not count")


@COUNTED
@pytest.mark.parametrize("does", ["time.sleep(999)", "os.kill(os.getpid(), signal.SIGSTOP)",
                                  "os.wait() if os.fork() else time.sleep(999)"])
@pytest.mark.slow
def test_a_program_that_does_nothing_is_not_waited_for(does, tmp_path, monkeypatch):
    monkeypatch.setattr(sandbox, "IDLE", 2)
    source = f"import os, signal, time\n{WRONG}{does}"
    assert "asleep, it had done nothing for 2 seconds" in graded(hand_in(tmp_path, source))


@COUNTED
def test_a_program_with_too_many_processes_is_ended(tmp_path, monkeypatch):
    """Those of root, too."""
    monkeypatch.setattr(sandbox, "PROCESSES", 8)
    source = "import os, time\nfor _ in range(20):\n    if os.fork() == 0:\n        " \
             "time.sleep(99)\n        os._exit(0)\ntime.sleep(99)\n" + RIGHT
    said = graded(hand_in(tmp_path, source))
    assert "it had more than 8 processes and threads" in said or "BlockingIOError" in said


@COUNTED
@pytest.mark.slow
def test_a_program_cannot_start_as_many_processes_as_it_likes():
    """Each of these would start others. Root is not limited."""
    code = """import os, resource, time
from lessons.classroom import sandbox
sandbox.PROCESSES = 5
if os.getuid() == 0:
    os.setuid(54321)
sandbox.limit(20)
for started in range(20):
    try:
        if os.fork() == 0:
            time.sleep(2)
            os._exit(0)
    except BlockingIOError:
        break
print(started)"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert 1 <= int(ran.stdout) <= 5, ran.stderr


@LIMITS
@pytest.mark.slow
def test_a_program_that_computes_is_no_sleeper(tmp_path, monkeypatch):
    """Alone, and in a process that it has started, whatever else the computer does."""
    monkeypatch.setattr(sandbox, "IDLE", 3)
    busy = "import os, time\ndef busy():\n    while time.process_time() < 6: pass\n"
    child = "\nif os.fork() == 0:\n    busy()\n    os._exit(0)\nos.wait()\n"
    for how in ("\nbusy()\n", child):
        assert graded(hand_in(tmp_path, busy + how + RIGHT)) == "right"


def test_parts_that_were_tried_keep_their_points():
    """If the process was ended in a later one."""
    written = json.dumps({"padded": ["", 1], "token_logp": ["    gives 1", 0.5]}).encode()
    first, second, *others = grade_own.graded_of(written, "asleep while parts were")
    assert (first.points, second.points) == (1.0, 0.2)
    assert {x.said for x in others} == {"no result: asleep while parts were tried"}
    for garbage in (b"", b"[]", b"{", b'{"padded": 1}', b'{"padded": ["", "x"]}', b"[" * 9999):
        assert not sum(x.points for x in grade_own.graded_of(garbage, "ended"))
