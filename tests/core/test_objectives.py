"""The contract that every objective keeps, and the laws of SFT and DPO (more of it: test_pairs.py).

The first part runs over all of OBJECTIVES in all the forms that tiny.py lists: an objective added
to the registry is tested here at once. What couples rows says so with `coupled = True` and is left
out where rows must just add.
"""
import dataclasses
import math
import re

import pytest
import tiny
import torch
from running import ROOT
from tiny import (
    CPU,
    FORMS,
    NANO,
    Form,
    give_logps,
    model_grads,
    nano,
    pure,
    read,
    real_batch,
    same,
    value_and_grads,
)

from nanouft import seeds as draws
from nanouft.data.batches import collate, encode
from nanouft.data.rows import Row
from nanouft.errors import UserError
from nanouft.eval.show import ONLY_READ
from nanouft.objective import REF, Objective, write_logp
from nanouft.objectives import OBJECTIVES
from nanouft.objectives.dpo import DPO
from nanouft.reference import Models, add_columns

EXPLAINED = set(re.findall(r"`([a-z_0-9]+)`",
                           (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")))
each_form = pytest.mark.parametrize("form", FORMS, ids=str)
each_separable = pytest.mark.parametrize("form", [f for f in FORMS if not f.objective.coupled],
                                         ids=str)


# ---- 1. every objective --------------------------------------------------------------------------
@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_contract(name):
    o = OBJECTIVES[name]
    assert isinstance(o, Objective) and o.paper and dataclasses.is_dataclass(o.hp) and o.lr > 0
    for column in o.columns:
        assert column == REF or (column.sampled if o.on_policy else column.before), \
            f"nobody computes {column.name}"
    hp = o.hp()
    if hasattr(hp, "check"):
        hp.check()                                 # defaults are never refused
    with pytest.raises(UserError, match="needs"):
        o.rows([], hp)
    if not o.on_policy:  # a prompt is enough for who samples the answer
        with pytest.raises(UserError, match="needs"):
            o.rows([Row(prompt=tiny.say("user", "nothing to learn from"))], hp)
    assert o.on_policy == (o.credit is not None) == (o.kinds(hp) == ["prompts"])


@pytest.mark.parametrize("form", [f for f in FORMS if getattr(f.hp, "surrogate", "ppo") == "ppo"],
                         ids=str)
def test_settings_that_change_something_are_not_refused(form):
    if hasattr(form.hp, "check"):
        form.hp.check()


@each_form
def test_forward_writes_the_log_probs_of_the_targets(form):
    """Whatever states a method trains on: (B,T), 0 off the mask, never positive, with a graph to
    the model."""
    batch = real_batch(form)
    form.objective.forward(nano(), batch, form.hp)
    for role, s in batch.seqs.items():
        assert s.logp.shape == s.mask.shape and s.logp.dtype == torch.float32, role
        assert s.logp.requires_grad == (role not in ONLY_READ), role
        on = read(form, role, s)
        assert (s.logp[~on] == 0).all() and (s.logp[on] < 0).all(), role


# its mixture has such a length
@pytest.mark.parametrize("form", [f for f in FORMS if str(f) != "sftmix"], ids=str)
def test_a_step_asks_for_no_number(form, monkeypatch):
    """A tensor on `meta` has no values: to ask for one (nonzero, item) fails there; it makes a CPU
    wait for its GPU."""
    drawn, batch = [], real_batch(form).to("meta")
    monkeypatch.setattr(draws, "generator", lambda seed, device="cpu": drawn.append(str(device)))
    form.objective.forward(nano().to("meta"), batch, form.hp)
    form.objective.loss(batch, form.hp)[0].backward()
    assert str(form) != "neftune" or {*drawn} == {"meta"}, "much noise is drawn where it is needed"


@each_form
def test_loss_is_one_number_and_a_pure_function(form):
    batch = give_logps(real_batch(form))
    before = {role: s.logp.requires_grad_(True).detach().clone() for role, s in batch.seqs.items()}
    (loss, metrics), (again, _) = (form.objective.loss(batch, form.hp) for _ in range(2))
    assert loss.shape == () and loss.requires_grad and loss.isfinite() \
        and loss.dtype == torch.float64
    assert metrics.keys() <= EXPLAINED, \
        f"docs/metrics.md does not say what {metrics.keys() - EXPLAINED} means"
    for name, value in metrics.items():
        assert not getattr(value, "requires_grad", False), \
            f"metric {name} would keep the graph of every step alive"
        assert math.isfinite(float(value)), name
    same(again.detach(), loss.detach(), f"{form}: the same batch gives the same loss twice", 0.0)
    tiny.same_each({role: s.logp.detach() for role, s in batch.seqs.items()}, before,
                   f"{form}: it writes nothing", 0)


@each_form
def test_masked_places_are_never_read_and_never_pushed(form):
    want, grads = value_and_grads(form, give_logps(real_batch(form)))
    for garbage in (99.0, math.inf, -math.inf, math.nan):
        batch = give_logps(real_batch(form))
        for role, s in batch.seqs.items():
            s.logp = s.logp.masked_fill(~read(form, role, s), garbage)
            for name in vars(s).keys() - {"inputs", "targets", "mask", "real", "logp", "extra"}:
                if (x := getattr(s, name)) is not None:
                    setattr(s, name, x.masked_fill(s.mask == 0, garbage))
            s.extra = {name: x.masked_fill(s.mask == 0, garbage) for name, x in s.extra.items()}
        got, g = value_and_grads(form, batch)
        same(got, want, f"{form}: {garbage} in a masked place does not change the loss", 0.0)
        tiny.same_each(g, grads,
                       f"{form}: {garbage} in a masked place does not change the gradient", 0.0)
    for role in grads:
        off = ~read(form, role, batch.seqs[role])
        assert off.any() and (grads[role][off] == 0).all(), \
            (f"LAW: {form}, {role}: a prompt or "
             "padding target has gradient 0 (of ORPO's NLL: a padding target)")
        assert (grads[role][~off] != 0).any(), f"{form}, {role}: no gradient at all"


@each_form
def test_what_stands_in_prompt_targets_and_padding_changes_nothing(form):
    model = nano().double()
    want, grads = model_grads(form, model, real_batch(form))
    batch = real_batch(form)
    for role, s in batch.seqs.items():
        tiny.widen(s, 9)
        s.targets = s.targets.masked_fill(~read(form, role, s), 13)
        s.inputs = s.inputs.masked_fill(s.real == 0, 12)
    got, g = model_grads(form, model, batch)
    same(got, want,
         f"{form}: more padding, other padding, other prompt targets: the loss is the same")
    tiny.same_each(g, grads, f"{form}: and so is every gradient")


@each_form
def test_the_order_of_rows_is_irrelevant(form):
    batch = give_logps(real_batch(form))
    want, grads = value_and_grads(form, batch)
    order = list(range(batch.rows))[::-1]
    got, g = value_and_grads(form,
                             dataclasses.replace(batch.map(lambda x: x[order]), step_rows=None))
    same(got, want, f"{form}: permuting the rows does not change the loss")
    tiny.same_each(g, {role: x[order] for role, x in grads.items()},
                   f"{form}: and permutes the gradient")


@each_separable
def test_micro_batches_add_up(form):
    model, whole = nano().double(), real_batch(form).to("cpu")  # as train.fit moves them
    pieces = [whole.piece(i, 3).to("cpu") for i in range(3)]
    want, grads = model_grads(form, model, whole)
    got, g = model_grads(form, model, *pieces)
    same(got, want, f"{form}: the losses of three micro-batches add up to the loss of the step")
    tiny.same_each(g, grads, f"{form}: the gradients of three micro-batches add up")
    metrics, *parts = (form.objective.loss(batch, form.hp)[1] for batch in (whole, *pieces))
    for name in metrics:
        same(sum(p[name] for p in parts), metrics[name],
             f"{form}: metric {name} is a share of the step, so pieces add up", 1e-6)


@each_form
def test_extreme_probabilities_stay_finite_in_fp32(form):
    batch = real_batch(form)
    equal, unequal = ((x, x) for x in (0.0, -1e-9, -1e4)), ((0.0, -1e4), (-1e4, 0.0), (-1e-9, -1e4),
                                                            (-1e4, -1e-9))
    # second: of all roles but the first
    for first, second in (*equal, *(unequal if len(batch.seqs) > 1 else ())):
        for i, s in enumerate(batch.seqs.values()):
            s.logp = torch.full(s.mask.shape, second if i else first).masked_fill(s.real == 0, 0)
        value, grads = value_and_grads(form, batch)
        law = f"LAW: {form}: at log-probs of {first}, {second} a token"
        assert value.isfinite(), f"{law} the loss is finite, not {value}"
        assert all(g.isfinite().all() for g in grads.values()), f"{law} the gradient is finite"
        assert all(math.isfinite(x) for x in form.objective.loss(batch, form.hp)[1].values()), \
            f"{law} metrics are"


# ---- 2. the reductions and the shared forward ----------------------------------------------------
def test_sum_and_mean_of_a_role():
    s = pure([[1.0, 2, 3], [5, math.nan, math.inf]], [[1, 1, 1], [1, 0, 0]]).seqs["answer"]
    same(s.sum(-s.logp), [6.0, 5.0],
         "sum over response tokens; masked places are replaced, not multiplied")
    same(s.mean(-s.logp), [2.0, 5.0], "mean over response tokens")
    empty = pure([[1.0, 2]], [[0, 0]]).seqs["answer"]
    same(empty.mean(empty.logp), [0.0], "the mean of no response tokens is 0, not 0/0")


def test_the_reference_is_the_live_one():
    """More rows than one chunk of 64, in an order that sorting by length must undo."""
    form, model = Form("dpo", DPO()), nano(3)
    data = [Row(tiny.say("user", f"say {i} " + "and then " * (i * 7 % 5)), None,
                tiny.say("assistant", "well " * (1 + i * 5 % 7)), tiny.say("assistant", f"no {i}"))
            for i in range(150)]
    encoded, _ = encode(form.objective.rows(data, form.hp), NANO, 64)
    add_columns(encoded, (REF,), Models(model, NANO.pad, CPU))
    assert all(len(t.ref_logp) == len(t.ids) - 1 for e in encoded for t in e.seqs.values())
    batch = collate(encoded, range(150), NANO.pad)  # other padding than in the scoring pass
    write_logp(model, batch, None)
    for role, s in batch.seqs.items():
        same(s.ref_logp, s.logp.detach(),
             f"{role}: the reference of every row is the live one, to 1e-5 a token", 1e-5)
