"""Laws on rows of several tokens and several answers, with settings away from their neutral value; logged figures too.

    python -m pytest tests/core/test_laws_of_rows.py        a few seconds
"""
import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from running import PAIRS, ROOT, call, lines, metrics
from safetensors.torch import save_file
from tiny import CPU, NANO, Form, batch_of, nano, pure, real_batch, same, settings, some_rows, tiny, value_and_grads

from nanouft import pretrain, reward, simple, world
from nanouft.data.batches import Encoded
from nanouft.data.rows import Example, Row, Turn
from nanouft.look import held_out, probes, report
from nanouft.models.load import start_model
from nanouft.objective import Batch, Columns, Seqs
from nanouft.objectives import OBJECTIVES, ift, kto, una
from nanouft.objectives.grpo import standardised
from nanouft.objectives.reinforce import step_metrics
from nanouft.rollout.reward_quality import quality
from nanouft.shell import tensors
from nanouft.shell.devices import Device
from nanouft.shell.errors import Diverged
from nanouft.shell.log import Log
from nanouft.training.schedule import warmup_cosine

LENGTHS = (3, 5)                                            # tokens of the two answers


def two_answers(**col) -> Batch:
    """Answers of 3 and 5 tokens with fixed log-probs; `col`: what is known of them."""
    batch = pure([[0.5, 1.0, 0.2, 0.0, 0.0], [0.3, 0.7, 2.0, 0.1, 0.4]], [[1, 1, 1, 0, 0], [1] * 5])
    s = batch.seqs["answer"]
    s.ref, s.old = s.logp - 0.1, s.logp.clone()
    batch.col = batch.whole = Columns(**{k: torch.tensor(v, dtype=torch.float64) for k, v in col.items()})
    return batch


# ---- on-policy -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["reinforce", "rloo", "grpo"])
def test_every_token_of_an_answer_gets_the_answers_push(name):
    """LAW: at the first step the gradient is -advantage at each token; GRPO divides it by the answer's length."""
    form, adv = Form(name, settings(name, beta=0.0)), torch.tensor([1.0, -2.0], dtype=torch.float64)
    batch = two_answers(adv=[1.0, -2.0])
    mask = batch.seqs["answer"].mask.double()
    _, grads = value_and_grads(form, batch)
    per = torch.tensor(LENGTHS, dtype=torch.float64) if name == "grpo" else torch.ones(2, dtype=torch.float64)
    same(grads["answer"], -(adv / per)[:, None] * mask / 2, f"{name}: minus the advantage at each of its tokens")


def test_both_sides_of_a_clip_are_counted():
    """One of 8 tokens has moved up by half, one down by half. RLOO clips whole answers: both of them."""
    batch = two_answers(adv=[1.0, 1.0])
    s = batch.seqs["answer"]
    s.old[0, 1] -= math.log(1.5)
    s.old[1, 3] -= math.log(0.5)
    same(step_metrics(batch, 0.2, 0.3)["clip_fraction"], 2 / 8, "share of tokens beyond either end of the clip")
    same(step_metrics(batch, 0.2, 0.6)["clip_fraction"], 1 / 8, "beyond the lower end")
    same(step_metrics(batch, 0.6, 0.3)["clip_fraction"], 1 / 8, "beyond the upper end")
    for eps, share in ((0.2, 1.0), (0.6, 0.0)):
        _, found = OBJECTIVES["rloo"].loss(batch, settings("rloo", eps=eps))
        same(found["clip_fraction"], share, "share of answers beyond the clip")
    _, found = OBJECTIVES["grpo"].loss(batch, settings("grpo", eps=0.2, eps_high=0.6))
    same(found["clip_fraction"], 1 / 8, "GRPO: each side has its own end")


def moved_answers() -> Batch:
    """Since they were sampled, some tokens have become likelier and some less likely."""
    batch = two_answers(adv=[1.0, -2.0])
    s = batch.seqs["answer"]
    s.old = s.logp - torch.tensor([[0.5, -0.6, 0.3, 0, 0], [0.4, -0.4, -0.1, -0.5, -0.3]], dtype=torch.float64)
    return batch


def test_surrogates_of_grpo_in_a_plain_loop():
    """The gradient at each token, from the formulas: what is clipped has none, but CISPO's tokens all have one."""
    low, high, batch = 0.1, 0.25, moved_answers()
    s = batch.seqs["answer"]
    for surrogate in ("ppo", "gspo", "cispo"):
        form = Form("grpo", settings("grpo", beta=0.0, eps=low, eps_high=high, surrogate=surrogate))
        want, outside = torch.zeros(2, 5, dtype=torch.float64), 0.0
        for i, (n, A) in enumerate(zip(LENGTHS, (1.0, -2.0))):
            gaps = [(s.logp[i, t] - s.old[i, t]).item() for t in range(n)]
            for t in range(n):
                rho = math.exp(sum(gaps) / n if surrogate == "gspo" else gaps[t])
                held = min(max(rho, 1 - low), 1 + high)
                outside += (rho != held) / (n * 2 if surrogate == "gspo" else sum(LENGTHS))
                weight = held if surrogate == "cispo" else rho * (rho * A <= held * A)
                want[i, t] = -weight * A / n / 2
        same(form.objective.loss(batch, form.hp)[1]["clip_fraction"], outside, f"{surrogate}: what is outside", 1e-6)
        same(value_and_grads(form, batch)[1]["answer"], want, f"{surrogate}: the push at each token", 1e-9)


def test_limits_of_grpos_surrogates():
    def grads(batch, **kw):
        return value_and_grads(Form("grpo", settings("grpo", beta=0.0, **kw)), batch)[1]["answer"]
    batch = moved_answers()
    s = batch.seqs["answer"]
    rho = torch.exp(s.logp - s.old).detach()
    want = -rho * batch.col.adv[:, None] * s.mask / batch.tokens["answer"]
    same(grads(batch, surrogate="cispo", eps=9.0, aggregation="dapo"), want,
         "CISPO without a clip is REINFORCE with importance weights")
    one = pure([[0.3], [0.7]])                                                      # answers of one token
    one.seqs["answer"].old = torch.tensor([[-0.4], [-0.6]], dtype=torch.float64)
    one.seqs["answer"].ref, one.col.adv = one.seqs["answer"].logp, torch.tensor([1.0, -2.0]).double()
    same(grads(one, surrogate="gspo", eps=0.1), grads(one, eps=0.1), "GSPO of one-token answers is GRPO")


def test_distillation_follows_the_reverse_kl():
    """LAW: over all tokens the expected gradient is that of KL(pi || teacher); a teacher equal to pi gives 0."""
    o, x = OBJECTIVES["distill"], torch.linspace(-1, 1, 6, dtype=torch.float64, requires_grad=True)
    logp = x.log_softmax(-1)
    for teacher in (x.detach().cos().log_softmax(-1), logp.detach()):
        expected = 0
        for y in range(6):
            batch = pure([[0.0]])
            s = batch.seqs["answer"]
            s.logp, chance = logp[y].view(1, 1), logp[y].detach().exp()
            s.extra["teacher_gap"] = (teacher[y] - logp[y].detach()).view(1, 1)
            expected = expected + chance * o.loss(o.credit(batch, settings("distill")), None)[0]
        kl = (logp.exp() * (logp - teacher)).sum()
        want = torch.autograd.grad(kl, x, retain_graph=True)[0]
        same(torch.autograd.grad(expected, x, retain_graph=True)[0], want, "the reverse KL's gradient", 1e-9)
    same(want, torch.zeros(6), "nothing is learnt from itself", 1e-9)


def test_a_group_of_nearly_equal_rewards_teaches_little():
    """GRPO divides by spread + 1e-4, so a spread of 1e-4 counts half."""
    R = torch.tensor([[-1e-4, 0.0, 1e-4], [-1.0, 0.0, 1.0]], dtype=torch.float64)
    want = [[-0.5, 0.0, 0.5], [-1 / 1.0001, 0.0, 1 / 1.0001]]
    same(standardised(R), want, "(R - mean) / (spread + 1e-4)", 1e-9)


def test_ties_of_online_dpo_are_counted():
    better, worse = two_answers().seqs["answer"], two_answers().seqs["answer"]
    worse.logp = worse.logp - 0.2
    pairs = Batch.of({"chosen": better.take([0, 1, 1]), "rejected": worse.take([1, 0, 1])},
                     Columns(extra={"untied": torch.tensor([1.0, 0.0, 1.0])}))
    _, found = OBJECTIVES["online_dpo"].loss(pairs, settings("online_dpo"))
    same(found["ties"], 1 / 3, "share of pairs whose answers earned the same", 1e-6)


# ---- settings away from their neutral value --------------------------------------------------------------------------
def pair_of_answers() -> Batch:
    better, worse = two_answers().seqs["answer"], two_answers().seqs["answer"]
    worse.logp, worse.ref = 0.4 * worse.logp.flip(0).masked_fill(worse.mask == 0, 0), 0.7 * worse.ref
    return Batch.of({"chosen": better, "rejected": worse}, Columns())


def test_asft_by_hand():
    """-sft A_w + lam [-log sigma(beta lo_w) - log sigma(-beta lo_l)], A the mean log-prob, lo its log-odds."""
    batch, hp = pair_of_answers(), settings("asft", beta=0.3, lam=0.7, sft_weight=0.4)
    want = margin = 0.0
    for i in range(2):
        A = {role: float(s.logp[i][s.mask[i] > 0].mean()) for role, s in batch.seqs.items()}
        odds = {role: a - math.log(1 - math.exp(a)) for role, a in A.items()}
        align = math.log1p(math.exp(-0.3 * odds["chosen"])) + math.log1p(math.exp(0.3 * odds["rejected"]))
        want += (-0.4 * A["chosen"] + 0.7 * align) / 2
        margin += 0.3 * (odds["chosen"] - odds["rejected"]) / 2
    loss, found = OBJECTIVES["asft"].loss(batch, hp)
    same(loss, want, "ASFT's formula at beta .3, lam .7, sft_weight .4", 1e-9)
    same(found["margin"], margin, "beta times the difference of the log-odds", 1e-9)


def test_a_figure_of_pairs_does_not_depend_on_which_side_is_preferred():
    batch = pair_of_answers()
    _, plain = OBJECTIVES["dpo"].loss(batch, settings("dpo"))
    loss, swapped = OBJECTIVES["dpo"].loss(batch, settings("dpo", swap=True))
    for name in plain:
        same(swapped[name], plain[name], f"--swap changes the loss; {name} is still chosen minus rejected")


def test_a_borrowed_answer_belongs_to_another_prompt():
    def graded(prompt: str, answer: str) -> Row:
        return Row((Turn("user", prompt),), answer=(Turn("assistant", answer),), label=True)
    for prompts in ("pqp", "qpp", "ppq", "ppqq"):
        rows = kto.rows([graded(p, f"{p}{i}") for i, p in enumerate(prompts)], None)
        for example, p in zip(rows, prompts):
            asked, borrowed = example.seqs["mismatch"]
            assert asked[0].text == p and borrowed[0].text[0] != p, f"LAW: mismatched, in {prompts}"


def test_coin_and_guess_are_two_draws(monkeypatch):
    """IFT --residual replace --guess sampled: whether the guess stands there says nothing of what it is."""
    drawn, uniform = [], ift.uniform_rows
    monkeypatch.setattr(ift, "uniform_rows", lambda *shape: drawn.append(uniform(*shape)) or drawn[-1])
    hp = settings("ift", residual="replace", guess="sampled", lam=0.5)
    OBJECTIVES["ift"].forward(tiny(), batch_of(some_rows()), hp)
    guess, coin = (x.flatten() for x in drawn)
    assert abs(torch.corrcoef(torch.stack([guess, coin]))[0, 1]) < 0.4 and not torch.equal(guess, coin)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_losses_have_32_bits_in_mixed_precision_and_64_in_double(name):
    form = Form(name, settings(name))
    mixed, double = (nano(), Device("cpu", "bf16"), torch.float32), (nano().double(), CPU, torch.float64)
    for model, device, wanted in (mixed, double):
        batch = real_batch(form)
        with device.autocast():
            form.objective.forward(model, batch, form.hp)
        assert {s.logp.dtype for s in batch.seqs.values()} == {wanted}


# ---- figures that are only logged ------------------------------------------------------------------------------------
def test_an_answer_of_grade_a_half_has_no_right_side():
    batch = two_answers()
    s = batch.seqs["answer"].take([0, 1, 0])
    batch = Batch.of({"answer": s}, Columns(score=torch.tensor([0.9, 0.5, 0.1])))
    for rewards, share in (([1.0, 1.0, -1.0], 1.0), ([1.0, 1.0, 1.0], 0.5), ([0.0, 1.0, -1.0], 0.75)):
        found = una.graded_metrics(batch, torch.tensor(rewards), "score", 1.0)
        same(found["accuracy"], share, "share of graded answers whose reward has the right sign", 1e-6)


def test_recovery_counts_right_words_in_their_place(monkeypatch):
    model, tok = start_model("base")
    row, = world.rows("val", "prompts", 1, 0, skills=("reverse",))
    gold = row.answer[0].text.split()
    for later, share in ((gold[1:], 1.0), (gold[1:][::-1], None), (gold[2:] + gold[1:2], 0.0), (gold[1:2], None)):
        def said(model, tok, group, prior, later=later):
            return [type("A", (), {"ids": list(prior) + tok.encode(" " + " ".join(later))}) for _ in group]
        monkeypatch.setattr(probes, "answer_rows", said)
        share = np.mean([a == b for a, b in zip(gold[1:], [*later, *[""] * len(gold)])]) if share is None else share
        assert probes.recovery(model, tok, [row], 1) == pytest.approx(share), f"{gold} and {later}"


def test_the_length_of_an_answer_is_no_merit():
    """Without a start model `auc` compares nats per token: equal ones are a tie, whatever the lengths."""
    encoded = [Encoded(pair.seqs, Example({"answer": ((Turn("user", str(i)),), ())}))
               for i, pair in enumerate(some_rows(2))]
    rows = [{"answer": np.full(n, -0.5)} for n in (2, 9)]
    assert held_out.graded(encoded, rows, np.array([1.0, 0.0]))["auc"] == 0.5
    rows[0]["answer"] = np.full(2, -0.6)
    assert held_out.graded(encoded, rows, np.array([1.0, 0.0]))["auc"] == 0.0


def test_what_a_reward_model_expects_of_itself():
    sure = 1 / (1 + math.exp(-3))
    found = quality(np.array([-3.0, 0.0, 3.0]), ["", "", ""])
    assert found["confidence"] == pytest.approx((2 * sure + 0.5) / 3), "sigma(|margin|): it names the likelier side"
    assert found["accuracy"] == 0.5 and found["margin"] == 0


# ---- schedules -------------------------------------------------------------------------------------------------------
@pytest.fixture
def rates(monkeypatch) -> list[float]:
    """The learning rate of every optimizer step."""
    taken, step = [], torch.optim.AdamW.step

    def noted(self, *args, **kw):
        taken.append(self.param_groups[0]["lr"])
        return step(self, *args, **kw)
    monkeypatch.setattr(torch.optim.AdamW, "step", noted)
    return taken


def up_and_down(steps: int) -> list[float]:
    """Linear up over round(.1 steps), then a cosine to 0."""
    up = round(0.1 * steps)
    return [(i + 1) / up if i < up else 0.5 + 0.5 * math.cos(math.pi * (i - up) / (steps - up)) for i in range(steps)]


@pytest.mark.parametrize("steps", [15, 25, 35, 36])
def test_the_schedule_of_train(steps):
    same([warmup_cosine(i, steps, 0.1)[0] for i in range(steps)], up_and_down(steps), "linear up, a cosine down")


def test_simple_has_the_schedule_of_train(rates, capsys):
    rows = world.rows("train", "demos", 15 * simple.ROWS, seed=0, skills=("rules", "sum"))
    simple.teach(nano(), rows, NANO, "sft", 15)
    same([x / simple.LEARNING_RATE["sft"] for x in rates], up_and_down(15), "linear up, a cosine down")


def test_the_schedule_of_a_reward(rates, here, tiny_base, brief):
    data = lines(here / "pairs.jsonl", PAIRS)
    assert call(reward.main, "--data", data, "--init", tiny_base, "--steps", 15, "--lr", 0.5e-3, "--threads", 1) == 0
    want = [min(1, (i + 1) / 1.5) * 0.5 * (1 + math.cos(math.pi * i / 15)) for i in range(15)]
    same([x / 0.5e-3 for x in rates], want, "linear up over a tenth of the steps, times a cosine down to 0")


def test_the_schedule_of_a_base(rates, tmp_path, monkeypatch):
    monkeypatch.setitem(pretrain.SIZES, "nano", replace(pretrain.SIZES["nano"], n_layer=1, n_embd=16))
    pretrain.pretrain(pretrain.Pretrain(steps=90, tokens=1, out=str(tmp_path / "b"), threads=1, device="cpu"))
    want = [min(1, (i + 1) / 60) * min(1, (90 - i) / 54) for i in range(90)]
    same([x / 2e-3 for x in rates], want, "up over 60 steps, constant, down over the last 60 %")


# ---- numbers that are not finite -------------------------------------------------------------------------------------
@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_a_loss_that_is_not_finite_stops_the_run(value, tmp_path):
    log = Log(tmp_path / "metrics.jsonl", 0, CPU)
    log.add(1, {"loss": torch.tensor(0.5)}, {"grad_norm": 1.0}, 1e-3, 1)
    log.add(2, {"loss": torch.tensor(value)}, {"grad_norm": 1.0}, 1e-3, 1)
    with pytest.raises(Diverged, match="loss is .* at step 2"):
        log.flush()
    assert [m["step"] for m in metrics(tmp_path)] == [1], "what was whole is kept"


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_one_number_that_is_not_finite_is_refused(value, tmp_path):
    weights = {"a": torch.ones(3, 2)}
    save_file(weights, tmp_path / "good.safetensors")
    same(tensors.load(tmp_path / "good.safetensors", tensors.wanted_of(weights))["a"], torch.ones(3, 2), "as it was")
    weights["a"][1, 1] = value
    save_file(weights, tmp_path / "bad.safetensors")
    with pytest.raises(ValueError, match="is not finite"):
        tensors.load(tmp_path / "bad.safetensors", tensors.wanted_of(weights))
    assert tensors.not_finite(weights) == "a"


# ---- means, defaults, words ------------------------------------------------------------------------------------------
def test_a_mean_is_over_the_tokens_of_an_answer():
    ids = torch.zeros(2, 5, dtype=torch.long)
    s = Seqs(ids, ids, two_answers().seqs["answer"].mask, torch.ones(2, 5))
    x = torch.arange(10.0).view(2, 5)
    same(s.sum(x), [3.0, 35.0], "sum over answer tokens", 1e-6)
    same(s.mean(x), [1.0, 7.0], "mean over answer tokens", 1e-6)


def test_default_rates_are_those_that_were_chosen_on_validation():
    """The table `| objective | rate | mean score | at the other rates |` of the documents."""
    texts = [f.read_text(encoding="utf-8") for f in sorted((ROOT / "docs").glob("*.md"))]
    table = "\n".join(text.split("| objective | rate |")[1].split("\n\n")[0] for text in texts
                      if "| objective | rate |" in text)
    chosen = {name: float(rate) for name, rate in re.findall(r"^\| (\w+) \| ([\d.e-]+) \|", table, re.MULTILINE)}
    assert chosen == {name: o.lr for name, o in OBJECTIVES.items()}


def test_what_stands_beside_an_answer():
    assert report._marks({"ended": True}) == ""
    assert report._marks({"ended": False}) == "   (does not stop)"
    assert report._marks({"ended": True, "score": 0.5}) == "   (score 0.50)"
    assert report._marks({"ended": False, "score": 0.0}) == "   (score 0.00, does not stop)"
