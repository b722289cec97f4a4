"""Lessons: each one runs by itself in under a minute, keeps its limits, and its exercises can be solved and failed.

    python -m pytest tests/test_lessons.py       about 20 s a lesson on two idle cores

A lesson is run as a student would run it, but in an empty folder with an awkward name and on a console without UTF-8.
Counted as code: every line of a code cell that is neither blank nor a comment. Counted as prose: every line with words
in a markdown cell, and every comment that has a line of its own in a code cell.
"""
from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LESSONS = sorted((ROOT / "lessons").glob("[0-9]*.py"))
SECONDS, CODE, PROSE, WIDTH = 60, 60, 120, 120


def cells(source: str) -> list[tuple[str, list[str]]]:
    """[("code" | "markdown", lines)] of a percent-cell script, in order; the `# %%` lines are left out."""
    out: list[tuple[str, list[str]]] = []
    for line in source.splitlines():
        if line.startswith("# %%"):
            out.append(("markdown" if "[markdown]" in line else "code", []))
        elif out:
            out[-1][1].append(line)
        else:
            assert not line.strip(), "a lesson begins with a cell: # %% or # %% [markdown]"
    return out


def count(source: str) -> tuple[int, int]:
    """(lines of code, lines of prose)."""
    code = prose = 0
    for kind, lines in cells(source):
        for line in filter(str.strip, lines):
            comment = line.lstrip().startswith("#")
            assert comment or kind == "code", f"a markdown cell holds comments only: {line!r}"
            if not comment:
                code += 1
            elif line.strip("# "):
                prose += 1
    return code, prose


def test_counting():
    text = "# %% [markdown]\n# # Title\n#\n# words\n# %% a title\nx = 1   # why\n\n# a comment\ny = 2\n"
    assert count(text) == (2, 3)
    with pytest.raises(AssertionError, match="comments only"):
        count("# %% [markdown]\nx = 1\n")


def test_there_are_lessons():
    assert LESSONS


@pytest.fixture(params=LESSONS, ids=lambda file: file.stem)
def lesson(request) -> Path:
    return request.param


def test_limits(lesson):
    source = lesson.read_text(encoding="utf-8")
    code, prose = count(source)
    assert code <= CODE, f"{code} lines of code; a lesson has at most {CODE}"
    assert prose <= PROSE, f"{prose} lines of prose; a lesson has at most {PROSE}"
    long = [i for i, line in enumerate(source.splitlines(), 1) if len(line) > WIDTH]
    assert not long, f"lines {long} are longer than {WIDTH} characters"


def test_form(lesson):
    source = lesson.read_text(encoding="utf-8")
    tree = ast.parse(source)
    guesses = [node for node in tree.body if isinstance(node, ast.Assign) and node.targets[0].id == "MY_GUESS"
               and isinstance(node.value, ast.Constant) and node.value.value is None] if tree.body else []
    assert len(guesses) == 1, "one line MY_GUESS = None, to be filled in before running"
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert "input" not in called, "a lesson never waits for the keyboard"
    assert any(isinstance(node, ast.Assert) and node.msg is not None for node in tree.body), "a law, asserted by name"
    for words in ("estimated, n=0", "Break it", "Exercise", "you guessed", f"lessons/{lesson.stem[:2]}.png"):
        assert words.lower() in source.lower(), f"{words!r} is missing"
    prose = "\n".join(line for kind, lines in cells(source) for line in lines if kind == "markdown")
    assert "$$" in prose, "one equation"
    assert len(re.findall(r"^# [1-9]\. ", prose, re.M)) >= 3, "three to five recall questions, numbered 1. 2. 3."


def run(file: Path, folder: Path) -> tuple[str, float]:
    """What a lesson prints, and the seconds it takes. Idle threads sleep, so that a busy machine stays fair."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    env = {**os.environ, "PYTHONPATH": path, "PYTHONIOENCODING": "cp1252", "OMP_WAIT_POLICY": "PASSIVE"}
    started = time.time()
    done = subprocess.run([sys.executable, str(file)], cwd=folder, env=env, stdin=subprocess.DEVNULL,
                          capture_output=True, timeout=SECONDS)
    out, err = done.stdout.decode("cp1252"), done.stderr.decode("cp1252", "replace")
    assert done.returncode == 0, f"exit {done.returncode}\n{out[-2000:]}\n{err[-2000:]}"
    return out, time.time() - started


def test_runs(lesson, tmp_path):
    folder = tmp_path / "Zoë 学 x"
    folder.mkdir()
    out, seconds = run(lesson, folder)
    picture = f"out/lessons/{lesson.stem[:2]}.png"
    assert (folder / picture).stat().st_size > 10_000, "the picture is empty"
    assert picture in out.replace("\\", "/"), "the lesson says where its picture is"
    assert "guess" in out.lower(), "the lesson comes back to the guess"
    assert seconds < SECONDS
