"""Laws of KTO: gains and losses against a reference point that no single row decides.

    python -m pytest tests/test_kto.py        about 3 s
"""
import math

import pytest
import torch
from running import DEMOS, QUICK, call, lines, one_error
from tiny import Form, differs, give_logps, real_batch, same, say, value_and_grads

from nanouft.data.rows import Row
from nanouft import train
from nanouft.shell.config import UserError

from nanouft.objectives import OBJECTIVES
from nanouft.objectives.dpo import log_ratio
from nanouft.objectives.kto import KTO, kto_loss, rows

LABEL = torch.tensor([1.0, 0.0])


def ratios(batch, role: str, values: list[float]) -> None:
    """Give a role these log-ratios, spread over its tokens."""
    s = batch.seqs[role]
    n = s.mask.sum(-1, keepdim=True)
    s.ref = torch.full_like(s.logp, -2.0)
    s.logp = s.ref + torch.tensor(values, dtype=torch.float64)[:, None] / n


def with_mismatch(values: list[float], hp: KTO = KTO()):
    batch = give_logps(real_batch(Form("kto", hp)))
    n = batch.rows
    ratios(batch, "mismatch", (values * n)[:n])
    return batch


def test_at_the_reference_half_the_weight():
    hp = KTO(desirable_weight=1.3, undesirable_weight=0.6)
    zero = torch.zeros(2, dtype=torch.float64)
    same(kto_loss(zero, LABEL, zero[0], hp), [0.65, 0.3], "policy = reference: lam/2 for each")


def test_gains_and_losses_saturate():
    r = torch.tensor([3.0, 3.0], dtype=torch.float64)
    far = torch.tensor(1e4, dtype=torch.float64)
    same(kto_loss(r, LABEL, far, KTO(desirable_weight=1.5)), [1.5, 0.0],
         "k far above every r: a good answer pays lam_D, a bad one nothing")
    up = kto_loss(r + 1, LABEL, r[0] * 0, KTO())
    now = kto_loss(r, LABEL, r[0] * 0, KTO())
    assert up[0] < now[0] and up[1] > now[1], "LAW: a likelier good answer is better, a likelier bad one worse"


def test_k_is_clamped_after_the_mean():
    """Mismatched log-ratios -1 and .4 have mean -.3, hence k = 0; clamped first, the mean would be .2."""
    batch = with_mismatch([-1.0, 0.4])
    assert batch.rows % 2 == 0
    same(OBJECTIVES["kto"].loss(batch, KTO())[1]["k"], 0.0, "k = max(0, mean), not the mean of max(0, .)")
    same(OBJECTIVES["kto"].loss(with_mismatch([1.0, 0.4]), KTO())[1]["k"], 0.7, "k is the mean log-ratio in nats")
    r, label = log_ratio(batch.seqs["answer"]), batch.col.label
    for k, mismatch in ((0.7, [1.0, 0.4]), (0.0, [-1.0, 0.4])):
        want = kto_loss(r, label, torch.tensor(k, dtype=torch.float64), KTO(beta=0.3)).mean()
        same(OBJECTIVES["kto"].loss(with_mismatch(mismatch), KTO(beta=0.3))[0], want,
             "k counts once, inside beta (r - k)")


def test_k_carries_no_gradient():
    batch = with_mismatch([1.0, 0.4])
    batch.seqs["mismatch"].logp.requires_grad_(True)
    batch.seqs["answer"].logp.requires_grad_(True)
    loss, metrics = OBJECTIVES["kto"].loss(batch, KTO())
    loss.backward()
    assert metrics["k"] > 0 and batch.seqs["mismatch"].logp.grad is None, "LAW: k is a constant of the step"
    assert batch.seqs["answer"].logp.grad.abs().sum() > 0


def test_gradient():
    hp = KTO(beta=0.4, desirable_weight=1.5, undesirable_weight=0.5)
    batch = with_mismatch([1.0, 0.4], hp)
    _, grads = value_and_grads(Form("kto", hp), batch)
    s, label = batch.seqs["answer"], batch.col.label
    z = torch.sigmoid(hp.beta * (log_ratio(s).detach() - 0.7))
    weight = torch.where(label > 0.5, -1.5 * z * (1 - z), 0.5 * z * (1 - z)) * hp.beta / batch.rows
    same(grads["answer"], weight[:, None] * s.mask, "good: -lam_D beta s (1-s); bad: +lam_U beta s (1-s), every token")


def test_the_mean_divides_by_the_count():
    one, three = (OBJECTIVES["kto"].loss(with_mismatch([0.5]), KTO(desirable_weight=w, undesirable_weight=w))[0]
                  for w in (1.0, 3.0))
    same(three, 3 * one, "weights scale the loss: the mean is over rows, not over weights")


# ---- which answers are mismatched? -----------------------------------------------------------------------------------
def labelled(*prompts: str) -> list[Row]:
    return [Row(say("user", p), say("assistant", f"answer {i}"), label=i % 2 == 0) for i, p in enumerate(prompts)]


def test_mismatched_pairs_are_mismatched():
    data = labelled("a", "a", "b", "c", "c", "c")
    out = rows(data, KTO())
    own = {}
    for r in data:
        own.setdefault(r.prompt, []).append(r.answer)
    for e in out:
        prompt, answer = e.seqs["mismatch"]
        assert prompt == e.seqs["answer"][0] and answer not in own[prompt], "LAW: x with the answer to another prompt"
    assert [e.seqs["mismatch"][1][0].text for e in out] == ["answer 2", "answer 2", "answer 3", *["answer 0"] * 3]
    assert len(rows(labelled("a", "b"), KTO())) == 2


def test_a_pair_is_a_good_and_a_bad_answer():
    pair = Row(say("user", "q"), None, say("assistant", "yes"), say("assistant", "no"))
    out = rows([pair, *labelled("a")], KTO())
    assert [e.col.label for e in out] == [1.0, 0.0, 1.0]
    assert out[0].seqs["answer"][1][0].text == "yes"


def test_one_prompt_cannot_be_mismatched():
    with pytest.raises(UserError, match="two different prompts"):
        rows(labelled("a", "a"), KTO())


def test_a_step_cannot_be_cut(here, tiny_base, capsys):
    file = lines(here / "l.jsonl", [{**d, "label": i % 2 == 0} for i, d in enumerate(DEMOS)])
    argv = ("--objective", "kto", "--data", file, "--init", tiny_base, "--steps", 2, "--batch-size", 4, *QUICK)
    one_error(call(train.main, *argv, "--accumulate", 2), capsys.readouterr().err, "couples the rows", "--accumulate")
    assert call(train.main, *argv) == 0


def test_the_start_of_a_run_is_half(here, tiny_base):
    from running import metrics
    file = lines(here / "l.jsonl", [{**d, "label": i % 2 == 0} for i, d in enumerate(DEMOS)])
    assert call(train.main, "--objective", "kto", "--data", file, "--init", tiny_base, "--steps", 2, "--batch-size", 4,
                *QUICK, "--out", here / "k") == 0
    first = metrics(here / "k")[0]
    assert math.isclose(first["loss"], 0.5, abs_tol=1e-4) and abs(first["kl"]) < 1e-4 and first["k"] < 1e-4
    assert {"margin", "accuracy", "logp_good", "logp_bad"} <= first.keys()
    differs(metrics(here / "k")[1]["loss"], 0.5, "and it moves", by=1e-6)
