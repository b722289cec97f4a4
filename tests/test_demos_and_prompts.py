"""Demonstrations beside sampled answers: which stand where, and what CHORD and HPT make of them."""
import math
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from made import CPU, NANO, TINY, learn, same, say, start_folder, write_jsonl
from safetensors.torch import load_file

from nanouft import train, world
from nanouft.batch import Batch
from nanouft.data.batches import Batching, collate, encode
from nanouft.data.rows import Row
from nanouft.data.selection import demo_and_prompt_rows
from nanouft.gpt import GPT
from nanouft.objectives import OBJECTIVES, find
from nanouft.objectives.hpt import more_demos
from nanouft.plumbing.errors import UserError
from nanouft.rollout import Rollouts, Sampler
from nanouft.run import memory

K, P = 3, 4
HERE = Path(__file__).parents[1] / "lessons" / "evidence"
FILES = {name: str(HERE / f"{name}.py") for name in ("luffy", "srft", "grpo_beside")}    # of C17
SKILLS = "rules,list,sum,truth"


def letters(rows, texts) -> list[float]:
    """A score that a random policy reaches."""
    return [len({*text}) / 40 for text in texts]


def source(name: str, mix: str = "4:12", score=letters, dtype: str = "fp32",
           **settings) -> Rollouts:
    """Steps of P prompts over NanoWorld's demonstrations and bare prompts, with a random policy."""
    o = find(FILES.get(name, name))(samples=K, **settings)
    rows = world.mixed_rows("train", ["demos", "prompts"], 16, 3, skills=SKILLS, mix=mix)
    encoded, _ = encode(o.choose(rows), NANO, 115)
    policy = GPT(replace(TINY, vocab_size=NANO.n_vocab, n_ctx=128, init_std=0.1), seed=0)
    sampler = Sampler(policy, deepcopy(policy), NANO, 12, replace(CPU, dtype=dtype))
    return Rollouts(encoded, o, sampler, score, Batching(P, steps=8, seed=1))


def moved(made: Rollouts, number: int = 1) -> Batch:
    """A step whose policy has moved since it sampled, so that no ratio is 1."""
    batch = made(number)
    rng = torch.Generator().manual_seed(0)
    for p in made.sampler.policy.parameters():
        p.data += 0.01 * torch.randn(p.shape, generator=rng)
    made.objective.forward(made.sampler.policy, batch)
    return batch


# ---- rows ----------------------------------------------------------------------------------------
def test_each_question_is_asked_once_and_each_demonstration_is_kept():
    asked, other = say("user", "Sum 1 2"), say("user", "Sum 2 2")
    rows = [Row(asked), Row(asked, say("assistant", "1 3")), Row(asked, say("assistant", "3")),
            Row(other, say("assistant", "5"), score=0.0)]
    roles = [sorted(row.roles) for row in demo_and_prompt_rows(rows)]
    assert roles == [["demo", "prompt"], ["demo"], ["prompt"]]


def test_prompts_of_nanoworld_beside_demonstrations_have_no_answer():
    rows = world.mixed_rows("train", ["demos", "prompts"], 100, 0, mix="10:90")
    assert [row.answer is not None for row in rows] == [True] * 10 + [False] * 90
    assert rows[:10] == world.rows("train", "demos", 10, 0)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.9])
def test_few_demonstrations_come_again_until_they_have_their_share(share):
    rows = demo_and_prompt_rows(world.mixed_rows("train", ["demos", "prompts"], 200, 0,
                                                 skills="sum,sort", mix="10:190"))
    chosen = more_demos(rows, share)
    assert sum("demo" in row.roles for row in chosen) / len(chosen) == pytest.approx(
        max(share, 0.05), abs=0.03)
    assert chosen[:len(rows)] == rows


def test_of_one_demonstration_among_four_prompts_half_is_three():
    row = Row(say("user", "a"), say("assistant", "b"))
    rows = demo_and_prompt_rows([row, *(Row(say("user", x)) for x in "xyz")])
    assert len(more_demos(rows, 0.5)) == 3 + 3 and len(more_demos(rows, 0.0)) == 4


# ---- what stands beside what ---------------------------------------------------------------------
def demos_in(made: Rollouts, batch: Batch) -> list[str]:
    """For each row its demonstration as text, "" without one."""
    s = batch.seqs["demo"]
    return [made.sampler.tok.decode(s.targets[i][s.mask[i] > 0].tolist()).strip()
            for i in range(batch.n)]


def test_hpt_shows_the_demonstration_of_the_prompt_or_none():
    made = source("hpt")
    for number in range(4):
        batch = made(number)
        answers, shown = batch.seqs["answer"], demos_in(made, batch)
        for i, text in enumerate(shown):
            prompt = answers.inputs[i][answers.mask[i].cumsum(-1) == 0]
            row = next(e.row for e in made.prompts if set(e.seqs["prompt"].ids) <= {
                *answers.inputs[i].tolist()} and len(e.seqs["prompt"].ids) == len(prompt) + 1)
            right = row.answer[0].text if row.answer and i % K == 0 else ""
            assert text.startswith(right) and bool(text) == bool(right)
        assert batch.per_row["demo"].tolist() == [float(bool(text)) for text in shown]


def test_chord_shows_one_demonstration_per_prompt_each_once_before_any_comes_again():
    made = source("chord")
    shown = [text for number in range(8) for text in demos_in(made, made(number))]
    assert all(bool(text) == (i % K == 0) for i, text in enumerate(shown))
    rounds = [sorted(filter(None, shown[i:i + 4 * K])) for i in range(0, len(shown), 4 * K)]
    assert all(x == rounds[0] for x in rounds) and len({*rounds[0]}) == 4


def test_the_scorer_sees_a_demonstration_as_text():
    made = source("hpt", mix="16:0", score=lambda rows, texts: world.exact_scores(rows, texts))
    batch = made(0)
    same(batch.per_row["demo_reward"], batch.per_row["demo"])           # all of them are right
    assert batch.per_row["demo"].sum() == P


def test_without_a_demonstration_there_is_a_line():
    with pytest.raises(UserError, match="chord needs demonstrations; grpo learns from"):
        source("chord", mix="0:1")


def test_a_step_knows_how_far_the_run_is():
    made = source("chord")
    assert [made(number).progress for number in range(8)] == [number / 8 for number in range(8)]


# ---- the losses in plain Python ------------------------------------------------------------------
def mean(x) -> float:
    return sum(x) / len(x)


def plain(o, batch: Batch) -> float:
    """The loss, from lists of numbers."""
    s, d, row = batch.seqs["answer"], batch.seqs["demo"], batch.per_row

    def tokens(of, x, i: int) -> list[float]:
        return [float(v) for v, counts in zip(x[i].detach(), of.mask[i]) if counts]

    def answer(i: int, adv: float) -> float:
        rho = [math.exp(now - old)
               for now, old in zip(tokens(s, s.logp, i), tokens(s, s.sampled_logp, i))]
        return mean([-min(r * adv, max(0.8, min(1.2, r)) * adv) for r in rho])
    explored, shown, rewards = [], [], []
    for first in range(0, batch.n, K):
        R = [float(row["reward"][i]) for i in range(first, first + K)]
        spread = math.sqrt(sum((r - mean(R)) ** 2 for r in R) / (K - 1))
        explored.append(mean([answer(first + k, (r - mean(R)) / (spread + 1e-4))
                              for k, r in enumerate(R)]))
        shown.append(tokens(d, d.logp, first))
        rewards.append(R)
    if o.name in FILES:
        return plain_with_shaped_tokens(o, batch, tokens)
    if o.name == "hpt":
        return mean([-o.coef * mean(nats) if nats and mean([r >= o.right for r in R]) <= o.gate
                     else x for x, nats, R in zip(explored, shown, rewards)])
    x = min(1, batch.progress / o.decay)
    w = o.mu_end + (o.mu - o.mu_end) * (1 + math.cos(math.pi * x)) / 2
    p = [math.exp(nats) for of in shown for nats in of]
    weights = [x * (1 - x) if o.weigh == "phi" else 1 for x in p]
    imitated = mean([-weight * math.log(x) for weight, x in zip(weights, p)])
    return (1 - w) * mean(explored) + w * imitated


def plain_with_shaped_tokens(o, batch: Batch, tokens) -> float:
    """The same of LUFFY or SRFT."""
    s, d, row = batch.seqs["answer"], batch.seqs["demo"], batch.per_row
    explored, imitated, shown = 0.0, [], 0
    for first in range(0, batch.n, K):
        rewards = [float(row["reward"][i]) for i in range(first, first + K)]
        nats = tokens(d, d.logp, first)
        group = mean(rewards + [float(row["demo_reward"][first])] * bool(nats))
        for i, r in zip(range(first, first + K), rewards):
            uncertain = math.exp(mean(tokens(s, s.extra["entropy"], i)))
            adv = r - group if o.name == "luffy" else o.rl * uncertain if r >= 1 else -1.0
            explored -= sum(math.exp(now - old) * adv for now, old in
                            zip(tokens(s, s.logp, i), tokens(s, s.sampled_logp, i)))
        if nats:
            adv = float(row["demo_reward"][first]) - group
            explored -= sum(math.exp(x) / (math.exp(x) + o.gamma) * adv for x in nats)
            shown += len(nats)
            if o.name == "srft":
                certain = math.exp(-mean(tokens(d, d.extra["entropy"], first)))
                imitated += [-o.sft * certain * x for x in nats]
    total = explored / (int(s.mask.sum()) + shown)
    return total + (mean(imitated) if imitated else 0.0)


@pytest.mark.parametrize("name, settings", [
    ("luffy", {}), ("luffy", {"gamma": 0.5}), ("srft", {}), ("srft", {"sft": 0.2, "rl": 0.3}),
    ("chord", {}), ("chord", {"weigh": "phi", "mu": 0.1, "mu_end": 0.1}),
    ("chord", {"mu_end": 1.0}), ("hpt", {"right": 0.5}),
    ("hpt", {"right": 0.45, "gate": 0.5, "coef": 0.3})], ids=str)
def test_a_loss_is_that_of_plain_python_whole_or_in_parts_that_cut_groups(name, settings):
    made = source(name, mix="12:4", **settings)
    batch = moved(made)
    want = plain(made.objective, batch)
    assert name != "hpt" or 0 < float(batch.per_row["imitate"].mean()) < 1
    for parts in (1, 2, 5):
        micro_batches = replace(batch, accumulate=parts).micro_batches()
        total, _ = learn(made, made.sampler.policy, micro_batches)
        assert float(total) == pytest.approx(want, rel=2e-5), parts


def test_memory_counts_a_demonstration_once_beside_the_answers_to_its_prompt():
    """And all rows of a method that reads rows."""
    for name, sequences in (("chord", 4 + 1), ("grpo", 4), ("dpo", 2), ("sft", 1)):
        objective = OBJECTIVES[name]()
        rows = world.mixed_rows("train", objective.kinds(), 8, 0)
        train, _ = encode(objective.choose(rows), NANO, 115)
        plan = SimpleNamespace(objective=objective, train=train, max_new=12)
        longest = max(e.length for e in train) + 12 * objective.on_policy
        assert memory.tokens_of_row(plan) == sequences * longest, name


# ---- what they are at the ends of their settings -------------------------------------------------
def steps_of(name: str, start: str, out, **flags) -> dict[str, torch.Tensor]:
    """The weights after three steps of a run on 4 demonstrations and 12 bare prompts."""
    given = {"init": start, "rows": 16, "batch_size": 4, "steps": 3, "lr": 1e-3, "max_new": 8,
             "out": out, "device": "cpu", "threads": 1} | flags
    line = [x for k, v in given.items() if v is not None
            for x in (f"--{k.replace('_', '-')}", str(v))]
    assert train.main(["--objective", name, "--plain", *line]) == 0
    return load_file(out / "model.safetensors")


@pytest.fixture
def files(tmp_path):
    """The names of a start model, a file of demonstrations and prompts, one of the former, and of a
    reward that a random policy reaches."""
    rows = world.mixed_rows("train", ["demos", "prompts"], 16, 3, skills=SKILLS, mix="4:12")
    lines = [{"prompt": row.prompt[0].text} | (
        {"response": row.answer[0].text} if row.answer else {}) for row in rows]
    (tmp_path / "reward.py").write_text("def letters(completions, **others):\n"
                                        "    return [len({*x}) / 40 for x in completions]\n")
    return (start_folder(tmp_path / "start"), write_jsonl(tmp_path / "both.jsonl", lines),
            write_jsonl(tmp_path / "demos.jsonl", lines[:4]), f"{tmp_path / 'reward.py'}:letters")


def test_chord_with_mu_0_is_grpo_without_kl(files, tmp_path):
    """On the same prompts, which demonstrations neither replace nor reorder. (They are read in the
    same forward, whose rounding depends on its shape.)"""
    start, both, _, reward = files
    same_file = {"data": both, "eval_data": both, "rows": None, "reward": reward}
    grpo = steps_of("grpo", start, tmp_path / "grpo", beta=0, **same_file)
    for mu, equal in ((0, True), (0.5, False)):
        chord = steps_of("chord", start, tmp_path / f"chord{mu}", mu=mu, mu_end=mu, **same_file)
        assert equal == all(torch.allclose(chord[name], w, atol=1e-5) for name, w in grpo.items())


def test_chord_with_mu_1_is_sft():
    made = source("chord", mu=1.0, mu_end=1.0)
    batch = moved(made)
    demo = batch.seqs["demo"]
    same(made.objective.loss(batch)[0].detach(),
         -(demo.logp.detach() * demo.mask).sum() / demo.mask.sum(), 1e-6)


@pytest.mark.parametrize("name", ["chord", "hpt"])
def test_a_step_without_any_demonstration_is_grpo(name):
    made = source(name)
    made.demos_of = lambda prompts, rollout: [None] * len(prompts)
    batch = moved(made)
    assert not batch.tokens["demo"]
    grpo = OBJECTIVES["grpo"](samples=K, beta=0.0)
    same(made.objective.loss(batch)[0].detach(), grpo.loss(batch)[0].detach(), 1e-6)


def test_where_all_prompts_are_failed_hpt_is_sft_of_their_demonstrations():
    made = source("hpt", mix="16:0", right=2.0)
    batch = moved(made)
    demo = batch.seqs["demo"]
    nats = demo.mean(demo.logp)[::K]
    same(made.objective.loss(batch)[0].detach(), -nats.mean().detach(), 1e-6)


def test_rows_without_a_demonstration_are_not_read():
    made, read = source("hpt"), []
    batch = made(0)
    forward = GPT.forward

    def counted(self, idx=None, *args, **how):
        read.append(len(idx))
        return forward(self, idx, *args, **how)
    with pytest.MonkeyPatch.context() as now:
        now.setattr(GPT, "forward", counted)
        made.objective.forward(made.sampler.policy, batch)
    assert read == [P * K + int(batch.per_row["demo"].sum())]


def test_grpo_beside_demonstrations_is_grpo():
    made = source("grpo_beside", beta=0.02)
    batch = moved(made)
    grpo = OBJECTIVES["grpo"](samples=K, beta=0.02)
    assert batch.tokens["demo"]
    same(made.objective.loss(batch)[0].detach(), grpo.loss(batch)[0].detach(), 0)


def test_dropped_micro_batches_leave_the_gradient_of_the_last_one():
    """Of the whole step's mean, so a step that is not cut is SFT."""
    rows, _ = encode(OBJECTIVES["sft"]().choose(world.rows("train", "demos", 8, 0)), NANO, 115)
    batch, model = collate(rows, range(8), NANO.pad), GPT(replace(TINY, vocab_size=NANO.n_vocab))
    batch = replace(batch, accumulate=4)
    sft, dropped = OBJECTIVES["sft"](), find(str(HERE / "sft_dropped.py"))()
    gradients = [learn(SimpleNamespace(objective=o), model, parts)[1] for o, parts in (
        (dropped, batch.micro_batches()), (sft, batch.micro_batches()[3:]),
        (dropped, [batch]), (sft, [batch]))]
    same(gradients[0], gradients[1], 1e-6)
    same(gradients[2], gradients[3], 1e-6)


# ---- runs ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["chord", "hpt"])
def test_a_run_on_your_own_rows_scores_held_out_questions(name, files, tmp_path, capsys):
    start, both, demos, reward = files
    train.main(["--objective", name, "--init", start, "--data", both, "--eval-data", demos,
                "--reward", reward, "--steps", "2", "--batch-size", "4",
                "--max-new", "6", "--device", "cpu", "--threads", "1",
                "--out", str(tmp_path / "run")])
    told = capsys.readouterr().out
    assert "20 rows read: 16 to learn from, 4 held out" in told
    assert "held-out questions: reward of the answers" in told


def test_asft_says_which_asft_it_is(files, tmp_path, capsys):
    steps_of("asft", files[0], tmp_path / "asft", max_new=None)
    assert "asft is Aligned SFT (arXiv:2409.10571)" in capsys.readouterr().out


def test_in_half_precision_the_first_ratio_is_one_and_demonstrations_have_log_probs():
    made = source("hpt", mix="16:0", dtype="bf16")
    batch = made(0)
    with made.sampler.device.autocast():
        made.objective.forward(made.sampler.policy, batch)
    s, demo = batch.seqs["answer"], batch.seqs["demo"]
    assert s.sampled_logp is None and demo.logp.dtype == torch.float32
    assert torch.equal(demo.logp != 0, demo.mask > 0)
