"""Random mutants (tests/tools/mutate.py): a seed draws them again, equivalents.txt fits the code,
and the table of tests_of.py knows every file.

    python -m pytest tests/test_mutate.py        a few seconds
"""
import ast
import json

import mutate
import pytest
import tests_of
from running import ROOT

TABLE = json.loads(tests_of.TABLE.read_text(encoding="utf-8"))


@pytest.mark.parametrize("room", mutate.ROOMS)
def test_a_seed_draws_mutants_of_a_room(room):
    drawn = mutate.draw(room, 12, 0)
    assert drawn == mutate.draw(room, 12, 0) != mutate.draw(room, 12, 1)
    assert len({(m.file, m.lines) for m in drawn}) == len(drawn) == 12, "of different statements"
    for m in drawn:
        there = (ROOT / m.file).read_bytes()
        assert m.source != there and ast.parse(m.source)
        assert mutate.near(m, tests_of.load(), TABLE, 1), f"no test is known for {m.file}"


def test_every_file_is_in_one_room_and_has_tests_that_exist():
    files = [file for room in mutate.ROOMS for file in mutate.files_of(room)]
    assert len(files) == len(set(files)), "in two rooms"
    there = {file.relative_to(ROOT).as_posix() for folder in ("nanouft", "frozen_lake", "lab")
             for file in (ROOT / folder).rglob("*.py") if "tests" not in file.parts}
    there |= {file.relative_to(ROOT).as_posix() for folder in ("grade", "gallery", "cheat_sheet")
              for file in (ROOT / "lessons" / folder).glob("*.py")}
    assert there - mutate.LEFT_OUT == set(files), "in no room"
    code = {file for file in files if any(mutate.mutants_of(file))}
    assert code <= TABLE.keys(), "run tests/tools/tests_of.py with a test file that runs them"
    named = {test for tests in TABLE.values() for test in tests}
    assert named <= set(tests_of.test_files()), "run tests/tools/tests_of.py"
    assert all(TABLE[file] for file in code)


def test_every_equivalent_is_an_edit_that_could_be_drawn():
    lines = [x for x in mutate.EQUIVALENTS.read_text(encoding="utf-8").splitlines() if x
             and x[0] != "#"]
    assert len(lines) % 3 == 0
    for file, edit in zip(lines[::3], lines[1::3]):
        assert edit in {m.edit for m in mutate.mutants_of(file)}, f"{file}: {edit}"


@pytest.mark.parametrize("context, name", [
    ("tests.core.test_gpt.test_x", "test_x"), ("test_x", "test_x"),
    ("tests/core/test_gpt.py::test_x[1-a b] (call)", "test_x")])
def test_names_of_tests_as_coverage_writes_them(context, name):
    assert tests_of.function(context) == name


def test_the_table_names_the_file_of_that_name_first_and_then_what_runs_most_further_lines():
    lines = {"a/gpt.py": {"1": ["test_gpt.py::x"], "2": ["test_b.py::y", "test_c.py::z"],
                          "3": ["test_c.py::z"]}}
    assert tests_of.summary(lines) == {"a/gpt.py": ["test_gpt.py", "test_c.py", "test_b.py"]}
