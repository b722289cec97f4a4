"""A lesson, run as a student runs it."""
import importlib
import os
import runpy
import sys

import pytest

from lessons.behind.lesson_list import NUMBERS

SHORT = "04", "17", "20", "22"          # lessons of some seconds


@pytest.fixture
def run(monkeypatch, tmp_path):
    """run("05", ("1e-4", "1.5e-5")): a lesson's variables, after such edits of its file."""
    def run(number: str, *edits: tuple[str, str]) -> dict:
        if number not in SHORT and os.environ.get("LESSONS") != "all":
            pytest.skip("LESSONS=all runs it")
        file = NUMBERS[number]
        source = file.read_text("utf-8")
        for old, new in edits:
            assert old in source, f"{file.name} has no line with {old}"
            source = source.replace(old, new, 1)
        (copy := tmp_path / file.name).write_text(source, "utf-8")
        monkeypatch.syspath_prepend(file.parent)
        monkeypatch.setattr(sys, "argv", [str(copy), "--guess", "none"])
        monkeypatch.setattr(importlib.import_module("course"), "OUT", tmp_path / "out" / "lessons")
        monkeypatch.chdir(tmp_path)
        return runpy.run_path(str(copy), run_name="__main__")
    return run
