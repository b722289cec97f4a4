# %% [markdown]
# # 15 · Best of n, then SFT
# Somebody wrote 20 demonstrations. Nobody writes more, but a program can check answers. How far
# does a model get with that?
#
# *20 minutes; needs 07. Expert iteration (STaR): arXiv:2203.14465; rejection sampling fine-tuning
# (RFT): arXiv:2308.01825; pass@k: arXiv:2107.03374. You write `pass_at_k`.*
#
# **Best of n** draws n answers, and a program that checks them, the **verifier**, picks the best.
# But each new question costs n answers. **Rejection sampling** pays once, in training: a verifier
# rejects wrong answers to training questions, and SFT trains on the rest. If the better model
# samples again, and so on, this is **expert iteration**.

# %%
import copy
import itertools
from dataclasses import replace

import numpy as np
import torch
from course import ask, curves, tell
from mine import sft_loss

from nanouft import world
from nanouft.gpt import shipped_base
from nanouft.models.tokenizer import nano
from nanouft.run.evaluation import answer_rows

SET = 20                    # 21, 22: other demonstrations, questions and samples
K, STEPS, RATE, ROWS, SKILLS = 4, 40, 2.5e-4, 16, ("sum", "sort", "reverse", "list")
tok, base = nano(), shipped_base()
demos = world.rows("train", "demos", 20, seed=SET, skills=SKILLS)
asked = world.rows("train", "prompts", 320, seed=500 + SET, skills=SKILLS)
asked = [asked[i % 4 * 80 + i // 4] for i in range(320)]                # the four tasks in turn
tests = world.rows("test", "prompts", 160, seed=SET, skills=SKILLS)     # 40 of each task
guess = ask("""SFT on 20 demonstrations (40 steps of 16 rows) brings the base to 63 points of 100 on
new questions. Three more rounds of 40 steps on the same 20 lower it to 52. Now each of these rounds
first samples four answers to each of 320 questions. It trains on the 20 demonstrations and on one
right sample to each question that has one. How many points does it end with?""", "0 to 100")

# %% [markdown]
# ## What can a round find?
# Let a sample be right with probability p. Then k samples are all wrong with probability
# $(1-p)^k$, so at least one of them is right with probability $1-(1-p)^k$. For p = 0.05 and k = 4
# this is 19 %. Its mean over questions is **pass@k**, the score of best of k with a verifier.
#
# We do not know p. The share of right samples in its place gives too low a value on average, since
# $1-(1-p)^k$ is concave in p (Jensen). Say p = 1/2, k = 2 and two samples: the share is 0, 1/2 or 1
# with probabilities 1/4, 1/2 and 1/4. The formula then gives 0, 3/4 or 1, on average 0.625. But
# pass@2 is 0.75. So draw n samples and look at each set of k different ones. Each set is k
# independent samples, and has a right one with probability $1-(1-p)^k$. So the share of such sets
# is right on average: 3 of 6 pairs, if one of four samples is right.

# %%
def sampled(model, rows, k, seed):
    """k answers to each row, drawn at temperature 1: their texts; (B*k,) ended, (B*k,) right."""
    rows = [row for row in rows for _ in range(k)]
    answers = answer_rows(model, tok, rows, temperature=1.0, seed=seed)
    texts = [tok.decode(x.ids).strip() for x in answers]
    ended = np.array([x.ended for x in answers])                        # by <|end|>
    return texts, ended, ended & (world.exact_scores(rows, texts) == 1)


def passes(model):
    """pass@1, 2, 4 and 8 on half of the tests, in %: of all sets of k of 8 samples, how many?"""
    _, _, right = sampled(model, tests[::2], 8, 99)
    right, shares = right.reshape(80, 8), []
    for k in (1, 2, 4, 8):
        found = [right[:, some].any(1) for some in itertools.combinations(range(8), k)]
        shares.append(100 * np.mean(found))                             # found: (sets,80)
    return shares


def greedy(model, rows):
    return [tok.decode(x.ids).strip() for x in answer_rows(model, tok, rows)]


def shuffled(rows, seed):
    """Rows for one round, in a new order in each epoch."""
    rng, epochs = np.random.default_rng([SET, seed]), []
    while len(epochs) < STEPS * ROWS:
        epochs += [rows[i] for i in rng.permutation(len(rows))]
    return epochs


# %% [markdown]
# ## The rounds
# Sample, check, keep, SFT. Round 0 has only the demonstrations, for both models.

# %%
models, samples = {}, {}
for name in ("demonstrations", "and kept samples"):
    model = shipped_base()
    for round, seed in enumerate((0, 2, 3, 4)):
        kept = {}
        if round and name == "and kept samples":
            texts, ended, right = sampled(model, asked, K, round - 1)       # 1. sample  2. check
            for i in np.flatnonzero(right):                                 # 3. keep one of each
                kept[i // K] = replace(asked[i // K], answer=world.as_answer(texts[i]))
            samples[round] = right.mean(), kept
        rows = shuffled(demos + list(kept.values()), seed)
        optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.95), weight_decay=0.0)
        for step in range(STEPS):                                           # 4. SFT
            loss = sft_loss(model, None, rows[ROWS * step:ROWS * step + ROWS], tok, step)
            optimizer.zero_grad()
            loss.backward()
            optimizer.param_groups[0]["lr"] = RATE * (1 - step / STEPS)
            optimizer.step()
        models[name, round] = copy.deepcopy(model)

# %%
scores = {"demonstrations": [], "and kept samples": []}                 # points after each round
for (name, _), model in models.items():
    scores[name].append(100 * world.exact_scores(tests, greedy(model, tests)).mean())
for name, points in scores.items():
    print(f"{name:<18}" + " -> ".join(f"{x:.0f}" for x in points) + " points")
for round, (share, kept) in samples.items():
    print(f"round {round}: {share:.0%} of the samples are right, for {len(kept)} of 320 questions")
for name, round in (("demonstrations", 0), ("demonstrations", 3), ("and kept samples", 3)):
    shares = passes(models[name, round])
    print(f"{name:<18}round {round}   pass@1, 2, 4, 8: {', '.join(f'{x:.0f}' for x in shares)} %")
before = greedy(models["and kept samples", 0], asked[:40])
after = greedy(models["and kept samples", 3], asked[:40])
_, kept = samples[1]
new = [k for k in range(40) if k in kept and world.score(asked[k].prompt[0].text, before[k]) < 1]
for k in new[:4]:                                   # SFT's own answer is wrong, a sample is right
    print(f"{asked[k].prompt[0].text}\n   SFT, round 0       {before[k]}\n"
          f"   kept in round 1    {kept[k].answer[0].text}\n   after round 3      {after[k]}")
curves("15", range(STEPS, 4 * STEPS + 1, STEPS), scores, "points of 100 on new questions")
tell(guess, scores["and kept samples"][-1], "points")

# %% [markdown]
# ## What happened
# Without the samples the model **overfits** its 20 demonstrations: 63 points become 52. With them
# it ends at 71, and nobody wrote another answer. Each round makes the next one possible: 175, 223
# and 241 of the 320 questions have a right sample. The model now finds in one sample what took a
# search before: pass@1 is 33 %, where pass@2 was 29. This is one set of rows; two others (`SET`):
#
# | | SFT | round 1 | round 2 | round 3 | demonstrations only |
# |---|---|---|---|---|---|
# | this set | 63 | 72 | 75 | 71 | 52 |
# | SET = 21 | 56 | 68 | 75 | 74 | 47 |
# | SET = 22 | 57 | 67 | 77 | 76 | 52 |
#
# On all three the first two rounds bring the gain, and the third takes a little back. The price is
# 3 x 320 x 4 = 3,840 samples and a verifier. Does the verifier teach, or do more questions do it?
#
# ## Change one thing
# Replace `np.flatnonzero(right)` by `np.flatnonzero(ended)`: a sample that ends may be kept, right
# or wrong. This is **self-training**. Guess: how many points after three rounds?
#
# <details><summary>After your runs</summary>
#
# 49 points, less than with the demonstrations only, and pass@1 falls to 12 %. The samples hold
# nothing that the model does not already say. It is the verifier's choice that teaches.
#
# </details>
#
# ## To hand in
# Replace the rounds by 60 steps of lesson 07's loop with the same verifier: from the SFT model of
# round 0, 16 questions and four answers a step, rate 1e-4. That is as many samples. Draw both.
#
# ## Your own program
# The page lists all sets. 200 samples have about $10^{59}$ sets of 100, so count by `math.comb`.
#
#     def pass_at_k(n, c, k):
#         """Of n samples c are right (0 to n). The share of the sets of k different samples (1 to
#         n) with at least one right sample: n 4, c 1 give 0.25 with k = 1, and 0.5 with k = 2."""
#
# ## Two questions
# 1. Why does a round train on the demonstrations as well as on the kept samples?
# 2. Sums are often right and lists hardly ever. A round keeps one right sample to a question. Does
#    it train more on sums? And if it kept all right samples?
#
# <details><summary>Answers</summary>
#
# 1. Samples are kept only for questions that the model can answer; demonstrations also show others.
# 2. Yes, more sums have a right sample. With all right samples it would be worse: a question that
#    is right four times would count four times.
#
# </details>
