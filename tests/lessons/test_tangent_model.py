"""The tangent model (lessons/extras/tangent_model.py): linear in its change; at its start the
network."""
import copy
import re
import sys

import pytest
import torch
from running import ROOT, SMALL
from tiny import (
    CPU,
    FORMS,
    differs,
    model_grads,
    nano,
    real_batch,
    same,
    same_each,
    some_rows,
    tiny,
)

from nanouft.data.batches import collate
from nanouft.gpt import GPT
from nanouft.models import load
from nanouft.objective import write_logp
from nanouft.sampling import generate

sys.path.insert(0, str(ROOT / "lessons" / "extras"))
import tangent  # noqa: E402
from tangent_model import TangentGPT, add_directions, ordinary_kl  # noqa: E402

IDS = torch.randint(1, 17, (3, 9), generator=torch.Generator().manual_seed(0))


def moved(start, seed: int = 0, size: float = 0.02) -> TangentGPT:
    """The tangent of (a copy of) `start`, at a random delta."""
    model, rng = TangentGPT(copy.deepcopy(start)), torch.Generator().manual_seed(seed)
    for d in model.delta.parameters():
        d.data = size * torch.randn(d.shape, generator=rng, dtype=d.dtype)
    return model


def scaled(model: TangentGPT, by: float) -> TangentGPT:
    other = copy.deepcopy(model)
    for d in other.delta.parameters():
        d.data *= by
    return other


# ---- the mathematics -----------------------------------------------------------------------------
def test_logits_are_linear_in_the_change():
    start = tiny()
    f0, one = start(IDS), moved(start)
    differs(one(IDS), f0, "the change does something", 0.1)
    for by in (2, -3, 0.1):
        same(scaled(one, by)(IDS) - f0, by * (one(IDS) - f0),
             "f_lin(a delta) - f0 = a (f_lin(delta) - f0)")


def test_what_it_leaves_out_is_of_second_order():
    """|f(theta0 + eps d) - f_lin(theta0 + eps d)| falls four times when eps is halved."""
    one, errors = moved(tiny(), size=1.0), []
    for eps in (2e-3, 1e-3, 5e-4):
        model = scaled(one, eps)
        errors.append((model.ordinary()(IDS) - model(IDS)).norm().item())
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.03) \
        and errors[1] / errors[2] == pytest.approx(4, rel=0.03)
    assert errors[0] > 1e-6, "the network is not linear"


@pytest.mark.parametrize("form", [f for f in FORMS if f.objective.forward is not write_logp
                                  or f.name == "dpo"], ids=str)
def test_every_objective_begins_with_its_ordinary_loss_and_gradient(form):
    """At delta = 0, through embeddings, hidden states, guesses and noise: as if the network itself
    were trained."""
    batch = real_batch(form)
    for s in batch.seqs.values():
        s.logp = None
    start = nano(4).double()
    batch = batch.map(lambda x: x.double() if x.is_floating_point() else x)
    loss, grads = model_grads(form, copy.deepcopy(start), copy.deepcopy(batch))
    model = TangentGPT(copy.deepcopy(start))
    form.objective.forward(model, batch, form.hp)
    found, _ = form.objective.loss(batch, form.hp)
    found.backward()
    same(found.detach(), loss, "the same loss", 1e-9)
    same_each({n: d.grad for n, d in model.delta.named_parameters()}, grads, "the same gradient",
              1e-6)
    assert all(p.grad is None for p in model.start.parameters()), "theta0 is frozen"


def test_each_door_is_linear():
    model = moved(tiny())
    want = model(IDS)
    same(model(embeds=model(IDS, want="embeds")), want, "through embeddings")
    same(model(hidden=model(IDS, want="hidden")), want, "through hidden states")
    same(model(IDS, want="logp", targets=IDS),
         want.log_softmax(-1).gather(-1, IDS[..., None])[..., 0], "log-probs")
    prompts = [[1, 2, 3], [4, 5], [6]]
    for how in ({}, {"temperature": 1.0}):
        cached, plain = (generate(model, prompts, stop=16, pad=0, max_new=12, cached=c, **how)
                         for c in (True, False))
        assert [a.ids for a in cached] == [a.ids for a in plain]
        for a, b in zip(cached, plain):
            same(a.logp, b.logp, "the cache keeps value and change", 1e-6)


def test_ordinary_kl_is_the_mean_over_response_tokens():
    model, batch = moved(tiny()), collate(some_rows(70), range(70), 0)
    s = batch.seqs["answer"]
    p, q = model(s.inputs).log_softmax(-1), model.ordinary()(s.inputs).log_softmax(-1)
    total = ((p.exp() * (p - q)).sum(-1) * s.mask).sum() / s.mask.sum()
    same(ordinary_kl(model, batch, CPU), total.detach(), "KL(linear || ordinary)", 1e-5)
    assert ordinary_kl(scaled(model, 0), batch, CPU) < 1e-9 < ordinary_kl(model, batch, CPU)


def test_directions_add_up():
    start = tiny()
    a, b = moved(start, 0), moved(start, 1)
    both = add_directions([a, b], [0.5, -2.0])
    f0 = start(IDS)
    same(both(IDS) - f0, 0.5 * (a(IDS) - f0) - 2 * (b(IDS) - f0),
         "the changes of the logits add up")


def test_the_lesson_on_it_runs(monkeypatch, capsys):
    """A base of one layer, one step; the numbers of each line that the lesson prints below a
    heading."""
    monkeypatch.setattr(load, "shipped_base", lambda: GPT(SMALL, seed=0))
    for name, value in {"STEPS": [1], "RATES": [1e-4], "TESTS": 2}.items():
        monkeypatch.setattr(tangent, name, value)
    tangent.part_ways()
    tangent.add_up()
    rows = [line for line in capsys.readouterr().out.splitlines()
            if re.match(r"lr|\d|linear|ordinary", line)]
    assert [len(re.findall(r"[-+]?\d[\d.]*(?:e[-+]\d+)?", row[18:])) for row in rows] \
        == [7] + 5 * [4] + 4 * [9]
