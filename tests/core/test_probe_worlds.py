"""Probe worlds: tiny worlds that each catch one class of bug in on-policy learning, through the real loop.

    python -m pytest tests/test_probe_worlds.py        about 5 s, each world under a second

RL can look as if it works with a bug inside, and fail without one. So each world here is so small that a right method
cannot miss, and beside each stands a mutant: the method with the bug that the world is there for must miss.
    one-token bandit     one of eight tokens is right            a sign, an advantage of the wrong answer
    delayed reward       only the first of two tokens matters    credit that does not reach back through time
    wrong mask           never say what the prompt says          prompt tokens that are trained on
    ties                 every answer earns the same             noise that is taken for a signal
"""
import dataclasses

import numpy as np
import pytest
import torch
from tiny import CPU, same

from nanouft.data.rows import Turn
from nanouft import train
from nanouft.data.batches import Encoded, Tokens
from nanouft.data.rows import Example
from nanouft.gpt import GPT, GPTConfig
from nanouft.objectives import OBJECTIVES
from nanouft.objectives import ppo as ppo_file
from nanouft.rollout.rollouts import Rollouts

RIGHT, FORBIDDEN, ASK = 3, 5, 1                 # tokens; 0 is padding, 7 ends an answer
METHODS = [name for name, o in OBJECTIVES.items() if o.source == "rollouts"]


class Numbers:
    """A tokenizer whose words are the ids themselves."""
    pad, end, user, assistant = 0, 7, -1, -1

    def decode(self, ids) -> str:
        return " ".join(map(str, ids))


def learn(tmp_path, monkeypatch, objective, hp, score, prompts=((ASK,),), new=1, steps=30, lr=0.02, seed=0):
    """(the model before, and after `steps` steps of the real loop); score(list of answer tokens) -> reward."""
    model = GPT(GPTConfig(vocab_size=8, n_ctx=12, n_layer=1, n_head=1, n_embd=16, init_std=0.02), seed=seed)
    if objective.value:
        model.add_value_head()
    before = [p.detach().clone() for p in model.parameters()]
    rows = [Encoded({"prompt": Tokens(np.array(p), np.zeros(len(p), int))}, {},
                    Example({"prompt": ((Turn("user", " ".join(map(str, p))),), ())})) for p in prompts]
    cfg = train.Train(lr=lr, batch_size=16, save_every=0, compile="off", max_new=new, show_every=0, data=["-"],
                      warmup=0.0, seed=seed)
    monkeypatch.setattr(train, "VALUE_RATE", 1)             # thirty times .02 is no rate
    monkeypatch.setattr("nanouft.rollout.rollouts.scorer", lambda name, device: lambda asked, said: np.array(
        [score([int(t) for t in text.split()]) for text in said]))
    source = Rollouts(rows, objective, hp, cfg, steps, model, Numbers(), CPU)
    train.fit(model, objective, hp, cfg, rows, 0, steps, CPU, tmp_path, None, source)
    return before, model


@torch.no_grad()
def chance(model: GPT, prompt: list[int], token: int) -> float:
    return model(torch.tensor([prompt]))[0, -1].softmax(-1)[token].item()


def settings(name: str, **kw):
    """Defaults with four answers a prompt, no leash and, for who has them, two steps a rollout. The critic's loss
    weighs a tenth: these worlds have rates so large that at full weight it would drag the shared states about."""
    o = OBJECTIVES[name]
    known = {f.name for f in dataclasses.fields(o.hp)}
    free = {"samples": 4, "beta": 0.0, "end_penalty": 0.0, "minibatches": 2, "passes": 1, "vf": 0.1, **kw}
    if name.startswith("online"):
        free["beta"] = 1.0                      # these two have no method without one
    return o.hp(**{k: v for k, v in free.items() if k in known})


def flipped(objective):
    """The mutant: everything is learnt with the wrong sign."""
    def loss(batch, hp):
        value, metrics = objective.loss(batch, hp)
        return -value, metrics
    return dataclasses.replace(objective, loss=loss)


# ---- 1. one-token bandit ---------------------------------------------------------------------------------------------
def bandit(said: list[int]) -> float:
    return float(said[:1] == [RIGHT])


@pytest.mark.parametrize("name", METHODS)
def test_one_token_bandit(name, tmp_path, monkeypatch):
    _, model = learn(tmp_path, monkeypatch, OBJECTIVES[name], settings(name), bandit)
    assert chance(model, [ASK], RIGHT) > 0.8, f"LAW: {name} finds the one token that pays, from a chance of 1/8"


@pytest.mark.parametrize("name", METHODS)
def test_one_token_bandit_catches_a_sign(name, tmp_path, monkeypatch):
    _, model = learn(tmp_path, monkeypatch, flipped(OBJECTIVES[name]), settings(name), bandit)
    assert chance(model, [ASK], RIGHT) < 0.2, f"{name} with a flipped sign must not find it"


@pytest.mark.parametrize("name", ["rloo", "grpo"])
def test_one_token_bandit_catches_an_advantage_of_the_wrong_answer(name, tmp_path, monkeypatch):
    """Sample-major instead of prompt-major groups, say: every advantage lands on somebody else's answer."""
    o = OBJECTIVES[name]
    rolled = dataclasses.replace(o, credit=lambda batch, hp: {"adv": o.credit(batch, hp)["adv"].roll(1)})
    _, model = learn(tmp_path, monkeypatch, rolled, settings(name), bandit)
    assert chance(model, [ASK], RIGHT) < 0.5


# ---- 2. delayed reward -----------------------------------------------------------------------------------------------
def delayed(said: list[int]) -> float:
    return float(said[:1] == [RIGHT])            # two tokens are said; the score comes behind the second


@pytest.mark.parametrize("name", METHODS)
def test_two_step_delayed_reward(name, tmp_path, monkeypatch):
    _, model = learn(tmp_path, monkeypatch, OBJECTIVES[name], settings(name), delayed, new=2)
    assert chance(model, [ASK], RIGHT) > 0.8, f"LAW: {name} gives the first token its part of a reward that comes later"


def test_delayed_reward_catches_credit_that_stays_where_it_is_paid(tmp_path, monkeypatch):
    """The mutant: no advantage flows back, and the critic learns nothing that could carry it."""
    honest = ppo_file.gae
    monkeypatch.setattr(ppo_file, "gae", lambda R, V, mask, gamma, lam: honest(R, V, mask, 0.0, 0.0))
    _, model = learn(tmp_path, monkeypatch, OBJECTIVES["ppo"], settings("ppo", vf=0.0), delayed, new=2)
    assert chance(model, [ASK], RIGHT) < 0.5


def test_delayed_reward_catches_a_loss_over_the_last_token_only(tmp_path, monkeypatch):
    o = OBJECTIVES["rloo"]

    def last(batch, hp):
        s = batch.seqs["answer"]
        s.mask = s.mask * (s.mask.flip(-1).cumsum(-1).flip(-1) == 1)
        return o.loss(batch, hp)
    _, model = learn(tmp_path, monkeypatch, dataclasses.replace(o, loss=last), settings("rloo"), delayed, new=2)
    assert chance(model, [ASK], RIGHT) < 0.5


# ---- 3. wrong mask ---------------------------------------------------------------------------------------------------
PARROT = ((ASK, FORBIDDEN, FORBIDDEN, FORBIDDEN), (ASK, FORBIDDEN))     # of different length: padding, too


def unlike_the_prompt(said: list[int]) -> float:
    return float(said[:1] != [FORBIDDEN])


@pytest.mark.parametrize("name", METHODS)
def test_wrong_mask_world(name, tmp_path, monkeypatch):
    _, model = learn(tmp_path, monkeypatch, OBJECTIVES[name], settings(name), unlike_the_prompt, PARROT)
    for prompt in PARROT:
        assert chance(model, list(prompt), FORBIDDEN) < 0.05, f"LAW: {name} trains on answers, never on the prompt"


def test_wrong_mask_world_catches_training_on_the_prompt(tmp_path, monkeypatch):
    """The mutant: prompt targets count as answer tokens. What is said often in prompts is then learnt as an answer."""
    o = dataclasses.replace(OBJECTIVES["reinforce"])

    def everything(model, batch, hp):
        batch.seqs["answer"].mask = batch.seqs["answer"].attend
        o.forward(model, batch, hp)
    hp = OBJECTIVES["reinforce"].hp(beta=0.0, baseline="none")
    _, model = learn(tmp_path, monkeypatch, dataclasses.replace(o, forward=everything), hp, unlike_the_prompt, PARROT)
    assert chance(model, list(PARROT[1]), FORBIDDEN) > 0.2, "the shorter prompt is a part of the longer one"


# ---- 4. ties ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["reinforce", "rloo", "grpo", "ppo", "online_dpo"])
def test_tie_world(name, tmp_path, monkeypatch):
    before, model = learn(tmp_path, monkeypatch, OBJECTIVES[name], settings(name, vf=0.0), lambda said: 0.7, steps=4)
    for was, now in zip(before, model.parameters()):
        same(now, was, f"{name}: where every answer earns the same, nothing is learnt", 1e-6)


def test_tie_world_catches_a_baseline_that_is_none(tmp_path, monkeypatch):
    o = OBJECTIVES["rloo"]
    wrong = dataclasses.replace(o, credit=lambda batch, hp: {      # K for K - 1: part of the reward stays
        "adv": o.credit(batch, hp)["adv"] + batch.col.reward / hp.samples})
    before, model = learn(tmp_path, monkeypatch, wrong, settings("rloo"), lambda said: 0.7, steps=4)
    assert max((now - was).abs().max().item() for was, now in zip(before, model.parameters())) > 1e-3


def test_tie_world_catches_a_pair_of_equals(tmp_path, monkeypatch):
    o = OBJECTIVES["online_dpo"]
    wrong = dataclasses.replace(o, credit=lambda batch, hp: o.credit(batch, hp) | {
        "differ": torch.ones_like(batch.col.reward)})
    before, model = learn(tmp_path, monkeypatch, wrong, settings("online_dpo"), lambda said: 0.7, steps=4)
    assert max((now - was).abs().max().item() for was, now in zip(before, model.parameters())) > 1e-3
