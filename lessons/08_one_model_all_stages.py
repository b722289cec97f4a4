# %% [markdown]
# # 08 · One model, all stages
# SFT, DPO, rejection sampling, GRPO: one model goes through them all, by the losses that you have
# written. There are only 20 demonstrations. Which stage pays?
#
# *30 minutes; needs 02, 05 and 07. The pipeline: arXiv:2203.02155; with scores by a program:
# arXiv:2411.15124. You write the last lines of your program.*
#
# So far each lesson threw its model away. In practice each stage starts with the model of the one
# before. Nobody wrote answers to 320 further questions, but a program can score the model's own.
#
# | stage | learns from | steps |
# |---|---|---|
# | SFT | the 20 demonstrations | 40 |
# | DPO | pairs of its own samples, a right and a wrong one to the same question | 40 |
# | **rejection sampling**, twice | by SFT from its right samples and the demonstrations | 40 each |
# | GRPO | fresh samples in each step, and their scores | 20 |

# %%
import copy
import math
from dataclasses import replace

import numpy as np
import torch
from course import ask, tell
from mine import answers_of, dpo_loss, grpo_loss, sample_answers, sft_loss

from nanouft import world
from nanouft.gpt import shipped_base
from nanouft.models.tokenizer import nano

SET = 20                                                                # the seed of all rows
DEMOS = 20
SKILLS = ("list", "sum", "sort", "reverse")
CHAIN = ["SFT", "DPO", "rejection 1", "rejection 2", "GRPO"]
tok, model = nano(), shipped_base()
tests = world.rows("test", "prompts", 160, seed=SET, skills=SKILLS)
demos = world.rows("train", "demos", DEMOS, seed=SET, skills=SKILLS)
asked = world.rows("train", "prompts", 320, seed=500 + SET, skills=SKILLS)
asked = [asked[i % 4 * 80 + i // 4] for i in range(320)]                # the four tasks in turn
guess = ask("Which stage after SFT adds most to the score on 160 new questions?\n   a  DPO\n"
            "   b  the two rounds of rejection sampling\n   c  GRPO\n"
            "   d  none: as many more steps of SFT on the 20 demonstrations add as much", "a b c d")

# %% [markdown]
# ## The loop
# All stages share one loop, that of lesson 02. Only the loss, its rate and the rows differ. DPO's
# reference is the model its stage begins with. `sampled` makes the rows of DPO and of rejection.

# %%
def after(start, loss_of, rate, rows, steps, seed):
    """A copy of the model `start` after so many steps of 16 rows, shuffled anew in each epoch."""
    rng, model, order = np.random.default_rng([SET, seed]), copy.deepcopy(start), []
    while len(order) < 16 * steps:
        order += rng.permutation(len(rows)).tolist()
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.95), weight_decay=0.0)
    warm = steps // 10
    for step in range(steps):
        batch = [rows[i] for i in order[16 * step:16 * step + 16]]
        loss = loss_of(model, start, batch, tok, step)                  # 1. rows become a loss
        optimizer.zero_grad()
        loss.backward()                                                 # 2. its gradient
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        rise = (step + 1) / warm                # the rate rises linearly, then falls as a cosine
        fall = 0.5 + 0.5 * math.cos(math.pi * max(0, step - warm) / (steps - warm))
        optimizer.param_groups[0]["lr"] = rate * min(rise, fall)
        optimizer.step()                                                # 3. the weights move
    return model


def sampled(model, seed):
    """Of four samples to each question: rows with a right one as answer; pairs, right and wrong."""
    _, targets, mask, R = sample_answers(model, asked, tok, 1000 * SET + seed)     # R: (320,4)
    texts = [tok.decode(ids[on == 1].tolist()).removesuffix("<|end|>").strip()
             for ids, on in zip(targets, mask)]                                    # 1280
    kept, pairs = [], []
    for i, (row, r) in enumerate(zip(asked, R.numpy())):
        best = world.as_answer(texts[4 * i + r.argmax()])
        worst = world.as_answer(texts[4 * i + r.argmin()])
        if r.max() == 1:
            kept.append(replace(row, answer=best))
        if r.max() == 1 and r.min() < 1:
            pairs.append(replace(row, chosen=best, rejected=worst))
    return kept, pairs


def evaluate(name, model) -> float:
    """Mean score of its likeliest answers to the 160 questions, of 100; prints one of them."""
    said = [tok.decode(x.ids).strip() for x in answers_of(model, tests, tok)]
    score = 100 * world.exact_scores(tests, said)
    by_task = "".join(f"{x:8.0f}" for x in score.reshape(4, 40).mean(1))
    print(f"{name:<15}{score.mean():5.0f}{by_task}   {said[120][:60]}")
    return score.mean()


print(f"{'':<15}score" + "".join(f"{x:>8}" for x in SKILLS), " ", tests[120].prompt[0].text)
before = evaluate("base", model)
points, gain = {"base": before}, {}
for seed, name in enumerate(CHAIN):
    if name == "SFT":
        model = after(model, sft_loss, 2.5e-4, demos, 40, 0)
    elif name == "DPO":
        _, pairs = sampled(model, seed)
        model = after(model, dpo_loss, 3e-5, pairs, 40, seed)
    elif name == "GRPO":
        model = after(model, grpo_loss, 1e-4, asked, 20, seed)
    else:
        kept, _ = sampled(model, seed)
        print(f"{len(kept)} of 320 questions have a right sample; one answer to each is kept")
        model = after(model, sft_loss, 2.5e-4, demos + kept, 40, seed)
    points[name] = evaluate(name, model)
    gain[name] = points[name] - before
    before = points[name]
    if name == "SFT":
        more = evaluate("  140 more", after(model, sft_loss, 2.5e-4, demos, 140, 1))
gain = {"a": gain.get("DPO", 0.0), "b": gain["rejection 1"] + gain["rejection 2"],
        "c": gain["GRPO"], "d": more - points["SFT"]}
tell(guess, max(gain, key=gain.get))

# %% [markdown]
# ## What happened
# The mean score on new questions, here and for four other seeds of all rows (`SET`):
#
# | SET | base | SFT | 140 more | DPO | rejection 1 | rejection 2 | GRPO |
# |---|---|---|---|---|---|---|---|
# | 20 (this run) | 17 | 59 | 52 | 61 | 67 | 71 | 71 |
# | 21 | 17 | 54 | 49 | 60 | 68 | 70 | 73 |
# | 22 | 16 | 56 | 49 | 57 | 67 | 73 | 76 |
# | 23 | 16 | 63 | 56 | 60 | 66 | 69 | 70 |
# | 24 | 15 | 56 | 54 | 60 | 69 | 71 | 71 |
#
# **SFT** teaches the tasks. More of it overfits: 140 more steps read each of the 20 demonstrations
# 112 times (140 * 16 / 20), and cost 2 to 7 points. The other stages' 140 end 7 to 20 above SFT.
# **Rejection sampling**, from DPO's column to rejection 2, adds most on each seed: 9 to 16 points.
# But it has 80 steps, DPO 40 and GRPO 20. DPO adds -3 to 6, so even its sign is open; GRPO 0 to 3.
#
# ## Change one thing
# Guess first, each time: how far is the last model ahead of SFT with as many steps?
# 1. `DEMOS = 20` becomes `DEMOS = 320`: people have written as many answers as the program scores.
# 2. Take `"DPO"` out of `CHAIN`. Was it needed?
#
# <details><summary>After your runs</summary>
#
# 1. It is 3 points behind: 82 against 85. SFT no longer overfits, and DPO takes 9 points away:
#    reversing falls from 62 to 22. So the finding above needs few written answers.
# 2. No: 76 without it, 71 with it (one seed; on another processor 77 and 75). Right samples and SFT
#    need no pairs and no reference.
#
# </details>
#
# ## To hand in
# Another chain of the same stages, such as GRPO before rejection sampling, for three values of
# `SET`. A table, and two sentences: does the order matter, and what does your answer rest on?
#
# ## Your own program
# The last lines of `mine.py` make it a program, run by `python mine.py`. `METHODS` and `train` are
# those of `nanouft/simple.py`. Three lines put your losses into `METHODS`. Then `train(model, rows,
# tok, "dpo", 40)` does what `after` does above, but to `model` itself. The answers judge it.
#
#     if __name__ == "__main__":
#         METHODS["sft"] = sft_loss, ["demos"], 2.5e-4, 40        # loss, kind of rows, rate, steps
#         METHODS["dpo"] = dpo_loss, ["pairs"], 3e-5, 40
#         METHODS["grpo"] = grpo_loss, ["demos"], 1e-4, 20
#         tok, model, skills = nano(), shipped_base(), ("sum", "sort", "reverse", "list")
#         new = world.rows("test", "prompts", 4, seed=0, skills=skills)
#         for name in "sft", "dpo", "grpo":
#             _, kinds, _, steps = METHODS[name]
#             rows = world.rows("train", kinds[0], steps * ROWS, seed=0, skills=skills)
#             train(model, rows, tok, name, steps)
#             print([tok.decode(answer.ids) for answer in answers_of(model, new, tok)])
#
# ## Two questions
# 1. The later stages read a program's scores of 320 questions, SFT does not. Is this fair to SFT?
# 2. GRPO needs a right sample to praise. What did the stages before it do for that?
#
# <details><summary>Answers</summary>
#
# 1. The steps are equal, the information is not: a program that scores is information, too. With
#    320 written answers the later stages have no lead.
# 2. The base is hardly ever right, so most groups would have equal scores, and A = 0. After SFT and
#    rejection sampling a group has both right and wrong answers, so that it teaches.
#
# </details>
