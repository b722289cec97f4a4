"""What a person does wrong is one line on stderr and exit code 2, before anything is made.

tests/recorded/mistakes/ has each mistake, a command as it is typed or a call in Python, and below
it the line that answers. A new mistake is a new line `$ ...` in a file there; `pytest --record
tests/test_mistakes.py` writes what is answered.
"""
import shlex
from importlib import import_module

import golden
import numpy as np
import own_method
import pytest
from commands import DEMOS, MAINS, PAIRS, call
from made import one_error

from lessons.behind import exam
from lessons.behind.tasks import check, grade
from nanouft import __main__, compare, evaluate, sample, train
from nanouft.objective import Objective
from nanouft.objectives.dpo import DPO, Pairs
from nanouft.plumbing.entry import command

CASES = [(file.stem, typed) for file in sorted(golden.FOLDER.glob("mistakes/*.txt"))
         for typed in golden.read(f"mistakes/{file.stem}")]
NAMES = {"train": train, "evaluate": evaluate, "sample": sample, "compare": compare, "np": np,
         "DEMOS": DEMOS, "PAIRS": PAIRS, "Objective": Objective, "Pairs": Pairs, "DPO": DPO,
         "check": check.main, "exam": exam.main, "grade": grade.main, "menu": __main__.main,
         "trainer": lambda line: import_module("nanouft.trainer").main(shlex.split(line)),
         **vars(own_method)}


def exit_code(typed: str) -> int:
    name = typed.partition(" ")[0]
    if "(" in name:
        return command(lambda argv: eval(typed, dict(NAMES)))
    if name in MAINS:
        return call(typed)
    return command(import_module(f"nanouft.{name}.__main__").main, shlex.split(typed)[1:])


@pytest.mark.parametrize("file, typed", CASES, ids=lambda text: text[:70])
def test_a_mistake_is_one_line(file, typed, here, capsys, recorded):
    before = {*here.rglob("*")}
    assert exit_code(typed) == 2
    recorded(f"mistakes/{file}", typed, one_error(capsys).strip().replace(str(here), "HERE"))
    assert not [*here.glob("out/*/model.safetensors")], "nothing is trained"
    made = {found.relative_to(here).parts[0] for found in {*here.rglob("*")} - before}
    assert made <= {"w2", "out"}, "nothing is made before the line is understood"
