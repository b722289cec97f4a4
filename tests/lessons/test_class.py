"""The teacher's mode: submissions are read safely, graded, counted; the page escapes."""
from __future__ import annotations

import contextlib
import csv
import json
import os
import re
import socket
import stat
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from running import ROOT

from lessons import slides
from lessons.grade import __main__ as command
from lessons.grade import cage, class_page, klass, program, results, submissions, worker
from lessons.grade import ui as klass_ui
from lessons.grade.folder import My
from lessons.grade.results import Klass, Result
from lessons.grade.submissions import Unreadable, clean_copy, handed_in
from lessons.grade.task import Mistake
from lessons.grade.tasks.check import check
from nanouft.errors import UserError

NOTES = ROOT / "docs" / "teaching"
EVIL = '<script>alert("x")</script>'
BIG = """def loss(a, b, beta):
    total = 0.0
    for x, y in zip(a, b):
        total = total + beta * (x - y) if x > y else total - beta * (y - x) + 1
    return total / len(a)
"""


def task(id: str = "07a", kind: str = "implement", level: int = 2, **more) -> SimpleNamespace:
    mistakes = (Mistake("beta is forgotten", {}, "Which line has beta?", "beta scales the margin"),
                Mistake("means for sums", {}, "How long is each answer?", "DPO adds <b> up"))
    return SimpleNamespace(id=id, kind=kind, level=level, core=True, signature="loss(a, b, beta)",
                           mistakes=mistakes, **more)


def result(name: str = "Ada", state: str = "right", mistake: str | None = None, code: str = "",
           log=(), on=None):
    return Result(name, on or task(), {"state": state, "mistake": mistake}, code, name, list(log))


def tried(time: float, mistake: str | None = None, event: str = "try", **more) -> dict:
    return {"time": time, "task": "07a", "event": event, "mistake": mistake, **more}


def packed(file: Path, **members: str) -> Path:
    """A zip of these texts."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as z:
        for name, text in members.items():
            z.writestr(name, text)
    return file


# ---- reading -------------------------------------------------------------------------------------
def test_my_is_found_wherever_it_stands(tmp_path):
    deep = packed(tmp_path / "a.zip",
                  **{"hand in/my/07_dpo.py": "x = 1", "hand in/my/bugs/07d.py": "y = 2",
                     "hand in/readme.txt": "hello", "__MACOSX/my/._07_dpo.py": "junk",
                     "hand in/my/picture.png": "no text"})
    copy = clean_copy(deep, tmp_path / "copy")
    assert sorted(p.relative_to(copy).as_posix() for p in copy.rglob("*.*")) \
        == ["07_dpo.py", "bugs/07d.py"]
    bare = packed(tmp_path / "b.zip", **{"work/07_dpo.py": "x = 1", "work/log.jsonl": "{}"})
    assert {p.name for p in clean_copy(bare, tmp_path / "bare").iterdir()} \
        == {"07_dpo.py", "log.jsonl"}
    (tmp_path / "c").mkdir()
    # an upload in a folder of its own
    packed(tmp_path / "c" / "upload.zip", **{"my/07_dpo.py": "x = 1"})
    assert (clean_copy(tmp_path / "c", tmp_path / "inner") / "07_dpo.py").read_text() == "x = 1"


@pytest.mark.parametrize("name", ["../evil.py", "my/../../evil.py", "/evil.py", "C:\\evil.py",
                                  "my\\..\\..\\evil.py"])
def test_no_path_leads_outside(tmp_path, name):
    bad = packed(tmp_path / "bad.zip", **{"my/07_dpo.py": "x = 1", name: "evil"})
    with pytest.raises(Unreadable, match="outside"):
        clean_copy(bad, tmp_path / "in" / "copy")
    assert not list(tmp_path.rglob("evil.py"))


def test_what_is_too_large_or_damaged_is_refused(tmp_path, monkeypatch):
    bomb = packed(tmp_path / "bomb.zip", **{"my/07_dpo.py": "#" * 20_000_000})
    assert bomb.stat().st_size < 100_000
    many = packed(tmp_path / "many.zip", **{f"my/{i}.py": "" for i in range(400)})
    large = packed(tmp_path / "large.zip", **{f"my/{i}.py": "#" * 400 for i in range(3)})
    empty, damaged = packed(tmp_path / "empty.zip", **{"my/log.txt": ""}), tmp_path / "no.zip"
    damaged.write_bytes(b"PK\3\4 no zip")
    for file, words, total in ((bomb, "larger than 1 MB", submissions.TOTAL),
                               (many, "more than", submissions.TOTAL), (large, "more than", 1000),
                               (empty, "no program", 1000), (damaged, "no zip", 1000)):
        monkeypatch.setattr(submissions, "TOTAL", total)
        with pytest.raises(Unreadable, match=words):
            clean_copy(file, tmp_path / file.stem)


def test_links_are_left_out(tmp_path):
    link = zipfile.ZipInfo("my/08_x.py")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as z:
        z.writestr(link, "/etc/passwd")
        z.writestr("my/07_dpo.py", "x = 1")
    my = tmp_path / "Ada" / "my"
    my.mkdir(parents=True)
    (my / "07_dpo.py").write_text("x = 1")
    with contextlib.suppress(OSError):  # where there are no links
        (my / "08_x.py").symlink_to(__file__)
    for place in (tmp_path / "link.zip", tmp_path / "Ada"):
        assert [p.name for p in clean_copy(place, tmp_path / f"{place.stem} copy").iterdir()] \
            == ["07_dpo.py"]


def test_bad_input_is_one_clear_line(tmp_path):
    (tmp_path / "empty.txt").write_text("\n")
    for words, function, *argv in (
            ("no folder", handed_in, tmp_path / "nowhere"), ("neither", handed_in, tmp_path),
            (".csv", klass.main, str(tmp_path), "class.txt"),
             ("project itself", klass.main, str(ROOT), None),
            ("empty", klass.secret, str(tmp_path / "empty.txt")),
            ("cannot be read", klass.secret, str(tmp_path / "none.txt")),
             ("'99'", slides.main, ["99"]),
            ("nothing to hand in", submissions.pack, My(tmp_path / "my"), None)):
        with pytest.raises(UserError, match=words):
            function(*argv)


# ---- a class of two, really graded ---------------------------------------------------------------
@pytest.fixture
def two(tmp_path, monkeypatch) -> Path:
    """Ada as a folder, Bo as a zip made by --pack, Cy's zip is damaged."""
    monkeypatch.setattr(klass.folder, "all_tasks", lambda: klass.folder.tasks_of("04"))
    ada, bo, handed = tmp_path / "handed" / "Ada" / "my", tmp_path / "bo", tmp_path / "handed"
    for my, body in (ada, "(1 - eps) ** n"), (bo, "1 - n * eps"):
        my.mkdir(parents=True)
        (my / "name.txt").write_text(my.name)
        (my / "04_mdp.py").write_text(f"def drift(eps, n):\n    print('here')\n    return {body}\n")
        lines = [tried(0, event="hint"), tried(1000), tried(1600), tried(9000), tried(9060)]
        text = "\n".join(json.dumps({**line, "task": "04a", "time": line["time"] + 1})
                         for line in lines)
        (my / "log.jsonl").write_text(text + '\n{"time": NaN, "task": "04a", "event": "try"}\nno '
                                      'json\n[1]\n')
    submissions.pack(My(bo), str(handed / "Bo.zip"))
    (handed / "Cy.zip").write_bytes(b"nothing")
    (tmp_path / "secret.txt").write_text("only I know\n")
    return tmp_path


def test_a_class_is_graded(two):
    klass.main(str(two / "handed"), str(two / "out" / "class.csv"), str(two / "secret.txt"))
    with open(two / "out" / "class.csv", encoding="utf-8-sig", newline="") as f:
        rows = {(row["name"], row["task"]): row for row in csv.DictReader(f)}
    assert rows["Cy", ""]["state"] == "not graded"
    assert rows["Ada", "04a"]["of"] == "1" and rows["Ada", "04b"]["of"] == "2"
    a, b = rows["Ada", "04a"], rows["Bo", "04a"]
    assert (a["state"], a["points"], a["tries"], a["minutes"], a["hints"]) \
        == ("right", "1", "4", "28", "1")
    assert (b["state"], b["points"], b["seed"]) == ("wrong", "0", "bo") and b["mistake"]
    assert rows["Ada", "04b"]["state"] == "not begun"
    page = (two / "out" / "class.html").read_text(encoding="utf-8")
    assert "1 of 2" in page and f"<li>{b['mistake']}: <b>Bo</b></li>" in page
    assert "Ada,1,5,1,1,4,28," in (two / "out" / "class_sums.csv").read_text(encoding="utf-8-sig")
    assert not list((two / "handed" / "Ada").rglob("__pycache__"))


def test_an_endless_loop_costs_its_own_file_only(tmp_path):
    """At the top of a file; what is right in other files stays right."""
    (tmp_path / "04_mdp.py").write_text("while True:\n    pass\n# drift\n")
    (tmp_path / "17_evidence.py").write_text("def verdict(mean, half, threshold):\n    return 7\n")
    (tmp_path / "03_sft.py").write_text("import os\nos._exit(0)\n")
    found = worker.grade(["03a", "03b", "03c", "04a", "04b", "17b"], My(tmp_path), "0", seconds=3)
    notes = [verdict.get("note") for verdict in found.values()]
    assert notes[:3] == ["ended", "ended", "not reached"] and notes[3:5] == ["time", "time"]
    assert found["17b"]["state"] != "not begun" and "yours" in found["17b"]["cases"][0]


def test_what_is_odd_is_marked(tmp_path, monkeypatch):
    """Words that no exercise needs, in code and not in text; a verdict on an untouched starter, or
    without cases."""
    (tmp_path / "a.py").write_text("# import os\nimport lessons.grade as g, math\nf = "
                                   "g.sys._getframe().f_back\n'gc'\n")
    (tmp_path / "b.py").write_text("import torch\ndef loss(x):\n    return x.os_time\n")
    assert program.strange_words(tmp_path / "a.py") == ["_getframe", "f_back", "lessons", "sys"]
    assert program.strange_words(tmp_path / "b.py") == program.strange_words(tmp_path / "none.py") \
        == []
    starter = "def loss(a):\n    raise NotImplementedError\n"
    forged = Result("Ada", task(), worker.failed("forged"))
    assert klass.oddities(forged) == ["forged"]
    assert klass.oddities(result(code=starter)) == ["judged, but nothing is written",
                                                    "right without cases"]
    fair = Result("Ada", task(), {"state": "right", "mistake": None, "cases": [{"ok": True}]}, BIG)
    assert klass.oddities(fair) == []
    fair.odd = ["gc"]
    assert "<b>Ada</b>: gc" in class_page.page(Klass([task()], [fair], {}))
    monkeypatch.setattr(klass, "clean_copy", lambda entry, place: 1 / 0)
    assert "ZeroDivisionError" in klass.one(tmp_path, "Ada", [], ""), "the others are graded"


# ---- counting ------------------------------------------------------------------------------------
def test_the_seed_and_the_tasks_that_are_named_arrive(two, monkeypatch):
    asked = set()

    def ask(ids, my, seed, *limits):
        asked.add((*ids, seed))
        return {id: {"state": "right", "mistake": None} for id in ids}
    monkeypatch.setattr(worker, "ask", ask)
    command.main(["--class", str(two / "handed"), "--out", str(two / "a.csv"), "04a",
                  "--seed", str(two / "secret.txt")])
    command.main(["--class", str(two / "handed"), "--out", str(two / "b.csv"), "04"])
    assert ("04a", "only I know") in asked \
        and {seed for *ids, seed in asked} == {"only I know", "Ada", "Bo"}
    with open(two / "a.csv", encoding="utf-8-sig", newline="") as f:
        assert {row["task"] for row in csv.DictReader(f)} == {"04a", ""}


def test_equal_but_for_names():
    renamed = BIG.replace("total", "s").replace(
        "beta", "strength").replace("(x", "(p").replace(
            "x, y", "p, q").replace("x > y", "p > q").replace(
                "- y)", "- q)").replace("(y - x)", "(q - p)")
    assert program.tree_of(BIG) == program.tree_of(renamed.replace("def loss", 'def f')) != ""
    told = BIG.replace("    total = 0.0", '    """Mine."""\n    total = 0.0  # hm')
    assert program.tree_of(BIG) == program.tree_of(told)
    assert program.tree_of(BIG) != program.tree_of(BIG.replace("+ 1", "+ 2"))
    assert program.tree_of("def f(x):\n    return x\n") == program.tree_of("def f(") == ""
    some = [result("Ada", code=BIG), result("Bo", code=renamed),
            result("Cy", code=BIG.replace("+ 1", "+ 2")), result("Di", "not begun", code=BIG)]
    results.mark_equal(some)
    assert [r.same_as for r in some] == [["Bo"], ["Ada"], [], []]
    other = [result("Ada", code=BIG), result("Bo", code=BIG, on=task("07z"))]
    results.mark_equal(other)
    assert not other[0].same_as, "another task"


def test_what_is_right_in_one_way_only_is_equal_by_itself():
    def marked(state: str, code: str, on) -> bool:
        some = [result("Ada", state, code="# mine\n" + code, on=on),
                result("Bo", state, code=code.replace(" = ", " =  "), on=on)]
        results.mark_equal(some)
        return bool(some[0].same_as)
    cards = [("predict", "amber"), ("design", "right"), ("ledger", "wrong"), ("ledger", "right")]
    assert [marked(state, "a = 0.3", SimpleNamespace(id="07p", kind=kind))
            for kind, state in cards] == [True, True, True, False]
    assert [marked(state, BIG, task(program="")) for state in ("right", "unknown")] == [False, True]


def test_points_and_names():
    given = [(dict(level=1), "right"), (dict(level=2), "right"), (dict(level=3), "right"),
             (dict(level=3), "amber"), (dict(kind="design", level=3), "right"),
             (dict(kind="debug", level=2), "right"), ({}, "wrong")]
    assert [results.points(task(**more), state) for more, state in given] == [1, 2, 4, 3, 8, 4, 0]
    some = [Result(name, task(), {"state": "right", "mistake": None}, seed=seed)
            for name, seed in (("A", "Ada"), ("B", "ada"), ("C", "Cy"), ("D", ""), ("E", ""))]
    assert results.equal_names(Klass([task()], some, {})) == [["A", "B"]]
    some = [Result(name, task(), {"state": "right"}) for name in ("bo", "Cy", "Ada")]
    assert Klass([task()], some, {}).names == ["Ada", "bo", "Cy"], "as in a list of names"


def test_gradescope_shows_green_only_what_has_all_its_points(monkeypatch):
    """Amber is right values with a fault: three quarters of the points, and not passed. A complete
    prediction passes."""
    monkeypatch.setattr(results.ui, "report", lambda *args: [])

    def told(state: str, **more) -> tuple:
        found = {"state": state, "task": {"name": "weights"}, **more}
        line, = results.gradescope({"03a": found})["tests"]
        return line["status"], line["score"] / line["max_score"]
    assert told("right") == ("passed", 1)
    assert told("amber") == ("failed", 0.75)
    assert told("wrong") == ("failed", 0)
    assert told("unknown", complete=True) == ("passed", 1)


def test_a_function_is_compared_with_what_it_uses(tmp_path):
    (tmp_path / "04_mdp.py").write_text("K = 2\n\ndef helper(x):\n    return K * x\n\ndef "
                                        "other():\n    pass\n\n"
                                        "def drift(eps, n):\n    return helper(eps)\n")
    code = program.written(My(tmp_path), klass.folder.find("04a"))
    assert "K = 2" in code and "def helper" in code and "def drift" in code and "other" not in code


def test_unknown_failures_come_in_groups():
    def lost(name, value):
        return Result(name, task(), {"state": "unknown", "mistake": None,
                                     "cases": [{"yours": [value]}]}, BIG)

    some = [lost("Ada", 0.33333), lost("Bo", 0.33334), lost("Cy", 0.5), result("Di")]
    assert [[r.name for r in group] for group in results.unknown(some)] == [["Ada", "Bo"], ["Cy"]]
    late = Result("Ed", task(), worker.failed("file", error="SyntaxError: here (line 3)"), BIG)
    klass_of = Klass([task()], [*some, late], {})
    assert len(results.unknown(klass_of.results)) == 2 \
        and "SyntaxError" not in class_page.unknown(klass_of)
    assert "here (line 3)" in class_page.stopped(klass_of)


def test_the_beliefs_of_the_week():
    week = class_page.WEEK
    old, new = tried(1, "means for sums"), tried(week * 9, "beta is forgotten and means for sums")
    some = [result("Ada", "wrong", "beta is forgotten", log=[old]), result("Bo", log=[new]),
            result("Cy", log=[old])]
    found = class_page.beliefs(Klass([task()], some, {}))
    assert [(mistake.name, names) for _, mistake, names in found] == [
        ("beta is forgotten", ["Ada", "Bo"]), ("means for sums", ["Bo"])]


def test_nothing_of_a_student_acts_in_the_page_or_the_table(tmp_path):
    some = [result(EVIL, "wrong", "means for sums", code=BIG + f"# </pre>{EVIL}"),
            result("Bo", code=BIG + f"# {EVIL}"),
            Result("=1+1", task(), {"state": "unknown", "mistake": None, "note": EVIL},
                   f"{EVIL}\x1b[31m<!--TASKS-->")]
    results.mark_equal(some)
    assert some[0].same_as
    page = class_page.page(Klass([task()], some, {EVIL: EVIL}))
    assert "<script" not in page and "DPO adds &lt;b&gt; up" in page and "\x1b" not in page
    assert page.count("&lt;!--TASKS--&gt;") == 1 and "<!--" not in page.split("<body>")[1]
    klass.write(tmp_path / "class.csv", Klass([task()], some, {}))
    assert "'=1+1,07a" in (tmp_path / "class.csv").read_text(encoding="utf-8")


# ---- the guide and the slides --------------------------------------------------------------------
def test_the_task_of_the_guide_is_in_order():
    code = re.search(r"```python\n(.*?)```", (NOTES / "add_a_task.md").read_text(encoding="utf-8"),
                     re.S)[1]
    space: dict = {}
    exec(code, space)
    assert [check(task) for task in space["TASKS"]] == [[]]


def test_a_slide(tmp_path, monkeypatch):
    # without matplotlib
    monkeypatch.setattr(slides, "RUN", "import runpy, sys\nrunpy.run_path(sys.argv[1])")
    lesson, picture = tmp_path / "99_try.py", (ROOT / "docs" / "ift_ledger.png").as_posix()
    lesson.write_text("# %% [markdown]\n# # 99 · Is it *so*?\nimport os, "
                      "shutil\nos.makedirs('out/lessons')\n"
                      f"shutil.copy({picture!r}, 'out/lessons/99.png')\n", encoding="utf-8")
    assert slides.line_of(lesson) == "99 · Is it so?"
    (file,) = slides.slides(lesson, tmp_path)
    from nanouft.eval.plots import plt
    assert plt.imread(file).shape[:2] == (1080, 1920)
    lesson.write_text("# # 99 · Is it so?\nassert 0, 'it is not'\n", encoding="utf-8")
    with pytest.raises(UserError, match="99_try.py: AssertionError: it is not"):
        slides.slides(lesson, tmp_path)


# ---- the cage ------------------------------------------------------------------------------------
HOSTILE = """
import os, signal, socket, subprocess, sys
from pathlib import Path

found = []
for pid in os.listdir("/proc"):
    if pid.isdigit():
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
            words += Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            continue
        found += ["process"] * (b"PATIENT" in words)
for file in SECRET, OTHER / "my" / "04_mdp.py", LETTER, Path("letter.txt"):
    try:
        found += ["secret"] * ("only I know" in Path(file).read_text())
    except OSError:
        pass
for place in OUT, Path("/var/tmp"), Path("/dev/shm"):
    try:
        (place / "PWNED").write_text("x")
        found += ["wrote"]
    except OSError:
        pass
try:
    socket.create_connection(("127.0.0.1", PORT), 2)
    found += ["network"]
except OSError:
    pass
for i in range(3):
    subprocess.Popen([sys.executable, "-S", "-c", "import time\\ntime.sleep(300)", MARK], env={},
                     start_new_session=True)

def drift(eps, n):
    print(found)
    return (1 - eps) ** n
"""


def left_over(mark: str) -> list[int]:
    """The processes that bear this mark."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if mark.encode() in place.read_bytes():
                found.append(int(place.parent.name))
    return found


@pytest.fixture
def hostile(tmp_path, monkeypatch):
    """(folder of a class of two, where one program looks around; a socket that listens; a mark).
    The teacher is at home: in a folder outside /tmp, with a letter in it."""
    mark = f"LEFT-OVER-{tmp_path.name}-{os.getpid()}"
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        tempfile.TemporaryDirectory(dir="/var/tmp") as home,
    ):
        letter = Path(home) / "letter.txt"
        letter.write_text("only I know\n")
        monkeypatch.setenv("HOME", home)
        monkeypatch.chdir(home)
        for name in ("Eve", "Ada"):
            (tmp_path / "handed" / name / "my").mkdir(parents=True)
        (tmp_path / "handed" / "Ada" / "my" / "04_mdp.py").write_text("# only I know\n")
        (tmp_path / "secret.txt").write_text("only I know\n")
        (tmp_path / "out").mkdir()
        names = {
            "SECRET": str(tmp_path / "secret.txt"),
            "LETTER": str(letter),
            "MARK": mark,
            "PORT": server.getsockname()[1],
        }
        head = "".join(f"{name} = {value!r}\n" for name, value in names.items())
        head += f"from pathlib import Path\nOUT = Path({str(tmp_path / 'out')!r})\n"
        head += f"OTHER = Path({str(tmp_path / 'handed' / 'Ada')!r})\n"
        file = tmp_path / "handed" / "Eve" / "my" / "04_mdp.py"
        file.write_text(head + HOSTILE.replace("PATIENT", f"PATIENT-{os.getpid()}"))
        yield tmp_path, mark


@pytest.mark.skipif(bool(cage.missing()), reason=f"no cage here: {cage.missing()}")
def test_a_program_in_the_cage_sees_and_leaves_nothing(hostile, monkeypatch):
    place, mark = hostile
    monkeypatch.setenv("NANOUFT_TEST", f"PATIENT-{os.getpid()}")
    patient = subprocess.Popen(
        [sys.executable, "-c", "input()", f"PATIENT-{os.getpid()}"], stdin=subprocess.PIPE
    )
    monkeypatch.setattr(
        klass.folder,
        "environment",
        lambda **more: {
            key: value
            for key, value in {**os.environ, "PYTHONPATH": str(ROOT), **more}.items()
            if key != "NANOUFT_TEST"
        },
    )
    order = klass.Order(
        [klass.folder.find("04a")],
        "only I know",
        True,
        klass.private(place / "class.csv", place / "secret.txt", place / "handed"),
    )
    try:
        (found,) = klass.one(place / "handed" / "Eve", "Eve", order)
    finally:
        patient.kill()
        patient.wait()
    assert found.state == "right" and found.verdict["printed"].startswith("[]"), found.verdict[
        "printed"
    ][:100]
    assert not list((place / "out").iterdir()) and not left_over(mark)


@pytest.mark.skipif(bool(cage.missing()), reason=f"no cage here: {cage.missing()}")
def test_a_hidden_home_may_hold_the_project(tmp_path, monkeypatch):
    """Of the home only the project and Python are left, and these cannot be written."""
    (tmp_path / "Eve" / "my").mkdir(parents=True)
    look = f"os.path.exists({str(ROOT / 'README.md')!r}), os.access({str(ROOT)!r}, os.W_OK)"
    (tmp_path / "Eve" / "my" / "04_mdp.py").write_text(
        f"import os\n\ndef drift(eps, n):\n    print({look})\n    return (1 - eps) ** n\n"
    )
    monkeypatch.setenv("HOME", str(ROOT.parent))
    order = klass.Order([klass.folder.find("04a")], "", True, klass.private(tmp_path / "class.csv"))
    (found,) = klass.one(tmp_path / "Eve", "Eve", order)
    assert found.state == "right" and found.verdict["printed"].startswith("True False")


@pytest.mark.skipif(sys.platform != "linux", reason="orphans are found on Linux only")
def test_without_a_cage_what_was_started_is_ended(hostile):
    """Children with an empty environment and a session of their own, too. The rest is not held."""
    place, mark = hostile
    (found,) = klass.one(
        place / "handed" / "Eve", "Eve", klass.Order([klass.folder.find("04a")], "only I know")
    )
    for file in place / "out" / "PWNED", Path("/var/tmp/PWNED"), Path("/dev/shm/PWNED"):
        file.unlink(missing_ok=True)
    assert found.state == "right" and "secret" in found.verdict["printed"]
    assert not left_over(mark)


def test_a_program_that_ends_its_parent_ends_only_its_own_grading(tmp_path):
    (tmp_path / "Eve" / "my").mkdir(parents=True)
    text = "import os\nos.kill(os.getppid(), 9)\n\ndef drift(eps, n):\n    return (1 - eps) ** n\n"
    (tmp_path / "Eve" / "my" / "04_mdp.py").write_text(text)
    tasks = [klass.folder.find("04a")]
    found = klass.one(tmp_path / "Eve", "Eve", klass.Order(tasks))
    assert isinstance(found, list) and not left_over(str(tmp_path)), "this process has not ended"


def test_without_a_cage_it_is_said(two, monkeypatch, capsys):
    monkeypatch.setattr(klass.cage, "missing", lambda: "Operation not permitted")
    monkeypatch.setattr(klass, "one", lambda entry, name, order, journal: [
        result(name, on=task) for task in order.tasks])
    klass.main(str(two / "handed"), str(two / "out.csv"))
    assert "No cage (Operation not permitted): a program can read" in capsys.readouterr().out


def test_a_submission_has_a_limit_for_all_its_tasks(tmp_path):
    (tmp_path / "04_mdp.py").write_text(
        "import time\n\ndef drift(eps, n):\n    time.sleep(0.4)\n    return 0.0\n"
    )
    (tmp_path / "17_evidence.py").write_text("def verdict(mean, half, threshold):\n    return 7\n")
    found = worker.grade(["04a", "17b"], My(tmp_path), "0", seconds=30, total=4)
    assert [found[id].get("note") for id in ("04a", "17b")] == ["time", "too late"]
    assert "took too long together" in worker_note(found["17b"])


def worker_note(verdict: dict) -> str:
    return klass_ui.noted(verdict, "")


def test_who_was_in_work_at_a_sudden_end_is_named_and_left_out(two, monkeypatch, capsys):
    """Two were in work: they are graded alone at the next start. One was alone: it is left out."""
    file, alone = two / "class.work", []
    monkeypatch.setattr(klass.cage, "missing", lambda: "a test")

    def one(entry, name, order, journal):
        journal.begin(name)
        alone.append(list(journal.in_work))
        journal.end(name)
        return [result(name, on=task) for task in order.tasks]
    monkeypatch.setattr(klass, "one", one)
    file.write_text(json.dumps({"in work": ["Ada", "Bo"]}))
    klass.main(str(two / "handed"), str(two / "class.csv"))
    assert ["Ada"] in alone and ["Bo"] in alone and not file.exists()
    file.write_text(json.dumps({"in work": ["Bo"]}))
    klass.main(str(two / "handed"), str(two / "class.csv"))
    assert "Bo: with it the grading ended suddenly" in capsys.readouterr().out
    assert json.loads(file.read_text())["left out"] == ["Bo"], "also at the start after that"
    with open(two / "class.csv", encoding="utf-8-sig", newline="") as f:
        assert {row["name"]: row["state"] for row in csv.DictReader(f)}["Bo"] == "not graded"


def test_the_log_of_a_student_is_not_believed(tmp_path):
    my = tmp_path / "Eve" / "my"
    (my / "cards").mkdir(parents=True)
    (my / "04_mdp.py").write_text("")
    entry = {"said": [1] * 4, "came": [True] * 4, "found": [""] * 4, "brier": 0}
    (my / "log.jsonl").write_text(
        json.dumps({"time": 5, "task": "04p", "event": "reveal", **entry}) + "\n"
    )
    task = klass.folder.find("04p")
    for text, wanted in (("a = 0.5\n", 0), ("a = 0.5\nb = 0.1\nc = 0.5\nd = 1\n", 1)):
        (my / "cards" / "04p.toml").write_text(text)
        (found,) = klass.one(tmp_path / "Eve", "Eve", klass.Order([task]))
        assert results.earned(task, found.verdict) == wanted and "you said" not in str(
            found.verdict
        )


def test_links_are_named(tmp_path, capsys):
    my = tmp_path / "Eve" / "my"
    my.mkdir(parents=True)
    (my / "04_mdp.py").write_text("def drift(eps, n):\n    return 0\n")
    try:
        (my / "17_evidence.py").symlink_to(__file__)
    except OSError:
        pytest.skip("no links here")
    submissions.pack(My(my), str(tmp_path / "Eve.zip"))
    out = capsys.readouterr().out
    assert "Links are not handed in" in out and "17_evidence.py" in out
    found = klass.one(tmp_path / "Eve", "Eve", klass.Order([klass.folder.find("17b")]))
    assert found[0].odd == ["is a link, so not read: 17_evidence.py"]
