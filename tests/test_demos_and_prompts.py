"""Demonstrations and sampled answers in one batch: which prompt gets a demonstration, and what
CHORD and HPT learn from it. (Which rows they choose: recorded/rows.txt.)"""
from copy import deepcopy
from dataclasses import replace
from functools import partial

import pytest
import torch
from made import CPU, NANO, TINY, same, say

from nanouft import world
from nanouft.batch import Batch
from nanouft.data.batches import Batching, encode
from nanouft.data.row import Row
from nanouft.data.selection import demo_and_prompt_rows
from nanouft.gpt import GPT
from nanouft.objectives import OBJECTIVES, find
from nanouft.objectives.hpt import more_demos
from nanouft.rollout import Rollouts, Sampler, credit_rollout, score_demos
from nanouft.run.evaluation import say_if_rewards_are_equal
from nanouft.run.hyperparameters import make_optimizer
from nanouft.train import sampled_batch, steps

K, P = 3, 4
SKILLS = "rules,list,sum,truth"


def letters(rows, texts) -> list[float]:
    """A score that a random policy reaches."""
    return [len({*text}) / 40 for text in texts]


def source(name: str, mix: str = "4:12", score=letters, dtype: str = "fp32",
           **settings) -> Rollouts:
    """Steps of P prompts over NanoWorld's demonstrations and bare prompts, with a random policy."""
    o = find(name)(samples=K, **settings)
    rows = world.mixed_rows("train", ["demos", "prompts"], 16, 3, skills=SKILLS, mix=mix)
    encoded, _ = encode(o.choose(rows), NANO, 115)
    policy = GPT(replace(TINY, vocab_size=NANO.n_vocab, n_ctx=128, init_std=0.1), seed=0)
    sampler = Sampler(policy, deepcopy(policy), NANO, 12, replace(CPU, dtype=dtype))
    return Rollouts(encoded, o, sampler, score, Batching(P, steps=8, seed=1))


def moved(made: Rollouts, number: int = 1) -> Batch:
    """A step whose policy has moved since it sampled, so that no ratio is 1."""
    batch = sampled_batch(made, number)
    rng = torch.Generator().manual_seed(0)
    for p in made.sampler.policy.parameters():
        p.data += 0.01 * torch.randn(p.shape, generator=rng)
    made.objective.forward(made.sampler.policy, batch)
    return batch


# ---- rows ----------------------------------------------------------------------------------------
def test_few_demonstrations_come_again_until_they_have_their_share():
    """All few of them equally often, up to the nearest number; none goes."""
    rows = demo_and_prompt_rows([Row(say("user", str(i)), say("assistant", "b") if i < 2 else None)
                                 for i in range(10)])
    for share, times in ((0.0, 1), (0.2, 1), (0.5, 4), (0.75, 12), (0.9, 36)):
        chosen = more_demos(rows, share)
        assert chosen[:10] == rows
        assert sum("demo" in row.roles for row in chosen) == 2 * times == len(chosen) - 8


# ---- what stands beside what ---------------------------------------------------------------------
def test_hpt_shows_the_demonstration_of_the_prompt_or_none():
    made = source("hpt")
    taught = {tuple(e.seqs["prompt"].ids) for e in made.prompts if "demo" in e.seqs}

    def prompt_of(role: str, i: int) -> tuple[int, ...]:
        s = batch.seqs[role]
        return tuple(s.inputs[i, :s.mask[i].argmax() + 1].tolist())
    for number in range(2):
        batch = sampled_batch(made, number)
        for i, shown in enumerate(batch.per_row["demo"]):
            assert shown == batch.seqs["demo"].mask[i].any()
            assert shown == (i % K == 0 and prompt_of("answer", i) in taught)
            assert not shown or prompt_of("demo", i) == prompt_of("answer", i)


def test_chord_shows_one_demonstration_per_prompt_each_once_before_any_comes_again():
    made, shown = source("chord", mix="6:10"), []
    for number in range(6):
        s = sampled_batch(made, number).seqs["demo"]
        texts = [made.sampler.tok.decode(x[on > 0].tolist()) for x, on in zip(s.targets, s.mask)]
        assert all(bool(text) == (i % K == 0) for i, text in enumerate(texts))
        shown += filter(None, texts)
    assert len({*shown[:P]}) == P and {*shown[:P]} != {*shown[P:2 * P]}
    for first in (0, 12):                       # three steps of four show each of the six twice
        assert {shown[first:first + 12].count(text) for text in shown} == {2}


def test_the_scorer_sees_a_demonstration_as_text():
    made = source("hpt", mix="16:0", score=lambda rows, texts: world.exact_scores(rows, texts))
    batch = sampled_batch(made, 0)
    same(batch.per_row["demo_reward"], batch.per_row["demo"])           # all of them are right
    assert batch.per_row["demo"].sum() == P
    talk = (*say("assistant", "b"), *say("user", "c"), *say("assistant", "d"))
    demo = encode(demo_and_prompt_rows([Row(say("user", "a"), talk)])[:1], NANO, 115)[0][0]
    told = score_demos([None, demo], lambda rows, texts: [float(text == "d") / 2 for text in texts])
    assert told["demo_reward"].tolist() == [0, 0.5], "of a dialogue its last answer"


@pytest.mark.parametrize("said, name, score", [
    (True, "grpo", 1), (True, "rloo", "of question"), (True, "online_dpo", 0), (True, "hpt", 1),
    (True, "reinforce", 1), (False, "reinforce", "of question"), (False, "grpo", "of answer"),
    (False, "ppo", 0), (False, "chord", 1)])
def test_a_run_that_learns_nothing_from_its_rewards_says_so(said, name, score, capsys):
    """A critic, a mean over other questions, and demonstrations teach where no answers differ."""
    made = source(name, score=lambda rows, texts: letters(rows, texts) if score == "of answer" else
                  [len(r.prompt[0].text) % 7 if score == "of question" else score for r in rows])
    policy = made.sampler.policy
    optimizer, batch_of = make_optimizer(policy, 1e-3), partial(sampled_batch, made)
    log = [{"loss": 0, "grad_norm": float(step.norm)}
           for step in steps(policy, made.objective, batch_of, optimizer, range(1))]
    capsys.readouterr()
    say_if_rewards_are_equal([*log, {"step": 1, "held_out": {}}])
    assert ("nothing was learned" in capsys.readouterr().out) == said
    say_if_rewards_are_equal([{"loss": 0, "grad_norm": 1e-6}])
    assert capsys.readouterr().out, "what fp32 rounds teaches nothing"


# ---- the losses ----------------------------------------------------------------------------------
def test_hpt_imitates_a_prompt_that_is_failed_and_has_a_demonstration():
    """Failed: at most the share `gate` of its answers earns `right` or more."""
    R, demo = torch.tensor([0.4, 0.7, 0, 0, 0.4, 0.7, 0, 0, 0.7, 0.7, 0, 0]), torch.zeros(12)
    demo[[0, 8]] = 1
    for settings, of_prompts in (({}, [1, 0, 1]), ({"right": 0.5}, [0, 0, 0]),
                                 ({"right": 0.5, "gate": 0.5}, [1, 0, 1]),
                                 ({"right": 0.7, "gate": 0.25}, [1, 0, 0])):  # fp32: 0.69999999
        batch, told = credit_rollout(Batch({}, {"reward": R, "demo": demo}),
                                     OBJECTIVES["hpt"](**settings))
        assert batch.per_row["imitate"].view(3, 4)[:, 0].tolist() == of_prompts
        assert torch.equal(batch.per_row["imitate"], torch.tensor(of_prompts).repeat_interleave(4))
        assert told["imitated"] == pytest.approx(sum(of_prompts) / 3)


# ---- what they are at the ends of their settings -------------------------------------------------
def test_demonstrations_beside_prompts_neither_replace_nor_reorder_them():
    """And a step knows how far the run is."""
    grpo, chord = source("grpo"), source("chord")
    for number in (0, 3, 7):
        asked, beside = sampled_batch(grpo, number), sampled_batch(chord, number)
        assert torch.equal(asked.seqs["answer"].inputs, beside.seqs["answer"].inputs)
        assert beside.progress == number / 8


def test_rows_without_a_demonstration_are_not_read(monkeypatch):
    made, read = source("hpt"), []
    batch, real = sampled_batch(made, 0), GPT.forward
    monkeypatch.setattr(GPT, "forward", lambda self, idx=None, *args, **how: read.append(
        len(idx)) or real(self, idx, *args, **how))
    made.objective.forward(made.sampler.policy, batch)
    assert read == [P * K + int(batch.per_row["demo"].sum())]


@pytest.mark.parametrize("name", ["chord", "hpt"])
def test_without_demonstrations_it_is_grpo(name):
    made = source(name)
    made.demos_of = lambda prompts, rollout: [None] * len(prompts)
    batch = moved(made)
    same(made.objective.loss(batch)[0].detach(),
         OBJECTIVES["grpo"](samples=K, beta=0.0).loss(batch)[0].detach(), 1e-6)
