"""The laws of ORPO: what its odds are, what it reads, where it is finite."""
import math

import pytest
import torch
from tiny import Form, give_logps, nano, pure, real_batch, same, value_and_grads

from nanouft.objective import write_logp
from nanouft.objectives import OBJECTIVES
from nanouft.objectives.dpo import log1mexp
from nanouft.objectives.orpo import ORPO, log_odds

ORPO_LOSS = OBJECTIVES["orpo"].loss


def some(hp: ORPO):
    return give_logps(real_batch(Form("orpo", hp)))


def test_odds_are_odds():
    for p in (1e-9, 0.2, 0.5, 0.8, 0.999):
        s = pure([[-math.log(p)] * 3, [-math.log(p), 0.0, 0.0]], [[1, 1, 1], [1, 0, 0]]).seqs["answer"]
        same(log_odds(s), [math.log(p / (1 - p))] * 2, f"a probability of {p} per token has odds p / (1 - p)", 1e-9)
        same(torch.sigmoid(log_odds(s)), [p] * 2, "and sigmoid(log odds) gives p back", 1e-9)


def test_log1mexp_keeps_its_digits_at_both_ends():
    """Where the plain log(1 - e^x) has lost them all: in fp32 it is -inf at -1e-9 and 0 at -30."""
    for x in (-1e-9, -1e-3, -math.log(2), -1.0, -20.0, -30.0):
        want = math.log(-math.expm1(x)) if x > -1 else math.log1p(-math.exp(x))
        got = log1mexp(torch.tensor(x, dtype=torch.float32)).item()
        assert got == pytest.approx(want, rel=2e-6), f"LAW: log(1 - e^{x}) = {want}, not {got}"


def test_without_the_odds_it_is_sft_on_chosen():
    """lam = 0, the answer only: token-mean SFT, in value and gradient."""
    hp = ORPO(lam=0.0, nll="response")
    batch = some(hp)
    value, grads = value_and_grads(Form("orpo", hp), batch)
    s, n = batch.seqs["chosen"], batch.tokens["chosen"]
    same(value, -s.sum(s.logp).sum().detach() / n, "lam 0: the mean over chosen's response tokens")
    same(grads["chosen"], -s.mask.double() / n, "every response token of chosen weighs 1/N")
    same(grads["rejected"], 0 * grads["rejected"], "rejected weighs nothing")


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
