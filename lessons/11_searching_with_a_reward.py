# %% [markdown]
# # 11 · Searching with a reward
# Train a reward model on pairs, then pick its favourite of 64 answers. The reward rises. Does the
# true score rise too? In this world a verifier can compute it.
#
# *About 25 minutes; read 07 first. Reward models: arXiv:2009.01325; best-of-n and reward models:
# Gao et al., arXiv:2210.10760; `nanouft/reward.py`.*
#
# DPO goes from pairs directly to a policy. The older way first learns from the pairs a **reward
# model**, which gives one number to each answer (`docs/terms.md` has the terms). Then it looks for
# answers with a high reward.
#
# The simplest search trains nothing: draw n answers to a prompt and keep the one with the highest
# reward. It is called **best-of-n**. The policy and the reward model stay the same, and only the
# choice becomes stricter as n grows. In NanoWorld a program, the **verifier**, can also compute the
# exact score of the answers that are chosen. Most real questions have no verifier.
#
# ## Guess
# The reward model is right on two thirds of new pairs. On average an answer of the policy has an
# exact score of 65 of 100 points. What does the answer score that the reward model likes best of
# 64? Enter a number from 0 to 100.

# %%
from course import Lesson, train

CHANGE = ""                     # change one thing: "" | "exact", see below
lesson = Lesson("11", CHANGE)
CHANGE = lesson.change

# %% [markdown]
# ## A loss for a reward
# The reward model is a GPT. The list of numbers at `<|end|>` after its last layer, the **hidden
# state**, is multiplied by one learned vector. Its loss is the model of Bradley and Terry from
# lesson 07, $L=-\log\sigma(r_w-r_l)$. If a number is added to both rewards nothing changes. So a
# reward has no zero point, and only differences between answers to one prompt count. The sigmoid
# is a probability: a **calibrated** model is right on 80 % of the pairs to which it gives 80 %.
#
# The policy is the base after 60 steps of SFT. The reward model starts from the base as well and
# takes 45 steps at batch size 32, three epochs of 480 pairs of a right and a wrong answer. As is
# usual, we test it on 200 held-out pairs, which show whether it **overfits** its training pairs.

# %%
import math

import draw
import numpy as np
import torch.nn.functional as F

from nanouft import world
from nanouft.reward import RewardModel, pad_right, rewards
from nanouft.run.evaluation import answer_rows
from nanouft.gpt import shipped_base
from nanouft.models.tokenizer import nano
from nanouft.simple import sft_loss

tok = nano()
SKILLS = ("sort", "truth", "unknown", "fact")
SAMPLES = 64                    # answers to each prompt
SIZES = (1, 2, 4, 8, 16, 32, 64)


def demo_loss(model, rows):
    return sft_loss(model, None, rows, tok, 0)


def pair_loss(model, rows):
    """Bradley-Terry on pairs; all their answers are read in one batch."""
    seqs = [tok.chat(row.prompt, side)[0] for row in rows for side in (row.chosen, row.rejected)]
    both = model(*pad_right(seqs, tok.pad)).view(-1, 2)
    return -F.logsigmoid(both[:, 0] - both[:, 1]).mean()


def rewards_of(prompts: list, answers: list) -> np.ndarray:
    """(n,) the reward of each of these answers."""
    return rewards(judge, [tok.chat(*x)[0] for x in zip(prompts, answers)], tok.pad)


demos = world.rows("train", "demos", 960, seed=0, skills=SKILLS)
policy = train(shipped_base(), demo_loss, demos, 60, 2.5e-4, "SFT", 16)
pairs = world.rows("train", "pairs", 480, seed=0, skills=SKILLS)
judge = train(RewardModel(shipped_base()), pair_loss, pairs, 45, 5e-4, "reward model")
held = world.rows("val", "pairs", 200, seed=0, skills=SKILLS)
prompts = [row.prompt for row in held]
lead = (rewards_of(prompts, [row.chosen for row in held])
        - rewards_of(prompts, [row.rejected for row in held]))
by_task = {skill: lead[[row.task == skill for row in held]] > 0 for skill in SKILLS}
print(f"reward model, accuracy on {len(held)} held-out pairs: {100 * (lead > 0).mean():.0f} %; "
      + ", ".join(f"{skill} {100 * right.mean():.0f} %" for skill, right in by_task.items()))

# %% [markdown]
# ## Search
# We draw 64 answers to each of 48 new prompts. For a smaller n we take the mean over groups of n.
#
# Best-of-n moves away from the policy without any gradient, and its distance can be given in nats.
# Let $u$ be the share of the policy's answers that the reward model likes less than a given one.
# For an answer of the policy $u$ is uniform between 0 and 1. The best of n is below $u$ only if all
# n are, and this has the probability $u^n$. So its density is $n\,u^{n-1}$, where that of the
# policy is 1, and its KL from the policy is
# $$\int_0^1n\,u^{n-1}\log(n\,u^{n-1})\,du=\log n+(n-1)\int_0^1n\,u^{n-1}\log u\,du
# =\log n-\frac{n-1}{n},$$
# since the last integral is $-1/n$. For n = 64 this is 3.17 nats. If several answers have the same
# reward it is less, because there is no choice among them. The cell checks both, the second with a
# policy that has only two answers.

# %%
def best_of(n: int, reward: np.ndarray, value: np.ndarray) -> np.ndarray:
    """(P,) value of the answer with the highest reward in each group of n, mean over the groups."""
    reward, value = (x.reshape(len(x), -1, n) for x in (reward, value))         # (P,SAMPLES/n,n)
    best = reward.argmax(-1)[..., None]
    return np.take_along_axis(value, best, -1)[..., 0].mean(-1)


u = (np.arange(1e6) + 0.5) / 1e6                        # a million points between 0 and 1
for n in SIZES:
    log_density, bound = math.log(n) + (n - 1) * np.log(u), math.log(n) - (n - 1) / n
    kl = (np.exp(log_density) * log_density).mean()
    assert abs(kl - bound) < 1e-3, "log n - (n-1)/n is the KL"
    worse = 0.5 ** n                                    # both answers have a probability of 1/2
    of_two = worse * math.log(2 * worse) + (1 - worse) * math.log(2 * (1 - worse))
    assert of_two <= bound + 1e-9, "with equal rewards it is less"
print(f"KL of the best of {n}: {bound:.2f} nats; with two answers {of_two:.2f} nats")

asked = world.rows("test", "prompts", 48, seed=0, skills=SKILLS)    # 12 of each skill
rows = [row for row in asked for _ in range(SAMPLES)]
answers = answer_rows(policy, tok, rows, temperature=1.0, seed=0, max_new=24)
texts = [tok.decode(answer.ids).strip() for answer in answers]
score = world.exact_scores(rows, texts).reshape(-1, SAMPLES)
reward = score if CHANGE else rewards_of(
    [row.prompt for row in rows], [world.as_answer(text) for text in texts]).reshape(-1, SAMPLES)

wanted = [world.right_answer(row.prompt[0].text).split() for row in rows]
new_word = np.array([100.0 * bool(set(text.split()) - set(words))
                     for words, text in zip(wanted, texts)]).reshape(-1, SAMPLES)
by_skill = {n: 100 * best_of(n, reward, score).reshape(4, 12).mean(1) for n in SIZES}
liked = {n: (best_of(n, reward, reward).mean() - reward.mean()) / reward.std() for n in SIZES}
print("best of n   reward (sd)   exact score, %   by task: " + "  ".join(SKILLS))
for n in SIZES:
    each = "  ".join(f"{x:{len(skill)}.0f}" for skill, x in zip(SKILLS, by_skill[n]))
    print(f"{n:9}   {liked[n]:+11.2f}   {by_skill[n].mean():14.0f}            {each}")
invented = [best_of(n, reward, new_word)[:12].mean() for n in (1, SAMPLES)]     # the sorted lists
print("sorted lists with a word that is not in the prompt: {:.0f} % of all, {:.0f} % of the best "
      "of 64".format(*invented))
print("\nthe answer with the highest reward of 64:")
for i in range(0, len(asked), 6):
    best = SAMPLES * i + int(reward[i].argmax())
    print(f"  {rows[best].prompt[0].text:<48} -> {texts[best]}")

# %%
fig, (left, right) = draw.panels(1, 2)
start, end = (by_skill[n].mean() for n in (SIZES[0], SIZES[-1]))
steps = [math.log2(n) for n in SIZES]
draw.lines(left, steps, {"reward": list(liked.values())},
           "The reward rises", "log2 n of best-of-n", "reward, standard deviations")
draw.lines(right, steps, {"all tasks": [by_skill[n].mean() for n in SIZES],
                          "unknown": [by_skill[n][2] for n in SIZES],
                          "fact": [by_skill[n][3] for n in SIZES]},
           f"The exact score: {start:.0f} to {end:.0f} %", "log2 n of best-of-n",
           "exact score, %", ylim=(-3, 103))
lesson.picture(fig)
rises = all(liked[b] >= liked[a] - 1e-6 for a, b in zip(SIZES, SIZES[1:]))
assert rises, "by its own measure the best of more answers is never worse"
assert CHANGE or end < start - 10, "the learned reward rises, and the exact score falls"
assert not CHANGE or end > start + 10, "with the true score the same search helps"
lesson.compare(end, "points")

# %% [markdown]
# ## What happened
# The search found answers that the reward model likes and should not. So the reward rises and the
# exact score falls, from 65 to 35. This is **reward hacking**, or **overoptimization**, a case of
# **Goodhart's law**: a measure that becomes the target is no longer a good measure.
#
# In every pair about a name that nobody knows, "I do not know." is the better answer, and in no
# pair is it the worse one. So the model learned that this refusal is good, and not that it is good
# only if the name is unknown. Among 64 answers about a known creature there usually is one "I do
# not know.", and it gets the highest reward. So `unknown` rises to 100, while `truth` and `fact`
# fall to 0. The sorted lists first get better and then worse. Of all sampled lists 14 % have a word
# that is not in the prompt, as in "bee cherry green grey mango"; of the best of 64, 58 %.
#
# **Did the accuracy on held-out pairs warn us?** Pooled over all pairs, 65 % looks usable. Task by
# task it does warn: on `truth` and `fact` the reward model is hardly better than a coin, or worse.
# For `sort` it does not: the reward model is right on 85 % of these pairs, and yet the search ends
# far below its start. It looks for exactly those answers on which the reward model is wrong, and
# these are rare among pairs. So test a reward model on each task, and keep a score that plays no
# part in the search, or a person who reads the answers. Gao et al. measured this for many sizes of
# model.
#
# Training a policy on this reward is a search as well, so methods such as PPO add a KL penalty. DPO
# has no reward model but the same pairs, so it can learn the same mistake: in lesson 14, trained
# from the base, it also answers "I do not know." about facts that the base knew.
#
# ## Change one thing
# With `CHANGE = "exact"` the search uses the exact score instead of the reward model. What does the
# best of 64 answers score now? Enter a number from 0 to 100.
#
# <details><summary>After your run</summary>
#
# 100: the search itself was never the problem.
#
# </details>
#
# ## Exercise
# - **11a** `best_of_n(n, likes, scores)` of `lessons/exercises/ex11.py`: how good is the best of n?
#
# ## Two questions
# 1. How much KL does best-of-4 cost at most, and when is it less?
# 2. Where did the accuracy on held-out pairs warn us that the reward is wrong, and where not?
#
# <details><summary>Answers</summary>
#
# 1. At most log 4 - 3/4 = 0.64 nats, and less where samples are equal, which leaves no choice.
# 2. Task by task it shows that on `truth` and `fact` the model is no better than a coin; pooled it
#    hides that. It never shows what happens to `sort`.
#
# </details>
