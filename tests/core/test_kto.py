"""Laws of KTO: gains and losses against a reference point that no single row decides."""
import math

import pytest
import torch
from running import DEMOS, QUICK, call, lines, metrics
from tiny import Form, differs, give_logps, real_batch, same, say, value_and_grads

from nanouft import train
from nanouft.data.rows import Row
from nanouft.objectives import OBJECTIVES
from nanouft.objectives.dpo import binary_kl, log_ratio
from nanouft.objectives.kto import KTO, kto_loss, rows
from nanouft.shell.errors import UserError

pytestmark = pytest.mark.usefixtures("brief")
LOSS = OBJECTIVES["kto"].loss


def with_mismatch(values: list[float], hp: KTO = KTO()):
    """A batch whose mismatched answers have these log-ratios in turn, spread over their tokens."""
    batch = give_logps(real_batch(Form("kto", hp)))
    s = batch.seqs["mismatch"]
    ratios = torch.tensor((values * batch.rows)[:batch.rows], dtype=torch.float64)
    s.logp = s.ref + (ratios / s.mask.sum(-1))[:, None]
    return batch


def test_k_is_clamped_after_the_mean():
    """Mismatched log-ratios -1 and .4 have mean -.3, hence k = 0; clamped first, the mean would be .2."""
    hp = KTO(beta=0.3)
    for k, mismatch in ((0.7, [1.0, 0.4]), (0.0, [-1.0, 0.4])):
        batch = with_mismatch(mismatch)
        assert batch.rows % 2 == 0
        loss, said = LOSS(batch, hp)
        same(said["k"], k, "k = max(0, mean log-ratio in nats), not the mean of max(0, .)")
        want = kto_loss(log_ratio(batch.seqs["answer"]), batch.col.label, torch.tensor(k, dtype=torch.float64), hp)
        same(loss, want.mean(), "k counts once, inside beta (r - k); the mean is over rows, not over weights")
        r, good = log_ratio(batch.seqs["answer"]) - k, batch.col.label > 0.5
        same(said["margin"], 0.3 * (r[good].mean() - r[~good].mean()), "mean reward of good - of bad")
        s = batch.seqs["answer"]
        for side, on in (("logp_good", good), ("logp_bad", ~good)):
            same(said[side], s.sum(s.logp)[on].mean(), "summed log-probs of good and of bad answers, apart")
        same(said["kl"], s.sum(binary_kl(s)).sum() / s.mask.sum(), "nats a token")
        same(said["accuracy"], ((r > 0) == good).double().mean(), "rewards beta (r - k) of the right sign")


def test_k_carries_no_gradient():
    batch = with_mismatch([1.0, 0.4])
    for s in batch.seqs.values():
        s.logp.requires_grad_(True)
    loss, said = LOSS(batch, KTO())
    loss.backward()
    assert said["k"] > 0 and batch.seqs["mismatch"].logp.grad is None, "LAW: k is a constant of the step"


def test_gradient():
    hp = KTO(beta=0.4, desirable_weight=1.5, undesirable_weight=0.5)
    batch = with_mismatch([1.0, 0.4], hp)
    _, grads = value_and_grads(Form("kto", hp), batch)
    s, label = batch.seqs["answer"], batch.col.label
    z = torch.sigmoid(hp.beta * (log_ratio(s).detach() - 0.7))
    weight = torch.where(label > 0.5, -1.5 * z * (1 - z), 0.5 * z * (1 - z)) * hp.beta / batch.rows
    same(grads["answer"], weight[:, None] * s.mask, "good: -lam_D beta s (1-s); bad: +lam_U beta s (1-s), every token")


# ---- which answers are mismatched? -----------------------------------------------------------------------------------
def labelled(*prompts: str) -> list[Row]:
    return [Row(say("user", p), say("assistant", f"answer {i}"), label=i % 2 == 0) for i, p in enumerate(prompts)]


def test_mismatched_pairs_are_mismatched():
    out = rows(labelled("a", "a", "b", "c", "c", "c"), KTO())
    assert all(e.seqs["mismatch"][0] == e.seqs["answer"][0] for e in out), "LAW: the row's own prompt ..."
    assert [e.seqs["mismatch"][1][0].text for e in out] == ["answer 2", "answer 2", "answer 3", *["answer 0"] * 3], \
        "LAW: ... with the answer of the next row that has another prompt"
    with pytest.raises(UserError, match="two different prompts"):
        rows(labelled("a", "a"), KTO())


def test_a_pair_is_a_good_and_a_bad_answer():
    pair = Row(say("user", "q"), None, say("assistant", "yes"), say("assistant", "no"))
    out = rows([pair, *labelled("a")], KTO())
    assert [(e.label, e.seqs["answer"][1][0].text) for e in out] == [(1.0, "yes"), (0.0, "no"), (1.0, "answer 0")]


def test_a_run_starts_at_half_and_its_steps_can_be_cut(here, tiny_base):
    file = lines(here / "l.jsonl", [{**d, "label": i % 2 == 0} for i, d in enumerate(DEMOS)])
    argv = ("--objective", "kto", "--data", file, "--init", tiny_base, "--steps", 2, "--batch-size", 4, *QUICK)
    assert call(train.main, *argv, "--out", here / "k") == 0
    first, second = metrics(here / "k")[:2]
    assert math.isclose(first["loss"], 0.5, abs_tol=1e-4) and abs(first["kl"]) < 1e-4 and first["k"] < 1e-4
    assert {"margin", "accuracy", "logp_good", "logp_bad"} <= first.keys()
    differs(second["loss"], 0.5, "and it moves", by=1e-6)
    assert call(train.main, *argv, "--accumulate", 2, "--out", here / "cut") == 0
    assert metrics(here / "cut")[1] == pytest.approx(second, rel=1e-4, abs=1e-6), "k is that of the whole step"
