# %% [markdown]
# # 12 · Learning from a score
# No more demonstrations: the model samples responses, and a verifier (a program) scores them.
# Follow one step of GRPO through four of them. What makes a wrong one less likely, its own negative
# advantage or the positive advantage of another?
#
# *About 20 minutes; read 03, 07 and 09 first. GRPO: arXiv:2402.03300; REINFORCE and RLOO:
# arXiv:2402.14740; online UNA: arXiv:2408.15339; `nanouft/objectives/grpo.py`.*
#
# This is **on-policy** learning: the responses (answers, for short) come from the policy being
# trained (`docs/terms.md` has the terms). It suits tasks where checking is easier than writing.
# Whether 0.6 is a good score depends on the prompt, so **GRPO** samples several answers to each
# prompt, a **group**. An answer above the mean of its group has a positive advantage and is pushed
# up, which we call *praise*. One below has a negative advantage and is pushed down: *blame*. (A
# push is minus the gradient with respect to the log-prob.)
#
# ## Guess
# The base answers the prompt "Sort green hammer brown from a to z." four times:
#
#     brown green hammer                                score 1
#     brown hammer green                                score 0.33
#     brown green hammer, then a question of its own    score 0.17
#     green hammer brown, a mere copy                   score 0
#
# The copy has a probability of 17 %. One step of GRPO praises the first answer and blames the other
# three, and then the copy has 2 %. Now take this step with praise only: nothing is pushed down.
# What is the probability of the copy after it, in %? Enter a number from 0 to 100.

# %%
from course import Lesson, train

CHANGE = ""                     # change one thing: "" | "blame", see below
lesson = Lesson("12", CHANGE)
CHANGE = lesson.change

# %% [markdown]
# ## Why sampling works
# Let $\pi(y)$ be the probability of an answer $y$ and $R(y)$ its score. The **policy gradient** is
# the gradient of the mean score. Since $\nabla\log\pi=\nabla\pi/\pi$, it is a mean over sampled
# answers. Any **baseline** $b$ that does not depend on $y$ may be subtracted from the score:
# $$\nabla\,\mathrm E[R]=\sum_y R(y)\,\nabla\pi(y)
# =\sum_y\pi(y)\,R(y)\,\nabla\log\pi(y)=\mathrm E\,[R\,\nabla\log\pi(y)],$$
# $$\mathrm E\,[\nabla\log\pi(y)]=\sum_y\nabla\pi(y)=\nabla 1=0,
# \quad\text{so}\quad\nabla\,\mathrm E[R]=\mathrm E\,[(R-b)\,\nabla\log\pi(y)].$$
# So each answer, and each of its tokens, is pushed by the **advantage** $R-b$.
#
# **Three baselines.** Let mean(R) be the mean of the whole batch, $\bar R$ that of the $K$ answers
# to one prompt, and std(R) their standard deviation. Then
# $$A^{\mathrm{REINFORCE}}=R-\mathrm{mean}(R),\qquad A^{\mathrm{RLOO}}=\frac{K}{K-1}(R-\bar R),
# \qquad A^{\mathrm{GRPO}}=\frac{R-\bar R}{\mathrm{std}(R)+10^{-4}}.$$
# Dividing by std(R) is not a baseline: prompts whose scores are close get more weight. **Write it
# first.** `advantages` of `lessons/exercises/ex12.py` (12a): these, and online UNA's $R-1/2$.

# %%
import copy
import itertools

import draw
import torch

from nanouft import world
from nanouft.gpt import shipped_base
from nanouft.simple import SAMPLES, sample_answers, token_logp
from nanouft.models.tokenizer import nano

STEPS, PROMPTS, tok, base = 20, 16, nano(), shipped_base()
rows = world.rows("train", "prompts", 450, seed=0, skills=("fact", "truth", "sort"))
rows = [rows[i % 3 * 150 + i // 3] for i in range(450)]         # the three skills in turn
exam, asked = rows[:100], rows[100:]
advantages = lesson.yours("12a")
inputs, targets, mask, R = sample_answers(base, exam, tok, step=1000)   # R: (100,K) scores
A = advantages("GRPO", R)


def logp_of(model, k: int):
    """(K,T) the log-probability of each token of the answers to exam[k], else 0; (K,) tokens."""
    at = slice(SAMPLES * k, SAMPLES * (k + 1))
    return token_logp(model(inputs[at]), targets[at]) * mask[at], mask[at].sum(1)


def after_step(k: int, A):
    """(K,T) the same after one plain step of the base, uphill, with these advantages."""
    model = copy.deepcopy(base)
    logp, n = logp_of(model, k)
    (A * logp.sum(1) / n).mean().backward()
    with torch.no_grad():
        for weights in model.parameters():
            weights += 0.006 * weights.grad
        return logp_of(model, k)[0]


uneven = [k for k in range(100) if R[k].amax() == 1 and R[k].amin() == 0]
one = next(k for k in uneven if "green hammer brown" in exam[k].prompt[0].text)
logp = {"base": {k: logp_of(base, k)[0].detach() for k in uneven},
        "all four": {k: after_step(k, A[k]) for k in uneven},
        "only praise": {k: after_step(k, A[k].clamp(min=0)) for k in uneven}}
prob = {name: {k: 100 * x.sum(1).exp() for k, x in some.items()} for name, some in logp.items()}
print(exam[one].prompt[0].text, "Probability of each answer in the base, and after one step with:")
print("score advantage", *(f"{name:>14}" for name in prob))
for j in range(SAMPLES):
    at = SAMPLES * one + j
    print(f"{R[one, j]:5.2f} {A[one, j]:+9.2f} ",
          *(f"{x[one][j]:12.1f} %" for x in prob.values()),
          tok.decode(targets[at][mask[at] == 1].tolist())[:36])
own = (logp["all four"][one] - logp["base"][one])[2][mask[SAMPLES * one + 2] == 1]
print("change in log p of the third answer's first tokens:",
      [round(x, 1) for x in own[:3].tolist()])
wrong = {name: torch.cat([x[k][R[k] == 0] for k in uneven]) for name, x in prob.items()}
wrong = {name: x[wrong["base"] > 5].mean().item() for name, x in wrong.items()}
print("mean probability of the wrong answers that have more than 5 % in the base:",
      ", ".join(f"{name} {x:.1f} %" for name, x in wrong.items()), f"({len(uneven)} groups)")
equal = (R.amin(1) == R.amax(1)).nonzero().flatten().tolist()
still = max((after_step(k, A[k]) - logp_of(base, k)[0]).abs().max().item() for k in equal[:5])
print(f"{len(equal)} of 100 groups have zero variance; a step on one changes log p by {still:.2f}")

# %% [markdown]
# ## Twenty steps
# The loop samples answers, scores them, takes one step of AdamW and discards them, because the
# policy that sampled them has changed (lesson 12b keeps them). A second model gets no blame.

# %%
def run(name: str, keep) -> list[float]:
    """Train with the advantages that `keep` leaves: mean scores of 100 other prompts on the way."""
    number, seen = itertools.count(), []

    def loss(model, some):
        inputs, targets, mask, R = sample_answers(model, some, tok, next(number))
        logp = (token_logp(model(inputs), targets) * mask).sum(1) / mask.sum(1)
        return -(keep(advantages("GRPO", R)).flatten() * logp).mean()

    train(base, loss, asked, STEPS, 3e-4, name, PROMPTS, falls=True, look=lambda model: seen.append(
        sample_answers(model, exam, tok, step=1000)[-1].mean().item()))
    print(f"{name}: mean score of 100 other prompts {seen[0]:.2f} -> {seen[-1]:.2f}")
    return seen


half = "only blame" if CHANGE else "only praise"
runs = {"all four": run("all four", lambda A: A),
        half: run(half, lambda A: A.clamp(max=0) if CHANGE else A.clamp(min=0))}

# %%
fig, (left, right) = draw.panels(1, 2)
draw.bars(left, {name: x[one] for name, x in prob.items()},
          [f"score\n{x:.2f}" for x in R[one].tolist()], "One step, four answers", "probability, %")
draw.lines(right, range(0, STEPS + 1, 4), runs, "Twenty steps", "step",
           "mean score of 100 other prompts")
lesson.picture(fig)
assert still == 0, "a zero-variance group has no gradient"
assert CHANGE or min(runs["all four"][-1], runs[half][-1]) > runs[half][0] + 0.1, "scores suffice"
assert wrong["only praise"] < 0.85 * wrong["base"], "praise for one makes the others rarer"
lesson.compare(runs[half][-1]) if CHANGE else lesson.compare(
    prob["only praise"][one][3].item(), "%")

# %% [markdown]
# ## What happened
# **Only praise** lowers the copy from 17.2 to 4.6 %, without a push on it. The first tokens of all
# answers share one softmax: what raises *brown* lowers *green* (lesson 03). In the 41 groups with a
# right and a wrong answer, wrong answers above 5 % have on average 42.7 % in the base, 24.9 % after
# all four pushes and 30.5 % after only praise. So praise does two thirds of it (on other sets,
# too).
#
# **Blame can raise tokens.** The third answer is pushed down, yet its first two tokens gain 0.8 and
# 0.6 nats, because the praised answer begins with them too.
#
# **A zero-variance group** has equal scores, so all its advantages are 0, and it has no gradient.
# It costs as much sampling as any other group, and 45 of the 100 groups are of this kind.
#
# **After twenty steps** the mean score on other prompts has risen from 0.42 to 0.72, with only
# praise to 0.70. On three other sets it reaches 0.69 to 0.73; only praise is 0.01 to 0.08 lower.
#
# ## Change one thing
# With `CHANGE = "blame"` the second model trains on negative advantages only. The base scores 0.42
# on the other prompts. What does this model score after twenty steps? Enter a number from 0 to 1.
#
# <details><summary>After your run</summary>
#
# 0.57, and 0.48 to 0.56 on the three other sets. What wrong answers lose in probability goes to all
# other answers, the right one included. So blame teaches too, but less than praise.
#
# </details>
#
# ## Exercise
# **On paper.** 1. GRPO's group mean includes $1/K$ of the answer's own score. Why does RLOO's
# $K/(K-1)$ undo this? 2. Online UNA compares a score with the one that the model implies, at first
# one half. What does it do with a zero-variance group?
#
# <details><summary>Answers</summary>
#
# 1. With an answer's own score in the baseline the expected gradient shrinks to $(K-1)/K$. RLOO
#    undoes this: it is the score minus the mean of the $K-1$ others.
# 2. It needs no group: four answers that score 1 are all pushed up, four that score 0 down.
#
# </details>
#
# ## Two questions
# 1. Why may the baseline not depend on the answer that it is compared with?
# 2. Why is every answer sampled at temperature 1 and used for one step?
#
# <details><summary>Answers</summary>
#
# 1. Only then is the mean of b times the gradient of log pi zero (second formula).
# 2. The first formula is a mean over answers of the present policy. Temperature 1 samples from
#    exactly that one, and after a step it is another.
#
# </details>
