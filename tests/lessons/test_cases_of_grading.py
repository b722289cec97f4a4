"""Cases that grading must tell apart: gradients of several outputs, seeds, formulas in a table.

    python -m pytest tests/lessons/test_cases_of_grading.py        a few seconds
"""
import copy
import sys
from dataclasses import replace

import pytest
import torch
from running import ROOT
from tiny import (
    FORMS,
    MADE,
    differs,
    give_logps,
    real_batch,
    same,
    same_each,
    tiny,
    value_and_grads,
)

from lessons.grade import folder
from lessons.grade.engine import Exam, judge
from lessons.grade.outcome import gradients
from lessons.grade.task import Case, Task
from lessons.grade.tasks import check, used
from nanouft.objectives import OBJECTIVES, dpo, ift, rloo, una
from nanouft.run.config import tomllib

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


CARDS = [task for task in folder.all_tasks() if task.kind in ("ledger", "design")
         and hasattr(task, "good")]
TWO = Task("99y", "implement", 1, 1, False, "two(x)", "Two numbers.", "One equation", two, two,
           (Case((torch.tensor([1.0, 2.0]),), ""),), draw, (), gradients=(0,))


def test_gradients_of_several_outputs_are_kept_apart():
    args = (torch.tensor([1.0, 2.0]),)
    assert gradients(two, args, (0,)) == [1 * 2.0, 2 * 3.0], "the gradient of y_1 + 2 y_2"
    assert gradients(lambda x: torch.stack(two(x)), args, (0,)) == [2.0, 6.0], \
        "a tensor of two is the same"
    assert judge(TWO, two)["state"] == "right"
    for wrong in (held, second_held):
        assert judge(TWO, wrong)["state"] != "right", wrong.__name__


def test_a_seed_draws_cases_of_its_own():
    def hidden(seed: str, task: Task = TWO) -> list[list[float]]:
        return [args[0].tolist() for args in Exam(task, seed).args[1:]]
    assert hidden("1") == hidden("1") != hidden("2"), "LAW: a class's secret seed draws other cases"
    assert hidden("1") != hidden("1", replace(TWO, id="99x")), "and so does another task"


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.id)
def test_what_a_card_says_of_values(card):
    good = card.good("Ada")
    assert card.judge(good, "Ada")[0] == "right" and card.judge({}, "Ada")[0] != "right"
    blank = tomllib.loads(card.starter("Ada"))
    assert card.judge(blank, "Ada") == ("not begun", None, []) and blank.keys() == good.keys()
    for name, values in card.wrong("Ada").items():
        state, mistake, _ = card.judge(values, "Ada")
        assert (state, mistake.name) == ("wrong", name)
    for key in good:
        for value in ("", "nonsense" if type(good[key]) is not str else 7):
            state, mistake, lines = card.judge(good | {key: value}, "Ada")
            assert (state, mistake) == ("unknown", None) \
                and any(line.startswith(f"{key} ") for line in lines)
            assert value != "" or f"{key} is still empty" in lines


def test_strips_are_dealt_by_name():
    dealt = {id: {repr(folder.find(id).good(name)) for name in ("Ada", "Alan", "Grace", "Emmy")}
             for id in [card.id for card in CARDS if "A" in card.good("Ada")]}
    assert dealt and all(len(found) > 1 for found in dealt.values()), \
        "LAW: neighbours have other cards"


@pytest.mark.parametrize("task", [t for t in folder.all_tasks() if hasattr(t, "signature")],
                         ids=lambda t: t.id)
def test_the_right_answer_of_each_task_runs_and_its_model_agrees(task):
    assert check.model(Exam(replace(task, cases=task.cases[:2]), "1")) == []


def test_the_critic_of_a_tangent_model_sees_the_change():
    """The value is the head's at value + change of the hidden states, and differs from the
    start's."""
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


@pytest.mark.parametrize("id, name", [("03b", "sft"), ("06a", "ift"), ("07a", "dpo"),
                                      ("08a", "simpo"), ("09a", "una"), ("11a", "poft"),
                                      ("14a", "rloo"), ("16b", "dft")])
def test_a_right_function_in_place_of_the_projects_trains_the_same(id, name, monkeypatch):
    """Loss and push of every form that the task knows: its functions know no label smoothing and no
    margin."""
    def narrow(x: torch.Tensor) -> torch.Tensor:
        return x.float() if x.is_floating_point() else x

    def found() -> dict[str, tuple]:
        MADE.clear()
        forms = [f for f in FORMS if f.name == name
                 and not any(getattr(f.hp, field, 0) for field in ("label_smoothing", "margin"))]
        return {str(form): value_and_grads(form, give_logps(real_batch(form)).map(narrow))
                for form in forms}
    want = found()
    monkeypatch.setitem(OBJECTIVES, name, OBJECTIVES[name])
    for module, function in ((ift, "weights"), (dpo, "dpo_loss"), (una, "score_loss"),
                             (rloo, "leave_one_out")):
        monkeypatch.setattr(module, function, getattr(module, function))
    calls, model = [], folder.find(id).model                # of the task, not the project's own
    used.PUT[id](lambda *args: calls.append(1) or model(*args))
    for form, (loss, grads) in found().items():
        same(loss, want[form][0], f"{form}: the loss", 1e-4)
        same_each(grads, want[form][1], f"{form}: the push on each token", 1e-4)
    assert calls, "the function was not asked"
