"""Laws on rows of several tokens and several answers, with settings away from their neutral value;
logged figures too.

    python -m pytest tests/core/test_laws_of_rows.py        a few seconds
"""
import json
import math
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import tiny as made
import torch
from running import PAIRS, ROOT, call, lines, metrics
from tiny import (
    CPU,
    Form,
    batch_of,
    nano,
    pure,
    same,
    say,
    settings,
    some_rows,
    tiny,
    value_and_grads,
)

from nanouft import pretrain, reward
from nanouft.data.batches import Encoded
from nanouft.data.rows import Row, Turn
from nanouft.errors import Diverged
from nanouft.eval import held_out, scores
from nanouft.loop import Device, Step, warmup_cosine
from nanouft.models.load import BASE, grow_vocab, new_rows, start_model
from nanouft.models.save import write_gpt
from nanouft.objective import Batch, Columns
from nanouft.objectives import OBJECTIVES, ift, kto, una
from nanouft.objectives.grpo import standardised
from nanouft.objectives.on_policy import step_metrics
from nanouft.rewards import own_reward
from nanouft.rewards.scorer import score_answers
from nanouft.run.log import Log
from nanouft.sampling import measure, stats

LENGTHS = (3, 5)                                            # tokens of the two answers


def two_answers(**known) -> Batch:
    """Answers of 3 and 5 tokens with fixed log-probs; `known`: what is known of them."""
    batch = pure([[0.5, 1.0, 0.2, 0.0, 0.0], [0.3, 0.7, 2.0, 0.1, 0.4]], [[1, 1, 1, 0, 0], [1] * 5])
    s = batch.seqs["answer"]
    s.ref_logp, s.sampled_logp = s.logp - 0.1, s.logp.clone()
    batch.per_row = batch.step_rows = Columns(
        **{k: torch.tensor(v, dtype=torch.float64) for k, v in known.items()})
    return batch


# ---- on-policy -----------------------------------------------------------------------------------
def test_both_sides_of_a_clip_are_counted():
    """One of 8 tokens has moved up by half, one down by half. RLOO clips whole answers: both of
    them."""
    batch = two_answers(advantage=[1.0, 1.0])
    s = batch.seqs["answer"]
    s.sampled_logp[0, 1] -= math.log(1.5)
    s.sampled_logp[1, 3] -= math.log(0.5)
    same(step_metrics(batch, 0.2, 0.3)["clip_fraction"], 2 / 8,
         "share of tokens beyond either end of the clip")
    same(step_metrics(batch, 0.2, 0.6)["clip_fraction"], 1 / 8, "beyond the lower end")
    same(step_metrics(batch, 0.6, 0.3)["clip_fraction"], 1 / 8, "beyond the upper end")
    for eps, share in ((0.2, 1.0), (0.6, 0.0)):
        _, found = OBJECTIVES["rloo"].loss(batch, settings("rloo", eps=eps))
        same(found["clip_fraction"], share, "share of answers beyond the clip")
    _, found = OBJECTIVES["grpo"].loss(batch, settings("grpo", eps=0.2, eps_high=0.6))
    same(found["clip_fraction"], 1 / 8, "GRPO: each side has its own end")


def moved_answers() -> Batch:
    """Since they were sampled, some tokens have become likelier and some less likely."""
    batch = two_answers(advantage=[1.0, -2.0])
    s = batch.seqs["answer"]
    s.sampled_logp = s.logp - torch.tensor([[0.5, -0.6, 0.3, 0, 0], [0.4, -0.4, -0.1, -0.5, -0.3]],
                                  dtype=torch.float64)
    return batch


def test_surrogates_of_grpo_in_a_plain_loop():
    """The gradient at each token, from the formulas: what is clipped has none, but CISPO's tokens
    all have one."""
    low, high, batch = 0.1, 0.25, moved_answers()
    s = batch.seqs["answer"]
    for surrogate in ("ppo", "gspo", "cispo"):
        form = Form("grpo", settings("grpo", beta=0.0, eps=low, eps_high=high, surrogate=surrogate))
        want, outside = torch.zeros(2, 5, dtype=torch.float64), 0.0
        for i, (n, A) in enumerate(zip(LENGTHS, (1.0, -2.0))):
            gaps = [(s.logp[i, t] - s.sampled_logp[i, t]).item() for t in range(n)]
            for t in range(n):
                rho = math.exp(sum(gaps) / n if surrogate == "gspo" else gaps[t])
                held = min(max(rho, 1 - low), 1 + high)
                outside += (rho != held) / (n * 2 if surrogate == "gspo" else sum(LENGTHS))
                weight = held if surrogate == "cispo" else rho * (rho * A <= held * A)
                want[i, t] = -weight * A / n / 2
        same(form.objective.loss(batch, form.hp)[1]["clip_fraction"], outside,
             f"{surrogate}: what is outside", 1e-6)
        same(value_and_grads(form, batch)[1]["answer"], want,
             f"{surrogate}: the push at each token", 1e-9)


def test_distillation_follows_the_reverse_kl():
    """LAW: over all tokens the expected gradient is that of KL(pi || teacher); a teacher equal to
    pi gives 0."""
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
        same(torch.autograd.grad(expected, x, retain_graph=True)[0], want,
             "the reverse KL's gradient", 1e-9)
    same(want, torch.zeros(6), "nothing is learnt from itself", 1e-9)


def test_a_group_of_nearly_equal_rewards_teaches_little():
    """GRPO divides by spread + 1e-4, so a spread of 1e-4 counts half."""
    R = torch.tensor([[-1e-4, 0.0, 1e-4], [-1.0, 0.0, 1.0]], dtype=torch.float64)
    want = [[-0.5, 0.0, 0.5], [-1 / 1.0001, 0.0, 1 / 1.0001]]
    same(standardised(R), want, "(R - mean) / (spread + 1e-4)", 1e-9)


def test_what_a_rollout_tells_in_a_plain_loop():
    """Means over answers or over their tokens, with the exact KL of the whole vocabulary
    (docs/metrics.md)."""
    batch, policy, start = batch_of(some_rows(5)), tiny(0), tiny(1)
    s = batch.seqs["answer"]
    s.sampled_logp = (
        torch.linspace(-3, -1, s.mask.numel(), dtype=torch.float64).view(s.mask.shape) * s.mask
    )
    s.ref_logp = torch.zeros(s.mask.shape)
    batch.per_row = Columns(reward=torch.tensor([0.0, 1.0, 0.5, 0.25, 1.0]),
                        ended=torch.tensor([1.0, 0.0, 1.0, 1.0, 1.0]))
    seen = measure(batch, policy, start, CPU)
    kl, entropy, k1, k3, gaps = [], [], [], [], []
    for i, t in s.mask.nonzero().tolist():
        p, q = (m(s.inputs[i:i + 1]).detach()[0, t].log_softmax(-1) for m in (policy, start))
        token, old = s.targets[i, t], float(s.sampled_logp[i, t])
        kl.append(float((p.exp() * (p - q)).sum()))
        entropy.append(-float((p.exp() * p).sum()))
        gaps.append(abs(old - float(p[token])))
        k1.append(old - float(q[token]))
        k3.append(math.exp(-k1[-1]) - 1 + k1[-1])
    want = {"reward": 0.55, "ends": 0.8, "length": len(kl) / 5, "kl_exact": np.mean(kl),
            "kl_k1": np.mean(k1), "kl_k3": np.mean(k3), "kl_answer": sum(kl) / 5,
            "entropy": np.mean(entropy), "decode_gap": max(gaps)}
    assert stats(batch, seen, samples=1) == pytest.approx(want, rel=1e-4)


@pytest.mark.parametrize("name", [name for name, o in OBJECTIVES.items() if o.on_policy])
@pytest.mark.parametrize("tokens", [1, 4])
def test_a_rollout_that_says_nothing_leaves_all_figures_finite(name, tokens):
    """LAW: whatever was sampled, loss, gradient and figures are finite: one token, or rewards that
    are all equal."""
    form = Form(name, settings(name, samples=1 if name in ("reinforce", "ppo", "distill") else 2))
    answers = [made.row([3, 5] + [7] * tokens, [0, 0] + [1] * tokens)] * form.hp.samples
    answers = [Encoded({"answer": e.seqs["answer"]},
                       Row(roles={"answer": (say("user", "a"), say("assistant", "b"))}))
               for e in answers]
    batch = made.as_if_rolled(form, answers, [0.5] * len(answers), nano(1), nano(2))
    loss, grads = value_and_grads(form, form.objective.forward(nano(1), batch, form.hp) or batch)
    found = form.objective.report(batch) if form.objective.report else {}
    numbers = [loss, *grads.values(), *form.objective.loss(batch, form.hp)[1].values(),
               *found.values()]
    assert all(torch.as_tensor(x).isfinite().all() for x in numbers)


# ---- settings away from their neutral value ------------------------------------------------------
def pair_of_answers() -> Batch:
    better, worse = two_answers().seqs["answer"], two_answers().seqs["answer"]
    worse.logp, worse.ref_logp = 0.4 * worse.logp.flip(0).masked_fill(
        worse.mask == 0, 0), 0.7 * worse.ref_logp
    return Batch.of({"chosen": better, "rejected": worse}, Columns())


def test_asft_by_hand():
    """-sft A_w + lam [-log sigma(beta lo_w) - log sigma(-beta lo_l)], A the mean log-prob, lo its
    log-odds."""
    batch, hp = pair_of_answers(), settings("asft", beta=0.3, lam=0.7, sft_weight=0.4)
    want = margin = 0.0
    for i in range(2):
        A = {role: float(s.logp[i][s.mask[i] > 0].mean()) for role, s in batch.seqs.items()}
        odds = {role: a - math.log(1 - math.exp(a)) for role, a in A.items()}
        align = math.log1p(math.exp(-0.3 * odds["chosen"])) + math.log1p(
            math.exp(0.3 * odds["rejected"]))
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
        same(swapped[name], plain[name],
             f"--swap changes the loss; {name} is still chosen minus rejected")


def test_a_borrowed_answer_belongs_to_another_prompt():
    def graded(prompt: str, answer: str) -> Row:
        return Row((Turn("user", prompt),), answer=(Turn("assistant", answer),), label=True)
    for prompts in ("pqp", "qpp", "ppq", "ppqq"):
        rows = kto.rows([graded(p, f"{p}{i}") for i, p in enumerate(prompts)], None)
        for row, p in zip(rows, prompts):
            asked, borrowed = row.roles["mismatch"]
            assert asked[0].text == p and borrowed[0].text[0] != p, f"LAW: mismatched, in {prompts}"


def test_coin_and_guess_are_two_draws(monkeypatch):
    """IFT --residual replace --guess sampled: whether the guess stands there says nothing of what
    it is."""
    drawn, uniform = [], ift.uniform_rows
    monkeypatch.setattr(ift, "uniform_rows", lambda *shape: drawn.append(uniform(*shape))
                        or drawn[-1])
    hp = settings("ift", residual="replace", guess="sampled", lam=0.5)
    OBJECTIVES["ift"].forward(tiny(), batch_of(some_rows()), hp)
    guess, coin = (x.flatten() for x in drawn)
    assert abs(torch.corrcoef(torch.stack([guess, coin]))[0, 1]) < 0.4 \
        and not torch.equal(guess, coin)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_losses_have_32_bits_in_mixed_precision_and_64_in_double(name):
    form = Form(name, settings(name))
    mixed = nano(), Device("cpu", "bf16"), torch.float32
    for model, device, wanted in (mixed, (nano().double(), CPU, torch.float64)):
        batch = made.real_batch(form)
        with device.autocast():
            form.objective.forward(model, batch, form.hp)
        assert {s.logp.dtype for s in batch.seqs.values()} == {wanted}


# ---- figures that are only logged ----------------------------------------------------------------
@pytest.mark.parametrize("grades", [(0.9, 0.5, 0.1, 1.0, 0.0, 0.6), (0.0, 0.5, 0.2),
                                    (1.0, 0.7, 0.5), (0.5, 0.5)])
def test_figures_of_graded_answers_in_a_plain_loop(grades):
    """With good, bad and half good answers, and without any of a kind: of nothing the mean is 0."""
    s = two_answers().seqs["answer"].take([i % 2 for i in range(len(grades))])
    s.logp = s.logp - 0.1 * torch.arange(len(grades))[:, None] * s.mask
    rewards = [1.0, 2.0, -1.5, -2.0, 0.0, 3.0][:len(grades)]
    found = una.graded_metrics(Batch.of({"answer": s}, Columns(score=torch.tensor(grades))),
                               torch.tensor(rewards), "score", 1.0)
    good, bad = ([i for i, g in enumerate(grades) if sign * (g - 0.5) > 0] for sign in (1, -1))
    logps = [float(x) for x in (s.logp * s.mask).sum(-1)]

    def mean(values: list[float]) -> float:
        return sum(values) / max(len(values), 1)
    same(found["margin"], mean([rewards[i] for i in good]) - mean([rewards[i] for i in bad]),
         "good minus bad", 1e-6)
    right = [(rewards[i] > 0) + 0.5 * (rewards[i] == 0) for i in good]
    right += [(rewards[i] < 0) + 0.5 * (rewards[i] == 0) for i in bad]
    same(found["accuracy"], mean(right), "share of graded answers whose reward has the right sign",
         1e-6)
    same(found["logp_good"], mean([logps[i] for i in good]), "mean log-prob of good answers", 1e-6)
    same(found["logp_bad"], mean([logps[i] for i in bad]), "mean log-prob of bad answers", 1e-6)


def test_the_length_of_an_answer_is_no_merit():
    """Without a start model `auc` compares nats per token: equal ones are a tie, whatever the
    lengths."""
    encoded = [Encoded(pair.seqs, Row(roles={"answer": ((Turn("user", str(i)),), ())}))
               for i, pair in enumerate(some_rows(2))]
    rows = [{"answer": np.full(n, -0.5)} for n in (2, 9)]
    assert held_out.graded(encoded, rows, np.array([1.0, 0.0]))[0]["auc"] == 0.5
    rows[0]["answer"] = np.full(2, -0.6)
    assert held_out.graded(encoded, rows, np.array([1.0, 0.0]))[0]["auc"] == 0.0


def test_what_a_reward_model_expects_of_itself():
    sure = 1 / (1 + math.exp(-3))
    found = reward.quality(np.array([-3.0, 0.0, 3.0]), ["", "", ""])
    assert found["confidence"] == pytest.approx((2 * sure + 0.5) / 3), \
        "sigma(|margin|): it names the likelier side"
    assert found["accuracy"] == 0.5 and found["margin"] == 0


# ---- schedules -----------------------------------------------------------------------------------
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
    return [(i + 1) / up if i < up else 0.5 + 0.5 * math.cos(math.pi * (i - up) / (steps - up))
            for i in range(steps)]


@pytest.mark.parametrize("steps", [15, 25, 35, 36])
def test_the_schedule_of_train(steps):
    same([warmup_cosine(1.0, steps, 0.1)(i)[0] for i in range(steps)], up_and_down(steps),
         "linear up, a cosine down")


def test_the_schedule_of_a_reward(rates, here, tiny_base, brief):
    data = lines(here / "pairs.jsonl", PAIRS)
    assert call(reward.main, "--data", data, "--init", tiny_base, "--steps", 15, "--lr", 0.5e-3,
                "--threads", 1) == 0
    want = [min(1, (i + 1) / 1.5) * 0.5 * (1 + math.cos(math.pi * i / 15)) for i in range(15)]
    same([x / 0.5e-3 for x in rates], want,
         "linear up over a tenth of the steps, times a cosine down to 0")


def test_the_schedule_of_a_base(rates, tmp_path, monkeypatch):
    monkeypatch.setitem(pretrain.SIZES, "nano",
                        replace(pretrain.SIZES["nano"], n_layer=1, n_embd=16))
    pretrain.pretrain(pretrain.Pretrain(steps=90, tokens=1, out=str(tmp_path / "b"), threads=1,
                                        device="cpu"))
    want = [min(1, (i + 1) / 60) * min(1, (90 - i) / 54) for i in range(90)]
    same([x / 2e-3 for x in rates], want, "up over 60 steps, constant, down over the last 60 %")


# ---- numbers that are not finite -----------------------------------------------------------------
@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_a_loss_that_is_not_finite_stops_the_run(value, tmp_path):
    # nothing is moved there before flush
    log = Log(tmp_path / "metrics.jsonl", 0, Device("no device", "fp32"))
    for number, loss in ((1, 0.5), (2, value)):
        log.add(Step(number, {"loss": torch.tensor(loss)}, torch.tensor(1.0), 1e-3, 1), {})
    log.device = CPU
    with pytest.raises(Diverged, match="loss is .* at step 2"):
        log.flush()
    assert [m["step"] for m in metrics(tmp_path)] == [1], "what was whole is kept"


# ---- means, defaults, words ----------------------------------------------------------------------
def test_default_rates_are_those_that_were_chosen_on_validation():
    """The table `| objective | rate | mean score | at the other rates |` of the documents."""
    texts = [f.read_text(encoding="utf-8") for f in sorted((ROOT / "docs").rglob("*.md"))]
    table = "\n".join(text.split("| objective | rate |")[1].split("\n\n")[0] for text in texts
                      if "| objective | rate |" in text)
    chosen = {name: float(rate) for name, rate in re.findall(r"^\| (\w+) \| ([\d.e-]+) \|", table,
                                                             re.MULTILINE)}
    assert chosen == {name: o.lr for name, o in OBJECTIVES.items()}


def test_new_rows_of_a_foreign_model_are_marked_as_new():
    """They begin as new tokens of GPT do, beyond the ids that the model has learnt, and LoRA is
    told of them."""
    tables = [torch.nn.Embedding(6, 3), torch.nn.Embedding(6, 3)]
    before = [table.weight.detach().clone() for table in tables]
    model, asked = SimpleNamespace(tables=lambda: tables, new_rows=False), []
    model.widen = asked.append
    grow_vocab(model, 6, known=4)
    assert model.new_rows is True and asked == [6]
    for table, old in zip(tables, before):
        same(table.weight[:4].detach(), old[:4], "what was learnt stays")
        same(table.weight[4:].detach(), new_rows(old[:4], 2), "ids 4 and 5 are new", 1e-6)


def test_a_saved_model_has_the_config_of_the_shipped_one(tmp_path):
    model, tok = start_model("base")
    write_gpt(tmp_path, model, tok.end, torch.float16)
    found, shipped = (json.loads((folder / "config.json").read_text())
                      for folder in (tmp_path, BASE))
    assert found == shipped, "transformers would read another model from it"


def test_a_reward_gets_the_fields_that_it_names():
    """Prompts and answers by place, whatever they are called; every other field only where the
    function takes it."""
    fields = {name: [name] for name in ("question", "gold", "unit", "answers")}
    for mine, passed in ((lambda question, said: 0, []), (lambda prompts, answers: 0, []),
                         (lambda question, said, gold: 0, ["gold"]),
                         (lambda p, a, unit, gold: 0, ["gold", "unit"]),
                         (lambda p, a, **more: 0, [*fields]),
                         (lambda question, answers, **more: 0, ["gold", "unit"])):
        first, named = own_reward.arguments(mine, ["P"], ["A"], fields, "my.py")
        assert first == [["P"], ["A"]] and named == {name: [name] for name in passed}
    assert own_reward.arguments(lambda completions, prompts: 0, ["P"], ["A"], fields, "my.py") == (
        [], {"prompts": ["P"], "completions": ["A"]})


def test_of_a_dialogue_the_last_turn_is_scored():
    talk = (*say("user", "first"), *say("assistant", "second"), *say("user", "third"))
    asked = score_answers(lambda prompts, answers, gold: np.array(
        [p + a + str(g) for p, a, g in zip(prompts, answers, gold)]), [talk, talk[:1]], ["x", "y"],
                          [{"gold": 1}, {}])
    assert asked.tolist() == ["thirdx1", "firstyNone"]


def test_the_table_of_a_run():
    def family(score: float) -> dict:
        return {"score": score, "low": score - 0.25, "high": score + 0.25, "strict": score / 2,
                "ends": 1.0}
    one, said = {"truth": family(0.5), "sum": family(0.25)}, []
    for after in (None, {"truth": family(0.75), "sum": family(0.25)}):
        scores.table(one, after, say=lambda line: said.append(line.rstrip()))
    assert said[1:5] == [
        "              score [95 %]   strict end", "truth            50 [ 25, 75]    25 100",
        "sum              25 [  0, 50]    12 100", "mean             38"]
    assert said[5:] == ["family                           before                        after    "
                        "gain",
                        "              score [95 %]   strict end    score [95 %]   strict end",
                        "truth            50 [ 25, 75]    25 100       75 [ 50,100]    38 100     "
                        "+25", "sum              25 [  0, 50]    12 100       25 [  0, 50]    12 "
                        "100      +0", "mean             38                           50           "
                        "              +12"]
