# %% [markdown]
# # 17 · A critic
# GRPO gives an answer one number, its advantage, and all tokens share it. PPO has a second model,
# the **critic**, and gives each token its own. When is that better?
#
# *25 minutes; needs 13. PPO: arXiv:1707.06347; GAE: arXiv:1506.02438. You write `gae`.*
#
# A game where all can be computed: an answer has eight steps, each right with probability 0.6. Its
# score is the share of steps before the first wrong one, the **slip**. What follows is ignored. The
# policy is a table of eight probabilities, and each training step samples four answers. With one
# number an answer, ten training steps bring the expected score from 18 to 68 of 100. A perfect
# critic makes the gradient as precise as 18 times as many answers would. All else stays the same.

# %%
import torch
from course import ask, curves, show, tell
from torch.distributions import Bernoulli

from nanouft import world
from nanouft.generate import generate
from nanouft.gpt import shipped_base
from nanouft.models.tokenizer import nano

T, K, STEPS, RATE, TOO_HIGH = 8, 4, 10, 8.0, 0.0        # T steps, K answers to a training step
tok, base = nano(), shipped_base()
guess = ask("Where does the perfect critic bring the expected score in ten steps?", "0 to 100")

# %% [markdown]
# ## What a critic predicts
# Before each token it predicts V, the score that can still be expected. A token is good if V rises.
# Usually it is a second head on the language model. Here V is measured: the base completes each
# beginning of an answer 200 times, and V is the mean score.

# %%
row = world.rows("train", "prompts", 450, seed=0, skills=("sort",))[16]
question, text = row.prompt[0].text, " brown green green"               # score 0.67
answer = tok.encode(text) + [tok.end]
expected = []
for t in range(len(answer)):
    start = tok.prompt_ids(row.prompt) + answer[:t]
    endings = generate(base, [start] * 200, stop=tok.end, pad=tok.pad, max_new=44, temperature=1.0)
    scores = [world.score(question, tok.decode(answer[:t] + x.ids)) for x in endings]
    expected.append(sum(scores) / 200)
expected = torch.tensor([*expected, world.score(question, text)])       # in the end: the score
show(tok, torch.tensor(answer), **{"V before": expected[:-1], "V after": expected[1:]},
     rise=expected.diff(), **{"R - mean": (expected[-1] - expected[0]).expand(4)})

# %% [markdown]
# One number (last column) praises all of this answer. The rises have the sum 0.57, too. But they
# blame the second *green*, a mistake, and praise the token that stops most.
#
# ## Two extremes
# Let $R_t$ be the reward of token t, here 0 until the last one, and $V=0$ after it. The rise is
# $\delta_t=R_t+V_{t+1}-V_t$. **GAE** (generalized advantage estimation) also counts later rises:
# $$A_t=\delta_t+\lambda\delta_{t+1}+\lambda^2\delta_{t+2}+\dots$$
# **With $\lambda$ (lam) 0** it is only the rise: little noise, but it is wrong if the critic is.
# **With lam 1** each later V comes once with plus and once with minus. They cancel, and the
# later reward minus $V_t$ is left: V is a baseline as in lesson 07, so no critic makes this wrong.
#
# Now the game. One number is the score minus the mean of the other three (**RLOO**, GRPO without
# the std). *Noise* is how far the gradient from four answers is from its mean, *bias* how far
# this mean is from the true gradient. Both are relative to its length. A step is right with
# p = sigmoid(logit). So log p of what was done has the derivative (right - p) by the logit, where
# right is 1 or 0. The true gradient is that of the expected score by p, times p (1 - p).

# %%
def values(p):
    """(N,T) probabilities -> (N,T) the expected score before each step, if there was no slip."""
    V = [torch.ones(len(p))]
    for t in reversed(range(T)):
        V.insert(0, p[:, t] * V[0] + (1 - p[:, t]) * t / T)
    return torch.stack(V[:-1], 1)


def answers(p, rng):
    """K answers of each policy: a step is right, there was no slip before it (N,K,T); scores."""
    right = (torch.rand(len(p), K, T, generator=rng) < p[:, None]).float()
    so_far = right.cumprod(2)
    return right, torch.cat([torch.ones(len(p), K, 1), so_far[..., :-1]], 2), so_far.mean(2)


def advantages(name, V, R):
    """Predictions V (N,K,T) and scores R (N,K) -> the advantage of each step (N,K,T)."""
    if name == "one number an answer":
        return ((R - R.mean(1, keepdim=True)) * K / (K - 1))[..., None].expand_as(V)
    return torch.cat([V[..., 1:], R[..., None]], 2) - V if "lam 0" in name else R[..., None] - V


p = torch.full((3000, T), 0.6, requires_grad=True)
true = torch.autograd.grad(values(p)[0, 0], p)[0][0] * 0.6 * 0.4        # (T,) by the logits
p = p.detach()
right, before_slip, R = answers(p, torch.Generator().manual_seed(0))
V = torch.where(before_slip == 1, values(p)[:, None], R[..., None]) + TOO_HIGH
found, one = {}, int((R == 3 / 8).flatten().nonzero()[0])   # an answer that slips in step four
print(f"{'':<23}noise  bias   advantages of an answer that slips in step four")
for name, critic in (("one number an answer", V), ("perfect, lam 0", V), ("perfect, lam 1", V),
                     ("always 0, lam 0", 0 * V), ("always 0, lam 1", 0 * V)):
    A = advantages(name, critic, R)
    gradient = (A * (right - 0.6)).mean(1) / true.norm()    # right - p: log p by the logit
    mean = gradient.mean(0)
    found[name] = (gradient - mean).norm() / 3000 ** 0.5, (mean - true / true.norm()).norm()
    print(f"{name:<23}", *(f"{x:.2f} " for x in found[name]),
          *(f"{x:+.2f}" for x in A.flatten(0, 1)[one].tolist()))

# %% [markdown]
# ## Ten steps
# Each line is a mean over 500 trainings. A *learned* critic starts at 0. Each step takes it 0.3 of
# the way to the mean score that it should have predicted.

# %%
scores = {}
for name in [*found][:3] + ["learned, lam 0", "learned, lam 1"]:
    scores[name] = []
    table = torch.full((500, T), 0.405, requires_grad=True)             # logits: 0.6 each
    optimizer, learned = torch.optim.SGD([table], lr=RATE), torch.zeros(500, T)
    rng = torch.Generator().manual_seed(1)
    for step in range(STEPS + 1):
        p = table.detach().sigmoid()
        scores[name].append(100 * values(p)[:, 0].mean().item())
        if step == STEPS:
            break
        right, before_slip, R = answers(p, rng)                         # 1. sample  2. score
        V = learned if "learned" in name else values(p)                 # 3. predict
        V = torch.where(before_slip == 1, V[:, None], R[..., None]) + TOO_HIGH
        A = advantages(name, V, R)                                      # 4. compare
        loss = -(A * Bernoulli(logits=table[:, None]).log_prob(right)).sum(2).mean(1).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()                                                # 5. the policy's step
        seen = (before_slip * R[..., None]).sum(1) / before_slip.sum(1).clamp(min=1)
        learned += 0.3 * (seen - learned) * (before_slip.sum(1) > 0)    # 6. the critic's step
    print(f"{name:<22}", " -> ".join(f"{x:.0f}" for x in scores[name][::5]))
curves("17", range(STEPS + 1), scores, "expected score")
tell(guess, scores["perfect, lam 0"][-1], "of 100")

# %% [markdown]
# ## What happened
# **One number an answer** praises the slip as much as the right steps before it. A **perfect
# critic** praises these, blames the slip, and leaves the rest alone. The noise falls from 1.83 to
# 0.43. For this, one number needs $(1.83/0.43)^2=18$ times as many answers. **Yet at the same
# learning rate it is worth 7 points**, 75 in place of 68. Part of the noise may cancel over steps.
#
# **A critic that is wrong before the slip does harm with lam 0.** One that says 0 has a bias as
# long as the true gradient. The learned critic says 0 at first, and our game gives it the score
# after the slip. So the slip looks like a rise and is praised, and it ends at 35. With lam 1 it
# reaches 70. How right a language model's critic becomes, this game does not show.
#
# ## Change one thing
# Guess first. 1. `RATE` = 32.0: where do one number and the perfect critic end?
# 2. `TOO_HIGH` = 0.5: each prediction is 0.5 too high. Which lam minds?
# 3. Replace `torch.zeros(500, T)` by `values(torch.full((500, T), 0.6))`: this critic knows the
# first policy before training begins. Where does it end with lam 0?
#
# <details><summary>After your runs</summary>
#
# 1. One number 77, the perfect critic 95: it pays if steps are longer. 2. With lam 0 it ends
# at 74: the error cancels in $V_{t+1}-V_t$, and only changes must be right. With lam 1 it is
# noise for all steps (4.00), and the score ends at 48. 3. At 72, not at 35.
#
# </details>
#
# ## To hand in
# With your `gae`, draw noise and bias of the critic `0.5 * V` against six lam from 0 to 1.
# Which lam would you take, and why? Two sentences.
#
# ## Your own program
#     def gae(R, V, gamma, lam):
#         """(B,T) advantages: A_t = delta_t + gamma lam A_{t+1}, with delta_t = R_t + gamma V_{t+1}
#         - V_t. R (B,T) the reward of each token; V (B,T) the critic's prediction before it; after
#         the last token V and A are 0. gamma, lam: from 0 to 1; gamma discounts later rewards.
#         R = 0 1, V = 0.5 0.6, gamma 1 and lam 0.5 give 0.3 0.4."""
#
# ## Two questions
# 1. What does lam 0 need that lam 1 does not?
# 2. Why is V taken before the token and not after it?
#
# <details><summary>Answers</summary>
#
# 1. A critic whose changes are right. With lam 1 a wrong one adds noise but no bias.
# 2. Only then is $V_{t+1}-V_t$ the change that the token has made, and V a baseline.
#
# </details>
