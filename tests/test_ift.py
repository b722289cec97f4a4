"""IFT, the method in the centre: what the model sees, and what each token weighs.

The source is Hua et al., arXiv:2405.11870v3 and the code released with it; l_t is the loss of
response token t, w_t its weight, lam the share of the model's own guess, gamma the discount."""
from dataclasses import replace

import pytest
import torch
from made import Form, batch_of, nano, push, same

from nanouft.objective import Batch, Seqs

VARIANTS = ("detached", "released", "algorithm1", "eq21")


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


# ---- what the model sees -------------------------------------------------------------------------
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
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_row_without_anything_to_learn_is_harmless(variant):
    form = ift(variant)
    both, g = push(form, of_losses([[3.0, 1.0], [5.0, 5.0]], [[1, 1], [0, 0]]))
    alone, h = push(form, of_losses([[3.0, 1.0]]))
    same(2 * both, alone)
    same(2 * g["answer"], [*h["answer"].tolist(), [0, 0]])
    nothing, g = push(form, of_losses([[0.0, 0.0]]))
    assert nothing == 0 and g["answer"].isfinite().all(), "all losses 0: no 0/0"
