# %% [markdown]
# # 12 · Learning from a score
# Nobody shows a right answer any more; the model tries, and a program scores it. See where
# REINFORCE, RLOO, GRPO and online UNA find something to learn, and where nothing.
#
# *About 20 minutes; read 07 and 09 first. REINFORCE and RLOO: arXiv:2402.14740; GRPO:
# arXiv:2402.03300; online UNA: arXiv:2408.15339; `nanouft/rollout.py`, `nanouft/objectives/`.*
#
# This is **on-policy** learning: the answers come from the policy that is being trained. It suits
# tasks where checking is easier than writing. Answers that scored well become more likely. But is
# 0.6 a good score? That depends on the prompt, so each method compares it with a **baseline**.
# **REINFORCE** takes the mean of all scores of the batch. **RLOO** and **GRPO** sample several
# answers to each prompt, a **group**, and compare an answer with its group. **Online UNA** takes
# the score that the model itself implies, one half at the start.
#
# ## Guess
# The base answers 100 prompts, four times each, and its mean score is 0.42. Where the four scores
# are equal, RLOO and GRPO can learn nothing. For how many of these prompts is that so? Write down a
# number from 0 to 100.

# %%
from course import Lesson, train

CHANGE = ""                     # change one thing: "" | "mixed up", see below
lesson = Lesson("12", CHANGE)
CHANGE = lesson.change

# %% [markdown]
# ## Why sampling works
# Let $\pi(y)$ be the probability of an answer $y$ and $R(y)$ its score. Since
# $\nabla\log\pi=\nabla\pi/\pi$, the **log-derivative**, the gradient of the mean score is again a
# mean over sampled answers. It is called the **policy gradient**:
# $$\nabla\,\mathrm E[R]=\sum_y R(y)\,\nabla\pi(y)
# =\sum_y\pi(y)\,R(y)\,\nabla\log\pi(y)=\mathrm E\,[R\,\nabla\log\pi(y)],$$
# $$\mathrm E\,[\nabla\log\pi(y)]=\sum_y\nabla\pi(y)=\nabla 1=0,
# \quad\text{so}\quad\nabla\,\mathrm E[R]=\mathrm E\,[(R-b)\,\nabla\log\pi(y)].$$
# So each sampled answer is pushed by its **advantage** $A=R-b$. Any baseline $b$ will do that does
# not look at $y$: it only takes noise away. The log-probability of an answer is the sum of those of
# its tokens, so each token gets the push of the whole answer. With $K$ answers to a prompt and
# their mean score $\bar R$, the three methods use
# $$A^{\mathrm{REINFORCE}}=R-\mathrm{mean}(R),\qquad
# A^{\mathrm{RLOO}}=\frac{K}{K-1}(R-\bar R),\qquad A^{\mathrm{GRPO}}=\frac{R-\bar
# R}{\mathrm{std}(R)+10^{-4}}.$$ The means of REINFORCE and GRPO break the rule, because each
# contains the answer's own score. The mean holds $1/N$ of the answer's own score, so this part is
# subtracted, too. On average this only multiplies the gradient by $(N-1)/N$: nearly 1 with the 64
# answers of a batch, 3/4 with four answers to a prompt. RLOO's $K/(K-1)$ takes it back: its formula
# is the score minus the mean of the other $K-1$ answers. GRPO also divides by the spread of the
# group, so the scores 1, 1, 1, 0.9 push as hard as 1, 1, 1, 0. Strictly speaking, this is no longer
# the gradient of the mean score.
#
# **Write it first.** `advantages` of `lessons/exercises/ex12.py` (12a) is these formulas, and that
# of online UNA at the start. The lesson trains REINFORCE, RLOO and GRPO with yours if it is right;
# for online UNA it only shows them.
#
# The next cell checks the factor on one prompt with five possible answers. It adds up the push over
# all 625 groups of four, each with its probability. The five logits stand for the weights. As in
# lesson 07 the slope of $\log p_y$ is $1-p_y$ with respect to its own logit and $-p_k$ to another.

# %%
import itertools

import draw
import torch

from nanouft import world
from nanouft.gpt import shipped_base
from nanouft.simple import BETA, SAMPLES, token_logp, sample_answers
from nanouft.models.tokenizer import nano

STEPS, PROMPTS = 10, 16         # optimizer steps, prompts of each: 64 answers per step
tok = nano()
rows = world.rows("train", "prompts", 400, seed=0, skills=("fact", "truth", "sort"))
rows = [rows[(i % 3) * 133 + i // 3] for i in range(399)]           # the three skills in turn


advantages = lesson.yours("12a")


def kinds(R) -> dict[str, float]:
    """Per cent of the prompts whose scores are all 1, and all equal."""
    right, equal = R.amin(1) == 1, R.amax(1) == R.amin(1)
    return {"all right": 100 * right.float().mean().item(),
            "all equal": 100 * equal.float().mean().item()}


p = torch.tensor([0.4, 0.3, 0.15, 0.1, 0.05])           # of the five answers to one prompt
score = torch.tensor([0.0, 1.0, 0.5, 0.0, 1.0])
groups = torch.cartesian_prod(*[torch.arange(5)] * SAMPLES)             # (625,K) all groups
chance = p[groups].prod(1)                              # (625,) of each group
slope = torch.eye(5) - p                                # (5,5) of each log pi(y), by the logits
true = p @ (score[:, None] * slope)                     # (5,) of the mean score: E[R grad log pi]
for name, A in (("own score in the mean", score[groups] - score[groups].mean(1, keepdim=True)),
                ("RLOO", advantages("RLOO", score[groups]))):
    expected = chance @ (A[..., None] * slope[groups]).mean(1)          # (5,)
    factor = (expected @ true / (true @ true)).item()
    print(f"{name}: {factor:.2f} times the gradient of the mean score")
    assert torch.allclose(expected, factor * true, atol=1e-6), "its direction is the right one"
    assert abs(factor - (1 if name == "RLOO" else (SAMPLES - 1) / SAMPLES)) < 1e-4, \
        "a mean that contains R shortens the gradient, and RLOO takes this back"

base = shipped_base()
exam = rows[:100]
inputs, targets, mask, R = sample_answers(base, exam, tok, step=1000)
shares = {"base": kinds(R)}
print(f"base: mean score {R.mean():.2f}; prompts whose {SAMPLES} scores are "
      + ", ".join(f"{name}: {x:.0f} %" for name, x in shares["base"].items()))

# %% [markdown]
# ## Three groups, four methods
# What do the four methods push in a group of four answers whose scores differ a little, in one that
# is all right, and in one that is all wrong? The picture shows the advantages, on one scale.

# %%
spread = R.std(1)
picked = [int(kind.nonzero()[0]) for kind in (          # unequal, all right, all wrong
    (spread > 0.1) & (spread < 0.15), R.amin(1) == 1, R.amax(1) == 0)]
for prompt in picked:
    print(f"{exam[prompt].prompt[0].text}   scores "
          + " ".join(f"{round(x, 2):g}" for x in R[prompt].tolist()))
METHODS = "REINFORCE", "RLOO", "GRPO", "online UNA"
push = {method: advantages(method, R)[picked].flatten() for method in METHODS}

# %% [markdown]
# ## Train with each of the four
# The loop samples answers at temperature 1: each token is drawn with the probability that the model
# gives it. It scores them, makes one step and throws them away, because their policy no longer
# exists. Lesson 12b keeps them for longer, and shows what GRPO needs for that. Ten steps, one rate
# and one seed can show that the models learn, but not which method is best.

# %%
def loss_of(method: str):
    """The loss of one step, a function of a model and some prompts, which it answers itself."""
    step = itertools.count()

    def loss(model, asked):
        inputs, targets, mask, R = sample_answers(model, asked, tok, next(step))
        A = advantages(method, R)                       # (P,K)
        if CHANGE == "mixed up":
            A = A.roll(1, dims=1)                       # that of the answer before, same prompt
        A = A.flatten()                                 # (P*K,)
        logp = (token_logp(model(inputs), targets) * mask).sum(1)         # (P*K,) of whole answers
        if method == "online UNA":                      # implied score to given score
            with torch.no_grad():
                before = (token_logp(base(inputs), targets) * mask).sum(1)
            return (torch.sigmoid(BETA * (logp - before)) - R.flatten()).square().mean()
        if method == "GRPO":
            logp = logp / mask.sum(1)                   # a mean over the tokens of each answer
        return -(A * logp).mean()
    return loss


def first_answers(targets, mask) -> list[str]:
    """The first answer to each prompt."""
    return [tok.decode(ids[on > 0].tolist()) for ids, on in zip(targets, mask)][::SAMPLES]


said, after, failed = {"base": first_answers(targets, mask)}, {"base": R}, R.amax(1) == 0
again = sample_answers(base, exam, tok, step=2000)[-1]
print(f"the base, sampled again: all equal {kinds(again)['all equal']:.0f} %; of {failed.sum()} "
      f"that were all wrong {(again[failed].amax(1) > 0).sum()} score")
for method in METHODS:
    model = train(base, loss_of(method), rows[100:], STEPS, 3e-4, method, PROMPTS)
    _, targets, mask, found = sample_answers(model, exam, tok, step=1000)
    said[method], after[method], shares[method] = first_answers(targets, mask), found, kinds(found)
    print(f"{method:12} mean score {R.mean():.2f} -> {found.mean():.2f}; "
          + ", ".join(f"{name} {x:.0f} %" for name, x in shares[method].items())
          + f"; of {failed.sum()} that were all wrong {(found[failed].amax(1) > 0).sum()} score")

lines = [f"{name} {after[name][k, 0]:.2f}   {row.prompt[0].text}{said[name][k]}"
         for k, row in enumerate(exam[:20]) for name in ("base", "RLOO")]
sorts = torch.tensor([row.task == "sort" for row in exam])
parts = [f"{name} scores {after[name][sorts].mean():.2f} in sorting and "
         f"{after[name][~sorts].mean():.2f} in sentences, and goes on to a question of its own in "
         f"{sum('<|user|>' in text for text in said[name])} answers" for name in ("base", "RLOO")]
lesson.read(lines, "Two lines for each prompt: the score and the answer of the base, then those of "
            "RLOO. What does the mean score hide?",
            f"What was learned. Over all {len(exam)} prompts {'; '.join(parts)}.")

# %%
fig, (left, right) = draw.panels(1, 2, width_ratios=(3, 2))
draw.heat(left, torch.stack(list(push.values())),
          [f"{round(x, 2):g}" for x in R[picked].flatten().tolist()],
          list(push), "Equal scores teach RLOO and GRPO nothing", number="%.1f")
left.set_xlabel("scores of three groups: unequal | all right | all wrong")
equal = shares["base"]["all equal"]
draw.bars(right, {what: [x[what] for x in shares.values()] for what in ("all equal", "all right")},
          ["base", "REIN-\nFORCE", "RLOO", "GRPO", "online\nUNA"],
          f"... as in {equal:.0f} % of the groups", "% of the prompts")
lesson.picture(fig)

# %%
tied = torch.cat([push["RLOO"][SAMPLES:], push["GRPO"][SAMPLES:]])
assert not tied.any(), "to RLOO and GRPO a group of equal scores teaches nothing"
if not CHANGE:
    assert min(after[x].mean() for x in METHODS) > R.mean() + 0.05, "a score is enough to learn"
    lesson.compare(equal, "prompts")
else:
    lesson.compare(after["RLOO"].mean().item())

# %% [markdown]
# ## What happened
# **A group of equal scores** teaches RLOO and GRPO nothing, though it is sampled and scored. If all
# its answers are right there is nothing left to learn. If all are wrong, none shows what scores.
# But other prompts teach what they share with it: none of the 100 is trained on, and 22 or 23 of
# the 26 that the base got all wrong score now. Chance is a part of that: sampled again, the base
# itself scores on 12 of them. The bars show the equal groups, 44 % before training and 38 % in the
# base's other sample. Groups that are all right become more frequent and those all wrong rare, so
# many stay equal.
#
# **The rows of the picture.** In the first group RLOO pushes little, since the scores differ
# little. GRPO divides by their spread. REINFORCE compares with the whole batch, so it pushes all
# four down and an easy prompt's answers up: right on average, but noisy. Online UNA needs no group:
# it pushes up whatever scores above the implied score.
#
# ## Change one thing
# With `CHANGE = "mixed up"` each advantage goes to the next answer of its group, as if the code had
# confused the answers to a prompt. Nothing crashes. Does online UNA care? The base's mean is 0.42.
# Which one does RLOO reach? Write down a number from 0 to 1.
#
# <details><summary>After your run</summary>
#
# RLOO and GRPO fall to 0.01. Their advantages add up to 0 in a group, so beside a good answer the
# others' lie below 0: good answers are punished. REINFORCE's need not, and it falls to 0.33. Online
# UNA ends where it did before, because its loss reads no advantages. Only scores and answers show
# the mistake, so sample and read some during training.
#
# </details>
#
# ## Exercise
# **On paper.** An answer is right with probability $p$, independently of the others. How large must
# $K$ be if at least half of the groups shall have unequal scores, for $p=.5$ and for $p=.1$?
#
# <details><summary>Answer</summary>
#
# A share $1-p^K-(1-p)^K$ of the groups has unequal scores: $K=2$ for $p=.5$, and 7 for $p=.1$.
#
# </details>
#
# ## Two questions
# 1. Why may the baseline not depend on the answer that it is compared with?
# 2. Why is every answer sampled at temperature 1 and used for one step?
#
# <details><summary>Answers</summary>
#
# 1. Only then is the mean of b times the gradient of log pi zero. A mean that contains the answer's
#    own score makes the gradient shorter, by (N-1)/N. Another dependence may turn it as well.
# 2. The first equation is a mean over answers of the present policy. Temperature 1 samples from
#    exactly that one, and after a step it is another.
#
# </details>
