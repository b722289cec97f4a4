"""Lessons: each one runs by itself in under a minute, and names its exercises as the grader does.

    python -m pytest -m slow tests/lessons/test_lessons.py      # the long ones: 20 s each
"""
from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
import types
from dataclasses import replace
from pathlib import Path
from unittest import mock

import course
import pytest
import torch
from running import ROOT, SMALL, environment

from lessons import render, switches
from lessons.grade import folder as grader
from lessons.render import number
from nanouft.eval import plots
from nanouft.gpt import GPT
from nanouft.models import load
from nanouft.objectives import OBJECTIVES

LESSONS = sorted((ROOT / "lessons").glob("[0-9]*.py"))
EVIDENCE = ROOT / "lessons" / "17_evidence.py"         # trains nothing: quick


@pytest.fixture(params=LESSONS, ids=lambda file: file.stem)
def lesson(request) -> Path:
    return request.param


def run(file: Path, folder: Path) -> str:
    """What a lesson prints as it is shipped, as a process of its own."""
    done = subprocess.run([sys.executable, str(file)], cwd=folder,
                          env=environment(PYTHONIOENCODING="cp1252"), stdin=subprocess.DEVNULL,
                          capture_output=True, timeout=300)
    out, err = done.stdout.decode("cp1252"), done.stderr.decode("cp1252", "replace")
    assert done.returncode == 0, f"exit {done.returncode}\n{out[-2000:]}\n{err[-2000:]}"
    check(out, file, folder)
    assert f"lessons/{number(file)}.png" in out.replace("\\", "/"), \
        "the switches of its picture are not as shipped"
    return out


def run_here(source: str, file: Path, folder: Path, asserts: bool = True) -> str:
    """The same in this process and its one thread: importing torch anew takes 5 s. Without asserts,
    a model with random weights may say what this console cannot print."""
    errors, before = "strict" if asserts else "replace", Path.cwd()
    out = io.TextIOWrapper(io.BytesIO(), "cp1252", errors, write_through=True)
    sys.modules["lesson"] = module = types.ModuleType("lesson")  # dataclasses look their module up
    os.chdir(folder)
    try:
        code = compile(source, str(file), "exec", optimize=0 if asserts else 1)
        with mock.patch.dict(OBJECTIVES), mock.patch.object(torch, "set_num_threads"), \
                plots.plt.rc_context(), contextlib.redirect_stdout(out), \
                contextlib.redirect_stderr(io.StringIO()):
            exec(code, module.__dict__)
    finally:
        os.chdir(before)
        plots.plt.close("all")
    said = out.buffer.getvalue().decode("cp1252")
    check(said, file, folder)
    return said


def check(out: str, file: Path, folder: Path) -> None:
    (picture,) = re.findall(rf"picture: (out/lessons/{number(file)}\S*\.png)",
                            out.replace("\\", "/"))
    assert (folder / picture).stat().st_size > 10_000, "the picture is empty"
    assert "guess" in out.lower(), "the lesson comes back to the guess"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where lessons run: empty at first, and with an awkward name."""
    place = tmp_path_factory.mktemp("lessons") / "Zoë 学 x"
    place.mkdir()
    return place


@pytest.fixture
def small_base(monkeypatch) -> None:
    """For start_model("base"): random weights, one layer."""
    small = replace(SMALL, n_ctx=512, n_layer=1, n_head=1, n_embd=16)
    monkeypatch.setattr(load, "shipped_base", lambda: GPT(small, seed=0))


# Lessons that take long -> what is less in their short version.
LONG = {**{stem: {"STEPS": 4} for stem in ("07", "08", "09", "10", "11", "12", "16")},
        "01": {"STEPS": 8}, "03": {"STEPS": 8}, "05": {"STEPS": 10}, "06": {"STEPS": 16}, "13": {},
        "14": {"STEPS": 1, "K": 2}, "18": {"STEPS": 2, "DEMOS": 32, "PASSES": 1}}


@pytest.mark.parametrize("file", [f for f in LESSONS if number(f) not in ("00", "17", *LONG)],
                         ids=lambda f: f.stem)
def test_runs(file, folder):
    run_here(file.read_text(encoding="utf-8"), file, folder)


@pytest.mark.slow
@pytest.mark.parametrize("file", [f for f in LESSONS if number(f) in LONG], ids=lambda f: f.stem)
def test_long_ones_run(file, folder):
    run(file, folder)


def command(folder: Path, *words: str) -> tuple[int, str]:
    done = subprocess.run([sys.executable, EVIDENCE, *words], cwd=folder, env=environment(),
                          encoding="utf-8", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=300)
    return done.returncode, done.stdout


def test_a_lesson_is_a_command_that_keeps_a_guess(folder):
    run(EVIDENCE, folder)
    assert command(folder, "--guess", "x") == (2, "error: --guess x: must be one of a, b, c\n")
    assert "you guessed 'b'; it did 'c'" in command(folder, "--guess", "b")[1]
    assert (folder / "my" / "guesses.txt").read_text() == "17 b\n"
    assert re.search("17 · Would you.*- b about half.*PAIRED = True", command(folder, "--help")[1],
                     re.S)


def test_a_broken_law_is_told_in_a_sentence(capsys):
    try:
        raise AssertionError("stops")
    except AssertionError:
        course.tell(*sys.exc_info())
    assert "    stops\n" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("file", LESSONS, ids=lambda f: f.stem)
def test_notebooks_run(file, tmp_path):
    pytest.importorskip("nbconvert", reason="python -m pip install -e '.[notebook]'")
    order = [*"-m nbconvert --to notebook --execute --output-dir".split(), tmp_path,
             render.notebook_file(file)]
    subprocess.run([sys.executable, *order], cwd=ROOT, check=True, timeout=900)


@pytest.mark.parametrize("stem", LONG)
def test_long_ones_run_in_short(stem, folder, request):
    """Every line with a tiny base (14 looks for a prompt that the real base answers rightly) and a
    few steps of training. What is asserted of trained models is left out."""
    if stem != "14":
        request.getfixturevalue("small_base")
    changed(stem, folder, asserts=False, **LONG[stem])


def changed(name: str, folder: Path, asserts: bool = True, **values) -> str:
    """What a lesson prints when a student has changed lines such as `BREAK = None`."""
    (file,) = [f for f in LESSONS if number(f) == name]
    switch = "; ".join(f"{key} = {value!r}" for key, value in values.items())
    source = file.read_text(encoding="utf-8")
    return run_here(switches.with_switch(source, switch) if switch else source, file, folder,
                    asserts)


def test_what_a_switch_prints_that_the_lesson_as_shipped_does_not():
    assert switches.with_switch("A = None  # why\nB = 3\n", 'A = "x"; B = 4') \
        == 'A = "x"  # why\nB = 4  \n'
    said = ["score", "a  2", "score of b", "b  3", "picture: b.png", "it stops (line 7)"]
    assert switches.other_lines(said, "score\na  2\nb  4\n") == ["score of b", "b  3", "it stops"]


def test_00_tells_the_names_after_a_guess(folder, small_base):
    (folder / "my").mkdir(exist_ok=True)
    (folder / "my" / "guesses.txt").write_text("00 ABCD\n")
    out = changed("00", folder, asserts=False, STEPS=2)
    assert re.findall(r"= (\w+) +right words", out) == ["base", "SFT", "IFT", "DPO"] \
        and "you guessed ABCD: " in out


@pytest.mark.parametrize("stem, key, value, law",
                         [("04", "BREAK", True, "not one bit has changed"),
                          ("05L", "BREAK", True, "IFT leaves the path no more"),
                          ("15", "CRITIC", 0.0, "a critic that is right leaves no bias"),
                          ("17", "PAIRED", False, "their paired intervals do not contain 0")])
def test_a_switch_breaks_the_law_that_the_lesson_says(stem, key, value, law, folder):
    """The lesson stops at one named assertion, after it has drawn a picture beside its first
    one."""
    with pytest.raises(AssertionError, match=law):
        changed(stem, folder, **{key: value})
    assert (folder / f"out/lessons/{stem}-{key}-{value}.png").exists()


def test_exercises_are_those_of_the_grader(lesson):
    text = lesson.read_text(encoding="utf-8").split("# ## Exercise")[1].split("# ## ")[0]
    words = re.sub(r"\n# *", " ", text)
    # 05L has none
    tasks = grader.tasks_of(number(lesson)) if number(lesson) in grader.lessons() else []
    named = re.findall(r"\*\*(\d\d[a-z])\*\* \(D(\d)", words)
    assert named == [(task.id, str(task.level)) for task in tasks], \
        "every task, in order, with its level"
    assert not tasks or f"`python -m lessons.grade {tasks[0].id}`" in words
    for task in tasks:
        if hasattr(task, "signature"):
            (said,) = re.findall(rf"\*\*{task.id}\*\* \(D[^)]*\) `([^`]*)`: ", words)
            assert said == task.signature, f"{task.id}: the lesson says {said}"


# ---- pages: lessons with outputs and pictures, in docs/lessons -----------------------------------
def test_the_page_is_current(lesson):
    assert render.is_current(lesson), \
        f"python -m lessons.render {number(lesson)} makes its page anew"
    page = (render.PAGES / f"{number(lesson)}.md").read_text(encoding="utf-8")
    (picture,) = set(re.findall(r"!\[[^]]{40,}\]\((\S+)\)", page))  # its text says what is seen
    assert (render.PAGES / picture).stat().st_size > 10_000
    assert len(render.outputs_of_page(page)) \
        == len(render.code_of(lesson.read_text(encoding="utf-8")))
    for link in re.findall(r"\]\(([\w./]+)\)", page):
        assert (render.PAGES / link).exists(), f"no file {link}"
    for _ in range(2):                      # outputs are folded, some of them in a folded section
        page = re.sub("<details>((?!<details>).)*?</details>", "", page, flags=re.S)
    assert "![" not in page and "; it did '" not in page


def test_the_address_of_the_project_is_one_setting(monkeypatch):
    source = "# %% [markdown]\n# # 00 · x\n"
    assert "Open in Colab" not in render.page(source, [], "00_x.py")
    monkeypatch.setattr(render, "address", lambda: "https://github.com/me/nanouft")
    button = "colab.research.google.com/github/me/nanouft/blob/main/notebooks/00.ipynb"
    assert button in render.page(source, [], "00_x.py")
    assert 'address = \\"https://github.com/me/nanouft\\" or' in render.notebook(source)


def test_a_page_keeps_its_outputs_if_only_words_change():
    source = "# %% [markdown]\n# # Title\n\n# %%\nx = 1   # why\nprint(x)\n"
    page = render.page(source, ["```text\n1\n```"], "00_x.py")
    other = source.replace("Title", "Words").replace("# why", "# because")
    assert render.outputs_of_page(page) == ["```text\n1\n```"]
    before, after, changed = (render.keys(text).split("code")[1]
                              for text in (source, other, source.replace("1", "2")))
    assert before == after != changed
