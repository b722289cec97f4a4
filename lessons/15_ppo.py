# %% [markdown]
# # 15 · A critic and GAE
# PPO adds a critic that predicts the score word by word. In a toy where all is exact, measure how
# much noise it removes and what a bad critic costs.
#
# *About 25 minutes; read 12 and 12b first. PPO: arXiv:1707.06347; GAE: arXiv:1506.02438;
# `nanouft/objectives/ppo.py`.*
#
# RLOO gives every token of an answer the same push, although most tokens did not decide the score.
# **Proximal policy optimization (PPO)** gives the model a second head, the **critic**. It predicts
# after every token what score can still be expected. So a token is good if it made this prediction
# rise. PPO's other part, the clip of the importance ratio, is that of lesson 12b.
#
# This lesson uses no language model. An answer has eight steps. Each step is right with probability
# 0.6. The score is the share of the steps that come before the first wrong one, the *slip*. The
# policy is a table with two numbers for each step: one for the case that there was no slip so far,
# and one for the case that there was. After a slip it no longer matters what the policy does.
#
# ## Guess
# A training step sees four answers, and by chance alone RLOO's gradient is then off by about 1.8
# times the length of the true gradient. By how many lengths is it off with a critic that knows
# exactly what score to expect, and $\lambda=0$? Write down a number from 0 to 2.

# %%
from course import Lesson

CHANGE = ""                     # change one thing: "" | "high", see below
lesson = Lesson("15", CHANGE)
CHANGE = lesson.change

# %% [markdown]
# ## Rewards before a token
# RLOO pushes each token by the score of the whole answer. Rewards may also come along the way. The
# earlier ones, $R_{<t}$, are a constant once the text before the token, $y_{<t}$, is given. Write
# the second equation of lesson 12 for the next token alone:
# $$\mathrm E\,[R_{<t}\,\nabla\log\pi(y_t\mid y_{<t})\mid y_{<t}]
# =R_{<t}\sum_{y_t}\nabla\pi(y_t\mid y_{<t})=0.$$
# So the push on a token may leave earlier rewards out: this only takes noise away. Later ones must
# stay, because the token decides which of them can still come. This is called **causality**. The
# next cell checks it on all nine answers of two tokens, with a reward after each.

# %%
import draw
import torch

from nanouft.objectives import ppo

rng = torch.Generator().manual_seed(0)
z = torch.randn(4, 3, generator=rng).requires_grad_()   # logits: of the first token, of second ones
R_1, R_2 = torch.rand(3, 1, generator=rng), torch.rand(3, 3, generator=rng)     # the rewards
log_pi = z.log_softmax(-1)
first, second = log_pi[0][:, None], log_pi[1:]          # (3,1), (3,3) after each first one
both = (first + second).exp()                           # (3,3) the chance of each answer
drawn = both.detach()                                   # the answers are drawn: constants
means = {"exact": both * (R_1 + R_2),
         "all rewards": drawn * (R_1 + R_2) * (first + second),
         "without earlier ones": drawn * ((R_1 + R_2) * first + R_2 * second),
         "without later ones": drawn * (R_1 * first + (R_1 + R_2) * second)}
exact, *others = [torch.autograd.grad(mean.sum(), z, retain_graph=True)[0]
                  for mean in means.values()]
off = {name: (found - exact).abs().max().item() for name, found in zip([*means][1:], others)}
print("largest error of the gradient: " + ", ".join(f"{name} {x:.3f}" for name, x in off.items()))
assert off["all rewards"] < 1e-6, "the log-derivative gives the exact gradient"
assert off["without earlier ones"] < 1e-6, "a token's push may leave out the rewards before it"
assert off["without later ones"] > 0.01, "and not those after it"

# %% [markdown]
# ## Two formulas
# Let $V_t$ be the critic's prediction before token $t$, with 0 after the end, and $R_t$ the reward
# of that token, 0 except at the end. **Generalized advantage estimation (GAE)** adds up the changes
# $\delta_t$ of the critic's prediction:
# $$\delta_t=R_t+\gamma V_{t+1}-V_t,\qquad A_t=\delta_t+\gamma\lambda A_{t+1}.$$
# The discount $\gamma$ makes a reward count less the later it comes. Where the only reward is that
# of the whole answer, as here, it is usually 1. The gradient is the mean of
# $\sum_t A_t\nabla\log\pi(y_t)$ if $A_t$ is the **return** of token $t$,
# $G_t=R_t+\gamma R_{t+1}+\gamma^2R_{t+2}+\dots$, since the rewards before a token may be left out.
#
# **With $\lambda=1$** the sum $\delta_t+\gamma\delta_{t+1}+\dots$ is a **telescope**: each later
# $V$ occurs in it once with a plus and once with a minus, and $A_t=G_t-V_t$ is left. As an estimate
# of how good the token was, this advantage has the errors of $V_t$. The gradient, though, is right
# on average whatever the critic says, because $V_t$ does not depend on the token and is only a
# baseline. **With $\lambda=0$** the advantage is only the change of the prediction. It has little
# noise, but then the gradient is right only if the critic is.
#
# **Between the two**, let the telescope end after $k$ tokens. This advantage counts $k$ rewards and
# believes the critic about the rest:
# $$A_t^{(k)}=\delta_t+\dots+\gamma^{k-1}\delta_{t+k-1}
# =R_t+\dots+\gamma^{k-1}R_{t+k-1}+\gamma^kV_{t+k}-V_t.$$
# GAE is a mean of these with geometric weights, $A_t=(1-\lambda)\,(A_t^{(1)}+\lambda
# A_t^{(2)}+\lambda^2A_t^{(3)}+\dots)$. For $\delta_{t+k}$ is in all but the first $k$ of them, and
# their weights add up to $\lambda^k$. Past the end nothing changes, so all the weight that is left
# falls on $G_t-V_t$.
#
# **Write it first.** `gae` of `lessons/exercises/ex15.py` (15a) is the formula with $\delta_t$. The
# lesson measures with yours if it is right, and with ours until you begin. The cell below checks
# both forms on random rewards and predictions before it turns to the answers of eight steps.

# %%
T, K, N = 8, 4, 3000            # steps of an answer, answers of a rollout, rollouts
LAMBDAS = (0, 0.5, 0.95, 1)
start = torch.full((T, 2), 0.405)       # logits of a right step: [before the slip, after it]


def value(table):
    """(..,T,2) logits -> (..,T): the score to expect before step t, if there was no slip yet."""
    expected = [torch.ones(table.shape[:-2])]           # all steps right: score 1
    for t in reversed(range(T)):
        p = table[..., t, 0].sigmoid()
        expected.insert(0, p * expected[0] + (1 - p) * t / T)
    return torch.stack(expected[:-1], -1)


def logit(table, alive):
    """(..,T,2), (..,T): the one of the two logits that counts."""
    return torch.where(alive > 0, table[..., 0], table[..., 1])


gae = lesson.yours("15a")


def mean_of_advantages(R, V, gamma: float, lam: float):
    """(T,) the mean of the advantages after 1, 2, ... tokens, with geometric weights."""
    out = []
    for t in range(T):
        n, total = T - t, 0.0                               # n tokens are left
        for k in range(1, n + 1):
            counted = sum(gamma ** j * R[t + j] for j in range(k))
            believed = gamma ** k * V[t + k] if k < n else 0
            weight = (1 - lam) * lam ** (k - 1) if k < n else lam ** (n - 1)    # what is left
            total += weight * (counted + believed - V[t])
        out.append(total)
    return torch.stack(out)


rewards, values = torch.rand(2, T, generator=torch.Generator().manual_seed(1))
returns = torch.stack([sum(0.9 ** j * rewards[t + j] for j in range(T - t)) for t in range(T)])
by_gae = {lam: gae(rewards[None], values[None], 0.9, lam)[0] for lam in LAMBDAS}
for lam, advantage in by_gae.items():
    in_nanouft = ppo.gae(rewards[None], values[None], torch.ones(1, T), 0.9, lam)[0]
    assert torch.allclose(advantage, in_nanouft), "it is the function with which nanouft trains"
    assert torch.allclose(advantage, mean_of_advantages(rewards, values, 0.9, lam), atol=1e-5), \
        "GAE is the mean of the advantages after 1, 2, ... tokens, with geometric weights"
assert torch.allclose(by_gae[1], returns - values, atol=1e-5), "at lambda 1 it is G - V"

u = torch.rand(N * K, T, generator=torch.Generator().manual_seed(0))
one = torch.ones(N * K, T)
so_far = (u < start[:, 0].sigmoid()).float().cumprod(1)     # (N*K,T) 1: no slip up to step t
alive = torch.cat([one[:, :1], so_far[:, :-1]], 1)          # 1: no slip before step t
score = so_far.mean(1)                                      # (N*K,)
right = (u < logit(start, alive).sigmoid()).float()         # 1: step t was right
V = torch.where(alive > 0, value(start), score[:, None])    # exact: after the slip it is known
if CHANGE == "high":
    V = V + 0.5
R = torch.cat([0 * one[:, 1:], score[:, None]], 1)          # the reward comes at the end
true = torch.autograd.functional.jacobian(lambda table: value(table)[0], start)     # (T,2)


def quality(advantage) -> tuple[float, float]:
    """(N*K,T) -> noise of the gradient of one rollout, and its bias, in lengths of the true one."""
    push = advantage * (right - logit(start, alive).sigmoid())
    gradients = torch.stack([push * alive, push * (1 - alive)], -1).view(N, K, T, 2).mean(1)
    mean = gradients.mean(0)
    noise = (gradients - mean).norm() / N ** 0.5
    return (noise / true.norm()).item(), ((mean - true).norm() / true.norm()).item()


group = score.view(N, K)
leave_one_out = (group - group.mean(1, keepdim=True)) * K / (K - 1)
noise_of_rloo, bias_of_rloo = quality(leave_one_out.view(-1, 1) * one)
found = {lam: quality(gae(R, V, 1.0, lam)) for lam in LAMBDAS}
print(f"RLOO          noise {noise_of_rloo:.2f}   bias {bias_of_rloo:.2f}")
for lam, (noise, bias) in found.items():
    print(f"lambda {lam:<5}  noise {noise:.2f}   bias {bias:.2f}")

# %%
fig, ax = draw.panels()
results = {"RLOO": (noise_of_rloo, bias_of_rloo)}
results |= {f"lambda {lam}": of_lam for lam, of_lam in found.items()}
draw.bars(ax, {what: [x[k] for x in results.values()] for k, what in enumerate(("noise", "bias"))},
          list(results), "A critic that is right takes the noise away" if not CHANGE else
          "A critic that always says too much adds noise, not bias", "lengths of the true gradient",
          number="%.2f")
lesson.picture(fig)

# %%
most = max(bias for _, bias in found.values())
assert most < 0.1, "a critic leaves no bias if its changes are right"
if not CHANGE:
    assert found[0][0] < noise_of_rloo / 3, "and it takes away most of the noise"
    lesson.compare(found[0][0], "lengths")
else:
    lesson.compare(found[0][1], "lengths")

# %% [markdown]
# ## What happened
# With a critic that is right and $\lambda=0$, only the steps that changed the expected score get a
# push. The tokens after the slip get none, whereas RLOO pushes them like all others. This takes
# away most of the noise. Noise falls with the square root of the number of answers, so RLOO would
# need about eighteen times as many answers for the same accuracy.
#
# But the critic has a price. It knows nothing at first, and where its predictions are wrong, a
# small $\lambda$ makes the gradient wrong as well. The usual $\lambda=0.95$ is a compromise. Where
# answers are short and cheap, the mean of the other answers is already a good baseline. So RLOO and
# GRPO leave the critic out.
#
# ## Change one thing
# With `CHANGE = "high"` the critic says 0.5 too much before every token, where scores go from 0 to
# 1. For which $\lambda$ must the gradient still be right on average? And how large is the bias at
# $\lambda=0$, in lengths of the true gradient: from 0, where nothing is missing, to 1, where all of
# it is? Write down a number from 0 to 1.
#
# <details><summary>After your run</summary>
#
# The bias is 0 for every $\lambda$. $V_{t+1}$ and $V_t$ have the same error, so it cancels in
# $\delta_t$. Only the last $\delta$ keeps it, and there it is a baseline. So at $\lambda=0$ only
# the changes of the critic must be right. The error is noise for the tokens that get it: at
# $\lambda=0$ for the last one (1.42 instead of 0.43), at $\lambda=1$ for all eight (4.00 instead
# of 0.69, and RLOO has 1.84).
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
# 1. It needs a critic whose changes from token to token are right.
# 2. Only then is $V_{t+1}-V_t$ the change that the token has made. With the state after it, the
#    baseline would depend on the token and take its effect away.
#
# </details>
