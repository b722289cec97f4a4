"""Cases that grading must tell apart: gradients of several outputs, seeds, formulas in a table, sealed numbers.

    python -m pytest tests/lessons/test_cases_of_grading.py        a few seconds
"""
import copy
import sys
from dataclasses import replace

import pytest
import torch
from running import ROOT
from tiny import differs, same, tiny

from lessons.grade import folder, klass
from lessons.grade.engine import Exam, judge
from lessons.grade.folder import My
from lessons.grade.outcome import gradients
from lessons.grade.predictions import brier, seal
from lessons.grade.task import Case, Task

sys.path.insert(0, str(ROOT / "lessons" / "extras"))
from tangent_model import TangentGPT  # noqa: E402


def two(x):
    return x[0] ** 2, 3 * x[1]


def held(x):
    """The same numbers, and for each the gradient of the other."""
    a, b = two(x)
    return a.detach() + b - b.detach(), b.detach() + a - a.detach()


def second_held(x):
    return two(x)[0], two(x)[1].detach()


def draw(random):
    return (torch.tensor([random.random(), random.random()]),)


TWO = Task("99y", "implement", 1, 1, False, "two(x)", "Two numbers.", "One equation", two, two,
           (Case((torch.tensor([1.0, 2.0]),), ""),), draw, (), gradients=(0,))


def test_gradients_of_several_outputs_are_kept_apart():
    args = (torch.tensor([1.0, 2.0]),)
    assert gradients(two, args, (0,)) == [1 * 2.0, 2 * 3.0], "the gradient of y_1 + 2 y_2"
    assert gradients(lambda x: torch.stack(two(x)), args, (0,)) == [2.0, 6.0], "a tensor of two is the same"
    assert judge(TWO, two)["state"] == "right"
    for wrong in (held, second_held):
        assert judge(TWO, wrong)["state"] != "right", wrong.__name__


def test_a_seed_draws_cases_of_its_own():
    def hidden(seed: str, task: Task = TWO) -> list[list[float]]:
        return [args[0].tolist() for args in Exam(task, seed).args[1:]]
    assert hidden("1") == hidden("1") != hidden("2"), "LAW: a class's secret seed draws other cases"
    assert hidden("1") != hidden("1", replace(TWO, id="99x")), "and so does another task"


@pytest.mark.parametrize("start", "=+-@")
def test_a_formula_in_a_table_is_text(start):
    assert klass.cell(f"{start}1+1") == f"'{start}1+1" and klass.cell("1+1") == "1+1"


def test_numbers_that_change_before_the_reveal_are_sealed_again(tmp_path, monkeypatch):
    task, = [t for t in folder.all_tasks() if t.id == "07p"]
    monkeypatch.chdir(tmp_path)
    my = My(tmp_path / "my")
    my.call_me("Ada")
    letters = "abcdef"[:len(task.statements)]
    task = replace(task, experiment=lambda: [(True, "1")] * len(letters))
    first, second = (dict(zip(letters, [x] * len(letters))) for x in (0.5, 0.75))
    seen = [task.verdict(values, my)["seal"] for values in (first, second)]
    assert seen[0] != seen[1] == seal([0.75] * len(letters)), "LAW: other numbers have another seal"
    my.log(task.id, "sealed", hash=seen[0])
    from lessons.grade import predictions
    monkeypatch.setattr(predictions, "read", lambda file: second)
    predictions.reveal(task, my)
    assert [entry["hash"] for entry in my.entries(task.id, "sealed")] == seen
    assert my.entries(task.id, "reveal")[0]["brier"] == brier([0.75], [True]) == 0.0625


def test_the_critic_of_a_tangent_model_sees_the_change():
    """The value is the head's at value + change of the hidden states, and differs from the start's."""
    start, rng = tiny(), torch.Generator().manual_seed(0)
    ids = torch.randint(1, 17, (2, 6), generator=rng)
    at_start = TangentGPT(copy.deepcopy(start))
    model = TangentGPT(copy.deepcopy(start))
    for d in model.delta.parameters():
        d.data = 0.05 * torch.randn(d.shape, generator=rng, dtype=d.dtype)
    head = torch.nn.Linear(start.cfg.n_embd, 1).double()
    at_start.value = model.value = head
    hidden = model(ids, want="hidden")
    value = model(hidden=hidden, want="value")
    same(value, head(hidden.real + hidden.imag)[..., 0], "the head on value + change")
    differs(value, at_start(ids, want="value"), "the critic sees the change", 1e-3)
