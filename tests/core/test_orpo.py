"""The laws of ORPO: what its odds are, what it reads, where it is finite."""
import math

import pytest
import torch
from tiny import Form, give_logps, nano, real_batch, same

from nanouft.objective import write_logp
from nanouft.objectives import OBJECTIVES
from nanouft.objectives.dpo import log1mexp
from nanouft.objectives.orpo import ORPO, log_odds

ORPO_LOSS = OBJECTIVES["orpo"].loss


def some(hp: ORPO):
    return give_logps(real_batch(Form("orpo", hp)))


def test_log1mexp_keeps_its_digits_at_both_ends():
    """Where the plain log(1 - e^x) has lost them all: in fp32 it is -inf at -1e-9 and 0 at -30."""
    for x in (-1e-9, -1e-3, -math.log(2), -1.0, -20.0, -30.0):
        want = math.log(-math.expm1(x)) if x > -1 else math.log1p(-math.exp(x))
        got = log1mexp(torch.tensor(x, dtype=torch.float32)).item()
        assert got == pytest.approx(want, rel=2e-6), f"LAW: log(1 - e^{x}) = {want}, not {got}"


def test_the_scope_of_the_nll():
    model, hp = nano().double(), ORPO(lam=0.0)
    batch = real_batch(Form("orpo", hp))
    OBJECTIVES["orpo"].forward(model, batch, hp)
    w = batch.seqs["chosen"]
    want = model(w.inputs, want="logp", targets=w.targets)
    n = int(w.attend.sum())
    assert batch.attended["chosen"] == n > batch.tokens["chosen"], "prompts count, padding does not"
    same(ORPO_LOSS(batch, hp)[0].detach(), -(want * w.attend).sum().detach() / n,
         "nll all: the mean over every real target of chosen, prompt included")
    odds = log_odds(w).detach()
    write_logp(model, batch, None)
    same(log_odds(w).detach(), odds, "the odds are those of the answer, whatever the NLL reads")
