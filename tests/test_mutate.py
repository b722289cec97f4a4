"""Random mutants (tests/tools/mutate.py): a seed draws them again, and equivalents.txt fits the
code.

    python -m pytest tests/test_mutate.py        a few seconds
"""
import ast
import sys

import pytest
from running import ROOT

sys.path.insert(0, str(ROOT / "tests" / "tools"))
import mutate  # noqa: E402


@pytest.mark.parametrize("room", mutate.ROOMS)
def test_a_seed_draws_mutants_of_a_room(room):
    drawn = mutate.draw(room, 12, 0)
    assert drawn == mutate.draw(room, 12, 0) != mutate.draw(room, 12, 1) and mutate.test_files(room)
    assert len({(m.file, m.line) for m in drawn}) == 12, "on different lines"
    for m in drawn:
        there = (ROOT / m.file).read_bytes()
        assert m.source != there and ast.parse(m.source)


def test_every_equivalent_is_an_edit_that_could_be_drawn():
    lines = [x for x in mutate.EQUIVALENTS.read_text(encoding="utf-8").splitlines() if x
             and x[0] != "#"]
    assert len(lines) % 3 == 0
    for file, edit in zip(lines[::3], lines[1::3]):
        assert edit in {m.edit for m in mutate.mutants_of(file)}, f"{file}: {edit}"
