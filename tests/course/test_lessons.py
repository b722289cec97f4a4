"""Every lesson has its parts and runs, its claims hold; guesses are asked twice, kept, judged and
shown beside a constant; the equations of lessons/papers/extras are the losses of their code.

All lessons take minutes, so that even among the slow tests only the shortest run:
    LESSONS=all python -m pytest -m slow tests/course/test_lessons.py
"""
import inspect
import io
import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from equation_parser import value
from made import CPU, NANO, Form, batch_of, killed_in_step, learn, nano, same, start_folder
from programs.right import HEAD
from programs.right import RIGHT as PROGRAMS
from test_equations import known, step

from lessons import course
from lessons.__main__ import main
from lessons.behind import lesson_list
from lessons.behind.lesson_list import LESSONS, NUMBERS, lesson_of, number_of
from lessons.behind.tasks import check, simple_parts, task
from lessons.behind.tasks.call import as_tensor
from lessons.behind.tasks.task import tasks
from lessons.behind.website import pages
from lessons.course import HERE, Question, switches
from lessons.papers.extras import ingredient_substitution, povid, ts_dpo
from lessons.papers.extras.ts_dpo import TSDPO, linear_logits, weights_of
from nanouft import simple, train
from nanouft.batch import write_logp
from nanouft.playground.docstrings import equations, method_docstring
from nanouft.plumbing.errors import UserError
from nanouft.run.reference import FrozenModels

ROOT = HERE.parent
ASKED = [(number_of(file), change) for file in LESSONS for change in ("", *switches(file))]
# What is right at ## Guess, and with the switch: a letter, or a number with how far other machines
# may be from it.
RIGHT = {"00": "c", "01": (1.98, 0.1), "02": (12, 15), "03": (36, 8), "04": (76, 8),
         "06": (0, 15), "07": (-13, 3), "09": (57, 15), "10": (84, 6), "11": (35, 6),
         "11b": (72, 8), "12": (4.6, 1), "12b": (0.35, 0.1), "13": (100, 10), "14": (21, 1),
         "16": "d", "17": (12, 2), "18": (0, 10), "19": "b",
         "00 end": (88, 8), "01 mask": (5.43, 0.6), "02 prompt": (95, 5), "03 table": (100, 3),
         "04 another": (68, 12), "06 undivided": (100, 10), "07 no reference": (-1.1, 0.6),
         "09 large beta": (66, 15), "10 noisy": (54, 6), "11 exact": (100, 3),
         "11b no verifier": (49, 8), "12 blame": (0.57, 0.08), "12b fresh": (0.7, 0.1),
         "13 rules": (4, 8), "14 unpaired": "b", "16 no steps shown": (1, 9),
         "17 own answers": (0, 2), "18 one": (69, 15), "19 many demonstrations": (-3, 6)}


# ---- the text of a lesson ------------------------------------------------------------------------
def test_no_lesson_is_missing_in_the_list():
    assert {number_of(file) for file in HERE.glob("[0-9][0-9]*_*.py")} == {*NUMBERS}


def test_the_order_of_the_lessons_ends_each_run_and_a_lesson_needs_only_earlier_ones(
        folder, capsys):
    for file, later in zip(LESSONS, [*LESSONS[1:], None]):
        course.Lesson(number_of(file)).compare("a" if Question(file).choices else 1.0)
        last = capsys.readouterr().out.splitlines()[-1]
        assert re.match(rf"Next: python .*{later.name}$" if later else "Next: .* my_loss.py", last)
        read_before = re.search(r"read ([^.;]+) first", lesson_list.lesson_head(file)[1])
        needed = re.findall(r"\b\d\db?\b", read_before[1]) if read_before else []
        assert {*needed} <= {number_of(x) for x in LESSONS[:LESSONS.index(file)]}


def test_a_guess_of_an_old_lesson_17_stays_and_the_new_one_asks(folder, monkeypatch):
    course.GUESSES.mkdir(parents=True)
    old = course.GUESSES / "17.txt"
    old.write_text("guess 80\nhappened 61.1 %\n")
    typed(monkeypatch, "5")
    course.Lesson("17").compare(12.0, "of 12")
    assert old.read_text() == "guess 80\nhappened 61.1 %\n"
    assert Question(NUMBERS["17"]).happened == "12 of 12"


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.stem)
def test_a_lesson_has_its_parts(lesson):
    """A switch that the command line sets; what happens with it is folded away, once; questions
    that can be read on a terminal and take what is right; files that are there."""
    code = lesson.read_text(encoding="utf-8")
    text = "".join(re.findall(r"^# ?(.*\n|\n)", code, re.M))
    assert re.search(r"^CHANGE = \"\" +# change one thing: ", code, re.M)
    assert "\nCHANGE = lesson.change\n" in code
    change = re.search(r"^## Change one thing\n(.*?)(?=^## |\Z)", text, re.M | re.S)[1]
    asked, folded = change.split("\n<details><summary>After your run</summary>\n\n")
    assert asked and folded.count("\n\n</details>\n") == 1 == code.count("After your run")
    for change in ("", *switches(lesson)):
        question = Question(lesson, change)
        assert not re.search(r"[$\\*`]", question.text), "on a terminal it is plain text"
        right = RIGHT.get(f"{number_of(lesson)} {change}".strip())
        assert len(question.choices) >= 3 or not question.choices and question.low < question.high
        assert right is None or question.valid(right if question.choices else str(right[0]))
    assert text.count("`docs/terms.md`") == 1
    for file in re.findall(r"`((?:lessons|nanouft|frozen_lake|docs)/[\w/]+\.\w+)`", text):
        assert (ROOT / file).exists(), f"the text names {file}"


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
                         re.M | re.S).groups() for file in LESSONS
               for cell in pages.stubs(file).values()]
    names = [task.name for name, task in tasks().items() if name[0].isdigit()]
    assert sorted(checked) == sorted((name, name) for name in names)


# ---- guesses -------------------------------------------------------------------------------------
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


def start(monkeypatch, *flags: str, number: str = "02", change: str = "") -> course.Lesson:
    """As a command of a person does it."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(sys, "argv", [str(NUMBERS[number]), *flags])
    return course.Lesson(number, change)


@pytest.mark.parametrize(("number", "change"), ASKED)
def test_each_guess_is_asked_kept_and_judged(number, change, folder, monkeypatch, capsys):
    """Before the run the question is printed, but nothing of what stands below "After your run"."""
    question = Question(NUMBERS[number], change)
    answer = list(question.choices)[1] if question.choices else f"{question.high:g}"
    happened = "a" if question.choices else question.low
    typed(monkeypatch, answer)
    lesson = course.Lesson(number, change)
    said = capsys.readouterr().out
    assert question.text in said and "After your run" not in said
    lesson.compare(happened, "" if question.choices else "%")
    said = capsys.readouterr().out
    assert f"Your guess: {answer}. Result: " in said
    kept = Question(lesson.file, change)
    assert (kept.guess, kept.happened.split()[0]) == (answer, str(happened).removesuffix(".0"))
    assert len({Question(NUMBERS[n], c).file for n, c in ASKED}) == len(ASKED)


ONCE = {"02.txt": "guess 1.5\nhappened 0.3 %\n"}
HIGH = {"02-prompt.txt": "guess 0.5\nhappened 0.7 %\n"}
WALK = [        # lesson and flags, in turn; what is said, or why not; what is kept
    ("02", r" \(02a\) first, in lessons/exercises/ex02.py. Until you begin.*QUESTION.*"
     "Guess first: python .*02_which_tokens_count.py --guess 100 .* none", {}),
    ("02 --guess none", "Then change one thing: python .*count.py --change \"prompt\"\n", {}),
    ("02 --guess 700", "a number from 0 to 100", {}),
    ("02 --guess '1.5 %'", "Your guess: 1.5. Result: 0.3 % .you were off by 1.2.\\.", ONCE),
    ("02", "^Your guess 1.5 is kept in out/guesses/02.txt.\n", ONCE),
    ("02 --guess 0.4", "Your guess 1.5 is kept in out/guesses/02.txt; --guess 0.4 is not.", ONCE),
    ("02 --guess none", "^Your guess 1.5 is kept in out/guesses/02.txt.\n", ONCE),
    ("02 --change prompt --guess 0.5", "Your guess: 0.5. Result: 0.7 %", ONCE | HIGH),
    ("16 --change 'no steps shown'", "QUESTION.*--change \"no steps shown\" --guess", ONCE | HIGH)]


def test_a_walk_through_the_commands_of_a_lesson(folder, monkeypatch, capsys):
    """Nobody sits at a terminal, so a run without a guess would tell the answer: none runs. The
    first guess and what followed it stay."""
    for k, (words, wanted, kept) in enumerate(WALK):
        number, *flags = shlex.split(words)
        monkeypatch.setattr(task, "is_begun", lambda name, k=k: k > 0)
        try:
            lesson, why = start(monkeypatch, *flags, number=number), ""
            lesson.compare(k / 10, "%")
        except (UserError, SystemExit) as error:
            why = str(error)
        said = "".join(capsys.readouterr()) + why
        asked = Question(NUMBERS[number], "no steps shown" if number == "16" else "").text
        assert re.search(wanted, said.replace(asked, "QUESTION"), re.S), words
        assert (k == 0) == ("first, in" in said)
        assert {file.name: file.read_text() for file in course.GUESSES.glob("*")} == kept
    with pytest.raises(FileExistsError):
        lesson.question.keep("1")


def test_a_mistake_or_ctrl_c_in_a_lesson_is_one_line(folder, monkeypatch, capsys):
    with pytest.raises(UserError, match="unknown CHANGE 'pormpt'; did you mean prompt?") as fault:
        start(monkeypatch, change="pormpt")
    for error, code, line in ((fault.value, 2, f"error: {fault.value}"),
                              (KeyboardInterrupt(), 130, "interrupted")):
        with pytest.raises(SystemExit) as end:              # what Python does with it at the end
            sys.excepthook(type(error), error, None)
        assert end.value.code == code and capsys.readouterr().err == f"{line}\n"


@pytest.mark.parametrize("number, said, kept", [
    ("02", "about 1.5 points", "1.5"), ("02", "0 or 2\n.5", ".5"), ("02", "900\n1", "1"),
    ("07", "\N{MINUS SIGN}3 nats", "-3"), ("00", "I think (B), both", "b"), ("00", "a or b", ""),
    ("02", "900\n900\n1", ""), ("02", "-1\nnan", ""), ("02", "a\ninf", ""), ("00", "12\ne", "")])
def test_a_guess_is_read_in_a_sentence_or_from_a_pipe_and_asked_for_once_more(
        number, said, kept, folder, monkeypatch):
    """A terminal goes on without one. From a pipe that would tell the answer."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(said))
    with nullcontext() if kept else pytest.raises(UserError, match="^Guess first"):
        assert start(monkeypatch, number=number).question.guess == kept
    shutil.rmtree(folder / "out", ignore_errors=True)
    typed(monkeypatch, *said.split("\n"), "")
    assert start(monkeypatch, number=number).question.guess == kept


def test_a_file_that_windows_notepad_saved_is_read(folder, monkeypatch):
    """It puts a mark before the first letter: of a guess, and of the exercises of a notebook."""
    course.GUESSES.mkdir(parents=True)
    (course.GUESSES / "02.txt").write_text("guess 60\n", encoding="utf-8-sig")
    assert Question(NUMBERS["02"]).guess == "60"
    monkeypatch.setattr(pages, "HERE", folder)
    (folder / "exercises").mkdir()
    (folder / "exercises" / "ex01.py").write_text("def f(x):\n    return x", encoding="utf-8-sig")
    assert pages.stubs(NUMBERS["01"])["f"].endswith("def f(x):\n    return x\n\n\ncheck(f)")


def test_guesses_and_pictures_lie_in_the_project_wherever_a_lesson_starts(tmp_path, monkeypatch):
    """`cd lessons; python 07_pairs.py` is the default of several editors."""
    monkeypatch.chdir(tmp_path)
    read, out = runpy.run_path(course.__file__), HERE.parent / "out"
    assert (read["OUT"], read["GUESSES"]) == (out / "lessons", out / "guesses")


def test_the_course_names_its_lessons_and_begins_with_the_first(capsys):
    assert main([]) == 0
    said = capsys.readouterr().out
    assert f"Begin with python lessons/{LESSONS[0].name}\n" in said
    assert re.findall(r"^(\d\d\w?) ", said, re.M) == [*NUMBERS]


@pytest.mark.parametrize("text", ["guess often\n", "", "20\n"])
def test_a_damaged_guess_is_told_and_kept(text, folder):
    course.GUESSES.mkdir(parents=True)
    (course.GUESSES / "02.txt").write_text(text)
    with pytest.raises(UserError, match="02.txt"):
        Question(NUMBERS["02"])
    assert (course.GUESSES / "02.txt").read_text() == text


def test_who_always_says_the_same_letter_is_mostly_wrong():
    right = [answer for answer in RIGHT.values() if isinstance(answer, str)]
    assert {*RIGHT} == {f"{number} {change}".strip() for number, change in ASKED}
    assert max(map(right.count, right)) <= len(right) / 2


# ---- the reader's own function -------------------------------------------------------------------
TYPED = [name for file in LESSONS
         for name in re.findall(r'lesson\.yours\("(\w+)"\)', file.read_text("utf-8"))]


@pytest.fixture
def stub(folder, monkeypatch):
    """Writes an exercise into an empty folder of exercises, and asks a lesson for it."""
    monkeypatch.setattr(task, "STUBS", folder)

    def asked(name: str, program: str):
        (folder / tasks()[name].file).write_text(program)
        return course.Lesson("02").yours(name)
    return asked


@pytest.mark.parametrize("name", TYPED)
def test_a_lesson_runs_with_ours_until_the_function_is_begun_and_then_with_a_right_one(
        name, stub, capsys):
    """In any style: lists and arrays that are right become tensors of our kind. A wrong one ends
    the lesson with its smallest case."""
    asked, case = tasks()[name], tasks()[name].always[-1]
    assert stub(name, (HERE / "exercises" / asked.file).read_text("utf-8")) is asked.right
    own = stub(name, HEAD + PROGRAMS[name])
    got, ours = own(*case), as_tensor(asked.right(*case))
    assert isinstance(got, torch.Tensor) and got.shape == ours.shape
    assert name == "02a" or got.dtype == ours.dtype
    mistake = asked.mistakes[0]
    for wrong in (HEAD + task.source_with(asked, (mistake,)), f"def {asked.name}(:"):
        with pytest.raises(UserError, match=f"fix {asked.name} in {asked.file} .* trained with it"):
            stub(name, wrong)
    said = capsys.readouterr().out
    for words in (f"with our {asked.name}; yours ({name}), in {asked.file}, is not started\n",
                  f"with your own {asked.name}\n{asked.name} ({name}), in {asked.file}, is wrong.\n"
                  "    Passes ", mistake[2], "cannot be read. SyntaxError"):
        _, found, said = said.partition(words)
        assert found, words


def test_lesson_19_runs_with_the_right_parts_of_mine_py_and_ours_for_the_others(
        folder, monkeypatch, capsys):
    """A wrong part ends it before anything is trained. `check mine --run` starts this lesson."""
    monkeypatch.setattr(task, "STUBS", folder)
    right = "from nanouft.simple import tokens\n\n\n" + inspect.getsource(simple.sft_loss)
    for text, found in ((right, True), (right.replace("return -", "return "), False)):
        (folder / "mine.py").write_text(text.replace(" -> Tensor", ""))
        with nullcontext() if found else pytest.raises(UserError, match="fix sft_loss in mine.py"):
            course.Lesson("19").program()
            assert simple.sft_loss is not simple_parts.OURS["sft_loss"]
            assert simple.METHODS["sft"][0] is simple.sft_loss
    assert "with your own sft_loss (11 of 12 parts are ours)" in capsys.readouterr().out
    simple_parts.install_parts({})
    started = []
    monkeypatch.setattr(subprocess, "run", lambda command: started.append(command) or
                        SimpleNamespace(returncode=0))
    assert check.main(["mine", "--run"]) == 0 and started == [[sys.executable, NUMBERS["19"]]]


def test_in_a_notebook_the_function_is_that_of_the_cell_above(stub, folder, monkeypatch, capsys):
    """On a page, where there is no such cell, it is ours, whatever is in the file."""
    main = sys.modules["__main__"]
    monkeypatch.setattr(course, "NOTEBOOK", True)
    monkeypatch.setattr("builtins.input", lambda asked: "")

    def cell(program: str):
        space = {"__name__": "__main__"}
        exec(HEAD + program, space)
        monkeypatch.setattr(main, "own_guess", space["own_guess"], raising=False)
        return stub("04a", "def own_guess(:")
    assert stub("04a", "def own_guess(:") is tasks()["04a"].right
    assert cell("def own_guess(*x):\n    raise NotImplementedError") is tasks()["04a"].right
    assert cell(PROGRAMS["04a"]) is not tasks()["04a"].right
    page, unbegun, right = re.findall("^with.*", capsys.readouterr().out, re.M)
    assert "our own_guess" in page and "your own own_guess" in right
    assert "(04a), in the cell above, is not started" in unbegun
    with pytest.raises(UserError, match="fix own_guess in the cell above"):
        cell("def own_guess(inputs, mask, likeliest):\n    return likeliest")
    monkeypatch.setattr(main, "own_guess", tasks()["04a"].right)            # of a run before
    assert stub("04a", "") is tasks()["04a"].right


@pytest.mark.parametrize("name", TYPED)
def test_in_a_notebook_a_stub_stands_before_its_cell_and_runs_there(name, tmp_path):
    """With the imports of its file, since those of the lesson may come later."""
    pytest.importorskip("jupytext", reason='no jupytext here: pip install -e ".[pages]"')
    lesson, asked = NUMBERS[lesson_of(name)], tasks()[name]
    pages.write_notebook(lesson, tmp_path, "")
    cells = [x["source"] for x in json.loads(
        (tmp_path / f"{lesson.stem}.ipynb").read_text("utf-8"))["cells"]]
    cells = ["".join(x) for x in cells]
    at, = (k for k, x in enumerate(cells) if f"\ndef {asked.name}(" in x)
    assert f"{asked.name} = lesson.yours(" in cells[at + 1]
    exec(cells[at], {"__name__": "here"})                   # "not started", and no other error


def test_ours_is_read_after_the_readers_answer(folder, monkeypatch, capsys):
    """With a switch, too: whatever is asked is answered."""
    lesson = course.Lesson("02", "prompt")
    typed(monkeypatch, "mine")
    lesson.read(["one", "two"], "What is hidden?", "this")
    assert capsys.readouterr().out == "\none\ntwo\n\nWhat is hidden?\nWe read: this\n"


# ---- runs ----------------------------------------------------------------------------------------
def test_a_copy_beside_a_lesson_runs(folder, monkeypatch):
    """And is no lesson: SUBJECTS of lesson_list is the only list of these."""
    copy = Path(shutil.copy(NUMBERS["04"], folder / "04_a_copy.py")).resolve()
    monkeypatch.setattr(course, "HERE", copy.parent)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(sys, "argv", [str(copy), "--guess", "none"])
    assert course.Lesson("04").file == copy


@pytest.mark.slow
@pytest.mark.parametrize("name", RIGHT)
def test_a_lesson_runs_and_its_identities_hold(name, tmp_path):
    """Without its switch and with it; either guess is kept and judged."""
    number, _, change = name.partition(" ")
    if name not in ("03", "14 unpaired") and os.environ.get("LESSONS") != "all":
        pytest.skip("LESSONS=all runs every lesson, without its switch and with it")
    lesson, right = NUMBERS[number], RIGHT[name]
    question = Question(lesson, change)
    guess = "a" if question.choices else f"{question.low:g}"
    kept, here = tmp_path / question.file.relative_to(ROOT), tmp_path / "lessons"
    shutil.copytree(HERE, here, ignore=shutil.ignore_patterns("__pycache__"))
    path = os.pathsep.join(map(str, [tmp_path, ROOT, here]))
    kept.parent.mkdir(parents=True)
    kept.write_text(f"guess {guess}\n")
    model = ROOT / "out" / "smollm2"
    if number == "17":
        if not model.exists():
            pytest.skip("no out/smollm2, which lesson 17 trains")
        (tmp_path / "out" / "smollm2").symlink_to(model)
    command = [sys.executable, here / lesson.name, "--change", change]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600,
                         env=os.environ | {"PYTHONPATH": path})
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-2000:]
    assert "contradicts" not in ran.stdout and f"Your guess: {guess}. " in ran.stdout
    happened = re.fullmatch(f"guess {guess}\nhappened (\\S+).*\n", kept.read_text())[1]
    if question.choices:
        assert happened == right
    else:
        assert abs(float(happened) - right[0]) <= right[1]
    picture = f"{number}-{change}" if change else number
    assert (tmp_path / f"out/lessons/{picture.replace(' ', '-')}.png").stat().st_size < 100_000


# ---- lessons/papers/extras -----------------------------------------------------------------------
def test_the_equation_of_a_loss_of_the_course_is_the_loss_of_the_code():
    o = TSDPO(beta=0.7)
    line, = equations(str(o), method_docstring(type(o)))
    batch = step(str(o), o)
    leaves = [s.logp.requires_grad_() for s in (batch.seqs["chosen"], batch.seqs["rejected"])]
    told, ours = value(line.loss, known(line, batch, o, "answer")).mean(), o.loss(batch)[0]
    same(told.detach(), ours.detach(), 1e-9)
    for x, y in zip(*(torch.autograd.grad(loss, leaves) for loss in (told, ours))):
        same(x, y, 1e-9)


def test_the_logits_of_the_linear_model_are_the_tangent_of_the_networks():
    """By a central difference; and the changes of two directions add up."""
    model, inputs, at = nano().double(), torch.arange(12).view(2, 6), torch.arange(12)
    start, rng = weights_of(model), torch.Generator().manual_seed(0)
    one, two = ({name: torch.randn(p.shape, generator=rng, dtype=p.dtype)
                 for name, p in start.items()} for _ in range(2))
    both = {name: one[name] + two[name] for name in start}

    def moved(size: float) -> torch.Tensor:
        weights = {name: start[name] + size * one[name] for name in start}
        return torch.func.functional_call(model, weights, (inputs,)).view(12, -1).detach()

    def change(direction: dict) -> torch.Tensor:
        return (linear_logits(model, start, direction, inputs, at) - moved(0)).detach()
    same(change(one), (moved(1e-6) - moved(-1e-6)) / 2e-6, 1e-6)
    same(change(both), change(one) + change(two), 1e-9)


def test_the_first_step_of_ts_dpo_is_that_of_dpo():
    form, model, objective = Form("dpo"), nano().double(), TSDPO()
    batch = batch_of(form)
    with torch.no_grad():
        write_logp(model, batch)
    for s in batch.seqs.values():
        s.ref_logp = s.logp.clone()                             # of the start
    loss, want = learn(form, model, [batch])
    same(loss, torch.tensor(2.0).double().log(), 1e-12)
    FrozenModels(model, NANO.pad, CPU).prepare([], objective)
    form.objective = objective
    again, got = learn(form, model, [batch])
    same(again, loss, 1e-12)
    same(got, want, 1e-9)


def test_a_run_of_ts_dpo_goes_on_to_the_same_bytes(tmp_path, monkeypatch):
    """Its start is that of the run and not that of the checkpoint."""
    monkeypatch.chdir(tmp_path)
    start_folder(Path("start"))
    line = ["--objective", ts_dpo.__file__, *"--init start --rows 8 --steps 4 --batch-size 4 "
            "--plain --save-every 1 --out".split()]
    train.main([*line, "whole"])
    with killed_in_step(3), pytest.raises(KeyboardInterrupt):
        train.main([*line, "broken"])
    train.main(["--resume", "broken", "--objective", ts_dpo.__file__])
    whole, broken = (Path(name, "model.safetensors").read_bytes() for name in ("whole", "broken"))
    assert whole == broken


def pictures(seed: int) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return povid.cut(povid.draw(rng, povid.choose_objects(rng, 5, usual=0.5))).double()


def test_behind_a_projection_of_zeros_no_answer_depends_on_the_picture():
    model, chosen = povid.SeeingGPT(0).double(), povid.sequences(
        torch.arange(30).view(5, 6) % len(povid.WORDS))
    one, two = (model.logp(pictures(seed), chosen) for seed in (1, 2))
    assert (one - two).abs().max() > 0.01
    torch.nn.init.zeros_(model.look.weight)
    same(*(model.logp(pictures(seed), chosen) for seed in (1, 2)))
    assert model.answer(pictures(1)).equal(model.answer(pictures(2)))


def test_the_equation_of_povid_is_the_loss_of_the_code():
    """The log-ratios are computed from logits, with the clear picture for every answer."""
    line, = equations("povid", povid.__doc__)
    model, start, seed = povid.SeeingGPT(0), povid.SeeingGPT(1), [3, 4]
    loss = povid.povid(model, start, np.random.default_rng(seed), "planted + noised")

    rng = np.random.default_rng(seed)
    objects = povid.choose_objects(rng, povid.ROWS, usual=0.5)
    clear = povid.draw(rng, objects)
    chosen, planted = povid.sequences(povid.describe(objects)), povid.planted(rng, objects)
    dim = povid.KEPT**0.5 * clear + (1 - povid.KEPT)**0.5 * rng.standard_normal(clear.shape)
    noised = povid.noised(model, povid.cut(dim), chosen)
    assert (noised.targets != chosen.targets).any()

    def log_ratio(s) -> torch.Tensor:
        nats = []
        for network in (model, start):
            logits = network(embeds=network.embed(povid.cut(clear), s.inputs))
            each = -F.cross_entropy(logits.mT, s.targets, reduction="none")
            nats.append((each * s.mask).sum(-1))
        return nats[0] - nats[1]
    given = {"beta": torch.tensor(povid.BETA), "r_w": log_ratio(chosen),
             "r_planted": log_ratio(planted), "r_noised": log_ratio(noised)}
    same(value(line.loss, given.__getitem__).mean().detach(), loss.detach(), 1e-5)


def test_a_planted_object_is_never_in_the_picture():
    """It is the companion, if the picture lacks it."""
    rng = np.random.default_rng(0)
    objects = povid.choose_objects(rng, 500, usual=0.5)
    right, wrong = povid.describe(objects), povid.planted(rng, objects).targets[:, -6:]
    assert right[:, :3].equal(wrong[:, :3])
    assert (right[:, 3:5] != wrong[:, 3:5]).any(1).all()
    lacks = torch.from_numpy(objects[:, 1] != povid.companion(objects[:, 0]))
    usual = np.stack([objects[:, 0], povid.companion(objects[:, 0])], 1)
    assert wrong[lacks].equal(povid.describe(usual)[lacks]) and lacks.any() and not lacks.all()


def test_held_out_dishes_are_new_and_a_rejected_substitute_is_right_elsewhere():
    files = ingredient_substitution.make_rows()
    old = {row["prompt"].partition(".")[0] for row in files["sft.jsonl"]}
    assert old.isdisjoint(row["prompt"].partition(".")[0] for row in files["new.jsonl"])
    assert len(files["new.jsonl"]) == 48, "as its docstring says"
    for row in files["pairs.jsonl"]:
        options = ingredient_substitution.SUBSTITUTES[row["prompt"].rpartition(" ")[2].rstrip("?")]
        assert {row["chosen"], row["rejected"]} < {*options} and row["chosen"] != row["rejected"]


def test_a_hit_is_the_first_answer_and_nothing_but_the_substitute():
    said = ["Oat milk.", "oat milk\nor yoghurt", "Use oat milk", "yoghurt", ""]
    assert ingredient_substitution.hit(said, ["oat milk"] * 5) == [1, 1, 0, 0, 0]
