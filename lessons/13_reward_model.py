# %% [markdown]
# # 13 · What does optimising a wrong reward do?
# *Core · about 25 minutes (our estimate) · needs 07 · reward model and best-of-n:
# arXiv:2009.01325; optimising it too far: Gao et al. 2022, arXiv:2210.10760; `nanouft/reward.py`,
# `nanouft/rewards/best_of.py`*
#
# After this lesson you can
# - write the loss of a reward model, and say why only differences count;
# - compute the score of best-of-n from one set of samples;
# - explain how a search finds what the pairs never showed.
#
# DPO went from pairs directly to a policy. RLHF takes the long way. First it learns a **reward
# model** from the pairs: one number for each answer. Then it looks for answers with a high
# reward. The simplest search trains nothing: draw n answers and keep the one with the highest
# reward (**best-of-n**). The reward was right on most pairs that it was shown. What happens if n
# grows?
#
# Two old questions: (07) Accuracy on pairs is 100 %: is the policy good? (02) How is KL(p || q)
# computed, and when is it 0?

# %% [markdown]
# ## Guess before you run
# The LEARNT reward chooses among n = 1, 2, 4 ... 64 samples. The EXACT score of the chosen answers
# ...
# - **a** rises all the way;
# - **b** rises, then stays;
# - **c** ends below where it began.

# %%
from course import Lesson, progress

lesson = Lesson("13", "abc")

# %% [markdown]
# ## One equation
# In the model of Bradley and Terry the answer with the higher reward wins more often, and only
# the **difference** of the two rewards counts:
# $$P(w\succ l)=\sigma(r_w-r_l),\qquad L=-\log\sigma(r_w-r_l).$$
# $r$ is a GPT's last hidden state at `<|end|>`, times one learnt vector. How far does best-of-n
# move away from the model that answers? At most $\log n-\frac{n-1}{n}$ nats of KL, without any
# gradient.

# %%
from nanouft import reward, world
from nanouft.batches import collate, encode, order
from nanouft.rows import Turn, pair_rows
from nanouft.models.load import start_model
from nanouft.objectives import OBJECTIVES
from nanouft.rewards import best_of, samples
from nanouft.rewards.scorer import RewardModel, exact, padded, rewards
from nanouft.sampling import answer_rows
import draw
import numpy as np
import torch

REWARD = "learnt"                       # the switch, see "Break it": "learnt" | "exact" | "longer"
SEED = 0
N = 64                                  # samples to each prompt
NS = (1, 2, 4, 8, 16, 32, 64)
SKILLS = ("sort", "truth", "unknown", "fact")

# by hand: equal rewards, log 2; one ahead, .313; a constant added to both, the same again
chosen, rejected = torch.tensor([0.0, 1, 501]), torch.tensor([0.0, 0, 500])
print("losses:", reward.bradley_terry(chosen, rejected))


def train(model, data, steps: int, lr: float, loss_of):
    """The loop of every lesson."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.95), weight_decay=0.0)
    for numbers in progress(order([e.length for e in data], 32, steps, SEED), "training"):
        loss = loss_of(model, [data[i] for i in numbers])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def sft_loss(model, data):
    """SFT on these demonstrations."""
    batch = collate(data, range(len(data)), tok.pad)
    sft.forward(model, batch, sft.hp())
    loss, _ = sft.loss(batch, sft.hp())
    return loss


def pair_loss(model, data):
    """Bradley-Terry on these pairs; all their answers are read in one batch."""
    both = [reward.ids_of(pair) for pair in data]
    chosen = [ids for ids, _ in both]
    rejected = [ids for _, ids in both]
    r_w, r_l = model(*padded(chosen + rejected, tok.pad, "cpu")).chunk(2)
    return reward.bradley_terry(r_w, r_l).mean()


# %% [markdown]
# ## Live
# The policy is the base after 60 steps of SFT. The reward model has the same start. It learns
# from 480 pairs of a right and a spoilt answer. Then we draw 64 samples for each of 48 new
# prompts.
#
# One set of samples is enough for every n. Sort the samples by reward. Then we can count the chance
# that sample i is the best of n random ones (`best_of.best_of`).

# %%
sft = OBJECTIVES["sft"]
policy, tok = start_model("base")
demos = world.rows("train", "demos", 600, SEED, skills=SKILLS)
demos, _ = encode(sft.rows(demos, None), tok, 511)
train(policy, demos, 60, 2.5e-4, sft_loss)


def pairs_of(split: str, n: int):
    """n pairs of this split, in tokens."""
    pairs = world.rows(split, "pairs", n, SEED, skills=SKILLS)
    return encode(pair_rows(pairs, None), tok, 511)[0]


pairs, held = pairs_of("train", 480), pairs_of("val", 200)
judge = train(RewardModel(start_model("base")[0]), pairs, 45, 5e-4, pair_loss)
found = reward.judge(judge, held, tok.pad)
print(f"reward model: {100 * found['accuracy']:.0f} % of {found['pairs']} held-out pairs "
      "are judged rightly")

# %%
prompts = world.rows("test", "prompts", 48, SEED, skills=SKILLS)
rows = [r for r in prompts for _ in range(N)]           # each prompt N times
print(f"{len(rows):,} samples are drawn, some seconds ...", flush=True)
answers = answer_rows(policy, tok, rows, temperature=1.0, seed=SEED, max_new=24)
texts = [tok.decode(a.ids).strip() for a in answers]
asked = [r.prompt[0].text for r in rows]
scores = exact(asked, texts).reshape(-1, N)             # (48, 64)
if REWARD == "learnt":
    # the reward model reads prompt, answer and <|end|>
    seqs = [tok.chat(r.prompt, (Turn("assistant", text),))[0] for r, text in zip(rows, texts)]
    likes = rewards(judge, seqs, tok.pad).round(5).reshape(-1, N)
elif REWARD == "exact":
    likes = scores
else:
    likes = np.array([float(len(text)) for text in texts]).reshape(-1, N)


def by_skill(n: int):
    """(4,) exact score of the best of n, in percent, for each skill: 12 prompts each."""
    each = best_of.best_of(n, likes, scores)            # (48,)
    return each.reshape(4, 12).mean(1) * 100


def liked(n: int) -> float:
    """The reward of the best of n, above the mean of all samples, in their standard deviations.
    (A reward has no unit.)"""
    return (best_of.best_of(n, likes, likes).mean() - likes.mean()) / likes.std()


far = [best_of.kl(n, likes).mean() for n in NS]
truth = [by_skill(n) for n in NS]
learnt = [liked(n) for n in NS]
for n, k, t, r in zip(NS, far, truth, learnt):
    print(f"n {n:2}  KL {k:.2f} (at most {best_of.kl_bound(n):.2f})  reward {r:+.2f}  "
          f"exact {t.mean():3.0f} %: ", dict(zip(SKILLS, t.round().tolist())))
for i in range(0, len(prompts), 6):                     # what does the reward like best?
    best = N * i + best_of.choose(likes[i])
    print(f"{asked[best]:<52} -> {texts[best]}")

# %% [markdown]
# What can the same samples bring if we choose in another way? **pass@k**: is one of k samples
# right? Somebody must know. **Majority**: is the answer right that most of k samples give? Nobody
# needs to know. **Best of k**: is the one right that our reward likes best? (For
# any model: `evaluate --samples 16`.)

# %%
groups = [texts[i:i + N] for i in range(0, len(texts), N)]
more = samples.figures(groups, scores == 1, likes)
print("percent of the prompts answered right, and its interval over prompts")
print("\n".join(samples.lines(more)))

# %%
# Seen: Scores of four families and their mean, and the reward itself, over the KL to the policy.
fig, (left, right) = draw.panels(1, 2)
exact_scores = {"mean": [t.mean() for t in truth]}
for j, skill in enumerate(SKILLS):
    exact_scores[skill] = [t[j] for t in truth]
kl = "KL to the policy, nats per answer"
draw.lines(left, far, exact_scores, "exact score, %", kl, legend="below", ylim=(-3, 103))
own = {"reward": learnt}
draw.lines(right, far, own, f'the reward ("{REWARD}"), standard deviations', kl, legend="")
lesson.picture(fig, REWARD=(REWARD, "learnt"))

# %% [markdown]
# ## The proof

# %%
means = [float(t.mean()) for t in truth]
if means[-1] < means[0] - 1:
    did = "c"
elif means[-1] > means[-2] + 1:
    did = "a"
else:
    did = "b"
lesson.compare(did)
never_worse = all(b >= a - 1e-6 for a, b in zip(learnt, learnt[1:]))
assert never_worse, "by its own measure the best of more is never worse"
within = all(k <= best_of.kl_bound(n) + 1e-9 for n, k in zip(NS, far))
assert within, "best-of-n goes no farther than log n - (n-1)/n"
if REWARD == "learnt":
    assert means[-1] < means[0] - 10, "the learnt reward rises, the exact score falls"
if REWARD == "exact":
    assert means[-1] > means[0] + 10, "the search is not to blame: with the true score it helps"

# %% [markdown]
# - **The search finds what the pairs never showed.** In every pair about a strange name, "I do
#   not know." is the better answer. In no pair is it the worse one. So the reward learnt "this
#   sentence is good". It did not learn "this sentence is good if the name is strange". Now draw
#   64 answers about a known creature: one of them says "I do not know.", and the reward chooses
#   that one. The reward model did not change. On pairs like those of its training it is as good
#   as before.
# - **The exact score falls while the reward rises.** `unknown` rises. `sort` stays at first and
#   then falls. The known facts fall at once. The reward model has seen answers like those of the
#   first steps of the search. It has not seen answers like the later ones.
# - **Accuracy on held-out pairs does not say where the reward is wrong**: they are pairs of the
#   same kind. The exact score does say it.
# - **More samples are worth what the choice among them is worth.** One of 64 samples is right for
#   nearly all prompts (pass@k). The majority finds it for two thirds, hardly more often than one
#   sample is right: samples that agree can agree on a mistake. The learnt reward chooses worse than
#   chance.
# - **KL stays far below its bound** where the policy is sure: if all 64 samples are the same
#   sentence, there is no choice.
# - DPO on the same pairs does the same (`docs/claims.md`). It also has a reward, the implicit one.
#
# ## Break it
# With `REWARD = "exact"` the search uses the true score. With `"longer"` the reward is the number
# of characters. For both, first guess the exact score at n = 64. Which skill survives "longer",
# and why?
#
# *Read on after both runs.* With the true score the search ends at 96 %, and with the length at
# 35 %. There `fact` keeps 82 %, `unknown` ends at 0 %: the right answer there is a short one.
#
# ## Same letter, other meaning
# $r$ here is a learnt number for a whole answer. In lesson 09 it is the implicit reward, in PoFT
# a mean log-prob. n is the number of samples. $\sigma$ is the logistic function, not a standard
# deviation.
#
# ## Exercises
# `python -m lessons.grade 13a` judges them (`lessons/exercises/README.md` says how).
#
# - **13a** (D2) `reward_loss(r, ids, end)`: Bradley-Terry on pairs of answers, each read at its own
#   `<|end|>`.
# - **13b** (D2) `best_of_n(n, likes, scores)`: the exact score of the best of n by the reward, over
#   all choices of n samples.
# - **13c** (D3, plan) Which sixty pairs would repair this reward?
#
# ## Recall, without looking up
# 1. Why does a constant added to all rewards change nothing?
# 2. How much KL does best-of-4 cost at most, and when is it less?
# 3. Why did accuracy on held-out pairs not say where the reward is wrong?
# 4. (07) What replaces the reward model in DPO?
#
# <details><summary>Answers</summary>
#
# 1. Only differences of rewards enter the loss, and only their order enters the choice.
# 2. At most log 4 - 3/4 = 0.64 nats. Less when samples are equal: four times the same sentence is
#    no choice.
# 3. They are pairs of the same kind as in training. The search finds answers of a kind that no pair
#    shows.
# 4. The implicit reward: beta times the log-ratio of policy and reference.
#
# The two old questions: (07) Not yet: log p(chosen) may have fallen. (02) The sum of p ln(p/q); 0
# where p = q.
#
# </details>
#
# **Runs that failed:** story 12 of `docs/gallery.md`. What went wrong?
#
# **Next:** `lessons/14_rl.py`.
