"""Every lesson has its parts, runs, and its laws hold.

All of them take minutes, so that even among the slow tests only the shortest run:
    LESSONS=all python -m pytest -m slow tests/course/test_lessons.py
"""
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lessons import lesson_list
from lessons.classroom import guesses
from lessons.course import HERE, Question, switches
from lessons.evidence import judge
from lessons.lesson_list import LESSONS, NUMBERS, lesson_file, number_of
from lessons.tasks.task import tasks
from lessons.website import pages

ROOT = HERE.parent
N = r"\d\db?"                                      # a lesson's number


# What is right at ## Guess, and with the switch: a letter, or a number with how far other machines
# may be from it.
ANSWERS = {"00": "a", "01": (0.07, 0.3), "02": (12, 15), "03": "c", "04": "d", "05": (61, 5),
           "06": (23, 8), "07": (-13, 3), "08": (-13, 3), "09": (78, 15), "10": (88, 6),
           "11": (35, 6), "12": (44, 6), "12b": (0.35, 0.1), "13": (100, 10), "14": (21, 1),
           "15": (0.43, 0.05), "16": "d", "17": (100, 2), "18": (-9.4, 7)}
WITH_SWITCH = {"00 end": (88, 8), "01 positions": (1.98, 0.1), "02 prompt": (95, 5),
               "03 network": (12, 5), "04 prompt": "c", "05 default8": (100, 0),
               "06 undivided": (100, 10), "07 rate": (-0.09, 0.1), "08 tenfold": (-13.3, 3),
               "09 sorted": (57, 15), "10 noisy": (54, 6), "11 exact": (100, 3),
               "12 mixed up": (0.18, 0.1), "12b fresh": (0.7, 0.1), "13 rules": (4, 8),
               "14 unpaired": "b", "15 high": (0, 0.1), "16 no steps shown": (1, 9),
               "17 mine": (0, 4), "18 silent": (-5, 5)}
RIGHT = ANSWERS | WITH_SWITCH


def text_of(lesson: Path) -> str:
    """The Markdown of a lesson, without the signs of comments."""
    cells = re.split(r"^# %%", lesson.read_text(encoding="utf-8"), flags=re.M)
    notes = [cell for cell in cells if cell.startswith(" [markdown]")]
    return re.sub(r"^# ?", "", "\n\n".join(notes), flags=re.M)


def test_a_notebook_outside_the_project_finds_it_or_says_how(tmp_path, monkeypatch):
    cell = pages.PROJECT.format(repository="")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(ModuleNotFoundError, match="folder, under the name nanouft, beside"):
        exec(cell, {})
    (tmp_path / "nanouft").symlink_to(ROOT)
    exec(cell, {})
    assert [Path(x).resolve() for x in sys.path] == [ROOT, HERE]


def test_a_notebook_has_a_cell_for_each_exercise():
    """Its stub, which is checked where it stands."""
    checked = [re.search(r"^def (\w+)\(.*raise NotImplementedError\n\n\ncheck\((\w+)\)$", cell,
                         re.M | re.S).groups() for file in LESSONS for cell in pages.stubs(file)]
    names = [task.name for name, task in tasks().items() if name[0].isdigit()]
    assert checked == [(name, name) for name in names]


def copied(folder: Path) -> dict[str, str]:
    """The lessons in this folder, where their guesses and pictures go, and the environment in which
    they run."""
    shutil.copytree(HERE, folder / "lessons", ignore=shutil.ignore_patterns("__pycache__"))
    path = os.pathsep.join(map(str, [folder, ROOT, folder / "lessons"]))
    return os.environ | {"PYTHONPATH": path}


def test_a_copy_beside_a_lesson_runs_and_is_no_lesson(tmp_path, monkeypatch, capsys):
    """README, the site, the guesses and the counts are what they are without it, and it does not
    answer for the lesson."""
    env = copied(tmp_path)
    copy = shutil.copy(lesson_file("05"), tmp_path / "lessons" / "05_a_copy.py")
    code = """from lessons import course, lesson_list
from lessons.classroom import guesses
from lessons.website import methods_page, pages
print(lesson_list.table(), methods_page.COUNTS)
print([x.name for x in pages.lesson_files([])])
print([x.text for x in guesses.questions().values()], course.Lesson("05").file.name)"""
    help_of_copy = f"""
import runpy, sys
sys.argv = [{str(copy)!r}, "--help"]
runpy.run_path(sys.argv[0], run_name="__main__")"""
    there = subprocess.run([sys.executable, "-c", code + help_of_copy], cwd=tmp_path, text=True,
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True, env=env)
    monkeypatch.setattr(sys, "argv", ["-c"])
    monkeypatch.setattr(sys, "stdin", None)
    exec(code, {})                                      # in this process: without the copy
    listed = capsys.readouterr().out
    assert there.stdout.startswith(listed)
    assert "a number from -100 to 100" in there.stdout.removeprefix(listed)


def test_no_lesson_is_missing_in_the_list():
    assert {number_of(file) for file in HERE.glob("[0-9][0-9]*_*.py")} == {*NUMBERS}


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.stem)
def test_a_lesson_has_its_parts(lesson):
    """A description, two guesses, a letter or a number each, one switch that the text explains, two
    questions."""
    assert lesson_list.QUESTIONS[lesson.stem].endswith((".", "?"))
    text, code = text_of(lesson), lesson.read_text(encoding="utf-8")
    switch = re.search(r"^CHANGE = \"\" +# change one thing: (.*?)(?:, see|$)", code, re.M)
    assert switch, "the line CHANGE = \"\"   # change one thing: \"\" | ..."
    for value in switches(lesson):
        assert f'"{value}"`' in text, f"the text does not explain {value}"
    for change in ("", *switches(lesson)):
        question = Question(lesson, change)
        right = RIGHT.get(f"{number_of(lesson)} {change}".strip())
        assert len(question.choices) >= 3 or not question.choices and question.low < question.high
        assert right is None or question.valid(right if question.choices else str(right[0]))
    questions = re.search(r"^## Two questions\n(.*?)<details>", text, re.M | re.S)
    assert questions and len(re.findall(r"^\d\. ", questions[1], re.M)) == 2
    for file in re.findall(r"`((?:lessons|nanouft|frozen_lake|docs)/[\w/]+\.\w+)`", text):
        assert (ROOT / file).exists(), f"the text names {file}"


def read_first(lesson: Path) -> set[str]:
    """The lessons that "read NN first" names, and those that these name in turn."""
    named = re.search(rf"\bread ({N}(?:(?:,| and) {N})*) first", lesson_list.head_of(lesson)[1])
    direct = set(re.findall(N, named[1])) if named else set()
    return direct.union(*(read_first(NUMBERS[number]) for number in direct))


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.stem)
def test_a_lesson_builds_only_on_lessons_that_it_says_to_read_first(lesson):
    """An earlier "lesson NN" is among them; a later one is a look ahead and needs no reading."""
    text = " ".join(re.sub(r"^ *# ?", "", lesson.read_text(encoding="utf-8"), flags=re.M).split())
    lists = re.findall(rf"\b[Ll]essons? ({N}(?:(?:,| and| to| or) {N})*)", text)
    earlier = {number for x in lists for number in re.findall(N, x)
               if number < number_of(lesson)}
    assert earlier <= read_first(lesson), f"{lesson.name} builds on {earlier - read_first(lesson)}"


def test_each_lesson_takes_its_switch_from_the_command_line():
    """Else --change would leave it as it is, and nobody would see that."""
    assert not [file.name for file in LESSONS
                if "\nCHANGE = lesson.change\n" not in file.read_text(encoding="utf-8")]


def test_who_always_says_the_same_letter_is_mostly_wrong():
    right = [answer for answer in RIGHT.values() if isinstance(answer, str)]
    assert {*RIGHT} == set(guesses.questions())
    assert max(map(right.count, right)) <= len(right) / 2


@pytest.mark.slow
@pytest.mark.parametrize("name", RIGHT)
def test_a_lesson_runs_and_its_laws_hold(name, tmp_path):
    """Without its switch and with it; either guess is kept and judged."""
    number, _, change = name.partition(" ")
    if name not in ("03", "15 high") and os.environ.get("LESSONS") != "all":
        pytest.skip("LESSONS=all runs every lesson, without its switch and with it")
    lesson, right = lesson_file(number), RIGHT[name]
    question = Question(lesson, change)
    guess = "a" if question.choices else f"{question.low:g}"
    kept, env = tmp_path / question.file.relative_to(ROOT), copied(tmp_path)
    kept.parent.mkdir(parents=True)
    kept.write_text(f"guess {guess}\n")
    copy = str(tmp_path / "lessons" / lesson.name)
    command = [sys.executable, copy, "--change", change]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600,
                         env=env)
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-2000:]
    assert "contradicts" not in ran.stdout and f"Your guess: {guess}. " in ran.stdout
    happened = re.fullmatch(f"guess {guess}\nhappened (\\S+).*\n", kept.read_text())[1]
    if question.choices:
        assert happened == right
    else:
        assert abs(float(happened) - right[0]) <= right[1]
    picture = f"{number}-{change}" if change else number
    assert (tmp_path / f"out/lessons/{picture.replace(' ', '-')}.png").stat().st_size < 100_000


@pytest.mark.slow
def test_lesson_17_prints_the_intervals_that_are_published(tmp_path):
    """The same rows of the same claims, whichever of two rows is subtracted."""
    env, lesson = copied(tmp_path), str(tmp_path / "lessons" / "17_a_real_model.py")
    ran = subprocess.run([sys.executable, lesson, "--guess", "10"], cwd=tmp_path, text=True,
                         capture_output=True, timeout=600, env=env)
    published = {figure for run in ("R1", "R1s", "R5", "R6", "C9") for line in judge.lines(run)
                 if not line.question.startswith("...")     # one task of the line before
                 for figure in re.findall(r"\d+\.\d ± \d+\.\d", line.figures)}
    printed = re.findall(r"kept, .*? minus SFT.*?(\d+\.\d) ± +(\d+\.\d)", ran.stdout)
    assert len(printed) == 10, ran.stderr
    assert not {f"{mean} ± {half}" for mean, half in printed} - published
