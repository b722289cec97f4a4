"""Laws of UNA and UFT: one number per answer, one loss for demonstrations and judged answers."""
import math

import pytest
import torch
from tiny import (
    CPU,
    DATA,
    NANO,
    Form,
    give_logps,
    model_grads,
    nano,
    real_batch,
    same,
    same_each,
    say,
)

from nanouft import world
from nanouft.data.batches import collate, encode
from nanouft.data.rows import Row
from nanouft.look import report
from nanouft.objective import REF
from nanouft.objectives import OBJECTIVES
from nanouft.objectives.sft import SFT
from nanouft.objectives.uft import UFT
from nanouft.objectives.uft import rows as uft_rows
from nanouft.objectives.una import UNA, score_loss
from nanouft.reference import add_columns
from nanouft.shell.errors import UserError


def at_reference(form: Form):
    batch = give_logps(real_batch(form))
    for s in batch.seqs.values():
        s.logp = s.ref.clone()
    return batch


def slope(i: float, score: float, form: str) -> float:
    x = torch.tensor([i], dtype=torch.float64, requires_grad=True)
    return torch.autograd.grad(score_loss(x, score, form).sum(), x)[0].item()


# ---- the loss of one answer ------------------------------------------------------------------------------------------


def test_slopes_in_closed_form():
    for i in (-3.0, -0.4, 0.0, 1.7):
        for score in (0.0, 0.3, 1.0):
            p = 1 / (1 + math.exp(-i))
            same(slope(i, score, "mse"), 2 * (p - score) * p * (1 - p), "dMSE/di = 2 (sigma - s) sigma (1 - sigma)")
            same(slope(i, score, "bce"), p - score, "dBCE/di = sigma - s")
    assert abs(slope(-20.0, 1.0, "mse")) < 1e-8 and slope(-20.0, 1.0, "bce") < -0.99, \
        "LAW: a demonstration that has become very unlikely has no gradient under MSE, and the full one under BCE"
    weight = [-slope(math.log(p / (1 - p)), 1.0, "mse") for p in (0.33, 1 / 3, 0.34)]
    same(weight[1], 8 / 27, "the weight 2 sigma (1 - sigma)^2 beta of a demonstration is at most 8/27 beta")
    assert weight[1] == max(weight), "LAW: at sigma = 1/3"


@pytest.mark.parametrize("loss", ["mse", "bce"])
def test_a_pair_is_two_labels(loss):
    data = [r for r in DATA if r.chosen != r.rejected and r.label is None]

    def value(hp):
        encoded, _ = encode(OBJECTIVES["una"].rows(data, hp), NANO, 64)
        add_columns(encoded, (REF,), nano(5), NANO.pad, CPU)
        batch = collate(encoded, range(len(encoded)), NANO.pad)
        OBJECTIVES["una"].forward(nano(), batch, hp)
        return OBJECTIVES["una"].loss(batch, hp)[0].detach()
    same(2 * value(UNA(feedback="binary", loss=loss)), value(UNA(feedback="pair", loss=loss)),
         "feedback pair = binary feedback on both sides (a pair pays their sum)", 1e-5)


# ---- UFT -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("beta", [0.01, 0.5])
def test_uft_starts_as_sft(beta):
    """Through the network: every parameter's gradient."""
    data = [r for r in DATA if r.score is None and r.label is None]
    model = nano().double()
    form, sft = Form("uft", UFT(feedback="none", beta=beta)), Form("sft", SFT())
    encoded, _ = encode(form.objective.rows(data, form.hp), NANO, 64)
    add_columns(encoded, (REF,), model, NANO.pad, CPU)
    batch = collate(encoded, range(len(encoded)), NANO.pad)
    with torch.no_grad():
        form.objective.forward(model, batch, form.hp)
    batch.seqs["answer"].ref = batch.seqs["answer"].logp.clone()         # the reference in fp64
    loss, uft = model_grads(form, model, batch)
    same(loss, 0.25, "UFT on demonstrations starts at (1/2 - 1)^2")
    _, token_mean = model_grads(sft, model, batch)
    scale = batch.tokens["answer"] / batch.rows * beta / 4
    same_each(uft, {name: scale * g for name, g in token_mean.items()},
              "at the start UFT's gradient is SFT(sum)'s times beta/4", 1e-9)


def test_uft_merges_by_counts():
    demo, scored, good, bad = (Row(say("user", f"q{i}"), say("assistant", f"a{i}"), score=s, label=l)
                               for i, (s, l) in enumerate([(None, None), (0.3, None), (None, True), (None, False)]))
    pair = Row(say("user", "q5"), None, say("assistant", "yes"), say("assistant", "no"))
    data = [demo, scored, good, bad, pair]

    def scores(feedback: str) -> list[float]:
        return [e.score for e in uft_rows(data, UFT(feedback=feedback))]
    assert scores("score") == [1.0, 0.3, 1.0, 0.0], "LAW: a row without a score is a demonstration of score 1"
    assert scores("binary") == [1.0, 1.0, 0.0, 1.0, 0.0] and scores("pair") == [1.0, 1.0, 0.0]
    assert uft_rows([demo], UFT())[0].score == 1.0, "demonstrations alone are a smaller UFT"
    with pytest.raises(UserError, match="needs demos"):
        uft_rows([pair], UFT())


@pytest.mark.parametrize("mix, counts", [("", (30, 30)), ("2:1", (40, 20)), ("1:0", (60, 0))])
def test_nanoworld_mixes_kinds(mix, counts):
    rows = world.mixed_rows("train", ["demos", "scores"], 60, 3, mix=mix, skills="A:B")
    demos, scored = [r for r in rows if r.score is None], [r for r in rows if r.score is not None]
    assert (len(demos), len(scored)) == counts
    assert {r.family for r in demos} <= set(world.GROUP_A) and {r.family for r in scored} <= set(world.GROUP_B)
    assert demos == world.rows("train", "demos", counts[0], 3, skills=world.GROUP_A), \
        "LAW: the first kind has the rows that it would have alone, so SFT and UFT see the same demonstrations"
    both = world.mixed_rows("train", ["demos", "scores"], 60, 3, mix=mix, skills="rules")
    assert len({r.prompt for r in both}) == 60, "LAW: the kinds have prompts of their own"


# ---- what is reported ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name, hp", [("una", UNA()), ("una", UNA(feedback="pair")), ("uft", UFT()),
                                      ("una", UNA(beta=0.001))], ids=str)
def test_a_tie_is_half_a_victory(name, hp):
    form = Form(name, hp)
    batch = at_reference(form)
    same(form.objective.loss(batch, hp)[1]["accuracy"], 0.5, "nothing has moved: half of the answers are on each side")
    good = batch.seqs.get("chosen", batch.seqs.get("answer"))
    good.logp = good.logp + 0.1 * good.mask                             # all that are looked at, or all chosen, gain
    grades = torch.ones(1) if batch.col.score is None else batch.col.score
    want = (grades > 0.5).sum() / (grades != 0.5).sum()
    same(form.objective.loss(batch, hp)[1]["accuracy"], want, "a gain of .1 nats is a victory, whatever beta")


def test_uft_says_how_many_of_each_kind():
    for hp, kind in ((UFT(), "scores"), (UFT(feedback="binary"), "labels"), (UFT(feedback="pair"), "pairs")):
        kinds = OBJECTIVES["uft"].kinds(hp)
        data = world.mixed_rows("train", kinds, 40, 0)
        (said,) = report.counts("uft", kinds, data, len(uft_rows(data, hp)))
        assert "20 demo" in said and f"20 {kind}" in said, "both kinds are counted; a pair once"
