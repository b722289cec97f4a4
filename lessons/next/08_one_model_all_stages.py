# %% [markdown]
# # 08 · One model, all stages
# SFT, DPO, rejection sampling, GRPO: one model goes through all of them, by the losses that you have
# written. People wrote only 20 demonstrations. Which stage pays?
#
# *30 minutes; needs 01, 02, 05 and 07. The pipeline: arXiv:2203.02155; with verifiable rewards:
# arXiv:2411.15124. You write the last lines of your program.*
#
# So far each lesson began with the base and threw its model away. In practice the model of one stage
# is the start of the next one. Our four tasks are sums, sorting, reversing, and lists of animals. For
# 320 further questions nobody wrote an answer. But a program can score what the model says to them.
#
# | stage | learns from | steps |
# |---|---|---|
# | SFT | the 20 demonstrations | 40 |
# | DPO | pairs of its own samples: a right one, and a wrong one to the same question | 40 |
# | rejection sampling, twice | its own samples that are right, and the demonstrations, by SFT | 40 each |
# | GRPO | fresh samples and their scores | 20 |

# %%
import copy
import math
from dataclasses import replace

import numpy as np
import torch
from course import ask, curves, tell
from mine import answers_of, dpo_loss, grpo_loss, sample_answers, sft_loss

from nanouft import world
from nanouft.gpt import shipped_base
from nanouft.models.tokenizer import nano

SET, DEMOS, SKILLS = 20, 20, ("sum", "sort", "reverse", "list")     # SET: the seed of all rows
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
# All stages share one loop, that of lesson 02. Only the loss and the rows differ. The reference of
# DPO is the model that the stage begins with.

# %%
def after(start, loss_of, rate, rows, steps, seed):
    """A copy of the model `start` after so many steps of 16 rows, shuffled anew in each epoch."""
    rng, model, order, warm = np.random.default_rng([SET, seed]), copy.deepcopy(start), [], steps // 10
    while len(order) < 16 * steps:
        order += rng.permutation(len(rows)).tolist()
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.95), weight_decay=0.0)
    for step in range(steps):
        batch = [rows[i] for i in order[16 * step:16 * step + 16]]
        loss = loss_of(model, start, batch, tok, step)                  # 1. rows become a loss
        optimizer.zero_grad()
        loss.backward()                                                 # 2. its gradient
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        falls = 0.5 + 0.5 * math.cos(math.pi * max(0, step - warm) / (steps - warm))
        optimizer.param_groups[0]["lr"] = rate * min((step + 1) / warm, falls)
        optimizer.step()                                                # 3. the weights move
    return model


def sampled(model, seed):
    """Four answers to each of the 320 questions: texts and scores, (320,4) each."""
    _, targets, mask, R = sample_answers(model, asked, tok, 1000 * SET + seed)
    texts = [tok.decode(ids[on == 1].tolist()).removesuffix("<|end|>").strip()
             for ids, on in zip(targets, mask)]
    return np.reshape(texts, (-1, 4)), R.numpy()


def evaluate(name, model) -> float:
    """The mean score of its likeliest answers to the new questions, of 100; prints two of them."""
    said = [tok.decode(x.ids).strip() for x in answers_of(model, tests, tok)]
    score = 100 * world.exact_scores(tests, said)
    by_task = "  ".join(f"{x:3.0f}" for x in score.reshape(4, 40).mean(1))
    print(f"{name:<15}{score.mean():5.1f}   {by_task}   {said[41][:34]:<36}{said[120][:44]}")
    return score.mean()


print(f"{'':<15}score  {'  '.join(SKILLS)}   two answers\n{'':<41}"
      f"{tests[41].prompt[0].text}  |  {tests[120].prompt[0].text}")
points = {"base": evaluate("base", model)}
for seed, name in enumerate(CHAIN):
    texts, R = sampled(model, seed) if name not in ("SFT", "GRPO") else ([], [])
    if name == "SFT":
        model = after(model, sft_loss, 2.5e-4, demos, 40, 0)
        more = evaluate("SFT, 140 more", after(model, sft_loss, 2.5e-4, demos, 140, 1))
    elif name == "DPO":
        rows = [replace(row, chosen=world.as_answer(said[r.argmax()]),
                        rejected=world.as_answer(said[r.argmin()]))
                for row, said, r in zip(asked, texts, R) if r.max() == 1 > r.min()]
        model = after(model, dpo_loss, 3e-5, rows, 40, seed)
    elif name == "GRPO":
        model = after(model, grpo_loss, 1e-4, asked, 20, seed)
    else:
        # rejection sampling: keep one right answer to each question, and train on it with SFT
        rows = [replace(row, answer=world.as_answer(said[r.argmax()]))
                for row, said, r in zip(asked, texts, R) if r.max() == 1]
        print(f"{len(rows)} of 320 questions have a right sample")
        model = after(model, sft_loss, 2.5e-4, demos + rows, 40, seed)
    points[name] = evaluate(name, model)
