# %% [markdown]
# # 12b · Old answers: the way to PPO
# Sampling answers is expensive, so why not take many steps on the same ones? Try it, and see how
# PPO and GRPO limit the damage by an importance ratio and a clip. Part 2: PPO's critic and GAE.
#
# *About 35 minutes; read 12 first. PPO: arXiv:1707.06347; GRPO: arXiv:2402.03300; GAE:
# arXiv:1506.02438; `nanouft/objectives/grpo.py` and `ppo.py`, `nanouft/on_policy.py`.*
#
# Lesson 12 discarded its answers after one step. The policy gradient is a mean over answers of the
# present policy, which are **on-policy**. A step changes the policy, and then these answers are
# old, or **off-policy** (`docs/terms.md` has the terms). With large models sampling often costs
# most of a step, so one would like to use answers again.
#
# You first see what the importance ratio and the clip are. Part 2, about PPO's advantages, may be
# read later. Part 3 trains on old answers and gives the result of your guess.
#
# ## Guess
# The base answers 16 prompts, four times each, and the 64 answers get GRPO's advantages A. Then 24
# steps raise the mean of A log p on these same answers, where lesson 12 sampled fresh ones for each
# step. For the test the model answers 100 other prompts. Its mean score is 0.42 before training and
# 0.52 after eight steps. What is it after 24 steps? Enter a number from 0 to 1.

# %%
from course import Lesson, train

CHANGE = ""                     # change one thing: "" | "fresh", see below
lesson = Lesson("12b", CHANGE)
CHANGE = lesson.change

# %% [markdown]
# ## The ratio
# How can old answers stand in for fresh ones, and where does the ratio of PPO and GRPO fall short
# of this?
#
# GRPO pushes each token by the advantage $A$ of its answer. If the answers come from an older
# policy $\pi_{\rm old}$, a token that has become half as likely since then should count half. So
# the push on a token $y_t$ after its **prefix** $y_{<t}$, the text before it, is multiplied by its
# **importance ratio**
# $$\rho_t=\frac{\pi(y_t\mid y_{<t})}{\pi_{\rm old}(y_t\mid y_{<t})}.$$
# After a given prefix this is exact: the mean of $\rho_tA$ over the tokens that $\pi_{\rm old}$
# samples is the mean of $A$ over those that $\pi$ samples. But the prefixes come from
# $\pi_{\rm old}$, too, and only the product of all ratios up to $t$ corrects them as well. PPO and
# GRPO leave this product out, because its variance is very high. This is a good approximation only
# while the two policies are close to each other.
#
# The cell checks both on a toy with nine answers, of two tokens each, and each token is one of
# three.

# %%
import itertools

import draw
import torch

from nanouft import world
from nanouft.gpt import shipped_base
from nanouft.models.tokenizer import nano
from nanouft.simple import sample_answers, token_logp

rng = torch.Generator().manual_seed(0)
logits = torch.randn(2, 4, 3, generator=rng)    # of two policies: first token, second ones
score = torch.rand(3, 3, generator=rng)         # of each answer
log_pi, log_old = logits.log_softmax(-1)
first_ratio, ratio = (log_pi - log_old).exp().split([1, 3])         # (1,3), (3,3)
both, old = (log_p[0][:, None].exp() * log_p[1:].exp() for log_p in (log_pi, log_old))
after_prefix = (log_old[1:].exp() * ratio * score).sum(1)
assert torch.allclose(after_prefix, (log_pi[1:].exp() * score).sum(1)), \
    "after a prefix rho is exact"
wanted = (both * score).sum()
with_ratio = (old * ratio * score).sum()
with_product = (old * ratio * first_ratio.T * score).sum()
print(f"true mean score {wanted:.3f}; its estimate from old answers, with the ratio of the second "
      f"token {with_ratio:.3f}, with the product of both ratios {with_product:.3f}")
assert torch.isclose(with_product, wanted), "the product of the ratios corrects the prefix too"
assert abs(with_ratio - wanted) > 0.01, "and the ratio of one token does not"

# %% [markdown]
# ## The clip
# PPO's **clip** keeps the two policies close to each other. Once a token's ratio has moved more
# than $\varepsilon$ in the direction of its push, the push ends. PPO and GRPO maximise the
# **surrogate objective** of each token:
# $$\min\big(\rho_tA,\ \mathrm{clip}(\rho_t,1-\varepsilon,1+\varepsilon)\,A\big).$$
# The picture shows it for a token with $A=1$ and one with $A=-1$.

# %%
EPS = 0.2
rho = torch.linspace(0.4, 1.6, 97)
fig, ax = draw.panels()
draw.lines(ax, rho, {f"A = {A:+d}": torch.minimum(rho * A, rho.clamp(1 - EPS, 1 + EPS) * A)
                     for A in (1, -1)}, "Beyond the clip nothing more is gained", "ratio",
           "surrogate objective")
lesson.picture(fig, "clip")

# %% [markdown]
# ## Part 2: a critic and GAE
# So far all tokens of an answer have the same advantage, although most did not decide the score.
# How does PPO find an advantage for each token, and when does that help? (Part 3 does not need this
# part.)
#
# **The critic.** Proximal policy optimization (**PPO**), from which ratio and clip come, gives the
# model a second head (value head). At every token it predicts $V$, the score that can still be
# expected. A token is good if it makes $V$ rise: with a rise from 0.5 to 0.7 its advantage is 0.2.
#
# **Generalized advantage estimation (GAE)** adds what happens later. $R_t$ is the reward of token
# $t$, $\gamma$ discounts later rewards, and $V=0$ after the end:
# $$\delta_t=R_t+\gamma V_{t+1}-V_t,\qquad A_t=\delta_t+\gamma\lambda A_{t+1}.$$
#
# - **With $\lambda=0$** only $\delta_t$ counts, the change of the prediction. This has little noise
#   (variance), but it is unbiased only if the critic's changes are right.
# - **With $\lambda=1$** all later $V$ cancel, and what is left is $G_t-V_t$, where
#   $G_t=R_t+\gamma R_{t+1}+\dots$ is the **return**. Here $V_t$ is only a baseline that does not
#   depend on the token, so the gradient is unbiased whatever the critic predicts.
#
# The cell compares $\lambda=0$ and the usual 0.95, with three critics, on a game where the true
# gradient is known. An answer has eight steps, each right with probability 0.6. Its score is the
# share of steps before the first wrong one, the *slip*. The first line of the table is RLOO, which
# has one advantage for the whole answer (lesson 12).
#
# **Write it first.** `gae` of `lessons/exercises/ex12.py` (12c) is the formula above.

# %%
gae = lesson.yours("12c")
T, K, N, P = 8, 4, 3000, 0.6        # steps, answers to a rollout, rollouts; P: a step is right
right = (torch.rand(N, K, T, generator=torch.Generator().manual_seed(0)) < P).float()
so_far = right.cumprod(-1)
alive = torch.cat([torch.ones(N, K, 1), so_far[..., :-1]], -1)          # no slip before a step
score, t = so_far.mean(-1), torch.arange(T)
to_come = torch.tensor([sum(P ** k for k in range(1, T - t + 1)) for t in range(T + 1)])
perfect = torch.where(alive > 0, (t + to_come[:-1]) / T, score[..., None])
true = P ** t * P * (1 - P) * (1 + to_come[1:]) / T     # gradient by the logit of a right step
R = torch.cat([torch.zeros(N, K, T - 1), score[..., None]], -1)         # the score comes at the end
others = (score.sum(1, keepdim=True) - score) / (K - 1)
ways = {"RLOO": (score - others)[..., None].expand(-1, -1, T)}
for critic, V in (("perfect", perfect), ("0.5 too high", perfect + 0.5), ("always 0", 0 * perfect)):
    for lam in (0, 0.95):
        A = gae(R.flatten(0, 1), V.flatten(0, 1), 1.0, lam).view_as(V)
        ways[f"critic {critic}, lambda {lam}"] = A
one = int((score == 3 / 8).flatten().nonzero()[0])      # three right steps, then the slip
print("advantage of each step of one answer (+ before the slip, - from it on); noise and bias of\n"
      "the gradient, relative to the true one's norm", " " * 36 + "    ".join("+++-----"), sep="\n")
found = {}
for name, A in ways.items():
    gradient = (A * (right - P)).mean(1) / true.norm()                  # (N,T)
    mean = gradient.mean(0)
    found[name] = (gradient - mean).norm() / N ** 0.5, (mean - true / true.norm()).norm()
    print(f"{name:<33}" + "".join(f"{x:+5.1f}" for x in A.flatten(0, 1)[one].tolist())
          + "   noise {:.2f}  bias {:.2f}".format(*found[name]))
assert found["critic perfect, lambda 0"][0] < found["RLOO"][0] / 3, "it takes most noise away"
assert found["critic 0.5 too high, lambda 0"][1] < 0.1 < found["critic always 0, lambda 0.95"][1]

# %% [markdown]
# **A perfect critic takes most of the noise away.** With $\lambda=0$ it praises three steps and
# blames the slip; all later steps have the advantage 0, because after a slip nothing changes any
# more. The noise falls from RLOO's 1.83 to 0.43. To get there RLOO would need 18 times as many
# answers.
#
# **Only the *changes* of a critic have to be right.** A critic that is 0.5 too high everywhere has
# no bias with $\lambda=0$ (the 0.02 is sampling error). It only has more noise, at the last step.
#
# **A critic that has learned nothing makes the gradient biased,** by 1 with $\lambda=0$ and by 0.3
# with 0.95. So a critic has to learn first. Less noise helps mainly because it allows larger steps
# (lesson 15 of version 5.0).

# %% [markdown]
# ## Part 3: 24 steps on the same answers
# Back to your guess. Three runs train on the same 64 answers with the same advantages:
#
# 1. "no ratio" raises $A\log\pi$, as if the answers were on-policy;
# 2. "ratio" raises $\rho A$;
# 3. "ratio, clip" raises the surrogate objective, which has both.
#
# Their first step is the same, because there $\rho$ is 1. After it the answers are old.

# %%
STEPS, PROMPTS, RATE = 24, 16, 1e-4
tok, base = nano(), shipped_base()
rows = world.rows("train", "prompts", 400, seed=0, skills=("fact", "truth", "sort"))
rows = [rows[(i % 3) * 133 + i // 3] for i in range(399)]           # the three skills in turn
exam, asked = rows[:100], rows[100:100 + PROMPTS]


def sampled(model, step: int):
    """Answers to the prompts: inputs, targets, mask (P*K,T); advantages; log pi of their tokens."""
    inputs, targets, mask, R = sample_answers(model, asked, tok, step)
    A = (R - R.mean(1, keepdim=True)) / (R.std(1, keepdim=True) + 1e-4)
    with torch.no_grad():
        return inputs, targets, mask, A.view(-1, 1), token_logp(model(inputs), targets)


def gain(kind: str, logp, old, A):
    """(P*K,T) the surrogate objective of each token."""
    rho = (logp - old).exp()
    if kind == "no ratio":
        return A * logp
    if kind == "ratio":
        return A * rho
    return torch.minimum(A * rho, A * rho.clamp(1 - EPS, 1 + EPS))


def loss_of(kind: str):
    """The loss of one step: on the answers of the base, or on fresh ones."""
    step, kept = itertools.count(1), sampled(base, 0)

    def loss(model, _):
        inputs, targets, mask, A, old = sampled(model, next(step)) if CHANGE == "fresh" else kept
        each = gain(kind, token_logp(model(inputs), targets), old, A)
        return -((each * mask).sum(1) / mask.sum(1)).mean()
    return loss


inputs, targets, mask, A, old = sampled(base, 0)
scores, moved = {}, {}
print("mean score after 0, 8, 16 and 24 steps; change in log p of the old answers, in nats")
for kind in ("no ratio", "ratio", "ratio, clip") if not CHANGE else ("no ratio",):
    scores[kind] = []
    model = train(base, loss_of(kind), asked, STEPS, RATE, kind, PROMPTS, look=lambda model:
                  scores[kind].append(sample_answers(model, exam, tok, 1000)[3].mean().item()),
                  every=8)
    with torch.no_grad():
        nats = (token_logp(model(inputs), targets) - old) * mask
    rho = nats.exp()
    clipped = (A * rho > A * rho.clamp(1 - EPS, 1 + EPS))[(mask * A) != 0].float().mean().item()
    up, down = (nats.sum(1)[side].mean().item() for side in (A[:, 0] > 0, A[:, 0] < 0))
    print(f"{kind:<12}" + " -> ".join(f"{x:.2f}" for x in scores[kind])
          + f"; better answers {up:+.1f}, worse ones {down:+.1f}; "
          f"{100 * clipped:.0f} % of the tokens {'are' if 'clip' in kind else 'would be'} clipped")
    moved[kind] = up, down

# %%
before, after = scores["no ratio"][0], {kind: found[-1] for kind, found in scores.items()}
end = after["no ratio"]
fig, ax = draw.panels()
draw.lines(ax, range(0, STEPS + 1, 8), scores, "Old answers without the ratio end below the base"
           if end < before else f"With fresh answers the same push reaches {end:.2f}",
           "step", "mean score", ylim=(0, 0.8))
lesson.picture(fig)
lesson.compare(end)
if not CHANGE:
    assert end < before, "old answers without the ratio end below the base"
    assert min(after["ratio"], after["ratio, clip"]) > before + 0.05, "and with it above"
    assert moved["no ratio"][1] < moved["ratio"][1] - 3 < moved["ratio, clip"][1] - 6, \
        "without the ratio worse answers are pushed furthest, with the clip least"
else:
    assert end > before + 0.1, "fresh answers need no ratio"

# %% [markdown]
# ## What happened
# | after 24 steps | score | better answers, nats | worse answers, nats |
# |---|---|---|---|
# | no ratio | 0.35 | +0.4 | -19 |
# | ratio | 0.64 | +1.0 | -11 |
# | ratio and clip | 0.55 | +0.8 | -5 |
#
# The columns in nats are the change in log-prob of the old answers, those with a positive and those
# with a negative advantage.
#
# **Without the ratio** old answers teach at first and then do harm: the base had 0.42. A worse
# answer is pushed down equally hard in every step, however rare it has become, and other answers,
# which share tokens and weights with it, are harmed as well. On-policy samples would no longer have
# contained it.
#
# **With the ratio** the push is $\rho A$. A worse answer that becomes rare has ratios near 0, so
# its push vanishes by itself.
#
# **The clip** stops this push earlier. Whether that helps is undecided.
#
# **How far this goes.** On two other batches of answers the score fell without the ratio, too.
# Ratio and clip together beat the ratio on one of the three batches.
#
# ## Change one thing
# With `CHANGE = "fresh"` each of the 24 steps samples new answers to the same 16 prompts. The push
# is that of "no ratio". What is the score after 24 steps? Enter a number from 0 to 1.
#
# <details><summary>After your run</summary>
#
# 0.70. So it was the old answers that did the harm, and not the loss. On-policy every ratio is 1,
# so ratio and clip would change nothing. The price is 24 times as many answers: 1,536 instead of
# 64.
#
# </details>
#
# ## The penalty k3 (optional)
# A high score need not mean what we wanted (reward hacking, lesson 11). So GRPO also keeps the
# policy near a frozen **reference**, mostly the initial model. It adds $\beta$ times **k3** to the
# loss of a token:
# $$\mathrm{k3}=e^{d_t}-d_t-1,\qquad d_t=\log\pi_{\rm ref}(y_t)-\log\pi(y_t).$$
# As we shall see, k3 measures one KL divergence and lowers another one.
#
# **What k3 measures.** The mean of $-d_t$ over tokens that $\pi$ samples is
# $\mathrm{KL}(\pi\,\|\,\pi_{\rm ref})$ by definition. The mean of $e^{d_t}=\pi_{\rm ref}/\pi$ is
# the sum of $\pi_{\rm ref}$ over all tokens, which is 1. So k3 has the same mean as $-d_t$. It is
# never negative, since $e^d\ge1+d$, and less noisy than $-d_t$ while both models are close to each
# other.
#
# **What k3 lowers** is the other KL, $\mathrm{KL}(\pi_{\rm ref}\,\|\,\pi)$. The loss takes its
# samples as given. Then the derivative of k3 with respect to $\log\pi$ is $1-e^d$. The 1 adds
# nothing on average, and the mean of $-e^d\,\nabla\log\pi$ is
# $-\sum\pi_{\rm ref}\nabla\log\pi$, the gradient of this KL. REINFORCE and RLOO subtract
# $\log\pi-\log\pi_{\rm ref}$ from the score instead, so they lower the first KL. The cell checks
# which KL is lowered.

# %%
p, ref = (torch.tensor(x) for x in ([0.4, 0.3, 0.15, 0.1, 0.05], [0.3, 0.3, 0.2, 0.1, 0.1]))
logits = p.log().requires_grad_()
log_pi = logits.log_softmax(0)
pi, d = log_pi.exp(), ref.log() - log_pi
k1, k3 = -d, d.exp() - d - 1
assert torch.isclose((p * k1).sum(), (p * k3).sum()), "both have the KL as their mean"
assert k3.min() >= 0 > k1.min(), "k3 is never negative"
assert (p * k3.square()).sum() < (p * k1.square()).sum(), "and less noisy, for two that are near"
as_loss, forward, reverse = (torch.autograd.grad(x, logits, retain_graph=True)[0] for x in (
    (p * k3).sum(), (ref * d).sum(), (pi * k1).sum()))                  # p: drawn, a constant
assert torch.allclose(as_loss, forward, atol=1e-6), "as a loss k3 lowers KL(ref || pi)"
assert not torch.allclose(as_loss, reverse, atol=0.01), "and not the KL which is its mean"

# %% [markdown]
# ## Exercise
# - **12b** `grpo_push(logp, old, ref, A, eps, beta)`, also in `ex12.py`: the push of GRPO's loss,
#   with clip and penalty.
#
# **In your own program.** This lesson unlocks the part `grpo_loss`. Then
# `python -m lessons check mine --run grpo` runs the whole program by your functions.
#
# ## Two questions
# 1. Why does the push on a worse answer vanish with the ratio, and not without it?
# 2. A worse answer has become more likely, and its ratio is 1.5. Why does the clip leave its push?
#
# <details><summary>Answers</summary>
#
# 1. The derivative of rho A with respect to log pi is rho A, which vanishes with pi. That of
#    A log pi is A, however small pi becomes.
# 2. The minimum counts, and 1.5 A is below 1.2 A, because A is negative. So the push stays, and it
#    makes the answer less likely again.
#
# </details>
