# %% [markdown]
# # 16 · Searching with a reward
# Train a reward model on pairs, then take its favourite of n answers. With a larger n the reward
# must rise. What does the true score do?
#
# *25 minutes; needs 05. Reward models: arXiv:2009.01325; best of n and reward models: Gao et al.,
# arXiv:2210.10760. You write `best_of_n`.*
#
# Lesson 05 went from pairs to a policy directly. The older way first learns from the pairs a
# **reward model**, which gives each answer one number, and then looks for answers with a high one.
# The simplest search trains nothing: draw n answers and keep the favourite, the **best of n**. In
# our world a program, the **verifier**, can also compute the true score of the favourite.

# %%
import math

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from course import OUT, ask, curves, tell
from mine import sft_loss

from nanouft import world
from nanouft.gpt import shipped_base
from nanouft.models.tokenizer import nano
from nanouft.scorers import RewardModel, pad_right, rewards
from nanouft.run.evaluation import answer_rows

PAIRS = 480                     # pairs to train on
SEED = 0                        # 1 or 2: other rows and other samples
N, SIZES, SKILLS = 64, (1, 2, 4, 8, 16, 32, 64), ("sort", "truth", "unknown", "fact")
tok, policy, judge = nano(), shipped_base(), RewardModel(shipped_base())
demos = world.rows("train", "demos", 960, seed=SEED, skills=SKILLS)
pairs = world.rows("train", "pairs", PAIRS, seed=SEED, skills=SKILLS)
unseen = world.rows("val", "pairs", 200, seed=SEED, skills=SKILLS)
asked = world.rows("test", "prompts", 48, seed=SEED, skills=SKILLS)     # 12 of each task
guess = ask("""The policy sorts words and answers questions about creatures, some of whom nobody
knows. Its answers have a true score of 65 of 100 on average. The reward model is right on two
thirds of 200 unseen pairs. It picks its favourite of 64 answers to each question. What is the
average true score of these favourites?""", "0 to 100")

# %% [markdown]
# ## A reward model
# It is a GPT with one more vector. The state after the last layer at `<|end|>`, times this vector,
# is the reward r. The loss is lesson 05's, $L=-\log\sigma(r_w-r_l)$, with the judge of Bradley and
# Terry. Add a number to both rewards, and nothing changes: only differences between answers to one
# prompt count. Both models start from the base. The policy takes 60 steps of SFT, the reward model
# then 45 on pairs, three epochs.

# %%
optimizer = torch.optim.AdamW(policy.parameters(), lr=2.5e-4, betas=(0.9, 0.95), weight_decay=0.0)
for step in range(60):
    loss = sft_loss(policy, None, demos[16 * step:16 * step + 16], tok, step)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def reward(rows, side):
    """(B,) rewards of the better or the worse answers, each with its question."""
    return judge(*pad_right([tok.chat(row.prompt, getattr(row, side))[0] for row in rows], tok.pad))


optimizer = torch.optim.AdamW(judge.parameters(), lr=5e-4, betas=(0.9, 0.95), weight_decay=0.0)
for step in range(45):
    batch = [pairs[i % PAIRS] for i in range(32 * step, 32 * step + 32)]    # 1. pairs
    lead = reward(batch, "chosen") - reward(batch, "rejected")              # 2. (32,) r_w - r_l
    loss = -F.logsigmoid(lead).mean()                                       # 3. loss
    optimizer.zero_grad()
    loss.backward()                                                         # 4. gradient
    optimizer.step()                                                        # 5. step
with torch.no_grad():
    right = reward(unseen, "chosen") > reward(unseen, "rejected")           # (200,)
print(f"unseen pairs won: {right.float().mean():.0%};", ", ".join(
    f"{x} {right[[row.task == x for row in unseen]].float().mean():.0%}" for x in SKILLS))

# %% [markdown]
# ## How far does a search go?
# Best of n moves away from the policy without any gradient. Its distance is a KL (lesson 05). Let u
# be the share of the policy's answers that have a lower reward than a given one. For an answer of
# the policy, u is uniform between 0 and 1: its density is 1. The best of n is below u only if all n
# are, with probability $u^n$. The best of 2 is below 1/2 in one case of four; the best of 64 is
# above 0.989 in half of the cases. The density of the best is the derivative of $u^n$, which is
# $n\,u^{n-1}$. The KL is the mean of the log of both densities' ratio, over the best:
# $$\mathrm{KL}=\int_0^1n\,u^{n-1}\log(n\,u^{n-1})\,du=\log n+(n-1)\int_0^1n\,u^{n-1}\log u\,du
# =\log n-\frac{n-1}{n},$$
# since by parts the last integral is $[u^n\log u]_0^1-\int_0^1u^{n-1}du=-1/n$. For n = 64 the KL
# is 3.17 nats. Equal answers leave no choice, so it is a bound: the KL is at most this. We draw 64
# answers to each of 48 new prompts. For a smaller n we take the mean over groups of n.

# %%
rows = [row for row in asked for _ in range(N)]
answers = answer_rows(policy, tok, rows, temperature=1.0, seed=SEED, max_new=24)
texts = [tok.decode(x.ids).strip() for x in answers]
score = world.exact_scores(rows, texts).reshape(48, N)                      # the verifier's
learned = rewards(judge, [tok.chat(row.prompt, world.as_answer(text))[0]
                          for row, text in zip(rows, texts)], tok.pad).reshape(48, N)
liked = learned                                                             # change one thing here


def favourites(n, value):
    """(48,) value of the answer with the highest reward in each group of n, mean over groups."""
    groups, values = liked.reshape(-1, n), value.reshape(-1, n)             # (48*64/n,n)
    best = values[np.arange(len(values)), groups.argmax(1)]                 # one of each group
    return best.reshape(48, -1).mean(1)


kl = [math.log(n) - (n - 1) / n for n in SIZES]
raised = [(favourites(n, liked).mean() - liked.mean()) / liked.std() for n in SIZES]
by_task = [100 * favourites(n, score).reshape(4, 12).mean(1) for n in SIZES]    # (4,) each
print("best of   KL at most   reward, sd   true score   " + "".join(f"{x:>9}" for x in SKILLS))
for n, nats, gain, points in zip(SIZES, kl, raised, by_task):
    print(f"{n:7}{nats:13.2f}{gain:+13.2f}{points.mean():13.0f}   "
          + "".join(f"{x:9.0f}" for x in points))
of_36 = texts[36 * N:37 * N]                        # a creature that the policy knows
print(f"\n64 answers to: {asked[36].prompt[0].text}\nhow often   reward   score   answer")
for text in sorted(set(of_36), key=lambda text: liked[36, of_36.index(text)]):
    j = of_36.index(text)                               # the first of the equal answers
    print(f"{of_36.count(text):9}{liked[36, j]:9.2f}{score[36, j]:8.2f}   {text}")
print("\nthe favourites of 64:")
for k in range(0, 48, 6):
    print(f"   {asked[k].prompt[0].text:<46}{texts[N * k + int(liked[k].argmax())]}")
lines = {"reward (100: its largest)": [100 * x / raised[-1] for x in raised],
         "true score": [x.mean() for x in by_task], "of sort": [x[0] for x in by_task]}
curves("16", kl, lines, "of the favourite")
plt.xticks(kl[1:], [f"{x:.1f}\nn = {n}" for x, n in zip(kl[1:], SIZES[1:])])
plt.xlabel("KL from the policy (at most), nats")
plt.savefig(OUT / "16.png")
tell(guess, by_task[-1].mean(), "points")

# %% [markdown]
# ## What happened
# The reward rises, and the true score falls from 65 to 35. This is **reward hacking**, or
# **overoptimization**: a measure that becomes the target is no longer a good one (Goodhart's law).
#
# In every pair about an unknown name "I do not know." is the better answer, and in no pair is it
# the worse one. So the model learned that this refusal is good, and not when. Among 64 answers
# about a known creature there is nearly always one, and it wins: `unknown` rises to 100, `truth`
# and `fact` fall to 0. `sort` rises to 85 at 0.64 nats, and then falls to 42: its favourites have
# words that nobody asked for, as *cherry* above. With other rows and samples (`SEED = 1`, 2) the
# score falls from 51 to 34 and from 61 to 34, and `sort` goes up and then down in both.
#
# **Did the unseen pairs warn us?** Pooled, 66 % looks usable. By task they warn: on `truth` and
# `fact` the reward model is near a coin. But on `sort` it wins 85 %. A search looks for the answers
# on which the reward model is wrong, and these are rare among pairs. So keep a score that plays no
# part in the search, or a person who reads the answers.
#
# ## Change one thing
# Replace `liked = learned` by `liked = score`: the search uses the true score. Guess: what does the
# favourite of 64 have now?
#
# <details><summary>After your runs</summary>
#
# 100: the search itself was never the problem.
#
# </details>
#
# ## To hand in
# Give every second pair of `truth` and `fact` the rejected answer "I do not know." (`replace` of
# `dataclasses`, `world.as_answer`). Draw both true scores against the KL. Which n would you use?
#
# ## Your own program
# 64 answers are one group of 64, or 32 of two. The mean over all sets of n has less noise. Rewards
# 1, 2, 3, 0 and true scores 0, 1, 0.5, 0.2 have six sets of two. The third answer is the favourite
# of three of them, the second of two, the first of one: (3 x 0.5 + 2 x 1 + 1 x 0) / 6 = 0.5833.
#
#     def best_of_n(n, likes, scores):
#         """The mean true score of the favourite, over all sets of n different answers. likes and
#         scores: lists of N numbers, the rewards (all different) and the true scores of N answers
#         to one prompt. n = 1 gives the mean of scores, n = N the score of the favourite of all."""
#
# ## Two questions
# 1. How many nats does best of 4 cost at most, and when is it less?
# 2. Where did the unseen pairs warn us that the reward is wrong, and where not?
#
# <details><summary>Answers</summary>
#
# 1. At most log 4 - 3/4 = 0.64 nats. It is less where samples are equal, which leaves no choice.
# 2. Task by task they warn of `truth` and `fact`; pooled they hide this. They never warn of `sort`.
#
# </details>
