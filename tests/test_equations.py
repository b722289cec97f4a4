"""What each method is: the equation in the head of its file, computed as it is printed there, gives
the same loss and gradient as the code.

Taken from the code: PPO's advantages and returns, and Ada-DPO's u (test_method_details.py and
test_values.py).
"""
import itertools
from dataclasses import replace

import pytest
import torch
from equation_parser import known, value
from made import FORMS, HELD, Form, same, with_logps

from nanouft import pretrain, reward
from nanouft.batch import Batch
from nanouft.objective import Objective
from nanouft.objectives import OBJECTIVES
from nanouft.playground.docstrings import (
    SHARED,
    Line,
    equations,
    method_docstring,
    name_and_idea,
)

HEADS = {name: method_docstring(cls) for name, cls in {
    **OBJECTIVES, "pretrain": pretrain.NextToken, "reward": reward.BradleyTerry}.items()}
LINES = {line.name: line for name, head in HEADS.items() for line in equations(name, head)}
# What the head of grpo.py says of a setting in words
LINES["grpo --scale none"] = replace(
    LINES["grpo"], name="grpo --scale none",
    formulas=LINES["grpo"].formulas | {"adv": "reward - mean_K reward"})


def line_of(form: Form) -> Line | None:
    """The equation of a form, if the head has one for its setting."""
    assert form.name in LINES, f"the head of {form.name}.py has no equation, `    L = ...`"
    return LINES.get(f"{form.name} --{form.told}" if form.told else form.name)


def other_numbers(o: Objective, line: Line) -> Objective:
    """Every number has another value than its default, which the code might have in its place, and
    than other numbers: two with one default, as a schedule's ends, would hide what is between."""
    text = " ".join([line.loss, *line.formulas.values()])
    return replace(o, **{name: (1 - k / 100) * (0.9 * number or 0.7)
                         for k, (name, number) in enumerate(vars(o).items())
                         if isinstance(number, float) and (number or name in text)})


def step(form: Form, o: Objective) -> Batch:
    """Random log-probs; every third answer has a part that nobody trains on, as a dialogue has."""
    batch = with_logps(form)
    for s in batch.seqs.values():
        places = s.mask.cumsum(-1)
        s.mask[::3] *= (places[::3] != 2) | (places[::3, -1:] < 3)
    batch = Batch.of(batch.seqs, batch.per_row)
    if "mix_sure" in batch.seqs:                        # it was drawn in fp32
        sure, unsure = batch.seqs["mix_sure"], batch.seqs["mix_unsure"]
        unsure.extra["share"] = sure.mask - sure.extra["share"]
    if o.on_policy and "answer" in batch.seqs:
        batch, _ = o.credit(batch)
    return batch


def is_the_loss(line: Line, o: Objective, batch: Batch, role: str, leaves: list) -> None:
    """The value of the equation and its gradient by the leaves are those of the code."""
    equation = value(line.loss, known(line, batch, o, role)).mean()
    told, ours = ([loss.detach(), *torch.autograd.grad(loss + 0 * leaves[0].sum(), leaves,
                                                       allow_unused=True, materialize_grads=True)]
                  for loss in (equation, o.loss(batch)[0]))
    same(ours[0], told[0], 1e-9,
         f"L = {line.loss} is not the loss of the code: change the wrong one.")
    for x, y in zip(ours[1:], told[1:]):
        same(x, y, 1e-9, HELD["sg(" in str(line)])


@pytest.mark.parametrize("form", [form for form in FORMS if line_of(form)], ids=str)
def test_the_equation_in_the_head_of_the_file_is_the_loss_of_the_code(form):
    line = line_of(form)
    o = other_numbers(form.objective, line)
    for progress in (0.3, 0.9)[:1 + ("progress" in str(line))]:
        batch = replace(step(form, o), progress=progress)
        leaves = [x.requires_grad_() for s in batch.seqs.values()
                  for x in (s.logp, s.extra.get("values")) if x is not None]
        is_the_loss(line, o, batch, "mix_sure" if form.name == "sftmix" else "answer", leaves)


def test_the_equations_of_a_base_and_of_a_reward_model_are_their_losses():
    text = replace(with_logps(Form("sft")).seqs["answer"])
    text.mask = torch.ones_like(text.mask)
    is_the_loss(LINES["pretrain"], pretrain.NextToken(), Batch.of({"text": text}, {}), "text",
                [text.logp.requires_grad_()])
    pairs = with_logps(Form("dpo"))
    R = pairs.per_row["reward"] = torch.linspace(-1, 2, 2 * pairs.n).double().requires_grad_()
    is_the_loss(LINES["reward"], other_numbers(reward.BradleyTerry(), LINES["reward"]), pairs,
                "chosen", [R])


def test_the_heads_of_all_methods_begin_with_their_name_and_have_an_equation():
    """The pages show it: DPO, Robust DPO. Without a name they show that of the class."""
    told = {name: name_and_idea(HEADS[name]) for name in OBJECTIVES}
    assert all(called and idea for called, idea in told.values()), "NAME: what it does"
    assert len({called for called, _ in told.values()}) == len(told)
    tested = {line.name for form in FORMS if (line := line_of(form))}
    assert tested | {"pretrain", "reward"} == LINES.keys(), "a form for MORE_FORMS of made.py"


def test_the_lines_of_pytorch_in_the_head_of_grpo_are_its_loss():
    """As they stand there, with the default settings; and so is their gradient."""
    below = HEADS["grpo"].partition("In PyTorch, ")[2].split("\n")[1:]
    code = [line.strip() for line in itertools.takewhile(lambda x: x.startswith("    "), below)]
    o = OBJECTIVES["grpo"]()
    batch = step(Form("grpo"), o)
    s = batch.seqs["answer"]
    s.sampled_logp = 5 * s.sampled_logp - 4 * s.logp            # further from the policy
    names = {"torch": torch, "rewards": batch.per_row["reward"].view(-1, o.samples), "eps": o.eps,
             "beta": o.beta, "logp": s.logp.requires_grad_(), "old_logp": s.sampled_logp,
             "ref_logp": s.ref_logp, "mask": s.mask}
    exec("\n".join(code), names)
    assert ((names["ratio"] - 1).abs() > o.eps).any(), "some tokens are beyond the clip"
    for told, ours in zip(*([x.detach(), *torch.autograd.grad(x, s.logp)]
                            for x in (names["loss"], o.loss(batch)[0]))):
        same(told, ours, 1e-9)


def test_another_meaning_of_a_letter_that_all_heads_share_is_shown():
    """It was once left out in silence, and the page of methods had an equation without it."""
    own = "    r = beta (1 - exp(-A))\n    L = -log sigmoid( r_w - r_l )"
    assert equations("mine", own)[0].formulas == {"r": "beta (1 - exp(-A))"}
    assert not equations("mine", own.replace("beta (1 - exp(-A))", SHARED["r"]))[0].formulas
