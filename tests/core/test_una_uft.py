"""Laws of UNA, UFT, KTO and PoFT: one number for an answer, one loss for demonstrations and judged
answers."""
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import (
    CPU,
    DATA,
    NANO,
    Form,
    differs,
    drawn,
    model_grads,
    nano,
    real_batch,
    same,
    say,
    value_and_grads,
)

from nanouft import world
from nanouft.data.batches import encode
from nanouft.data.rows import Row
from nanouft.data.tokenizer import Tokenizer
from nanouft.errors import UserError
from nanouft.gpt import GPT, GPTConfig
from nanouft.models.load import start_model
from nanouft.models.save import write_gpt
from nanouft.models.tokenizer_files import GPT2_PATTERN, save_tokenizer
from nanouft.objectives import OBJECTIVES
from nanouft.objectives.dpo import binary_kl, log_ratio
from nanouft.objectives.kto import KTO, kto_loss, rows
from nanouft.objectives.poft import PoFT, tau
from nanouft.objectives.sft import SFT
from nanouft.objectives.uft import UFT
from nanouft.objectives.uft import rows as uft_rows
from nanouft.objectives.una import UNA, score_loss
from nanouft.reference import Models, add_columns, logps

pytestmark = pytest.mark.usefixtures("brief")


def slope(i: float, score: float, form: str) -> float:
    x = torch.tensor([i], dtype=torch.float64, requires_grad=True)
    return torch.autograd.grad(score_loss(x, score, form).sum(), x)[0].item()


# ---- the loss of one answer ----------------------------------------------------------------------
def test_slopes_in_closed_form():
    for i in (-3.0, -0.4, 0.0, 1.7):
        for score in (0.0, 0.3, 1.0):
            p = 1 / (1 + math.exp(-i))
            same(slope(i, score, "mse"), 2 * (p - score) * p * (1 - p),
                 "dMSE/di = 2 (sigma - s) sigma (1 - sigma)")
            same(slope(i, score, "bce"), p - score, "dBCE/di = sigma - s")
    assert abs(slope(-20.0, 1.0, "mse")) < 1e-8 and slope(-20.0, 1.0, "bce") < -0.99, \
        ("LAW: a demonstration that has become very unlikely has no gradient under MSE, and the "
         "full one under BCE")
    weight = [-slope(math.log(p / (1 - p)), 1.0, "mse") for p in (0.33, 1 / 3, 0.34)]
    same(weight[1], 8 / 27,
         "the weight 2 sigma (1 - sigma)^2 beta of a demonstration is at most 8/27 beta")
    assert weight[1] == max(weight), "LAW: at sigma = 1/3"


# ---- UFT -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("beta", [0.01, 0.5])
def test_uft_starts_as_sft(beta):
    """Through the network: every parameter's gradient."""
    model = nano().double()
    form, sft = Form("uft", UFT(feedback="none", beta=beta)), Form("sft", SFT())
    batch = real_batch(form, model)
    batch.seqs["answer"].ref_logp = batch.seqs["answer"].logp.clone()  # the reference in fp64
    loss, uft = model_grads(form, model, batch)
    same(loss, 0.25, "UFT on demonstrations starts at (1/2 - 1)^2")
    _, token_mean = model_grads(sft, model, batch)
    scale = batch.tokens["answer"] / batch.rows * beta / 4
    for name, g in token_mean.items():
        same(uft[name], scale * g,
             f"at the start UFT's gradient is SFT(sum)'s times beta/4: {name}", 1e-9)


def test_uft_merges_by_counts():
    demo, scored, good, bad = (Row(say("user", f"q{i}"), say("assistant", f"a{i}"), score=s,
                                   label=l)
                               for i, (s, l) in enumerate([(None, None), (0.3, None), (None, True),
                                                           (None, False)]))
    pair = Row(say("user", "q5"), None, say("assistant", "yes"), say("assistant", "no"))
    data = [demo, scored, good, bad, pair]

    def scores(feedback: str) -> list[float]:
        return [e.score for e in uft_rows(data, UFT(feedback=feedback))]
    assert scores("score") == [1.0, 0.3, 1.0, 0.0], \
        "LAW: a row without a score is a demonstration of score 1"
    assert scores("binary") == [1.0, 1.0, 0.0, 1.0, 0.0] and scores("pair") == [1.0, 1.0, 0.0]
    data = [replace(pair, answer=pair.chosen, scores=(0.2, 0.1))]
    assert scores("score") == [1.0, 0.1], "LAW: one answer has one target"
    assert uft_rows([demo], UFT())[0].score == 1.0, "demonstrations alone are a smaller UFT"
    with pytest.raises(UserError, match="needs demos"):
        uft_rows([pair], UFT())


@pytest.mark.parametrize("mix, counts", [("", (30, 30)), ("2:1", (40, 20)), ("1:0", (60, 0))])
def test_nanoworld_mixes_kinds(mix, counts):
    rows = world.mixed_rows("train", ["demos", "scores"], 60, 3, mix=mix, skills="A:B")
    demos, scored = [r for r in rows if r.score is None], [r for r in rows if r.score is not None]
    assert (len(demos), len(scored)) == counts
    assert {r.family for r in demos} <= set(world.GROUP_A) \
        and {r.family for r in scored} <= set(world.GROUP_B)
    assert demos == world.rows("train", "demos", counts[0], 3, skills=world.GROUP_A), \
        ("LAW: the first kind has the rows that it would have alone, so SFT and UFT see the same "
         "demonstrations")
    both = world.mixed_rows("train", ["demos", "scores"], 60, 3, mix=mix, skills="rules")
    assert len({r.prompt for r in both}) == 60, "LAW: the kinds have prompts of their own"


# ---- what is reported ----------------------------------------------------------------------------
@pytest.mark.parametrize("name, hp", [("una", UNA()), ("una", UNA(feedback="pair")), ("uft", UFT()),
                                      ("una", UNA(beta=0.001))], ids=str)
def test_a_tie_is_half_a_victory(name, hp):
    form = Form(name, hp)
    batch = drawn(name, **vars(hp))
    for s in batch.seqs.values():
        s.logp = s.ref_logp.clone()
    same(form.objective.loss(batch, hp)[1]["accuracy"], 0.5,
         "nothing has moved: half of the answers are on each side")
    good = batch.seqs.get("chosen", batch.seqs.get("answer"))
    good.logp = good.logp + 0.1 * good.mask  # all that are looked at, or all chosen, gain
    grades = torch.ones(1) if batch.per_row.score is None else batch.per_row.score
    want = (grades > 0.5).sum() / (grades != 0.5).sum()
    same(form.objective.loss(batch, hp)[1]["accuracy"], want,
         "a gain of .1 nats is a victory, whatever beta")


# ---- KTO -----------------------------------------------------------------------------------------
LOSS = OBJECTIVES["kto"].loss


def with_mismatch(values: list[float], hp: KTO = KTO()):
    """A batch whose mismatched answers have these log-ratios in turn, spread over their tokens."""
    batch = drawn("kto", **vars(hp))
    s = batch.seqs["mismatch"]
    ratios = torch.tensor((values * batch.rows)[:batch.rows], dtype=torch.float64)
    s.logp = s.ref_logp + (ratios / s.mask.sum(-1))[:, None]
    return batch


def test_k_is_clamped_after_the_mean():
    """Mismatched log-ratios -1 and .4 have mean -.3, hence k = 0; clamped first, the mean would be
    .2."""
    hp = KTO(beta=0.3)
    for k, mismatch in ((0.7, [1.0, 0.4]), (0.0, [-1.0, 0.4])):
        batch = with_mismatch(mismatch)
        assert batch.rows % 2 == 0
        loss, said = LOSS(batch, hp)
        same(said["k"], k, "k = max(0, mean log-ratio in nats), not the mean of max(0, .)")
        want = kto_loss(log_ratio(batch.seqs["answer"]), batch.per_row.label,
                        torch.tensor(k, dtype=torch.float64), hp)
        same(loss, want.mean(),
             "k counts once, inside beta (r - k); the mean is over rows, not over weights")
        r, good = log_ratio(batch.seqs["answer"]) - k, batch.per_row.label > 0.5
        same(said["margin"], 0.3 * (r[good].mean() - r[~good].mean()),
             "mean reward of good - of bad")
        s = batch.seqs["answer"]
        for side, on in (("logp_good", good), ("logp_bad", ~good)):
            same(said[side], s.sum(s.logp)[on].mean(),
                 "summed log-probs of good and of bad answers, apart")
        same(said["kl"], s.sum(binary_kl(s)).sum() / s.mask.sum(), "nats a token")
        same(said["accuracy"], ((r > 0) == good).double().mean(),
             "rewards beta (r - k) of the right sign")


def test_k_carries_no_gradient():
    batch = with_mismatch([1.0, 0.4])
    for s in batch.seqs.values():
        s.logp.requires_grad_(True)
    loss, said = LOSS(batch, KTO())
    loss.backward()
    assert said["k"] > 0 and batch.seqs["mismatch"].logp.grad is None, \
        "LAW: k is a constant of the step"


def test_one_prompt_alone_is_refused():
    with pytest.raises(UserError, match="two different prompts"):
        rows([Row(say("user", "a"), say("assistant", text), label=True) for text in "xy"], KTO())


# ---- PoFT: aligned models give each row a weight -------------------------------------------------
HP = PoFT(aligned=["base"])


@pytest.mark.parametrize("hp", [HP, replace(HP, beta=0.5, margin=0.3)], ids=str)
def test_the_gradient_is_that_of_sft_times_tau(hp):
    batch = drawn("poft", **vars(hp))
    s = batch.seqs["answer"]
    batch.per_row.extra["aligned_logp"] = (
        s.mean(s.logp) + torch.linspace(-3, 3, batch.rows).double()
    )
    share = torch.sigmoid(-(hp.beta * (s.mean(s.logp) - batch.per_row.extra["aligned_logp"])
                            + hp.margin))
    same(tau(batch, hp), share,
         "tau = sigma(beta (rbar - r) - margin): a margin makes every tau smaller")
    _, grads = value_and_grads(Form("poft", hp), batch)
    sft = value_and_grads(Form("sft", SFT(reduction="sequence")), batch)[1]["answer"]
    same(grads["answer"], hp.beta * share[:, None] * sft,
         "dL/dlogp of a row = beta tau x that of sequence-mean SFT")
    assert share.std() > 0.1, "rows of one weight would show little"


def demos(tok=NANO, n_ctx: int = 64) -> list:
    return encode(OBJECTIVES["poft"].rows(DATA, HP), tok, n_ctx)[0]


def column(folders: list[str]) -> np.ndarray:
    encoded = demos()
    add_columns(encoded, OBJECTIVES["poft"].columns, Models(None, NANO.pad, CPU, start_model),
                replace(HP, aligned=folders))
    return np.array([e.per_row.extra["aligned_logp"] for e in encoded])


def test_the_opinion_is_a_mean_over_models(tiny_base):
    a, b = column(["base"]), column([str(tiny_base)])
    same(column(["base", str(tiny_base)]), (a + b) / 2, "rbar is the plain mean over the models",
         1e-6)
    differs(a, b, "and the models differ")


def test_every_model_reads_with_its_own_tokenizer(tmp_path):
    """A model of single bytes: the same text, five times the tokens, a mean over its own tokens."""
    write_gpt(tmp_path, GPT(GPTConfig(vocab_size=260, n_ctx=256, n_layer=1, n_head=2, n_embd=16),
                            seed=0))
    letters = Tokenizer("letters", {bytes([b]): b for b in range(256)}, GPT2_PATTERN)
    save_tokenizer(letters, tmp_path)
    other, tok = start_model(str(tmp_path))
    encoded = demos(tok, 256)
    assert encoded[3].length > 2 * demos()[3].length
    scored = logps(encoded, other, tok.pad, CPU)
    same(column([str(tmp_path)]), [row["answer"][e.seqs["answer"].mask[1:] > 0].mean()
                                   for row, e in zip(scored, encoded)],
         "rbar is the mean over the aligned model's own tokens of the same answer", 1e-6)
