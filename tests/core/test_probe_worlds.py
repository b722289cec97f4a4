"""Probe worlds: tiny worlds that each catch one class of bug in on-policy learning, through the real loop.

RL can look as if it works with a bug inside, and fail without one. So each world here is so small that a right method
cannot miss it. On the right stands the bug that the world is there for.
    one-token bandit     one of eight tokens is right            a sign, an advantage of the wrong answer
    delayed reward       only the first of two tokens matters    credit that does not reach back through time
    wrong mask           never say what the prompt says          prompt tokens that are trained on
    ties                 every answer earns the same             noise that is taken for a signal
"""
from dataclasses import fields

import numpy as np
import pytest
import torch
from tiny import CPU, same

from nanouft import train
from nanouft.data.batches import Encoded, Tokens
from nanouft.data.rows import Example, Turn
from nanouft.gpt import GPT, GPTConfig
from nanouft.models.save import add_value_head
from nanouft.objectives import OBJECTIVES
from nanouft.rollout.rollouts import Rollouts
from nanouft.training.setup import Run

RIGHT, FORBIDDEN, ASK = 3, 5, 1                 # tokens; 0 is padding, 7 ends an answer
METHODS = [name for name, o in OBJECTIVES.items() if o.on_policy and o.rewarded]
every_method = pytest.mark.parametrize("name", METHODS)


class Numbers:
    """A tokenizer whose words are the ids themselves."""
    pad, end, user, assistant, stops = 0, 7, -1, -1, {7}

    def decode(self, ids) -> str:
        return " ".join(map(str, ids))


@pytest.fixture
def learn(tmp_path, monkeypatch):
    """learn(objective, hp, score ...) -> (the weights before, the model after `steps` steps of the real loop);
    score(list of answer tokens) -> reward."""
    def run(objective, hp, score, prompts=((ASK,),), new=1, steps=30):
        model = GPT(GPTConfig(vocab_size=8, n_ctx=12, n_layer=1, n_head=1, n_embd=16, init_std=0.02), seed=0)
        if objective.value_head:
            add_value_head(model, "base")
        before = [p.detach().clone() for p in model.parameters()]
        rows = [Encoded({"prompt": Tokens(np.array(p), np.zeros(len(p), int))},
                        Example({"prompt": ((Turn("user", " ".join(map(str, p))),), ())})) for p in prompts]
        cfg = train.Train(lr=0.02, batch_size=16, save_every=0, compile="off", max_new=new, show_every=0, data=["-"],
                          warmup=0.0)
        monkeypatch.setattr("nanouft.rollout.rollouts.scorer", lambda name, device: lambda asked, said: np.array(
            [score([int(t) for t in text.split()]) for text in said]))
        monkeypatch.setattr(train, "VALUE_RATE", 1)             # thirty times .02 is no learning rate
        source = Rollouts(rows, objective, hp, cfg, steps, model, Numbers(), CPU)
        train.fit(model, objective, hp, steps, Run("probe", cfg, hp, CPU, tmp_path, source, None))
        return before, model
    return run


@torch.no_grad()
def chance(model: GPT, prompt: tuple[int, ...] = (ASK,), token: int = RIGHT) -> float:
    return model(torch.tensor([prompt]))[0, -1].softmax(-1)[token].item()


def settings(name: str, **kw):
    """Defaults with four answers a prompt, no leash and, for who has them, two steps a rollout. The critic's loss
    weighs a tenth: these worlds have rates so large that at full weight it would drag the shared states about."""
    hp = OBJECTIVES[name].hp
    beta = 1.0 if name.startswith("online") else 0.0            # those two have no method without one
    free = {"samples": 4, "beta": beta, "end_penalty": 0.0, "minibatches": 2, "passes": 1, "vf": 0.1, **kw}
    return hp(**{f.name: free[f.name] for f in fields(hp) if f.name in free})


# ---- 1. one-token bandit, 2. delayed reward --------------------------------------------------------------------------
def first_is_right(said: list[int]) -> float:
    """With two tokens to say, the score comes after the second."""
    return float(said[:1] == [RIGHT])


@pytest.mark.parametrize("name, new", [*((name, 2) for name in METHODS), ("ppo", 1)])
def test_bandit_and_delayed_reward(name, new, learn):
    _, model = learn(OBJECTIVES[name], settings(name), first_is_right, new=new)
    assert chance(model) > 0.8, f"LAW: {name} finds the one token that pays, from 1/8, and gives it its part of a " \
        "reward that comes later"


# ---- 3. wrong mask ---------------------------------------------------------------------------------------------------
PARROT = ((ASK, FORBIDDEN, FORBIDDEN, FORBIDDEN), (ASK, FORBIDDEN))     # of different length: padding, too


def unlike_the_prompt(said: list[int]) -> float:
    return float(said[:1] != [FORBIDDEN])


@every_method
def test_wrong_mask_world(name, learn):
    _, model = learn(OBJECTIVES[name], settings(name), unlike_the_prompt, PARROT)
    for prompt in PARROT:
        assert chance(model, prompt, FORBIDDEN) < 0.05, f"LAW: {name} trains on answers, never on the prompt"


# ---- 4. ties ---------------------------------------------------------------------------------------------------------
def moved(before: list[torch.Tensor], model: GPT) -> float:
    return max((now - was).abs().max().item() for was, now in zip(before, model.parameters()))


@pytest.mark.parametrize("name", ["reinforce", "rloo", "grpo", "ppo", "online_dpo"])
def test_tie_world(name, learn):
    far = moved(*learn(OBJECTIVES[name], settings(name, vf=0.0), lambda said: 0.7, steps=4))
    same(far, 0.0, f"{name}: where every answer earns the same, nothing is learnt", 1e-6)
