"""The figures that the lessons name, of their pages and of the edits that they ask for, stand in
figures.txt: below the number of a lesson, and an edit of it (`05 | old -> new`, two edits with a ;
between them), what holds of the variables of the page after such a run.

A page runs as a student runs it. All of them take half an hour, so that only pages of some seconds
run unless the others, and the edits, are asked for:
    LESSONS=all python -m pytest -m slow tests/course/test_lesson_figures.py
"""
import csv
import importlib
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pytest import approx

from lessons.behind.lesson_list import FOLDER, NUMBERS, ROOT

SHORT = "04", "17", "20", "22"          # lessons of some seconds
FIGURES = re.findall(r"^(\d\d.*)\n((?:    .*\n)+)",
                     Path(__file__).with_name("figures.txt").read_text("utf-8"), re.M)


def edited(run: str) -> str:
    """The source of a lesson with the edits of `05 | old -> new ; old -> new`."""
    number, _, edits = run.partition(" | ")
    source = NUMBERS[number].read_text("utf-8")
    for old, new in (edit.split(" -> ") for edit in edits.split(" ; ") if edit):
        assert old in source, f"lesson {number} has no line with {old}"
        source = source.replace(old, new, 1)
    return source


def mean(scores: dict, place: int) -> float:
    return [*scores.values()][place].mean()


def fallen(wrong, run: int) -> float:
    """Of lesson 07: how far answers of more than 5 % have fallen in a run, run 0 being the base."""
    means = wrong[:, wrong[0] > 5].mean(1)
    return means[0] - means[run]


@pytest.fixture
def variables(monkeypatch, tmp_path):
    """variables("05", source): those of a lesson with this source, after it has run."""
    def variables(number: str, source: str) -> dict:
        copy = tmp_path / NUMBERS[number].name
        copy.write_text(source, "utf-8")
        monkeypatch.syspath_prepend(FOLDER)
        monkeypatch.setattr(sys, "argv", [str(copy), "--guess", "none"])
        monkeypatch.setattr(importlib.import_module("course"), "OUT", tmp_path / "out" / "lessons")
        monkeypatch.chdir(tmp_path)
        return runpy.run_path(str(copy), run_name="__main__")
    return variables


@pytest.mark.slow
@pytest.mark.parametrize("run, figures", FIGURES, ids=[run for run, _ in FIGURES])
def test_a_lesson_has_the_figures_that_it_names(run, figures, variables):
    if run not in SHORT and os.environ.get("LESSONS") != "all":
        pytest.skip("LESSONS=all runs it")
    if run[:2] == "21" and not (ROOT / "out" / "smollm2").exists():
        pytest.skip("without SmolLM2")
    names = {"approx": approx, "mean": mean, "fallen": fallen} | variables(run[:2], edited(run))
    assert [line.strip() for line in figures.splitlines() if not eval(line.strip(), names)] == []


def test_each_lesson_has_figures_and_each_line_to_change_is_on_its_page():
    assert {run[:2] for run, _ in FIGURES} == {*NUMBERS}
    for run, figures in FIGURES:
        compile(edited(run), run, "exec")
        for line in figures.splitlines():
            compile(line.strip(), run, "eval")


@pytest.mark.slow
def test_08_its_last_lines_make_mine_a_program(tmp_path):
    """Here with one step for each method."""
    lesson = NUMBERS["08"]
    lines = [line[6:] for line in lesson.read_text("utf-8").splitlines() if line[:6] == "#     "]
    short = [re.sub(r"-(\d), \d0\b", r"-\1, 1", line) for line in lines]
    mine = tmp_path / "mine.py"
    mine.write_text((FOLDER / "mine.py").read_text("utf-8") + "\n".join(short), "utf-8")
    ran = subprocess.run([sys.executable, mine], capture_output=True, text=True, check=True)
    assert short != lines and ran.stdout.count("step   0") == 3 and "mean score" in ran.stdout


def test_21_without_the_model_says_how_to_get_it(variables):
    with pytest.raises(SystemExit, match="python -m lessons.evidence.smollm2 out/smollm2"):
        variables("21", edited('21 | "out" / "smollm2" -> "out" / "none"'))


def test_22_the_intervals_of_its_table(variables):
    text, seen = NUMBERS["22"].read_text("utf-8"), 0
    leads = variables("22", text)["leads"]
    names = {"PoFT": "poft", "IFT": "ift", "UFT": "uft", "SFT, then DPO": "sft->dpo",
             "SFT, then UNA": "sft->una", "SFT, then GRPO": "sft->grpo",
             "SFT, twice the steps": "sft, twice the steps"}
    for cells in csv.reader(text.splitlines(), delimiter="|"):
        if len(cells) == 5 and cells[1].strip() in names:
            d = leads[names[cells[1].strip()]]
            mean, half = d.mean(), 2.776 * d.std(ddof=1) / np.sqrt(5)
            assert cells[2].strip() == f"{mean:+.1f} ± {half:.1f}"
            assert cells[3].strip() == ("undecided" if abs(mean) < half else "worse")
            seen += 1
    assert seen == 7
