# %% [markdown]
# # 15 · What are a critic, GAE and the clip good for?
# *Core · about 25 minutes (our estimate) · needs 14 · PPO 1707.06347, GAE 1506.02438, for
# language models 1909.08593; `nanouft/objectives/ppo.py`*
#
# After this lesson you can
# - write GAE and the clipped loss of PPO;
# - say what a critic is good for, and when it misleads;
# - say what the clip does for either sign of the advantage.
#
# RLOO (14) gives every token of an answer the same push. But most tokens did not decide the
# score. PPO gives the model a second head, the **critic** $V$. After every token it asks the
# critic: *what score can we still expect?* A token is good if it made that number rise. And
# answers are costly. So PPO takes several steps on one rollout, and a **clip** limits these
# steps.
#
# This lesson uses no language model, so everything is known exactly. An answer has
# eight steps. Each step is right with probability .6, and the first wrong step (the *slip*) costs
# the rest: score = right steps before the slip / 8. The policy is a table with two logits for
# each step: one before a slip, one for after the slip. What the policy says after the slip does
# not matter.
#
# Two old questions: (14) Why may a baseline not depend on the answer itself? (04) What is a state
# in an answer?

# %% [markdown]
# ## Guess before you run
# A step sees four answers. RLOO's gradient is then off by about 1.8 times its own length, by chance
# alone. Now take a critic that knows exactly what is to be expected, and lam = 0. The gradient is
# off by about ...
# - **a** 1.5 times its length;
# - **b** 1 times its length;
# - **c** .5 times its length.

# %%
from course import Lesson, progress

lesson = Lesson("15", "abc")

# %% [markdown]
# ## One equation
# $$\delta_t=R_t+V_{t+1}-V_t,\qquad A_t=\delta_t+\lambda A_{t+1},\qquad
# L_t=-\min\big(\rho_t A_t,\ {\rm clip}(\rho_t,1-\varepsilon,1+\varepsilon)\,A_t\big)$$
# - $V_t$ is what the critic says BEFORE token $t$. After the end it is 0.
# - $\lambda=1$: $A_t$ is the whole return minus $V_t$. It is right on average, whatever the
#   critic says.
# - $\lambda=0$: $A_t$ is only the change in what the critic expects. It has little noise, but it
#   is right only if the critic is right.
# - $\rho_t=\pi/\pi_{\rm old}$: how much likelier the token is now than when it was sampled.

# %%
from nanouft.objectives.on_policy import clipped
from nanouft.objectives.ppo import gae, whiten
from nanouft.objectives.rloo import leave_one_out
import draw
import torch

CRITIC = 1.0                            # the switch, see "Break it"
T = 8                                   # steps of an answer
K = 4                                   # answers of a rollout
N = 3000                                # rollouts
LAMS = (0, 0.25, 0.5, 0.75, 0.95, 1)
start = torch.full((T, 2), 0.405)       # logits of a right step: [before the slip, after it]


def value(table):
    """(..,T,2) -> (..,T): the score to expect before step t, if there was no slip yet."""
    expected = [torch.ones(table.shape[:-2])]           # all steps right: score 1
    for t in reversed(range(T)):
        p = table[..., t, 0].sigmoid()
        expected.insert(0, p * expected[0] + (1 - p) * t / T)
    return torch.stack(expected[:-1], -1)


def logit(table, alive):
    """(..,T,2), (..,T): the one of the two logits that counts."""
    return torch.where(alive > 0, table[..., 0], table[..., 1])


u = torch.rand(N * K, T, generator=torch.Generator().manual_seed(0))
one = torch.ones(N * K, T)
so_far = (u < start[:, 0].sigmoid()).float().cumprod(1)         # 1: no slip up to and with step t
alive = torch.cat([one[:, :1], so_far[:, :-1]], 1)              # 1: no slip before step t
score = so_far.mean(1)                                          # (N K,)
right = (u < logit(start, alive).sigmoid()).float()             # (N K, T) was step t right?
V = CRITIC * torch.where(alive > 0, value(start), score[:, None])       # after the slip it is known
R = torch.cat([0 * one[:, 1:], score[:, None]], 1)              # paid once, at the end
true = torch.autograd.functional.jacobian(lambda table: value(table)[0], start)    # (T,2), exact


def quality(adv) -> tuple[float, float]:
    """(N K, T) advantages -> (bias, noise) of the gradient, in lengths of the true one."""
    push = adv * (right - logit(start, alive).sigmoid())
    gradients = torch.stack([push * alive, push * (1 - alive)], -1).view(N, K, T, 2).mean(1)
    mean = gradients.mean(0)
    noise = (gradients - mean) / N ** 0.5
    return ((mean - true).norm() / true.norm()).item(), (noise.norm() / true.norm()).item()


def at_each_lam(V) -> list[tuple[float, float]]:
    return [quality(gae(R, V, one, 1.0, lam)) for lam in LAMS]


rloo = leave_one_out(score.view(N, K)).view(-1, 1) * one
arms = {"critic": at_each_lam(V), "blank": at_each_lam(0 * V), "RLOO": [quality(rloo)]}
for name, found in arms.items():
    numbers = [f"{noise:.2f}, {bias:.2f}" for bias, noise in found]
    print(f"{name:<13} noise, bias at each lam:  ", "   ".join(numbers))

# %% [markdown]
# ## The clip
# We train 300 policies. Each has ONE rollout of four answers and takes 30 steps on it, with Adam.
# In the later passes they still use four answers of a policy that has changed a lot since. The clip
# stops that. (A clip of 99 is no clip.) The picture shows the *true* scores.

# %%
def passes(eps: float, n: int = 300, M: int = 4):
    """(30, n) exact scores of n policies before each of 30 passes over M answers."""
    words = right[:n * M].view(n, M, T)
    on = alive[:n * M].view(n, M, T)
    adv = gae(R, V, one, 1.0, 0.95)[:n * M].view(n, M, T)
    adv = torch.stack([whiten(a, torch.ones_like(a)) for a in adv])
    table = start.repeat(n, 1, 1).requires_grad_()
    optimizer = torch.optim.Adam([table], lr=0.1)
    scores, old = [], None
    for _ in progress(range(30), f"clip {eps:g}"):
        scores.append(value(table.detach())[:, 0])
        logp = torch.nn.functional.logsigmoid(logit(table[:, None], on) * (2 * words - 1))
        if old is None:
            old = logp.detach()                         # as it was when the answers were sampled
        rho = (logp - old).exp()
        optimizer.zero_grad()
        clipped(rho, adv, eps, eps).sum().backward()
        optimizer.step()
    return torch.stack(scores)


after = {f"clip {eps:g}": passes(eps) for eps in (0.2, 99)}
for name, s in after.items():
    worse = (s[-1] < s[0]).float().mean()
    print(f"{name}: score {s[-1].mean():.2f} after 30 passes; below start: {worse:.0%}")

# %%
curves = {}
for arm in ("critic", "blank"):
    curves[f"noise, {arm}"] = [noise for _, noise in arms[arm]]
    curves[f"bias, {arm}"] = [bias for bias, _ in arms[arm]]
curves["noise, RLOO"] = [arms["RLOO"][0][1]] * len(LAMS)
means = {}
for name, s in after.items():
    means[f"{name}: mean"] = s.mean(1)
    means[f"{name}: worst 10 %"] = s.quantile(0.1, 1)
# Seen: Noise and bias of one gradient over lam; the true score over the passes, with two clips.
fig, (left, side) = draw.panels(1, 2)
title = "one gradient, in lengths of the true one"
draw.lines(left, LAMS, curves, title, "lam", legend="below")
draw.lines(side, range(30), means, "true score", "pass", legend="below")
lesson.picture(fig, CRITIC=(CRITIC, 1.0))

# %% [markdown]
# ## The proof

# %%
noise = arms["critic"][0][1]                            # at lam 0
answers = {"a": 1.5, "b": 1, "c": 0.5}
did = min(answers, key=lambda letter: abs(noise - answers[letter]))
lesson.compare(did)
bias_at_1 = arms["blank"][-1][0]
assert bias_at_1 < 0.1, "at lam 1 the gradient is right on average, whatever the critic says"
largest_bias = max(bias for bias, _ in arms["critic"])
assert largest_bias < 0.1, "a critic that is right leaves no bias at any lam"
assert noise < arms["RLOO"][0][1] / 3, "and it takes away most of the noise"

# %% [markdown]
# - **A critic takes noise away.** At $\lambda=0$ only the steps that changed the expected score
#   get a push. Tokens after the slip get a push of exactly 0. RLOO pushes the tokens after the slip
#   like all others. So it needs (1.84/.43)$^2\approx$ 18 times as many answers.
# - **But only if it is right.** A value head starts at 0 (*blank*). Then $\lambda=0$ teaches the
#   last token and nothing else: bias 1, the whole gradient is missing. $\lambda=.95$ is the usual
#   compromise. It leaves a bias of .3 with a blank critic, and almost none with a good one. That
#   is why one watches `explained_variance`: at 0 or below, $V$ is of no use.
# - **A real critic has a price**: a second loss on the same weights, and a second learning
#   problem. Where answers are short and four of them cost little, the mean of the others is
#   already a good critic. For the world of this project: `docs/results/compare/table.md`.
# - **The clip does not raise the score here.** On average the policies *without* it end higher,
#   because the reward is exact and 30 passes are few. The clip makes accidents rarer: 1 % of the
#   policies end worse than they began, against 6 % without it. It also keeps the policy close to
#   the answers that were sampled. Only there can we rely on the rollout, the critic and a *learnt*
#   reward (13).
# - **Other things can be clipped.** GSPO (`grpo --surrogate gspo`) clips the geometric mean of an
#   answer's ratios, CISPO (`cispo`) only the weight, so that no token loses its gradient.
#
# ## Break it
# With `CRITIC = 0.0` the critic is blank everywhere. Which of the three laws of the proof fails,
# and which cannot fail? Then set `CRITIC = 0.5` and guess the bias at $\lambda=0$ before you look.
# Last, write `start[0, 0] = -3` after the line that makes `start`: the first step is now nearly
# always a slip. Which methods still learn something about step 5? (The first law fails here, but
# only by chance. The noise is now 4 lengths. So the mean of 3000 such rollouts is still off by
# about $4/\sqrt{3000}\approx$ .07.)
#
# *Read on after your runs.* With `CRITIC = 0.0` the second law fails. The first one cannot: it
# holds for every critic. With `CRITIC = 0.5` the bias at $\lambda=0$ is .5. In the last run 1 % of
# the answers reach step 5 without a slip. With the right critic its push is still right on average,
# .0007. RLOO's noise there is four times as large, and even the mean of 3000 rollouts has the wrong
# sign. A blank critic at $\lambda=0$ says nothing about step 5.
#
# ## Same letter, other meaning
# $\lambda$ in IFT (05) blends a guess into the input. Here it says how many earlier tokens share
# the credit. $\rho$ is a ratio here and a constant in Ada-DPO (12). $\gamma$ (1 here) discounts
# later rewards; in SimPO it is a margin.
#
# ## Exercises
# `python -m lessons.grade 15a` judges them (`lessons/exercises/README.md` says how).
#
# - **15a** (D2) `gae(R, V, lam, gamma)`: the advantages of one answer's tokens.
# - **15b** (D3) `clip_loss(logp, old, A, eps)`: the clipped loss of each token.
# - **15c** (D2) `token_rewards(score, logp, ref, beta)`: PPO's reward of each token: the KL penalty
#   on all of them, the score on the last.
#
# ## Recall, without looking up
# 1. What does lam = 0 need that lam = 1 does not?
# 2. Why does `V` belong to the state BEFORE the token? What would go wrong with the state after
#    it?
# 3. A ratio of 3 and a positive advantage: what does the clip do to the gradient? And with a
#    negative one?
# 4. Explained variance is -0.2. What does the critic add at lam = 1, and what at lam = 0?
# 5. (14) All answers to a prompt get the same score. What does RLOO learn from them, and what may
#    PPO learn?
#
# <details><summary>Answers</summary>
#
# 1. A critic that is right.
# 2. Then V(t+1) - V(t) is what the token has changed. With the state after it, the baseline would
#    depend on the token itself and remove its effect.
# 3. Positive: the gradient is 0, nothing more to gain. Negative: the full loss stays, so the token
#    is pushed down.
# 4. At lam = 1 only noise: it is right on average whatever the critic says. At lam = 0 the gradient
#    is wrong.
# 5. RLOO learns nothing. PPO compares with the critic, so it may learn from each token that changed
#    the expected score.
#
# The two old questions: (14) Only then does it cancel on average. (04) All tokens so far.
#
# </details>
#
# **Next:** `lessons/16_gentle.py`.
