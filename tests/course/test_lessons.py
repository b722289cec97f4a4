"""Every lesson has the form of a lesson; a guess is asked and told; your parts take the place of
ours; and notebooks. The figures of a lesson are in test_lesson_figures.py."""
import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lessons.__main__ import main
from lessons.behind.exam import verbal_questions
from lessons.behind.lesson_list import FOLDER, LESSONS, NUMBERS, PARTS, ROOT, contracts, lesson_head
from lessons.behind.website import pages
from nanouft import simple

HEADINGS = ["What happened", "Change one thing", "To hand in", "Your own program", "Two questions"]
TOKEN_LOGP = ("def token_logp(logits, targets):\n"
              "    every = torch.log_softmax(logits, -1)\n"
              "    return torch.gather(every, 2, targets[..., None]).squeeze(2)\n")


# ---- the form of a lesson ------------------------------------------------------------------------
@pytest.mark.parametrize("file", LESSONS, ids=lambda file: file.stem)
def test_a_lesson_is_one_question_on_one_page(file):
    """A head, a guess that is answered on the same page, a loop that one sees, and its ends."""
    code, number, head = file.read_text("utf-8"), file.name[:2], lesson_head(file)
    text = "".join(re.findall(r"^# ?(.*\n|\n)", code, re.M))
    assert head.title.startswith(f"{number} · ") and "?" in head.question
    needed = re.match(r"\d\d minutes; (?:it )?needs ([^.;]*)", head.about)[1]
    assert needed == "nothing" or max(re.findall(r"\b\d\d\b", needed)) < number
    own = contracts(file)
    assert all(f"`{x}`" in head.about.partition("You write")[2] for x in own)
    found = re.findall(r"^## (.*)$", text, re.M)
    assert [x for x in found if x in HEADINGS] == [
        x for x in HEADINGS if x != "Your own program" or own or x in found]
    asked, told = code.index("\nguess = ask("), code.index("tell(guess")
    assert asked < told
    question = re.search(r"^guess = ask\((.*?)\)$", code, re.M | re.S)[1]
    assert not re.search(r"[$`]", question), "on a terminal it is plain text"
    assert ".backward()" not in code or "for step in range(" in code, "the loop is on the page"
    assert code.count("<details><summary>After your runs</summary>") == 1
    assert code.count("<details>") == code.count("</details>")
    assert len(verbal_questions(number)) == 2
    for name in re.findall(r"`((?:lessons|nanouft|frozen_lake|docs)/[\w/]+\.\w+)`", text):
        assert (ROOT / name).exists(), f"the text names {name}"


def test_the_numbers_of_the_lessons_are_their_order_and_each_part_is_asked_for_once():
    assert [*NUMBERS] == [f"{k:02}" for k in range(len(LESSONS))]
    assert len(PARTS) == sum(len(contracts(file)) for file in LESSONS)


def test_the_course_names_its_lessons_and_begins_with_the_first(capsys):
    assert main([]) == 0
    said = capsys.readouterr().out
    assert f"Begin with python {LESSONS[0].relative_to(ROOT).as_posix()}\n" in said
    assert re.findall(r"^  (\d\d)  .* \d\d minutes", said, re.M) == [*NUMBERS]
    assert all(part in said for part in PARTS)


# ---- a guess -------------------------------------------------------------------------------------
@pytest.fixture
def course(monkeypatch, tmp_path, capsys):
    """course.py as a lesson has it, and an empty folder for what it keeps."""
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.setattr(sys, "argv", ["05_pairs.py"])
    read = runpy.run_path(str(FOLDER / "course.py"))
    assert read["OUT"] == ROOT / "out" / "lessons", "wherever a lesson is started"
    read["tell"].__globals__["OUT"] = tmp_path / "out"
    capsys.readouterr()
    return read


@pytest.mark.parametrize("flags, typed, answers, said", [
    (["--guess", "b"], [], "a b c", "b"), (["--guess", "none"], [], "a b c", ""),
    ([], ["-3.5"], "-20 to 0", "-3.5"), ([], [""], "a b", ""),
    ([], ["x", "101", "many", "nan", "7"], "0 to 100", "7"), (["--guess", "e"], ["A"], "a b", "a"),
    (["--guess"], ["b"], "a b", "b")])
def test_a_guess_is_asked_until_it_is_one(flags, typed, answers, said, monkeypatch, course):
    monkeypatch.setattr(sys, "argv", ["00.py", *flags])
    monkeypatch.setattr("builtins.input", lambda _: typed.pop(0))
    assert course["ask"]("Which?", answers) == said and not typed


def test_without_a_terminal_a_lesson_says_how_to_guess_and_on_a_page_nobody_is_asked(
        monkeypatch, course, capsys):
    def nobody(_):
        raise error
    monkeypatch.setattr("builtins.input", nobody)
    error = EOFError()
    with pytest.raises(SystemExit) as end:
        course["ask"]("Which?", "a b c")
    assert end.value.code == 2
    assert capsys.readouterr().err == "error: guess first: python 05_pairs.py --guess a\n"
    error = RuntimeError()                              # as a kernel's StdinNotImplementedError
    assert course["ask"]("Which?", "a b c") == ""


def test_guess_and_result_are_told_and_kept(course, monkeypatch, tmp_path, capsys):
    course["tell"]("-3", -13.311, "nats")
    monkeypatch.setattr(sys, "argv", ["/x/ipykernel_launcher.py"])
    course["tell"]("", "c")
    assert capsys.readouterr().out == (
        "\nYour guess: -3. Result: -13.3 nats.\n\nYour guess: none. Result: c.\n")
    assert (tmp_path / "out" / "guesses.txt").read_text() == (
        "05_pairs  guess -3  result -13.3 nats\na notebook  guess none  result c\n")


def test_a_table_of_tokens_and_a_picture(course, tmp_path, capsys):
    tok = simple.nano()
    course["show"](tok, torch.tensor([tok.end, tok.pad]), p=torch.tensor([0.25, 1.0]))
    course["curves"]("05", [0, 1], {"chosen": [1, 2]}, "log p")
    said = capsys.readouterr().out.splitlines()
    assert said[1].split() == ["<|end|>", "0.25"] and len(said) == 3
    assert (tmp_path / "out" / "05.png").stat().st_size < 100_000


# ---- your own program ----------------------------------------------------------------------------
@pytest.fixture
def start(tmp_path):
    """A clone of the project in which a lesson begins with this mine.py: what it says."""
    there = tmp_path / FOLDER.relative_to(ROOT)
    there.mkdir(parents=True)
    for name in ("pyproject.toml", "nanouft", "lessons/behind", "lessons/papers",
                 "lessons/__init__.py", "lessons/__main__.py"):
        (tmp_path / name).symlink_to(ROOT / name)
    (there / "course.py").write_text((FOLDER / "course.py").read_text("utf-8"), "utf-8")
    (there / "00.py").write_text("import course, mine\nfrom nanouft import simple\n"
                                 "print('trained', simple.token_logp is mine.token_logp,\n"
                                 "      course.ours['token_logp'] is mine.token_logp)")

    def start(mine: str) -> subprocess.CompletedProcess:
        (there / "mine.py").write_text(f"from nanouft.simple import *\n{mine}")
        env = {name: x for name, x in os.environ.items() if name != "PYTHONPATH"}
        return subprocess.run([sys.executable, there / "00.py"], capture_output=True, text=True,
                              cwd=there, env=env)
    return start


def test_your_parts_take_the_place_of_ours_once_they_are_right(start, tmp_path):
    """In simple.py, too: our sft_loss calls your token_logp. What is no part takes no place. The
    judge is asked once for each state of the file."""
    mine = f"{TOKEN_LOGP}def show():\n    return 'no part'\n"
    ran = start(mine)
    assert ran.stdout.endswith("From your mine.py: token_logp\ntrained True False\n"), ran
    assert "1 of 1 right" in ran.stdout
    assert (tmp_path / "out/lessons/mine_was_right.py").exists()
    assert "1 of 1 right" not in start(mine).stdout
    ran = start(mine.replace("log_softmax", "softmax"))
    assert "These are probabilities. The logarithm is missing." in ran.stdout
    assert ran.stderr.startswith("error: fix this part of mine.py first") and ran.returncode == 2
    assert "trained" not in ran.stdout


def test_a_slip_in_mine_py_is_one_clear_line(start):
    ran = start("1 / 0")
    assert (ran.returncode, ran.stdout) == (2, "")
    line, = ran.stderr.splitlines()
    assert line.startswith("error: ") and "mine.py, line 2: ZeroDivisionError: division" in line


# ---- notebooks -----------------------------------------------------------------------------------
def test_in_a_notebook_outside_the_project_its_first_cell_finds_it_or_says_how(
        tmp_path, monkeypatch):
    cell = pages.PROJECT.format(repository="", name="05_pairs.py",
                                lessons=FOLDER.relative_to(ROOT).as_posix())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "argv", [])
    with pytest.raises(ModuleNotFoundError, match="folder, under the name nanouft, beside"):
        exec(cell, {})
    (tmp_path / "nanouft").symlink_to(ROOT)
    exec(cell, {})
    assert [Path(x).resolve() for x in sys.path] == [ROOT, FOLDER]
    assert sys.argv == ["05_pairs.py"], "whose guess is kept under this name"


@pytest.mark.parametrize("number", ["04", "05"])
def test_in_a_notebook_each_part_of_its_lesson_has_a_stub_before_the_questions(
        number, tmp_path, capsys):
    """Which is "not started" where it stands. What the notebook has named as another part is still
    there afterwards."""
    pytest.importorskip("jupytext", reason='no jupytext here: pip install -e ".[pages]"')
    file = NUMBERS[number]
    pages.write_notebook(file, tmp_path, "")
    cells = ["".join(x["source"]) for x in json.loads(
        (tmp_path / f"{file.stem}.ipynb").read_text("utf-8"))["cells"]]
    own = [*contracts(file)]
    first = len(cells) - 1 - len(own)
    assert cells[-1].startswith("## Two questions") and file.name in cells[1]
    for cell, name in zip(cells[first:-1], own):
        assert cell.endswith(f"\n\ncheck({name})")
        space = dict.fromkeys(PARTS, "the notebook's")
        exec(cell.replace("from mine import *\n", ""), space)
        assert "not started" in capsys.readouterr().out
        assert [x for x in PARTS if space[x] != "the notebook's"] == [name]
