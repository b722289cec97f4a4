"""Guesses are asked twice in a lesson, kept, judged, folded away, and shown beside a constant."""
import re
import runpy
import sys
from types import SimpleNamespace

import pytest

from lessons import course
from lessons.classroom import guesses
from lessons.course import HERE, Question, switches
from lessons.lesson_list import LESSONS, lesson_file, number_of
from lessons.website import pages
from nanouft.plumbing.errors import UserError

NAMES = [(number_of(file), change) for file in LESSONS for change in ("", *switches(file))]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder to guess in, where nobody sits at a terminal."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(course, "OUT", tmp_path / "out" / "lessons")
    monkeypatch.setattr(course, "GUESSES", tmp_path / "out" / "guesses")
    monkeypatch.setattr(sys, "argv", ["pytest"])
    monkeypatch.setattr(sys, "stdin", None)
    return tmp_path


def typed(monkeypatch, *answers):
    """Somebody sits at a terminal and types these answers, then nothing more."""
    left = list(answers)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("builtins.input", lambda question: left.pop(0))
    return left


def test_a_file_that_windows_notepad_saved_is_read(folder, monkeypatch):
    """It puts a mark before the first letter: of a guess, and of the exercises of a notebook."""
    course.GUESSES.mkdir(parents=True)
    (course.GUESSES / "01.txt").write_text("guess 60\n", encoding="utf-8-sig")
    monkeypatch.setattr(Question, "valid", lambda self, guess: guess == "60")
    assert Question(lesson_file("01")).guess == "60"
    monkeypatch.setattr(pages, "HERE", folder)
    (folder / "exercises").mkdir()
    (folder / "exercises" / "ex01.py").write_text("def f(x):\n    return x", encoding="utf-8-sig")
    assert pages.stubs(lesson_file("01"))[0].endswith("def f(x):\n    return x\n\n\ncheck(f)")


@pytest.mark.parametrize(("number", "change"), NAMES)
def test_each_guess_is_asked_kept_and_judged(number, change, folder, monkeypatch, capsys):
    """Before the run the question is printed, but nothing of what stands below "After your run"."""
    question = Question(lesson_file(number), change)
    answer = list(question.choices)[1] if question.choices else f"{question.high:g}"
    happened = "a" if question.choices else question.low
    typed(monkeypatch, answer)
    lesson = course.Lesson(number, change)
    said = capsys.readouterr().out
    assert question.text in said and "After your run" not in said
    lesson.compare(happened, "" if question.choices else "%")
    said = capsys.readouterr().out
    assert f"Your guess: {answer}. What happened: " in said and "lessons guesses" in said
    kept = Question(lesson.file, change)
    assert (kept.guess, kept.happened.split()[0]) == (answer, str(happened).removesuffix(".0"))
    assert len({Question(lesson_file(n), c).file for n, c in NAMES}) == len(NAMES)


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.stem)
def test_what_happens_with_the_switch_is_folded_behind_its_question(lesson):
    """Closed, without a program, in the file, its page and its notebook, which read one text."""
    text = re.sub(r"^# ?", "", lesson.read_text(encoding="utf-8"), flags=re.M)
    part = re.search(r"^## Change one thing\n(.*?)(?=^## )", text, re.M | re.S)[1]
    asked, folded = part.split("\n<details><summary>After your run</summary>\n\n")
    assert asked.rstrip().endswith((".", "?")) and folded.count("\n\n</details>\n") == 1
    assert "After your run" not in text.replace("<summary>After your run</summary>", "")


def test_a_number_that_is_guessed_is_compared(folder, capsys):
    """A letter is refused where a number is asked for, a number where a letter is or where it lies
    outside the range."""
    number, letter = course.Lesson("02"), course.Lesson("00")
    assert number.question.valid("12.5")
    assert not any(map(number.question.valid, ("a", "", "nan", "inf", "-1", "101")))
    assert letter.question.valid("c")
    assert not any(map(letter.question.valid, ("12", "d", "")))
    number.question.keep("60")
    number.compare(12.5, "%")
    assert "Your guess: 60. What happened: 12.5 %, 47.5 away." in capsys.readouterr().out
    assert number.question.file.read_text() == "guess 60\nhappened 12.5 %\n"


def test_the_first_guess_and_what_followed_it_stay(folder, monkeypatch, capsys):
    """A second run does not ask, a second --guess is told to be too late, and nothing is lost."""
    typed(monkeypatch, "60")
    course.Lesson("02").compare(12.5, "%")
    left = typed(monkeypatch, "12")
    again = course.Lesson("02")
    again.compare(14.0, "%")
    assert left == ["12"] and "Your guess 60 is kept in out/guesses/02.txt." in \
        capsys.readouterr().out
    assert again.question.file.read_text() == "guess 60\nhappened 12.5 %\n"
    with pytest.raises(FileExistsError):
        again.question.keep("12")


def test_the_flag_answers_and_comes_too_late_the_second_time(folder, monkeypatch, capsys):
    def run(*flags: str, change: str = "") -> tuple:
        """(exit code, output, errors) of the first lines of lesson 15."""
        monkeypatch.setattr(sys, "argv", [str(HERE / "15_ppo.py"), *flags])
        try:
            course.Lesson("15", change)
            code = 0
        except SystemExit as end:
            code = end.code
        except UserError as fault:                          # what Python does with it at the end
            with pytest.raises(SystemExit) as end:
                sys.excepthook(type(fault), fault, None)
            code = end.value.code
        return code, *capsys.readouterr()
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    kept = folder / "out/guesses/15.txt"
    assert run("--guess", "1.5 %")[0] == 0 and kept.read_text() == "guess 1.5\n"
    assert "Your guess 1.5 is kept in out/guesses/15.txt; --guess 0.4 is not." in run(
        "--guess", "0.4")[1]
    assert kept.read_text() == "guess 1.5\n"
    code, _, err = run("--guess", "7")
    assert code == 2 and "a number from 0 to 2" in err
    code, _, err = run(change="hihg")
    assert code == 2 and "Traceback" not in err
    assert "unknown CHANGE 'hihg'; did you mean high?" in err
    kept.write_text("guess many\n")
    code, _, err = run("--guess", "1")
    assert code == 2 and "15.txt" in err and kept.read_text() == "guess many\n"


def start(monkeypatch, *flags: str) -> course.Lesson:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(sys, "argv", [str(HERE / "15_ppo.py"), *flags])
    return course.Lesson("15")


def test_nobody_at_a_terminal_has_to_guess_first(folder, monkeypatch, capsys):
    """A run without a guess would tell the answer: the question is printed and no lesson runs."""
    with pytest.raises(UserError, match=r"^Guess first: python .*15_ppo.py --guess 2 .* none"):
        start(monkeypatch)
    assert Question(lesson_file("15")).text in capsys.readouterr().out
    assert start(monkeypatch, "--guess", "none").question.guess == ""
    assert not course.GUESSES.exists()
    start(monkeypatch, "--guess", "1.5")
    capsys.readouterr()
    assert start(monkeypatch).question.guess == "1.5"
    start(monkeypatch, "--guess", "none")
    assert "is not" not in capsys.readouterr().out


def test_the_switch_is_a_flag_or_a_line_of_the_file(folder, monkeypatch, capsys):
    """It decides what is asked, and the next command names it."""
    asked = Question(lesson_file("15"), "high")
    flagged = start(monkeypatch, "--change", "high", "--guess", f"{asked.high:g}")
    assert flagged.change == "high" and flagged.question.text == asked.text
    assert (folder / "out/guesses/15-high.txt").exists()
    assert start(monkeypatch, "--guess", "none").change == ""
    with pytest.raises(UserError, match=r'"no steps shown" --guess'):
        monkeypatch.setattr(sys, "argv", [str(lesson_file("16")), "--change", "no steps shown"])
        course.Lesson("16")
    capsys.readouterr()
    start(monkeypatch, "--guess", "none").compare(0.4)
    assert 'python ' + str(lesson_file("15")) + ' --change "high"' in capsys.readouterr().out


def test_guesses_and_pictures_lie_in_the_project_wherever_a_lesson_starts(tmp_path, monkeypatch):
    """`cd lessons; python 15_ppo.py` is the default of several editors."""
    monkeypatch.chdir(tmp_path)
    read, out = runpy.run_path(course.__file__), HERE.parent / "out"
    assert (read["OUT"], read["GUESSES"]) == (out / "lessons", out / "guesses")


def plant(folder, **texts):
    (folder / "out/guesses").mkdir(parents=True)
    for name, text in texts.items():
        (folder / f"out/guesses/{name[1:].replace('_', '-')}.txt").write_text(text)


def test_without_a_guess_the_command_says_how_to_make_one(folder, capsys):
    assert guesses.main([]) == 0
    said = capsys.readouterr().out
    file = re.search(r"python (lessons/\S+\.py)", said)[1]
    assert "No guess is kept" in said and (HERE.parent / file).exists()


def test_the_guesses_stand_beside_a_constant(folder, capsys):
    """Three numbers, 10, 40 and 0 % of their range away where the constant is 20, 40 and 25 %: too
    high, too low and right; two letters, one right, where "a" has none; one that has not been
    run."""
    plant(folder, _02="guess 40\nhappened 30 %\n", _07="guess -10\nhappened -2 nats\n",
          _15="guess 0.5\nhappened 0.5\n", _03="guess c\nhappened c\n",
          _04_prompt="guess a\nhappened c\n", _13_rules="guess 5\n")
    assert guesses.main([]) == 0
    said = capsys.readouterr().out
    lines = {" ".join(line.split()) for line in said.splitlines()}
    assert {"02 40 30 % 10 % 50 20 %", "15 0.5 0.5 0 % 1 25 %", "07 -10 -2 nats 40 % -10 40 %",
            "03 c c right a wrong", "04 prompt a c wrong a wrong",
            "13 rules 5 not run yet"} <= lines
    assert "3 numbers: on average you are 17 % of " in said and " 28 % away" in said
    assert "You are nearer in 2 of them, and your guess is too high in 1." in said
    assert '2 letters: you have 1 right, and "a" would have 0.' in said
    assert f"{len(NAMES) - 6} questions of {len(NAMES)} not guessed yet" in said


@pytest.mark.parametrize("text", ["guess 20\nhappened often\n", "guess often\n", "", "20\n"])
def test_a_damaged_record_is_told_and_kept(text, folder):
    plant(folder, _02=text)
    with pytest.raises(UserError, match="02.txt"):
        guesses.main([])
    assert (folder / "out/guesses/02.txt").read_text() == text
