"""Laws that every objective keeps, in every form. What a method *is* stands in its equation:
test_equations.py."""
import math
from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from made import (
    DATA,
    FORMS,
    HELD,
    NANO,
    ONLY_READ,
    Form,
    batch_of,
    learn,
    nano,
    push,
    same,
    with_logps,
)
from test_equations import HEADS, line_of

from nanouft.batch import Batch
from nanouft.device import Device
from nanouft.objective import Objective
from nanouft.objectives import OBJECTIVES
from nanouft.objectives.dpo import Pairs
from nanouft.plumbing.ranges import ranges_of
from nanouft.pushes import token_pushes

every_form = pytest.mark.parametrize("form", FORMS, ids=str)
every_method = pytest.mark.parametrize("form", [f for f in FORMS if not f.told], ids=str)
model = cache(lambda dtype=torch.float64: nano(n_layer=1).to(dtype))    # no test changes it

# What to change, if a law is broken
SUMS = "Read positions by s.sum or s.mean, which leave out the others."
TOTALS = "Divide by batch.n or batch.tokens, those of the whole step; else say coupled = True."
FINITE = ("Write F.logsigmoid for the log of a sigmoid, expm1(x) for exp(x) - 1, and "
          "exp(x.clamp_max(20)) for exp(x), as k3 of policy_gradient.py does; choose by "
          "masked_fill or where, because 0 * inf is nan. The head need not show such a clamp.")


@cache
def whole(name: str) -> tuple:
    """The step of a form, with its log-probs; its loss; the gradient of every weight."""
    form = next(form for form in FORMS if str(form) == name)
    batch = batch_of(form)
    return batch, *learn(form, model(), [batch])


def is_read(form: Form, role: str, s) -> torch.Tensor:
    """The targets that a loss may read: response tokens; ORPO reads the prompt of a chosen row."""
    return (s.not_padding if form.name == "orpo" and role == "chosen" else s.mask) > 0


# ---- of a loss -----------------------------------------------------------------------------------
@every_form
def test_a_loss_is_one_number_the_same_twice_and_writes_nothing(form):
    assert isinstance(form.objective, Objective)
    batch = with_logps(form)
    before = {role: s.logp.requires_grad_().detach().clone() for role, s in batch.seqs.items()}
    (loss, figures), (again, _) = (form.objective.loss(batch) for _ in range(2))
    assert loss.shape == () and loss.dtype == torch.float64 and torch.equal(loss, again)
    assert all(math.isfinite(float(x)) for x in figures.values())
    assert not any(getattr(x, "requires_grad", False) for x in figures.values()), "no graph"
    same({role: s.logp.detach() for role, s in batch.seqs.items()}, before, 0)


@every_form
def test_a_masked_position_is_never_read_and_never_pushed(form):
    want, grads = push(form, with_logps(form))
    for garbage in (99.0, math.nan):
        batch = with_logps(form)
        for role, s in batch.seqs.items():
            s.logp = s.logp.masked_fill(~is_read(form, role, s), garbage)
            for name in ("ref_logp", "sampled_logp", "token_advantage"):
                if getattr(s, name) is not None:
                    setattr(s, name, getattr(s, name).masked_fill(s.mask == 0, garbage))
            s.extra = {name: x.masked_fill(s.mask == 0, garbage) for name, x in s.extra.items()}
        got, g = push(form, batch)
        same(got, want, 0, SUMS)
        same(g, grads, 0, SUMS)
    for role, g in grads.items():
        on = is_read(form, role, batch.seqs[role])
        assert (~on).any() and (g[~on] == 0).all() and (g[on] != 0).any()


@every_form
def test_the_order_of_rows_changes_nothing(form):
    batch = with_logps(form)
    want, grads = push(form, batch)
    back = list(range(batch.n))[::-1]
    got, g = push(form, batch.map(lambda x: x[back]))
    same(got, want)
    same(g, {role: x[back] for role, x in grads.items()})


@pytest.mark.parametrize("form", [form for form in FORMS if not line_of(form)
                                  and "sg(" not in HEADS[form.name]], ids=str)
def test_the_gradient_is_the_derivative_where_a_form_has_no_equation_of_its_own(form):
    batch = with_logps(form)
    trained = [s for role, s in batch.seqs.items() if role not in ONLY_READ]

    def loss(*logps: torch.Tensor) -> torch.Tensor:
        for s, x in zip(trained, logps):
            s.logp = x
        return form.objective.loss(batch)[0]
    assert torch.autograd.gradcheck(loss, [s.logp.requires_grad_() for s in trained],
                                    fast_mode=True), HELD[False]


SIZES = (0.0, 0.0), (1e-6, 1e-6), (0.1, 0.1), (0.0, 1e4), (1e4, 0.0)


@every_form
def test_in_fp32_it_is_finite_and_has_the_digits_of_fp64(form):
    """Also where a model is certain of one answer, or finds the other one hopeless. A gradient is
    compared with the largest one of its row."""
    for first, others in SIZES:
        found, at = [], f"log-probs of about {-first:g} and {-others:g}"
        for dtype in (torch.float32, torch.float64):
            batch = with_logps(form).cast(torch.float32)            # fp64 reads the same numbers
            for i, s in enumerate(batch.seqs.values()):
                for name in ("logp", "ref_logp", "sampled_logp"):
                    if (x := getattr(s, name)) is not None:
                        setattr(s, name, (others if i else first) * x.clamp_min(-3))
            batch = batch.cast(dtype)
            loss, grads = push(form, batch)
            found.append({"the loss": loss, **form.objective.loss(batch)[1],
                          **{f"its gradient by {role}": x for role, x in grads.items()}})
        for name, x in found[1].items():
            x, y = (torch.as_tensor(z).double() for z in (x, found[0][name]))
            assert y.isfinite().all(), f"{name} is not finite at {at}. {FINITE}"
            largest = x.abs().amax(-1, keepdim=True) if x.dim() else x.abs()
            assert ((x - y).abs() <= 2e-4 * largest + 1e-6).all(), f"{name} at {at}. {FINITE}"


@every_form
def test_one_row_of_one_token_stays_finite(form):
    """Nothing is divided by the spread of one number. (Where answers are compared: two rows.)"""
    batch, o, told = with_logps(form), form.objective, {}
    samples = ranges_of(type(o)).get("samples")
    rows = 2 if samples and 1 not in samples else 1
    batch = batch.take(list(range(rows)))
    for s in batch.seqs.values():
        s.mask = s.mask * (s.mask.cumsum(-1) == 1)
    batch = Batch.of(batch.seqs, batch.per_row)
    if "answer" in batch.seqs and o.on_policy:          # no pairs, as online_dpo makes of them
        o = replace(o, samples=rows)
        batch, told = o.credit(batch)
    loss, grads = push(SimpleNamespace(objective=o), batch)
    numbers = [loss, *grads.values(), *o.loss(batch)[1].values(), *told.values()]
    assert all(torch.as_tensor(x).isfinite().all() for x in numbers)


# ---- of a step -----------------------------------------------------------------------------------
@every_form
def test_padding_and_what_stands_in_it_change_nothing(form):
    _, *want = whole(str(form))
    batch = batch_of(form)
    for role, s in batch.seqs.items():
        wider = s.map(lambda x: None if x is s.positions else F.pad(x, (0, 9 + len(role))))
        wider.targets = wider.targets.masked_fill(~is_read(form, role, wider), 13)
        wider.inputs = wider.inputs.masked_fill(wider.not_padding == 0, 12)
        wider.logp = None
        batch.seqs[role] = wider
    for x, y in zip(learn(form, model(), [batch]), want):
        same(x, y, why=SUMS)


@pytest.mark.parametrize("form", [f for f in FORMS if not f.objective.coupled], ids=str)
def test_pieces_of_a_step_add_up(form):
    """Loss, gradient and figures, unless the loss of a row reads other rows. (A piece may have a
    part of the answers to a prompt, and be cut into rows.)"""
    o = form.objective
    batch, *want = whole(str(form))
    *pieces, last = replace(batch_of(form), accumulate=5 if o.on_policy else 3).micro_batches()
    pieces += [last.cut(slice(i, i + 1)) for i in range(len(next(iter(last.seqs.values())).mask))]
    for x, y in zip(learn(form, model(), pieces), want):
        same(x, y, why=TOTALS)
    parts = [o.loss(piece)[1] for piece in pieces]
    for name, x in o.loss(batch)[1].items():
        same(sum(part[name] for part in parts), x, 1e-6, f"{name}: {TOTALS}")


@every_form
def test_log_probs_have_32_bits_in_mixed_precision_and_64_in_double(form):
    """And are those of the targets: (B,T), 0 off the mask, with a graph to the model."""
    mixed, (double, *_) = batch_of(form), whole(str(form))
    with Device("cpu", "bf16").autocast():
        form.objective.forward(model(torch.float32), mixed)
    for batch, bits in ((mixed, torch.float32), (double, torch.float64)):
        for role, s in batch.seqs.items():
            on = is_read(form, role, s)
            assert s.logp.dtype == bits and s.logp.shape == s.mask.shape
            assert s.logp.requires_grad == (role not in ONLY_READ)
            assert (s.logp[~on] == 0).all() and (s.logp[on] < 0).all()
            assert NANO.pad not in s.targets[on]


# ---- of what a class says of itself --------------------------------------------------------------
def changed(batch: Batch, what: str) -> None:
    """Other numbers in a column of the rows, or other log-probs of other models."""
    if what in ("score", "label", "reward") and what in batch.per_row:
        batch.per_row[what] = 0.9 - 0.7 * batch.per_row[what]
    for role, s in batch.seqs.items():
        if what == "reference" and s.ref_logp is not None or what == role:
            s.ref_logp = 1.5 * s.ref_logp - 0.3
        if what == role:
            s.sampled_logp = 1.5 * s.sampled_logp - 0.3
        if what.startswith("others"):
            s.logp[2:] *= float(what.split()[1])


@every_method
def test_what_an_objective_says_that_it_reads_is_what_its_loss_reads(form):
    """Else it would be trained without it, or it would be computed for nothing. (The reference of
    distillation is its teacher.)"""
    o, roles = form.objective, with_logps(form).seqs

    def pushed(what: str = "", rows: int | None = None) -> torch.Tensor:
        """The loss and its push on the first rows, after a change before credit."""
        batch = with_logps(form)
        changed(batch, what)
        if o.on_policy and "answer" in batch.seqs:
            batch, _ = o.credit(batch)
        loss, grads = push(form, batch)
        return torch.cat([loss[None][:rows is None], *(g[:rows].flatten() for g in grads.values())])
    whole, first = pushed(), pushed(rows=2)
    reads = {what: not torch.equal(pushed(what), whole)
             for what in ("reference", "demo", "score", "label", "reward")}
    reads["coupled"] = any(not torch.equal(pushed(f"others {x}", rows=2), first) for x in (0.1, 3))
    assert reads == {
        "reference": o.reference or form.name == "distill",
        "demo": "demo" in roles and o.measures_demos,
        "score": "scores" in o.kinds(), "label": "labels" in o.kinds(),
        # pairs that are made of the rewards have none any more
        "reward": o.on_policy and o.scorer != "none" and "answer" in roles,
        "coupled": o.coupled}, "left what the loss reads, right what the class says: change a fact"


@pytest.mark.parametrize("name", [name for name in OBJECTIVES if name != "distill"])
def test_a_right_or_better_answer_is_pushed_up_and_a_worse_one_down(name):
    """As a whole: PPO's critic has its own opinion of single tokens. SLiC's margin holds already
    for this pair, and HPT imitates only where no answer is right. A `contrary` method breaks this
    property."""
    pushes = {answer: sum(weights) for answer, _, weights
              in token_pushes(Form(name).objective, DATA[0], nano(), NANO)}
    right = {answer: -push if answer in ("rejected", "bad answer") else push
             for answer, push in pushes.items()
             if (name, answer) not in {("slic", "rejected"), ("hpt", "demonstrated answer")}}
    if OBJECTIVES[name].contrary:
        assert min(right.values()) < 0, f"{name} is not contrary: leave that fact out"
        return
    assert min(right.values()) > 0, (
        f"the pushes of {name} are {pushes}: look at the signs, in the head and in the code. If "
        "its paper means it so, write the fact `contrary = True`, and why in the head")


def test_all_methods_are_one_level_below_objective():
    assert all(cls.__bases__[0] in (Objective, Pairs) for cls in OBJECTIVES.values())
