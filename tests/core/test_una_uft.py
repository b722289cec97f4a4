"""Laws of UNA, UFT, KTO and PoFT: one number for an answer, one loss for demonstrations and judged
answers."""
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
    same,
    say,
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
from nanouft.objectives.poft import PoFT
from nanouft.objectives.uft import UFT
from nanouft.objectives.uft import rows as uft_rows
from nanouft.objectives.una import UNA, score_loss
from nanouft.reference import Models, add_columns, logps

pytestmark = pytest.mark.usefixtures("brief")


def slope(i: float, score: float, form: str) -> float:
    x = torch.tensor([i], dtype=torch.float64, requires_grad=True)
    return torch.autograd.grad(score_loss(x, score, form).sum(), x)[0].item()


# ---- UFT -----------------------------------------------------------------------------------------
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
