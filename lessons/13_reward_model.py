# %% [markdown]
# # 13 · What does optimising a wrong reward do?
# *Core · about 25 minutes (estimated, n=0) · needs 07 · reward model and best-of-n: arXiv:2009.01325; optimising it too
# far: Gao et al. 2022, arXiv:2210.10760; `nanouft/reward.py`, `nanouft/rollout/best_of.py`*
#
# DPO went from pairs straight to a policy. RLHF takes the long way: learn from pairs a **reward model**, one number for
# each answer, then look for answers with a high one. The simplest search trains nothing: draw n answers, keep the one
# that the reward likes best (**best-of-n**). The reward was right on most pairs it was shown. What if n grows?
#
# Two old questions: (07) Accuracy on pairs is 100 %: is the policy good? (02) How is KL(p || q) computed, and when is
# it 0?

# %% Guess before you run. Nothing is checked, but the lesson will remind you.
MY_GUESS = None   # answers are chosen by the LEARNT reward, from n = 1, 2, 4 ... 64 samples. Their EXACT score ...
                  # "a" rises all the way   "b" rises, then stays   "c" ends below where it began

# %% [markdown]
# ## One equation
# Bradley and Terry: the answer with the higher reward wins more often, and only the **difference** counts:
# $$P(w\succ l)=\sigma(r_w-r_l),\qquad L=-\log\sigma(r_w-r_l).$$
# $r$ is a GPT's last hidden state at `<|end|>` times one learnt vector. How far does best-of-n go from the model that
# answers? At most $\log n-\frac{n-1}{n}$ nats of KL, with no gradient at all.

# %%
from nanouft.models.load import start_model
from nanouft.rollout.scorer import RewardModel, exact, padded, rewards
from nanouft.models.generate import answer_rows
from nanouft import reward, world
from nanouft.data import rows as data
from nanouft.look import plots
from nanouft.rollout import best_of
from nanouft.data.batches import collate, encode, order

from nanouft.objectives import OBJECTIVES
import torch                                            # after nanouft, which sets how threads wait

REWARD, SEED, N = "learnt", 0, 64                       # the switch, see "Break it": "learnt" | "exact" | "longer"
SKILLS, NS = ("sort", "truth", "unknown", "fact"), (1, 2, 4, 8, 16, 32, 64)
torch.set_num_threads(2)                                # fp32, two threads, fixed seeds: nearly equal on each machine
# by hand: equal rewards, log 2; one ahead, .313; a constant on both, the same
print("losses:", reward.bradley_terry(torch.tensor([0.0, 1, 501]), torch.tensor([0.0, 0, 500])))


def train(model, rows, steps, lr, loss_of):             # the loop of every lesson
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.95), weight_decay=0.0)
    for some in order([e.length for e in rows], 32, steps, SEED):
        optimizer.zero_grad(), loss_of(model, [rows[i] for i in some]).backward(), optimizer.step()
    return model


def sft_loss(model, rows):
    sft.forward(model, batch := collate(rows, range(len(rows)), tok.pad), sft.hp())
    return sft.loss(batch, sft.hp())[0]


def pair_loss(model, rows):                             # both answers of a pair are read in one batch
    chosen, rejected = zip(*map(reward.ids_of, rows))
    return reward.bradley_terry(*model(*padded([*chosen, *rejected], tok.pad, "cpu")).chunk(2)).mean()


# %% [markdown]
# ## Live
# The policy: the base after 60 steps of SFT. The reward model: the same start, 480 pairs of a right and a spoilt
# answer. Then 64 samples to each of 48 new prompts. One set of samples tells about every n: sort them by reward, and
# sample i is the best of a random n with a chance that can be counted (`best_of.best_of`).

# %%
sft, (policy, tok) = OBJECTIVES["sft"], start_model("base")
demos = encode(sft.rows(world.rows("train", "demos", 600, SEED, skills=SKILLS), None), tok, 511)[0]
train(policy, demos, 60, 2.5e-4, sft_loss)
pairs, held = (encode(data.pair_rows(world.rows(split, "pairs", n, SEED, skills=SKILLS), None), tok, 511)[0]
               for split, n in (("train", 480), ("val", 200)))
judge = train(RewardModel(start_model("base")[0]), pairs, 45, 5e-4, pair_loss)
found = reward.judge(judge, held, tok.pad)
print(f"reward model: {100 * found['accuracy']:.0f} % of {found['pairs']} held-out pairs are judged rightly")

rows = [r for r in world.rows("test", "prompts", 48, SEED, skills=SKILLS) for _ in range(N)]
said = [tok.decode(a.ids).strip() for a in answer_rows(policy, tok, rows, temperature=1.0, seed=SEED, max_new=24)]
asked = [r.prompt[0].text for r in rows]
texts = [tok.chat(r.prompt, world.said(text))[0] for r, text in zip(rows, said)]    # with <|end|>
scores = exact(asked, said).reshape(-1, N)                                       # (48, 64)
likes = {"learnt": rewards(judge, texts, tok.pad).round(5).reshape(-1, N), "exact": scores,
         "longer": scores * 0 + [[len(s) for s in said[i:i + N]] for i in range(0, len(said), N)]}[REWARD]
far = [best_of.kl(n, likes).mean() for n in NS]
truth = [best_of.best_of(n, likes, scores).reshape(4, 12).mean(1) * 100 for n in NS]     # (7 values of n, 4 skills)
# a reward has no unit: shown in standard deviations of all samples, from their mean
learnt = [(best_of.best_of(n, likes, likes).mean() - likes.mean()) / likes.std() for n in NS]
for n, k, t, r in zip(NS, far, truth, learnt):
    print(f"n {n:2}  KL {k:.2f} (at most {best_of.kl_bound(n):.2f})  reward {r:+.2f}  exact {t.mean():3.0f} %: ",
          dict(zip(SKILLS, t.round().tolist())))
for i in range(0, len(rows), 6 * N):                    # what does the reward like best?
    print(f"{asked[i]:<52} -> {said[i + best_of.choose(likes[i // N])]}")

# %%
plots.plt.rcParams["font.size"] = 16
fig, (up, down) = plots.plt.subplots(1, 2, figsize=(17, 7))
up.plot(far, [t.mean() for t in truth], "o-", color="black", lw=3, ms=9, label="mean")
for j, (skill, mark) in enumerate(zip(SKILLS, "s^vD")):
    up.plot(far, [t[j] for t in truth], mark + "--", color=plots.LINES[j], ms=8, label=skill)
down.plot(far, learnt, "o-", color=plots.DOWN, lw=3, ms=9)
up.set(title="exact score, %", xlabel="KL to the policy, nats an answer", ylim=(-3, 125)), up.legend(ncols=3)
down.set(title=f'the reward ("{REWARD}"), standard deviations', xlabel="KL to the policy, nats an answer")
print("\npicture:", plots.save(fig, plots.Path("out/lessons/13.png")))

# %% [markdown]
# ## The proof

# %%
means = [float(t.mean()) for t in truth]
print(f"you guessed {MY_GUESS!r};" if MY_GUESS else "you wrote no guess (MY_GUESS, above);", "it did",
      "c" if means[-1] < means[0] - 1 else "a" if means[-1] > means[-2] + 1 else "b")
assert all(b >= a - 1e-6 for a, b in zip(learnt, learnt[1:])), "by its own measure the best of more is never worse"
assert all(k <= best_of.kl_bound(n) + 1e-9 for n, k in zip(NS, far)), "best-of-n goes no farther than log n - (n-1)/n"
assert REWARD != "learnt" or means[-1] < means[0] - 10, "the learnt reward rises, what it stands for falls"
assert REWARD != "exact" or means[-1] > means[0] + 10, "the search is not to blame: with the true score it helps"

# %% [markdown]
# - **The search finds what the pairs never showed.** In every pair about a strange name "I do not know." is the better
#   answer, and in no pair is it the worse one. So the reward learnt "this sentence is good", not "this sentence is good
#   if the name is strange". Of 64 samples about a known creature one says it, and that one is chosen. Nothing lied:
#   on pairs like those it was trained on the reward is what it was.
# - **Exact score and reward part early.** `unknown` rises, `sort` holds at first and then falls, the known facts fall
#   at once. The first steps of an optimisation are in the region where the reward has seen answers, the later ones not.
# - **Accuracy on held-out pairs does not say where it is wrong**: they are of the same kind. The exact score does.
# - **KL stays far below its bound** where the policy is sure: 64 samples of one sentence are one answer.
# - DPO on the same pairs does the same (README): it has a reward, too, the implicit one.
#
# ## Break it
# `REWARD = "exact"`: the search with the true score. `"longer"`: the reward is the number of characters. Guess the
# exact score at n = 64 for both. Which skill survives "longer", and why?
#
# ## Same letter, other meaning
# $r$ here is a learnt number for a whole answer, in lesson 09 the implicit reward, in PoFT a mean log-prob.
# n is the number of samples; $\sigma$ the logistic function, no standard deviation.
#
# ## Exercises (take away the first `# ` of the lines that check you)
# **13a** (D1) Write `my_loss(r, last)` for one pair: `r` (2,T) holds what the head says at every place, the chosen
# answer first, `last` the place of each `<|end|>`; padding follows. What goes wrong: the sign; the log of a sigma that
# is 0; the reward read at the pad (place -1).

# %%
# r = torch.tensor([[5.0, 1, 9], [5.0, 7, 0]])                                   # the chosen answer ends at place 1
# assert abs(my_loss(r, [1, 2]) - 0.313) < 1e-3, "rewards 1 and 0"
# assert abs(my_loss(r * 0, [1, 2]) - 0.693) < 1e-3, "equal rewards say nothing: log 2"
# assert my_loss(r * 1000, [2, 1]) == 0 and my_loss(-r * 1000, [1, 2]) == 1000, "far out: finite"

# %% [markdown]
# **13b** (D2) Write `my_best_of(n, likes, scores)`: the exact score of the best of n by `likes`, the mean over **all**
# subsets of n samples (`itertools.combinations` will do), and `my_bound(n)`. What goes wrong: choosing by the exact
# score (cheating); only the first n samples; the best of all.

# %%
# likes, scores = [1.0, 2, 3], [0.0, 1, 0.5]
# assert [round(my_best_of(n, likes, scores), 4) for n in (1, 2, 3)] == [0.5, 0.6667, 0.5], "up, then down"
# assert abs(my_bound(4) - 0.636) < 1e-3 and my_bound(1) == 0

# %% [markdown]
# **13c** (D1) **Be the annotator.** Print 12 of `held`'s pairs in random order (`tok.decode`), choose one of each by
# taste, and note three features of each answer: words, "I do not know" or not, right or not. `my_taste(x, steps)` fits
# Bradley-Terry to `x` (pairs, features), the features of what you chose minus those of the other, by gradient descent.
# What do you reward? What goes wrong: the sign; the mean of `x` taken for the weights.

# %%
# x = torch.tensor([[1.0], [1], [1], [-1]])                              # you took the longer one in three of four
# assert abs(my_taste(x, 2000)[0] - 1.0986) < 1e-2, "odds 3 to 1: weight log 3"

# %% [markdown]
# **13d** (D3, in reverse) Mend the reward without touching its training: which 60 pairs would you add? Add them, and
# see what the search finds next.
#
# ## Recall, without looking up
# 1. Why does a constant added to all rewards change nothing?
# 2. What does best-of-4 cost in KL at most, and when is it less?
# 3. Why did accuracy on held-out pairs not say where the reward is wrong?
# 4. (07) What takes the place of the reward model in DPO?
