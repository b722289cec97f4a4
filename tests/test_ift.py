"""IFT, the method in the centre: what the model sees, and what each token weighs.

The source is Hua et al., arXiv:2405.11870v3 and the code released with it; l_t is the loss of
response token t, w_t its weight, lam the share of the model's own guess, gamma the discount."""
from dataclasses import replace

import pytest
import torch
from made import Form, batch_of, learn, nano, push, same

from nanouft.objective import Batch, Seqs
from nanouft.objectives.ift import own_guess
from nanouft.seeds import uniform_rows

VARIANTS = ("detached", "released", "algorithm1", "eq21", "eq21_mean1")


def ift(variant: str = "released", **settings) -> Form:
    form = Form("ift")
    form.objective = replace(form.objective, variant=variant, **settings)
    return form


def of_losses(l: list[list[float]], mask: list[list[int]] | None = None) -> Batch:
    """A step in which the tokens have these losses."""
    logp = -torch.tensor(l, dtype=torch.float64)
    on = torch.ones_like(logp) if mask is None else torch.tensor(mask).double()
    ids = torch.zeros_like(logp).long()
    return Batch.of({"answer": Seqs(ids, ids, on, torch.ones_like(on), logp)}, {})


def steps(n: int):
    batch = batch_of(Form("ift"))
    return (replace(batch, seed=batch.seed + i) for i in range(n))


# ---- the two changes -----------------------------------------------------------------------------
def test_without_both_changes_it_is_sft_on_frozen_embeddings():
    model, sft = nano().double(), Form("sft", "reduction sequence")
    want, grads = learn(sft, model, [batch_of(sft)])
    got, g = learn(ift(lam=0.0, gamma=0.0), model, [batch_of(Form("ift"))])
    same(got, want)
    read = {"wte.weight"}                   # it learns from the side of the output alone
    same({n: x for n, x in g.items() if n not in read},
         {n: x for n, x in grads.items() if n not in read})
    assert (g["wte.weight"] - grads["wte.weight"]).abs().max() > 1e-3
    for settings in ({"lam": 0.2, "gamma": 0.0}, {"lam": 0.0, "gamma": 0.95}):
        one, _ = learn(ift(**settings), model, [batch_of(Form("ift"))])
        assert abs(float(one - want)) > 1e-3, "each change alone is not SFT"


def test_the_guess_is_shifted_by_one_once():
    """The guess FOR position i is made AT position i - 1. The prompt keeps its own tokens."""
    P, Q, a, b, end, c = range(1, 7)
    inputs, mask = torch.tensor([[P, Q, a, b, end]]), torch.tensor([[0.0, 1, 1, 1, 1]])
    argmax = torch.tensor([[c, a, c, end, c]])
    assert own_guess(inputs, mask, argmax).tolist() == [[P, Q, a, c, end]], \
        "the guess for a position is made at the position before it, and moved there once"


@pytest.mark.parametrize("lam", [0.2, 1.0])
def test_the_model_reads_a_blend_of_embeddings(lam):
    """Eq. 17: (1 - lam) E(token) + lam E(guess), on the response alone; E is a frozen copy. The
    guess costs one pass without gradient, and lam 0 none."""
    model, calls = nano(), []

    def spy(*args, **kw):
        calls.append((kw, torch.is_grad_enabled()))
        return model(*args, **kw)
    batch = batch_of(Form("ift"))
    ift(lam=lam).objective.forward(spy, batch)
    s, E, read = batch.seqs["answer"], model.wte.weight, calls[-1][0]["embeds"]
    of_answer = torch.zeros_like(s.mask, dtype=torch.bool)
    of_answer[:, 1:] = s.mask[:, :-1] == 1
    guess = torch.where(of_answer, model(s.inputs, want="argmax").roll(1, 1), s.inputs)
    assert (guess != s.inputs).any()
    same(read, (1 - lam) * E[s.inputs] + lam * E[guess], 1e-6)
    assert not read.requires_grad and s.logp.requires_grad
    same(s.logp, model(embeds=read, want="logp", targets=s.targets, at=s.mask > 0), 1e-6)
    passes = [(kw["want"], grad) for kw, grad in calls if kw["want"] != "embeds"]
    assert passes == [("argmax", False), ("logp", True)]
    calls.clear()
    ift(lam=0.0).objective.forward(spy, batch)
    assert [kw["want"] for kw, _ in calls] == ["embeds", "logp"]


# ---- the weights ---------------------------------------------------------------------------------
def test_released_weights_can_push_an_easy_token_down_and_detached_ones_push_none_down():
    """A hard token, then an easy one: the gradient on the easy one's loss is negative."""
    for variant, down in (("released", True), ("detached", False)):
        _, grads = push(ift(variant, gamma=1.0), of_losses([[3.0, 0.01]]))
        assert (grads["answer"][0, 1] > 0) == down and grads["answer"][0, 0] < 0


def test_gamma_zero_is_the_plain_mean():
    """Also as released, where 0^0 and a weight of l_t by itself would be another loss."""
    for variant in ("released", "detached"):
        loss, grads = push(ift(variant, gamma=0.0), of_losses([[3.0, 1.0]]))
        same(loss, 2.0)
        same(grads["answer"], [[-0.5, -0.5]])


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_row_without_anything_to_learn_is_harmless(variant):
    form = ift(variant)
    both, g = push(form, of_losses([[3.0, 1.0], [5.0, 5.0]], [[1, 1], [0, 0]]))
    alone, h = push(form, of_losses([[3.0, 1.0]]))
    same(2 * both, alone)
    same(2 * g["answer"], [*h["answer"].tolist(), [0, 0]])
    nothing, g = push(form, of_losses([[0.0, 0.0]]))
    assert nothing == 0 and g["answer"].isfinite().all(), "all losses 0: no 0/0"


# ---- draws --------------------------------------------------------------------------
def test_each_row_of_each_step_has_draws_of_its_own():
    now, later = (uniform_rows(batch, 6, 5) for batch in steps(2))
    assert not (now[0] == now[1]).any() and not (now == later).any()
    part = next(steps(1)).micro_batch(1, 2)
    same(uniform_rows(part, 2, 5), now[part.offset:part.offset + 2], 0)
