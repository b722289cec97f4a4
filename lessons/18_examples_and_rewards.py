# %% [markdown]
# # 18 · Examples and rewards in one loss
# Some answers are shown, and every answer can be scored. Should a model learn from both at once, or
# only from what the scorer passes? Read four methods off one formula, then guess when mixing pays.
#
# *About 30 minutes; read 09 and 12 first. CHORD: arXiv:2508.11408; HPT: arXiv:2509.04419; LUFFY:
# arXiv:2504.14945; the reply to them: arXiv:2604.23747; `nanouft/objectives/chord.py`.*
#
# Lesson 09 put demonstrations and scores into one loss. There the scores belonged to given answers.
# Since 2025 the same question is asked with answers that the model samples itself. SFT **imitates**
# demonstrations, GRPO **explores**, and CHORD does both in each step:
# $$L=(1-w)\,L_{\rm explore}+w\,L_{\rm imitate}.$$
#
# **Why it might help.** A reward cannot teach what the model never says (lesson 16), but a
# demonstration can show it. And a demonstration may be wrong, but a reward notices. The weight $w$
# falls during the run: first the model is shown something, then it corrects it.
#
# **Why it might not.** Who has a scorer can also use it to throw out wrong demonstrations. SFT on
# the rest samples nothing, so it is far cheaper. And with SFT first and GRPO afterwards, both kinds
# of data are used as well.
#
# ## Guess
# The base learns to sort, to doubt myths, and to say "I do not know." of creatures that nobody
# knows. There are 384 demonstrations, of which 40 % are wrong, and a scorer for all answers. By how
# many points is CHORD ahead of SFT on those demonstrations that the scorer passes? It may also be
# behind. Write down a number from -60 to 60.

# %%
from course import Lesson, train

CHANGE = ""                     # change one thing: "" | "few" | "many" | "silent", see below
lesson = Lesson("18", CHANGE)

# %% [markdown]
# ## A dial with four parts
# HPT's authors read the gradients of such methods as one formula with four parts. Let $\pi$ be the
# probability of a token. Then
# $$-\nabla L=\mathrm{mean}_{\rm data}\Big[\mathrm{mask}\cdot\frac{A}{\mathrm{denominator}}
# \,\nabla\pi\Big],\qquad\nabla\pi=\pi\,\nabla\log\pi.$$
# The **data** are demonstrations or sampled answers. The **baseline** makes the advantage $A$ out of
# a score. The **denominator** is the probability that $\pi$ is divided by. The **mask** leaves some
# tokens out. By the second equation a token's log-probability gets the push
# $\mathrm{mask}\cdot A\cdot\pi/\mathrm{denominator}$:
#
# | method | data | baseline: $A$ is | denominator | mask |
# |---|---|---|---|---|
# | SFT | demonstrations | 1 | $\pi$ | |
# | DFT | demonstrations | 1 | 1 | |
# | GRPO | own answers | score minus mean of its group, over the spread | $\pi_{\rm old}$ | clip |
# | LUFFY | own answers, and a demonstration in each group | as GRPO | own: $\pi_{\rm old}$; shown: $(\pi+\gamma)^2/\gamma$ | |
# | CHORD | both, with $1-w$ and $w$ | GRPO's; 1 if shown | GRPO's; $\pi$ if shown | clip |
# | CHORD with $\varphi$ | the same | the same | $1/(1-\pi)$ if shown | clip |
# | HPT | shown where the model fails, else its own | GRPO's; 1 if shown | as CHORD | one of both |
#
# So SFT is a policy gradient with odd settings: each shown token has the advantage 1, however wrong
# it is, and the denominator $\pi$ pushes an improbable token as hard as a probable one. DFT and
# $\varphi=\pi(1-\pi)$ push a token less that the model finds hopeless, and $\varphi$ also spares one
# that it knows. The next cell turns the denominator and checks each push by autograd.

# %%
import itertools
import math

import draw
import torch

from nanouft import world
from nanouft.gpt import shipped_base
from nanouft.models.tokenizer import nano
from nanouft.simple import (
    SAMPLES, answers_of, grpo_loss, sample_answers, score_of, sft_loss, token_logp, tokens)

GAMMA = 0.1                                             # LUFFY's
log_pi = torch.tensor([0.02, 0.5, 0.98]).log().requires_grad_()
pi, constant = log_pi.exp(), log_pi.detach().exp()
losses = {                      # of a shown token, and the denominator that its row names
    "SFT": (-log_pi, constant),
    "DFT": (-constant * log_pi, torch.ones(3)),
    "LUFFY, shown": (-pi / (pi + GAMMA), (constant + GAMMA) ** 2 / GAMMA),
    "CHORD with phi": (-constant * (1 - constant) * log_pi, 1 / (1 - constant))}
print("push on a shown token with p =  .02    .5   .98")
for name, (loss, denominator) in losses.items():
    slope, = torch.autograd.grad(loss.sum(), log_pi, retain_graph=True)
    print(f"{name:<25}", *(f"{-x:6.2f}" for x in slope))
    assert torch.allclose(-slope, constant / denominator, atol=1e-5), "mask A pi / denominator"

# %% [markdown]
# ## One loss for all of them
# The data part of the dial is enough to go from SFT to GRPO. With $w=0$ CHORD is GRPO, with $w=1$
# SFT, and a step that shows no demonstration is GRPO. HPT has a **gate** in place of a weight. A
# prompt is failed if at most this share of its answers is right. Then its own answers are left out
# and its demonstration is imitated. So a gate of 1 imitates every prompt. The cell checks these laws
# by the gradients of the base on sixteen prompts.

# %%
SKILLS = ("sort", "truth", "unknown")
STEPS, PROMPTS, RATE, SEEDS = 24, 16, 2.5e-4, (0, 1, 2)
tok, base = nano(), shipped_base()


def imitate(model, demos):
    """SFT's loss on some demonstrations: the mean over all their tokens."""
    inputs, targets, mask = tokens(demos, "answer", tok)
    return -(token_logp(model(inputs), targets) * mask).sum() / mask.sum()


def explore(model, asked, step: int):
    """GRPO's loss on own answers to each prompt, (prompts,), and their scores (prompts,K)."""
    inputs, targets, mask, R = sample_answers(model, asked, tok, step)
    A = (R - R.mean(1, keepdim=True)) / (R.std(1, keepdim=True) + 1e-4)
    logp = (token_logp(model(inputs), targets) * mask).sum(1) / mask.sum(1)
    return -(A * logp.view_as(A)).mean(1), R


def chord(model, asked, demos, step: int, w: float):
    if not demos:
        return explore(model, asked, step)[0].mean()
    return (1 - w) * explore(model, asked, step)[0].mean() + w * imitate(model, demos)


def hpt(model, asked, step: int, gate: float):
    own, R = explore(model, asked, step)
    failed = (R == 1).float().mean(1) <= gate           # (prompts,)
    shown = torch.stack([imitate(model, [row]) for row in asked])
    return torch.where(failed, shown, own).mean()


def slopes(loss):
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(base.parameters()))])


asked = world.rows("train", "demos", PROMPTS, seed=50, skills=SKILLS)
grpo = slopes(grpo_loss(base, base, asked, tok, 0))
laws = {"CHORD with w = 0 is GRPO": (chord(base, asked, asked, 0, 0.0), grpo),
        "CHORD without demonstrations is GRPO": (chord(base, asked, [], 0, 0.9), grpo),
        "CHORD with w = 1 is SFT": (chord(base, asked, asked, 0, 1.0),
                                    slopes(imitate(base, asked))),
        "HPT with gate 1 imitates every prompt": (
            hpt(base, asked, 0, 1.0), slopes(sft_loss(base, None, asked, tok, 0)))}
for law, (loss, wanted) in laws.items():
    off = (slopes(loss) - wanted).norm() / wanted.norm()
    print(f"{law:<38} relative distance of the gradients {off:.0e}")
    assert off < 1e-3, law
failed = (explore(base, asked, 0)[1] == 1).float().mean(1) == 0
print(f"HPT with gate 0 imitates the {failed.sum()} of {PROMPTS} prompts without a right answer")

# %% [markdown]
# ## Five ways to use the same data
# Each run begins at the base and has 24 steps. SFT reads 16 demonstrations in a step, and GRPO
# answers 16 prompts four times. "SFT, GRPO" is a chain, with 12 steps of either. CHORD does both in
# each of its 24 steps, and $w$ falls from 0.9 to 0.05 in the first half. "SFT, passed" reads only
# demonstrations with full marks. All have one rate. What is printed are means over three seeds,
# which draw other demonstrations and prompts; scores are those of 120 new questions.


# %%
def demonstrations(seed: int) -> list:
    """The answers that are shown."""
    many = STEPS * PROMPTS
    rows = world.rows("train", "demos", many, seed, 0.0 if CHANGE else 0.4, SKILLS)
    if CHANGE == "few":
        return rows[:64]
    if CHANGE == "silent":                      # each stranger gets an invented fact
        invented = world.rows("train", "demos", many, seed, 1.0, SKILLS)
        return [b if a.task == "unknown" else a for a, b in zip(rows, invented)]
    return rows


def train_by(start, weight, demos: list, seed: int, what: str, first: int = 0, last: int = STEPS):
    """The model after the steps from `first` on; weight(step) is CHORD's w."""
    prompts = world.rows("train", "demos", STEPS * PROMPTS, seed, skills=SKILLS)
    steps = itertools.count(first)

    def loss(model, asked):
        step = next(steps)
        w = weight(step)
        some = [demos[(step * PROMPTS + i) % len(demos)] for i in range(PROMPTS)]
        return imitate(model, some) if w == 1 else chord(model, asked, some, 1000 * seed + step, w)
    return train(start, loss, prompts[first * PROMPTS:], last - first, RATE, what, PROMPTS,
                 falls=True)


def falling(step: int) -> float:
    return 0.05 + 0.85 * (1 + math.cos(math.pi * min(1, 2 * step / STEPS))) / 2


def always(w: float):
    return lambda step: w


def look(model) -> dict[str, float]:
    """Mean scores of each task on 40 new questions, of 100."""
    asked = world.rows("test", "prompts", 40 * len(SKILLS), seed=9, skills=SKILLS)
    scores = [score_of(row, answer, tok) for row, answer in zip(asked, answers_of(model, asked, tok))]
    by_task = 100 * torch.tensor(scores).view(len(SKILLS), -1).mean(1)
    return dict(zip(SKILLS, by_task.tolist())) | {"mean": by_task.mean().item()}


runs: dict[str, list[dict]] = {}
for seed in SEEDS:
    demos = demonstrations(seed)
    passed = [row for row in demos if world.score(row.prompt[0].text, row.answer[0].text) == 1]
    half = train_by(base, always(1), demos, seed, "SFT, half", last=STEPS // 2)
    models = {
        "SFT": train_by(base, always(1), demos, seed, "SFT"),
        "GRPO": train_by(base, always(0), demos, seed, "GRPO"),
        "SFT, GRPO": train_by(half, always(0), demos, seed, "SFT, GRPO", first=STEPS // 2),
        "CHORD": train_by(base, falling, demos, seed, "CHORD"),
        "SFT, passed": train_by(base, always(1), passed, seed, "SFT, passed")}
    for name, model in models.items():
        runs.setdefault(name, []).append(look(model))
means = {name: {task: sum(x[task] for x in found) / len(SEEDS) for task in (*SKILLS, "mean")}
         for name, found in runs.items()}
print(f"{len(demos)} demonstrations, of which the scorer passes {len(passed)} (last seed)")
print(f"{'':<13}" + "".join(f"{task:>9}" for task in (*SKILLS, "mean")) + "   the mean, seed by seed")
for name, found in means.items():
    print(f"{name:<13}" + "".join(f"{x:9.0f}" for x in found.values()) + "   "
          + " ".join(f"{x['mean']:4.0f}" for x in runs[name]))
