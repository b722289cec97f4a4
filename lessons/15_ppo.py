# %% [markdown]
# # 15 · A critic and GAE
# PPO adds a critic that predicts the score word by word. In a toy where all is exact, give it a
# perfect one: how much noise does it remove, and how much better does the policy learn?
#
# *About 20 minutes; read 12 and 12b first. PPO: arXiv:1707.06347; GAE: arXiv:1506.02438;
# `nanouft/objectives/ppo.py`.*
#
# RLOO gives every token of an answer the same push, although most tokens did not decide the score.
# **Proximal policy optimization (PPO)** gives the model a second head, the **critic**. It predicts
# after every token what score can still be expected, and a token is good if it made this prediction
# rise. PPO's clip is that of lesson 12b.
#
# In place of a language model we take a toy. An answer has eight steps, each right with probability
# 0.6. The score is the share of the steps that come before the first wrong one, the *slip*. The
# policy is a table with two numbers for each step: one for the case that there was no slip so far,
# and one for the case that there was. After a slip it no longer matters what the policy does.
#
# ## Guess
# A training step sees four answers. With a critic that knows exactly what score to expect, its
# gradient is as accurate as RLOO's would be with eighteen times as many. Both now train with four,
# at one rate. In ten steps RLOO brings the expected score from 18 to 71 of 100. Where does the
# critic bring it? Write down a number from 0 to 100.

# %%
from course import Lesson

CHANGE = ""                     # change one thing: "" | "high", see below
lesson = Lesson("15", CHANGE)
CHANGE = lesson.change

# %% [markdown]
# ## Generalized advantage estimation
# The push on a token may leave out rewards that came before it: they are a constant once the text
# before it is given, and by lesson 12 a constant adds nothing on average. The later ones must stay.
# Their sum is the **return** $G_t=R_t+\gamma R_{t+1}+\gamma^2R_{t+2}+\dots$ The discount $\gamma$
# makes a reward count less the later it comes; with a single one at the end, as here, it is usually
# 1.
#
# Let $V_t$ be the critic's prediction before token $t$, with 0 after the end. **GAE** adds up the
# changes $\delta_t$ of the prediction:
# $$\delta_t=R_t+\gamma V_{t+1}-V_t,\qquad A_t=\delta_t+\gamma\lambda A_{t+1}.$$
# **With $\lambda=1$** each later $V$ occurs once with a plus and once with a minus, and
# $A_t=G_t-V_t$ is left. The gradient is right on average whatever the critic says, because $V_t$
# does not depend on the token and is only a baseline. **With $\lambda=0$** the advantage is only
# the change of the prediction. It has little noise, but the gradient is right only if these changes
# are. The usual $\lambda=0.95$ lies between.
#
# **Write it first.** `gae` of `lessons/exercises/ex15.py` (15a) is this formula.

# %%
import draw
import torch

T, K, N, STEPS, RATE = 8, 4, 3000, 20, 8.0      # steps of an answer, answers, rollouts, training
gae = lesson.yours("15a")


def value(table):
    """(N,T,2) logits of a right step, without and after a slip -> (N,T): the score to expect before
    step t, if there was no slip yet."""
    expected = [torch.ones(table.shape[:-2])]           # all steps right: score 1
    for t in reversed(range(T)):
        p = table[..., t, 0].sigmoid()
        expected.insert(0, p * expected[0] + (1 - p) * t / T)
    return torch.stack(expected[:-1], -1)


def roll(table, chance):
    """(N,T,2), (N,K,T) -> (N,K,T) no slip before a step? was it right? And (N,K) scores."""
    so_far = (chance < table[:, None, :, 0].sigmoid()).float().cumprod(-1)
    alive = torch.cat([torch.ones_like(so_far[..., :1]), so_far[..., :-1]], -1)
    right = (chance < logit(table, alive).sigmoid()).float()
    return alive, right, so_far.mean(-1)


def logit(table, alive):
    """(N,K,T): the one of the two logits that counts."""
    return torch.where(alive > 0, table[:, None, :, 0], table[:, None, :, 1])


def exact(table, alive, score):
    """(N,K,T) a perfect critic. After the slip the score is known."""
    return torch.where(alive > 0, value(table)[:, None], score[..., None])


def advantages(V, score, lam: float):
    """(N,K,T) GAE with gamma = 1, where the reward comes at the end."""
    R = torch.cat([torch.zeros_like(V[..., 1:]), score[..., None]], -1)
    return gae(R.flatten(0, 1), V.flatten(0, 1), 1.0, lam).view_as(V)


def leave_one_out(score):
    return ((score - score.mean(1, keepdim=True)) * K / (K - 1))[..., None].expand(-1, -1, T)


def gradient(table, alive, right, A):
    """(N,T,2) the policy gradient of each rollout of K answers."""
    push = A * (right - logit(table, alive).sigmoid())
    return torch.stack([(push * alive).mean(1), (push * (1 - alive)).mean(1)], -1)

# %% [markdown]
# ## One answer, then the noise
# First one answer and the advantage of each of its steps. Then 3,000 rollouts of four answers each:
# how far is the gradient of one of them from the true one by chance (noise), and how far on average
# (bias)? Both are in lengths of the true gradient. "Knows nothing" is a critic that says 0.

# %%
start = torch.full((1, T, 2), 0.405)                    # a step is right with probability 0.6
chance = torch.rand(N, K, T, generator=torch.Generator().manual_seed(0))
alive, right, score = roll(start, chance)
V = exact(start, alive, score)
true = torch.autograd.functional.jacobian(lambda table: value(table)[0, 0], start)[0]   # (T,2)
ways = {"RLOO": leave_one_out(score)}
high = V + 0.5 * (CHANGE == "high")                     # 0.5 too much before each token
ways |= {f"critic, lambda {lam}": advantages(high, score, lam) for lam in (0, 0.95, 1)}
ways |= {f"knows nothing, lambda {lam}": advantages(0 * V, score, lam) for lam in (0, 0.95)}
one = int((score == 3 / 8).flatten().nonzero()[0])      # three right steps, then the slip
print(f"{'':<26}" + "".join(f"{'right' if x else 'wrong':>7}"
                             for x in right.flatten(0, 1)[one].tolist()) + "   noise   bias")
found = {}
for name, A in ways.items():
    all_of_them = gradient(start, alive, right, A)
    mean = all_of_them.mean(0)
    found[name] = [(x / true.norm()).item() for x in (
        (all_of_them - mean).norm() / N ** 0.5, (mean - true).norm())]
    print(f"{name:<26}" + "".join(f"{x:+7.2f}" for x in A.flatten(0, 1)[one].tolist())
          + "{:8.2f}{:7.2f}".format(*found[name]))

# %% [markdown]
# ## Is it worth it?
# The policy learns from four answers in each step. The learned critic is a table that starts at 0
# and learns from the same answers, as PPO's does: each entry goes 0.3 of the way to the mean of the
# scores that it should have predicted. The curves are means over 500 trainings.

# %%
def learn(critic: str, lam: float = 0.0, rate: float = RATE):
    """(STEPS + 1, 500): the expected score, of 100, before and after each step."""
    rng = torch.Generator().manual_seed(1)
    table, known, path = start.repeat(500, 1, 1), torch.zeros(500, T, 2), []
    for _ in range(STEPS):
        path.append(100 * value(table)[:, 0])
        alive, right, score = roll(table, torch.rand(500, K, T, generator=rng))
        if critic == "learned":
            A = advantages(logit(known, alive), score, lam)
            for case, where in enumerate((alive, 1 - alive)):
                off = (score[..., None] - known[:, None, :, case]) * where
                known[..., case] += 0.3 * off.sum(1) / where.sum(1).clamp(min=1)
        elif critic:
            A = advantages(exact(table, alive, score) + 0.5 * (critic == "high"), score, lam)
        else:
            A = leave_one_out(score)
        table = table + rate * gradient(table, alive, right, A)
    return torch.stack([*path, 100 * value(table)[:, 0]])


runs = {"RLOO": learn(""), "perfect critic, lambda 0": learn(CHANGE or "perfect"),
        "learned critic, lambda 0.95": learn("learned", 0.95)}
big = {name: learn(critic, rate=8 * RATE)[10].mean() for name, critic in (
    ("RLOO", ""), ("perfect critic", CHANGE or "perfect"))}
for name, path in runs.items():
    print(f"{name:<28} after 10 steps {path[10].mean():.0f}, after 20 {path[20].mean():.0f}")
print("ten steps at eight times the rate: "
      + ", ".join(f"{name} {x:.0f}" for name, x in big.items()))

# %%
fig, ax = draw.panels()
draw.lines(ax, range(STEPS + 1), {name: path.mean(1) for name, path in runs.items()},
           "What the policy makes of less noise", "step", "expected score", legend=True)
lesson.picture(fig)
bias = max(found[f"critic, lambda {lam}"][1] for lam in (0, 0.95, 1))
assert bias < 0.1, "a critic leaves no bias if its changes are right"
if CHANGE:
    lesson.compare(found["critic, lambda 0"][1], "lengths")
else:
    assert found["critic, lambda 0"][0] < found["RLOO"][0] / 3, "it takes most of the noise away"
    plain, perfect, learned = (path[10].mean().item() for path in runs.values())
    assert plain < perfect < plain + 10, "at the same rate that is worth little"
    assert learned < plain, "and a critic that has to learn first is worth less than none"
    lesson.compare(perfect, "of 100")

# %% [markdown]
# ## What happened
# **It looks like a triumph.** The printed answer slips at its fourth step. RLOO praises all eight,
# the slip too. The perfect critic with $\lambda=0$ praises three, blames the slip, and leaves the
# rest alone, because after a slip nothing changes any more. The noise in RLOO's gradient is 1.84
# times as long as the true gradient, in the critic's 0.43 times. Noise falls with the square root
# of the number of answers: hence the eighteen.
#
# **At the same rate it is worth 4 points**: 75 and 71 after ten steps, 90 and 89 after twenty. Most
# noise cancels over the steps, and the rate limits both. What accuracy buys is a longer step: at
# eight times the rate the critic reaches 97, RLOO 75.
#
# **A critic has to learn first**, and that is the price. One that knows nothing has a bias of 1
# with $\lambda=0$, since only the last token gets a push, and of 0.3 with 0.95. So the learned
# critic is at 67 after ten steps, behind none at all; after 80 at this rate all three are at 98. On
# five other sets of 200 trainings, each with the best of six rates (chosen on a set of its own),
# RLOO reaches 85 or 86 after ten steps and the perfect critic 97. So a critic pays once it is right
# and one takes longer steps. Where answers are short and cheap, RLOO and GRPO leave it out.
#
# ## Change one thing
# With `CHANGE = "high"` the perfect critic says 0.5 too much before every token, where scores go
# from 0 to 1. How large is the bias at $\lambda=0$, as a share of the true gradient? Write down a
# number from 0 to 1.
#
# <details><summary>After your run</summary>
#
# The bias is 0 for every $\lambda$. $V_{t+1}$ and $V_t$ have the same error, so it cancels in
# $\delta_t$. Only the last $\delta$ keeps it, and there it is a baseline. So only the changes of
# the critic must be right. The error is noise for the tokens that get it: at $\lambda=0$ for the
# last one (1.42 instead of 0.43), at $\lambda=1$ for all eight (4.00 instead of 0.69, and RLOO has
# 1.84). The policy still learns: 74 after ten steps.
#
# </details>
#
# ## Exercise
# **On paper.** Replace $A_{t+1}$ in GAE by its own sum until none is left. What stands before $R_t$
# in the advantage of the first token, and what before $V_t$?
#
# <details><summary>Answer</summary>
#
# $(\gamma\lambda)^t$ before $R_t$, -1 before $V_0$, and $\gamma(1-\lambda)(\gamma\lambda)^{t-1}$
# before each later $V_t$. With $\gamma=1$ and $\lambda=.5$ half of the next reward counts, and the
# critic stands in for the other half.
#
# </details>
#
# ## Two questions
# 1. What does $\lambda=0$ need that $\lambda=1$ does not?
# 2. Why does $V_t$ belong to the state before the token?
#
# <details><summary>Answers</summary>
#
# 1. A critic whose changes from token to token are right.
# 2. Only then is $V_{t+1}-V_t$ the change that the token has made. With the state after it, the
#    baseline would depend on the token and take its effect away.
#
# </details>
