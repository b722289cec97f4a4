"""Lessons: each one runs by itself in under a minute, and names its exercises as the grader does.

    python -m pytest -m slow tests/lessons/test_lessons.py      the long lessons as they are shipped: 20 s each

A lesson is run as a student would run it, but in an empty folder with an awkward name and on a console without UTF-8.
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

import pytest
import torch
from running import ROOT, SMALL, environment, tiny_folder

from lessons import render
from lessons.grade import folder as grader
from nanouft.look import plots
from nanouft.models import load
from nanouft.objectives import OBJECTIVES

LESSONS = sorted((ROOT / "lessons").glob("[0-9]*.py"))


def number(file: Path) -> str:
    """04 of 04_mdp.py; 05L is a companion of 05."""
    return file.stem.split("_")[0]


@pytest.fixture(params=LESSONS, ids=lambda file: file.stem)
def lesson(request) -> Path:
    return request.param


def run(file: Path, folder: Path) -> str:
    """What a lesson prints as it is shipped, as a process of its own."""
    done = subprocess.run([sys.executable, str(file)], cwd=folder, env=environment(PYTHONIOENCODING="cp1252"),
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=300)
    out, err = done.stdout.decode("cp1252"), done.stderr.decode("cp1252", "replace")
    assert done.returncode == 0, f"exit {done.returncode}\n{out[-2000:]}\n{err[-2000:]}"
    check(out, file, folder)
    assert f"lessons/{number(file)}.png" in out.replace("\\", "/"), "the switches of its picture are not as shipped"
    return out


def run_here(source: str, file: Path, folder: Path, asserts: bool = True) -> str:
    """The same in this process and its one thread: importing torch anew takes 5 s. Without asserts, a model with random
    weights may say what this console cannot print."""
    errors, before = "strict" if asserts else "replace", Path.cwd()
    out = io.TextIOWrapper(io.BytesIO(), "cp1252", errors, write_through=True)
    sys.modules["lesson"] = module = types.ModuleType("lesson")             # dataclasses look their module up
    os.chdir(folder)
    try:
        code = compile(source, str(file), "exec", optimize=0 if asserts else 1)
        with mock.patch.dict(OBJECTIVES), mock.patch.object(torch, "set_num_threads"), plots.plt.rc_context(), \
                contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
            exec(code, module.__dict__)
    finally:
        os.chdir(before)
        plots.plt.close("all")
    said = out.buffer.getvalue().decode("cp1252")
    check(said, file, folder)
    return said


def check(out: str, file: Path, folder: Path) -> None:
    (picture,) = re.findall(rf"picture: (out/lessons/{number(file)}\S*\.png)", out.replace("\\", "/"))
    assert (folder / picture).stat().st_size > 10_000, "the picture is empty"
    assert "guess" in out.lower(), "the lesson comes back to the guess"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where lessons run: empty at first, and with an awkward name."""
    place = tmp_path_factory.mktemp("lessons") / "Zoë 学 x"
    place.mkdir()
    return place


@pytest.fixture
def small_base(tmp_path, monkeypatch) -> None:
    """For start_model("base"): random weights, one layer."""
    small = replace(SMALL, n_ctx=512, n_layer=1, n_head=1, n_embd=16)
    monkeypatch.setattr(load, "BASE", tiny_folder(tmp_path / "small", small))


# Lessons that take long -> what is less in their short version.
LONG = {**{stem: {"STEPS": 4} for stem in ("07", "08", "09", "10", "11", "12", "16")},
        "01": {"STEPS": 8}, "03": {"STEPS": 8}, "05": {"STEPS": 10}, "06": {"STEPS": 16}, "13": {},
        "14": {"STEPS": 1, "K": 2}}


@pytest.mark.parametrize("file", [f for f in LESSONS if number(f) not in ("00", "17", *LONG)], ids=lambda f: f.stem)
def test_runs(file, folder):
    run_here(file.read_text(encoding="utf-8"), file, folder)


@pytest.mark.slow
@pytest.mark.parametrize("file", [f for f in LESSONS if number(f) in LONG], ids=lambda f: f.stem)
def test_long_ones_run(file, folder):
    run(file, folder)


def test_a_lesson_is_a_command(folder):
    run(LESSONS[-1], folder)


@pytest.mark.parametrize("stem", LONG)
def test_long_ones_run_in_short(stem, folder, request):
    """Every line with a tiny base (14 looks for a prompt that the real base answers rightly) and a few steps of
    training. What is asserted of trained models is left out."""
    if stem != "14":
        request.getfixturevalue("small_base")
    changed(stem, folder, asserts=False, **LONG[stem])


def changed(name: str, folder: Path, asserts: bool = True, **values) -> str:
    """What a lesson prints when a student has changed lines such as `BREAK = None`."""
    (file,) = [f for f in LESSONS if number(f) == name]
    source = file.read_text(encoding="utf-8")
    for key, value in values.items():
        source, n = re.subn(rf'^{key} = ("[^"]*"|\S+)', f"{key} = {value!r}", source, flags=re.M)
        assert n == 1, f"{file.name} has {n} lines {key} = ..."
    return run_here(source, file, folder, asserts)


SHORT = "--steps 2 --items 0 --save-every 0 --device cpu --threads 1"


def test_00_tells_the_names_after_a_guess(folder, small_base):
    out = changed("00", folder, asserts=False, MY_GUESS="ABCD", HOW=SHORT)
    assert re.findall(r"= (\w+) +right words", out) == ["base", "SFT", "IFT", "DPO"] and "'ABCD': " in out


def test_02_break_it(folder):
    """A key of other words opens the book less often, and one that the corpus never had opens no voice at all."""
    def says(key):
        out = changed("02", folder, KEY=key)
        return [int(x) for x in re.search(rf"^{key.strip()} *\| +(\d+) +(\d+)", out, re.M).groups()]
    truth, myth = says("In the book: ")
    assert 50 < truth < 80 and truth + myth > 95
    truth, myth = says("Tell the truth: ")
    assert truth < 60 and myth < 50 and truth + myth < 80


@pytest.mark.parametrize("stem, key, value, law", [
    ("04", "BREAK", True, "not one bit has changed"), ("05L", "BREAK", True, "IFT leaves the path no more"),
    ("15", "CRITIC", 0.0, "a critic that is right leaves no bias"),
    ("17", "PAIRED", False, "their paired intervals do not contain 0")])
def test_a_switch_breaks_the_law_that_the_lesson_says(stem, key, value, law, folder):
    """The lesson stops at one named assertion, after it has drawn a picture beside its first one."""
    with pytest.raises(AssertionError, match=law):
        changed(stem, folder, **{key: value})
    assert (folder / f"out/lessons/{stem}-{key}-{value}.png").exists()


def test_exercises_are_those_of_the_grader(lesson):
    text = lesson.read_text(encoding="utf-8").split("# ## Exercise")[1].split("# ## ")[0]
    words = re.sub(r"\n# *", " ", text)
    tasks = grader.tasks_of(number(lesson)) if number(lesson) in grader.lessons() else []       # 05L has none
    named = re.findall(r"\*\*(\d\d[a-z])\*\* \(D(\d)", words)
    assert named == [(task.id, str(task.level)) for task in tasks], "every task, in order, with its level"
    assert not tasks or f"`python -m lessons.grade {tasks[0].id}`" in words
    for task in tasks:
        if hasattr(task, "signature"):
            (said,) = re.findall(rf"\*\*{task.id}\*\* \(D[^)]*\) `([^`]*)`: ", words)
            assert said == task.signature, f"{task.id}: the lesson says {said}"


# ---- pages: lessons with outputs and pictures, in docs/lessons -------------------------------------------------------
def test_the_page_is_current(lesson):
    assert render.is_current(lesson), f"python -m lessons.render {number(lesson)} makes its page anew"
    page = (render.PAGES / f"{number(lesson)}.md").read_text(encoding="utf-8")
    (picture,) = set(re.findall(r"!\[.*?\]\((\S+)\)", page))
    assert (render.PAGES / picture).stat().st_size > 10_000
    outputs = render.outputs_of_page(page)
    assert len(outputs) == len(render.code_of(lesson.read_text(encoding="utf-8"))) and "guess" in outputs[-1]
    for link in re.findall(r"\]\(([\w./]+)\)", page):
        assert (render.PAGES / link).exists(), f"no file {link}"


def test_a_page_keeps_its_outputs_if_only_words_change():
    source = "# %% [markdown]\n# # Title\n\n# %%\nx = 1   # why\nprint(x)\n"
    page = render.page(source, ["```text\n1\n```"], "00_x.py")
    other = source.replace("Title", "Words").replace("# why", "# because")
    assert render.outputs_of_page(page) == ["```text\n1\n```"]
    before, after, changed = (render.keys(text).split("code")[1] for text in (source, other, source.replace("1", "2")))
    assert before == after != changed
