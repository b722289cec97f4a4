"""Invariants of every objective, in every form. What a method *is* stands in its equation:
test_equations.py."""
import math
from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from made import FORMS, HELD, NANO, ONLY_READ, batch_of, learn, nano, push, same, with_logps
from torch.overrides import TorchFunctionMode

from nanouft.batch import Batch
from nanouft.device import Device
from nanouft.objective import Objective
from nanouft.playground.docstrings import equations, method_docstring
from nanouft.plumbing.ranges import ranges_of

pytestmark = pytest.mark.parametrize("form", FORMS, ids=str)
model = cache(lambda dtype=torch.float64: nano(n_layer=1).to(dtype))    # no test changes it
WAITS = {*"""cpu numpy __array__ tolist item __bool__ __int__ __float__ __index__ equal allclose
         nonzero argwhere masked_select unique unique_consecutive bincount one_hot
         repeat_interleave""".split()}


@cache
def whole(name: str) -> tuple:
    """The step of a form, with its log-probs; its loss; the gradient of every weight."""
    form = next(form for form in FORMS if str(form) == name)
    batch = batch_of(form)
    return batch, *learn(form, model(), [batch])


class Waits(TorchFunctionMode):
    """`found` lists the calls at which a CPU waits for a GPU: a copy, or a result or a size that
    depends on numbers."""
    def __init__(self):
        super().__init__()
        self.found: list[str] = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        name, how = function.__name__, args[1:] if len(args) > 1 else ()
        if name == "__getitem__" or name == "__setitem__":
            where = how[0] if isinstance(how[0], tuple) else how[:1]
            waits = any(isinstance(x, torch.Tensor) and x.dtype == torch.bool for x in where)
        else:
            waits = name in WAITS or name == "to" and isinstance(how[0], str)       # "cpu"
        if waits:
            self.found.append(name)
        return function(*args, **kwargs or {})


def equation(form) -> str:
    """The equation of this form in the head of its file, with all the formulas that it uses."""
    head = method_docstring(type(form.objective))
    lines = {line.name: line for line in equations(form.name, head)}
    assert form.name in lines, f"the head of {form.name}.py has no equation, `    L = ...`"
    settings = [f"{form.name} --{name} {x}" for name, x in vars(form.objective).items()]
    line = lines[next((x for x in settings if x in lines), form.name)]
    return " ".join([line.loss, *line.formulas.values()])


def is_read(form, role: str, s) -> torch.Tensor:
    """The targets that a loss may read: response tokens; ORPO reads the prompt of a chosen row."""
    return (s.not_padding if form.name == "orpo" and role == "chosen" else s.mask) > 0


def test_a_loss_is_a_pure_function_that_waits_for_nobody(form):
    """One number, the same twice; it writes nothing; a GPU is never asked for a number."""
    assert isinstance(form.objective, Objective)
    batch, there, net = with_logps(form), batch_of(form), model()
    before = {role: s.logp.requires_grad_().detach().clone() for role, s in batch.seqs.items()}
    (loss, figures), (again, _) = (form.objective.loss(batch) for _ in range(2))
    assert loss.shape == () and loss.dtype == torch.float64 and torch.equal(loss, again)
    assert all(math.isfinite(float(x)) for x in figures.values())
    assert not any(getattr(x, "requires_grad", False) for x in figures.values()), "no graph"
    same({role: s.logp.detach() for role, s in batch.seqs.items()}, before, 0)
    with Waits() as waits:
        form.objective.forward(net, there)
        form.objective.loss(there)
    of_mixture = ["__int__", "nonzero"]                 # its length, and where it has tokens
    assert waits.found == of_mixture * (str(form) == "sftmix")


SUMS = "Read positions by s.sum or s.mean, which leave out the others."
FINITE = ("Write F.logsigmoid for the log of a sigmoid, and exp(x.clamp_max(20)) for exp(x), as k3 "
          "of on_policy.py does; choose by masked_fill or where, because 0 * inf is nan. The head "
          "need not show such a clamp.")
TOTALS = "Divide by batch.n or batch.tokens, those of the whole step; else say coupled = True."


def test_a_masked_position_is_never_read_and_never_pushed(form):
    want, grads = push(form, with_logps(form))
    for garbage in (99.0, math.inf, math.nan):
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


def test_padding_and_what_stands_in_it_change_nothing(form):
    _, *want = whole(str(form))
    batch = batch_of(form)
    for role, s in batch.seqs.items():
        wider = s.map(lambda x: None if x is s.positions else F.pad(x, (0, 9)))
        wider.targets = wider.targets.masked_fill(~is_read(form, role, wider), 13)
        wider.inputs = wider.inputs.masked_fill(wider.not_padding == 0, 12)
        wider.logp = None
        batch.seqs[role] = wider
    for x, y in zip(learn(form, model(), [batch]), want):
        same(x, y, why=SUMS)


def test_the_order_of_rows_changes_nothing(form):
    batch = with_logps(form)
    want, grads = push(form, batch)
    back = list(range(batch.n))[::-1]
    got, g = push(form, batch.map(lambda x: x[back]))
    same(got, want)
    same(g, {role: x[back] for role, x in grads.items()})


def test_pieces_of_a_step_add_up(form):
    """Loss, gradient and figures, unless the loss of a row reads other rows. (A piece may have a
    part of the answers to a prompt, and be cut into rows.)"""
    o = form.objective
    if o.coupled:
        return
    batch, *want = whole(str(form))
    *pieces, last = replace(batch_of(form), accumulate=5 if o.on_policy else 3).micro_batches()
    rows = len(next(iter(last.seqs.values())).mask)
    pieces += [last.cut(slice(i, i + 1)) for i in range(rows)]
    for x, y in zip(learn(form, model(), pieces), want):
        same(x, y, why=TOTALS)
    parts = [o.loss(piece)[1] for piece in pieces]
    for name, x in o.loss(batch)[1].items():
        same(sum(part[name] for part in parts), x, 1e-6, f"{name}: {TOTALS}")


def test_the_gradient_is_the_derivative(form):
    """Central differences along a random direction, in fp64. Where the equation holds a part
    constant (sg), test_equations.py compares the gradient with that of the equation."""
    batch = with_logps(form)
    _, grads = push(form, batch)
    rng, h, values = torch.Generator().manual_seed(7), 1e-6, []
    way = {role: torch.randn(g.shape, generator=rng, dtype=torch.float64)
           * batch.seqs[role].not_padding for role, g in grads.items()}
    at = {role: batch.seqs[role].logp.detach() for role in grads}
    for sign in (1, -1):
        for role in grads:
            batch.seqs[role].logp = at[role] + sign * h * way[role]
        values.append(float(form.objective.loss(batch)[0].detach()))
    slope = sum((g * way[role]).sum() for role, g in grads.items())
    if "sg(" not in equation(form):
        same((values[0] - values[1]) / (2 * h), slope, 1e-6, HELD[False])


def test_extreme_probabilities_stay_finite_in_fp32(form):
    batch = batch_of(form)
    for first, others in ((0., 0.), (-1e-9, -1e-9), (-1e4, -1e4), (0., -1e4), (-1e4, 0.),
                          (-1e-9, -1e4), (-1e4, -1e-9)):
        for i, s in enumerate(batch.seqs.values()):
            s.logp = torch.full(s.mask.shape, others if i else first) * s.not_padding
        loss, grads = push(form, batch)
        slopes = {f"its gradient by {role}": x for role, x in grads.items()}
        numbers = {"the loss": loss, **slopes, **form.objective.loss(batch)[1]}
        bad = [name for name, x in numbers.items() if not torch.as_tensor(x).isfinite().all()]
        assert not bad, (f"not finite at log-probs of {first} and {others}: {', '.join(bad)}. "
                         + FINITE)


def test_one_row_of_one_token_stays_finite(form):
    """Nothing is divided by the spread of one number. (Where answers are compared: two rows.)"""
    batch = with_logps(form)
    samples = ranges_of(type(form.objective)).get("samples")
    rows = 2 if samples and 1 not in samples else 1
    batch = batch.take(list(range(rows)))
    for s in batch.seqs.values():
        s.mask = s.mask * (s.mask.cumsum(-1) == 1)
    batch, o = Batch.of(batch.seqs, batch.per_row), form.objective
    if "answer" in batch.seqs and o.on_policy:          # no pairs, as online_dpo makes of them
        o = replace(o, samples=rows)
        batch, told = o.credit(batch)
        assert all(torch.as_tensor(x).isfinite() for x in told.values())
    loss, grads = push(SimpleNamespace(objective=o), batch)
    numbers = [loss, *grads.values(), *o.loss(batch)[1].values()]
    assert all(torch.as_tensor(x).isfinite().all() for x in numbers)


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
