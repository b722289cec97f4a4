# %% [markdown]
# # 19 · One model, all stages
# Base, SFT, preferences, rejection sampling, RL: one model goes through all of them, and a table
# grows by one line a stage. Which stage pays, when only 20 answers were ever written down?
#
# *About 25 minutes; read 07, 11b and 12 first. The pipeline: arXiv:2203.02155; with verifiable
# rewards: arXiv:2411.15124.*
#
# Every lesson so far began with the base and threw its model away. Here the model of each stage is
# the start of the next one, as in practice. People wrote 20 demonstrations. For 320 further
# questions there is no answer, only a **verifier**, a program that scores what the model says.
#
# | stage | reads | loss of lesson |
# |---|---|---|
# | SFT | 20 demonstrations | 02 |
# | DPO | own samples: a right one, preferred to a wrong one | 07 |
# | rejection sampling, 2 rounds | own samples that are right, and the demonstrations | 11b |
# | GRPO | four fresh samples to each question, by their advantage | 12 |
#
# ## Guess
# Which stage after SFT adds most to the score on new questions?
#
# - a DPO;
# - b rejection sampling;
# - c GRPO;
# - d none of them more than as many further steps of SFT.

# %%
from course import Lesson, train

CHANGE = ""                     # change one thing: "" | "many demonstrations", see below
lesson = Lesson("19", CHANGE)
CHANGE = lesson.change

# %% [markdown]
# ## The stages
# A stage is a function from a model to a model. Rates are those of the earlier lessons; they were
# chosen on other rows (seed 10, validation), and the table is of test questions.

# %%
import itertools
from dataclasses import replace

import draw
import numpy as np

from nanouft import world
from nanouft.gpt import shipped_base
from nanouft.models.tokenizer import nano
from nanouft.run.evaluation import answer_rows
from nanouft.simple import dpo_loss, sample_answers, sft_loss, token_logp

SKILLS = ("sum", "sort", "reverse", "list")
DEMOS, QUESTIONS, K, ROWS = 320 if CHANGE else 20, 320, 4, 16
tok = nano()
tests = world.rows("test", "prompts", 160, seed=0, skills=SKILLS)
demos = world.rows("train", "demos", DEMOS, seed=0, skills=SKILLS)
asked = world.rows("train", "prompts", QUESTIONS, seed=500, skills=SKILLS)
asked = [asked[i % 4 * 80 + i // 4] for i in range(QUESTIONS)]          # the four tasks in turn


def shuffled(rows: list, steps: int, seed: int) -> list:
    rng, mixed = np.random.default_rng(seed), []
    while len(mixed) < steps * ROWS:
        mixed += [rows[i] for i in rng.permutation(len(rows))]
    return mixed


def samples(model, seed: int):
    """Each question K times, what the model says at temperature 1, and its score (Q,K)."""
    rows = [row for row in asked for _ in range(K)]
    answers = answer_rows(model, tok, rows, temperature=1.0, seed=seed)
    texts = [tok.decode(answer.ids).strip() for answer in answers]
    ended = np.array([answer.ended for answer in answers])
    return rows, texts, (world.exact_scores(rows, texts) * ended).reshape(-1, K)


def sft(model, seed: int, rows: list = demos, steps: int = 40):
    return train(model, lambda model, some: sft_loss(model, None, some, tok, 0),
                 shuffled(rows, steps, seed), steps, 2.5e-4, "SFT", ROWS, falls=True)


def dpo(model, seed: int):
    rows, texts, score = samples(model, seed)
    pairs = [replace(asked[q], answer=None, chosen=world.as_answer(texts[K * q + best]),
                     rejected=world.as_answer(texts[K * q + worst]))
             for q, (best, worst) in enumerate(zip(score.argmax(1), score.argmin(1)))
             if score[q, best] == 1 > score[q, worst]]
    return train(model, lambda policy, some: dpo_loss(policy, model, some, tok, 0),
                 shuffled(pairs, 40, seed), 40, 3e-5, f"DPO, {len(pairs)} pairs", ROWS, falls=True)


def rejection(model, seed: int):
    rows, texts, score = samples(model, seed + 7)
    right = {i // K: replace(rows[i], answer=world.as_answer(texts[i]))
             for i in np.flatnonzero(score == 1)}
    return sft(model, seed + 2, demos + list(right.values()))


def grpo(model, seed: int):
    number = itertools.count(1000 * seed)

    def loss(model, some):
        inputs, targets, mask, R = sample_answers(model, some, tok, next(number))
        A = (R - R.mean(1, keepdim=True)) / (R.std(1, keepdim=True) + 1e-4)
        logp = (token_logp(model(inputs), targets) * mask).sum(1) / mask.sum(1)
        return -(A.flatten() * logp).mean()
    return train(model, loss, shuffled(asked, 20, seed), 20, 1e-4, "GRPO", ROWS, falls=True)


def exam(name: str, model) -> float:
    said = [tok.decode(answer.ids).strip() for answer in answer_rows(model, tok, tests)]
    score = 100 * world.exact_scores(tests, said)
    print(f"{name:<24}{score.mean():5.1f}   " + "  ".join(
        f"{skill} {x:3.0f}" for skill, x in zip(SKILLS, score.reshape(4, 40).mean(1))))
    return score.mean()


STAGES = (("SFT", sft, 0), ("DPO", dpo, 0), ("rejection sampling 1", rejection, 0),
          ("rejection sampling 2", rejection, 1), ("GRPO", grpo, 0))
model = shipped_base()
table = {"base": exam("base", model)}
for name, stage, seed in STAGES:
    model = stage(model, seed)
    table[name] = exam(name, model)
    if name == "SFT":
        more = exam("  140 more steps of SFT", sft(model, 1, steps=140))

# %%
fig, ax = draw.panels()
draw.lines(ax, range(len(table)), {"one model": list(table.values()),
                                   "SFT": [*list(table.values())[:2], *[more] * 4]},
           "One model, all stages", "stage", "points of 100")
lesson.picture(fig)
gain = dict(zip("abc", (table["DPO"] - table["SFT"], table["rejection sampling 2"] - table["DPO"],
                        table["GRPO"] - table["rejection sampling 2"])))
best = max(gain, key=gain.get)
assert CHANGE or table["GRPO"] > more + 5, "with few demonstrations the later stages pay"
if CHANGE:
    lesson.compare(table["GRPO"] - more, "points")
else:
    lesson.compare(best if gain[best] > more - table["SFT"] else "d")

# %% [markdown]
# ## What happened
# The table of this run, and of another list of rows, in points of 100 on new questions:
#
# | stage | steps | points | other rows |
# |---|---|---|---|
# | base | | 16 | 15 |
# | SFT on 20 demonstrations | 40 | 51 | 58 |
# | DPO on own pairs | 40 | 57 | 60 |
# | rejection sampling, round 1 | 40 | 63 | 68 |
# | rejection sampling, round 2 | 40 | 67 | 71 |
# | GRPO | 20 | 70 | 77 |
# | *SFT, then as many steps of SFT* | 40 + 140 | 46 | |
#
# **Rejection sampling adds most**: its two rounds add 8 to 12 points on five of five lists of rows.
# DPO adds -1 to +8, GRPO -4 to +5, more SFT only takes away, and the last model is 14 to 24 points
# ahead of 120 more steps of SFT. In lesson 14 second stages stayed within 3 points of more SFT.
# There people had written an answer to every training question. Here 320 questions have none, and
# only the verifier knows more than the demonstrations do. The switch asks if that is the reason.
#
# **Greedy and sampled answers differ.** After DPO the most likely answer is right more often, but
# of samples at temperature 1 only 28 % are, after 35 % before it. So the round after it starts
# lower than it would without DPO. Three rounds of rejection sampling after SFT alone reach 72
# and 79.
#
# **GRPO comes last and small** at a learning rate of 1e-4. At 3e-4, the rate of lesson 12, after
# three rounds without DPO, it takes 2 to 10 points on four of five lists.
#
# ## Change one thing
# With `CHANGE = "many demonstrations"` people have written 320 answers in place of 20. By how many
# points is the last model ahead of SFT with as many steps now? Write down a number from -30 to 30.
#
# <details><summary>After your run</summary>
#
# It is 10 behind: SFT has 79, and 84 with 160 more steps in our run. DPO costs it 13 points, most
# of them in lists, rejection sampling brings it back to 83, and GRPO ends at 75. So few
# demonstrations and many verified questions are the condition of this lesson, and not a detail.
#
# </details>
#
# ## In your own program
# `python -m lessons check mine --run all` takes your `sft_loss`, `dpo_loss` and `grpo_loss` through
# the same stages. It is the end of `mine.py`: a model that could do almost nothing, and can.
#
# ## Two questions
# 1. The later stages read the score of 320 questions, SFT does not. Is the comparison fair?
# 2. DPO makes greedy answers better and sampled ones worse. How can both be?
#
# <details><summary>Answers</summary>
#
# 1. It is fair in steps, and not in what is known: a verifier is information. That is the point. It
#    is often cheaper than answers. With all 320 answers written, SFT is ahead again.
# 2. It pushes the rejected answer down hard, and what that loses goes to all others (lesson 07).
#    The most likely answer may still be the right one, while the rest becomes flatter.
#
# </details>
