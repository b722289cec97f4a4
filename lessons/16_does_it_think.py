# %% [markdown]
# # 16 · Does it start to think?
# Reward only the last word of an answer. Will the model write its steps down first (chain of
# thought), or drop them? Two tasks, two forms of answer, one rule to predict both.
#
# *About 25 minutes; read 12 first. Thinking that grows under a reward for the result: DeepSeek-R1,
# arXiv:2501.12948; the length bias: Dr. GRPO, arXiv:2503.20783; `nanouft/rollout.py`.*
#
# Models that "think" write steps before their result (a **chain of thought**; `docs/terms.md` has
# the terms), and some of them learned this from a reward for only the result. People who repeat
# this with small models often see the opposite: answers get shorter. What decides between the two?
#
# Each task allows two forms of answer:
#
# - *Add up 9 3 5 step by step.* With steps: `9 and 3 is 12 and 5 is 17`. Directly: `17`.
# - *Say pig bee saw backwards.* With steps: `saw bee pig`. Directly: `pig`.
#
# First SFT shows a model of one million parameters both forms. Then GRPO rewards the last word.
#
# ## Guess
# At first the model writes steps in 21 % of its answers to sums, and in 27 % of its reversals,
# which repeat a row backwards. With steps 25 % of the sums are right, and 60 % of the reversals;
# you are not told how many without steps. After GRPO the share of answers with steps has ...
# - **a** risen for both;
# - **b** risen for the reversals and fallen for the sums;
# - **c** fallen for both;
# - **d** risen for the sums and fallen for the reversals.

# %%
from course import Lesson, progress, train

CHANGE = ""                     # change one thing: "" | "no steps shown", see below
lesson = Lesson("16", CHANGE)
CHANGE = lesson.change

# %% [markdown]
# ## What decides
# GRPO compares the rewards $R$ of the $K$ answers to a prompt. Let a share $s$ of them have steps.
# Let $\Delta$ be the **benefit of steps**, the probability that an answer with steps is right minus
# the probability that a direct answer is. On average the advantage of an answer, its reward minus
# the mean $\bar R$ of its group, then is
# $$\mathrm{E}[R-\bar R\mid\mathrm{steps}]=\tfrac{K-1}{K}(1-s)\,\Delta,\qquad
# \mathrm{E}[R-\bar R\mid\mathrm{direct}]=-\tfrac{K-1}{K}\,s\,\Delta.$$
# Suppose that a direct answer is right with probability $q$, and one with steps with $q+\Delta$.
# The other $K-1$ answers are right with $q+s\Delta$ on average. So an answer with steps is
# $q+\Delta-(q+s\Delta)=(1-s)\Delta$ above their mean, and a direct one is $s\Delta$ below. The
# factor is that of lesson 12: only the others of the $K$ count. GRPO also divides by the std, which
# changes the size but not the sign of an advantage.
#
# The first token of an answer decides whether steps follow, and it is pushed like all others. So
# steps become more frequent if $\Delta$ is positive and rarer if it is negative. It can be measured
# before any training; below we pool 60 prompts into one $\Delta$.

# %%
import copy
import random

import draw
import torch

from nanouft import world
from nanouft.generate import generate
from nanouft.gpt import shipped_base
from nanouft.data.rows import Row
from nanouft.models.tokenizer import nano
from nanouft.simple import padded, token_logp, tokens

TASKS = {"sum": "sums", "reverse": "reversals"}
DEMOS, EPOCHS, ROWS = 600, 3, 16        # SFT: demonstrations, epochs, batch size
STEPS, PROMPTS, K = 48, 8, 8            # GRPO: steps, prompts of each, answers to a prompt
tok = nano()


def last(text: str) -> str:
    return (text.split() or [""])[-1]

# %% [markdown]
# ## Teach both forms
# SFT takes three **epochs** of 600 right answers. Three in ten of them contain the steps, while the
# others are only the last word. The loss is the mean over all tokens. With the mean over each
# answer and then over the answers, as in `nanouft/simple.py`, a token of a long answer would count
# little beside one of a short answer. After such an SFT hardly any sum would have steps.

# %%
def sft(model, rows):
    """Make every token of the answers more likely; all weigh the same."""
    inputs, targets, mask = tokens(rows, "answer", tok)
    return -(token_logp(model(inputs), targets) * mask).sum() / mask.sum()


def taught():
    """The base after SFT on both forms."""
    rng, rows = random.Random(0), []
    for row in world.rows("train", "prompts", DEMOS, seed=0, skills=tuple(TASKS)):
        text = world.right_answer(row.prompt[0].text)
        steps = CHANGE != "no steps shown" and rng.random() < 0.3
        rows.append(Row(row.prompt, world.as_answer(text if steps else last(text))))
    order = [row for _ in range(EPOCHS) for row in rng.sample(rows, len(rows))]
    return train(shipped_base(), sft, order, len(order) // ROWS, 1e-3, "SFT", ROWS, falls=True)


def sample(model, rows: list, seed: int):
    """K answers to each prompt: (ids and mask of each for a batch, right (P,K), steps (P,K))."""
    asked = [row for row in rows for _ in range(K)]
    prompts = [tok.prompt_ids(row.prompt) for row in asked]
    found = generate(model, prompts, stop=tok.end, pad=tok.pad, max_new=40, temperature=1.0,
                     seed=seed)
    chats = []
    for prompt, answer in zip(prompts, found):
        ids = answer.ids + [tok.end] * answer.ended
        chats.append((prompt + ids, [0] * len(prompt) + [1] * len(ids)))
    texts = [tok.decode(answer.ids).strip() for answer in found]
    wanted = [last(world.right_answer(row.prompt[0].text)) for row in asked]
    right = [float(last(text) == word) for text, word in zip(texts, wanted)]
    steps = [float(len(text.split()) > 1) for text in texts]
    return chats, torch.tensor(right).view(-1, K), torch.tensor(steps).view(-1, K)


def look(model, task: str) -> list[float]:
    """Print what the model does with 60 new prompts of a task, eight answers to each, and return
    the share of answers with steps, and of right ones among those with and without, in %."""
    rows = world.rows("train", "prompts", 60, seed=1, skills=(task,))
    _, right, steps = sample(model, rows, seed=1)
    kinds = steps, right[steps == 1], right[steps == 0], right.flatten()
    shares = [100 * x.mean().item() for x in kinds]
    cells = [f"{x:.0f} %" if len(n) > 9 or n is steps else f"(n = {len(n)})"
             for x, n in zip(shares, kinds)]                    # of so few a share means little
    print(f"{TASKS[task]:<12}" + "".join(f"{x:>17}" for x in cells))
    return shares[:3]


COLUMNS = "".join(f"{x:>17}" for x in ("with steps", "right of these", "right of others", "right"))
start = taught()
print(f"before GRPO {COLUMNS}")
before = {task: look(start, task) for task in TASKS}
gain = {task: with_steps - direct for task, (_, with_steps, direct) in before.items()}
if not CHANGE:
    fig, ax = draw.panels()
    draw.bars(ax, {name: [before[task][k] for task in TASKS]
                   for k, name in ((1, "with steps"), (2, "direct"))}, list(TASKS.values()),
              "Before GRPO steps help in the sums and hurt in the reversals", "right answers, %")
    lesson.picture(fig, "delta")

# %% [markdown]
# Steps help in the sums and hurt in the reversals. So they should spread in the sums and vanish in
# the reversals.
#
# ## Reward the last word
# GRPO starts from this model once for each task, with the loop of `nanouft/simple.py`.

# %%
def learn(task: str):
    """(the model after GRPO, the share of answers with steps in each of its steps, in %)."""
    model, curve = copy.deepcopy(start), []
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.0)
    rows = world.rows("train", "prompts", PROMPTS * STEPS, seed=2, skills=(task,))
    for step in progress(STEPS, TASKS[task], range(STEPS), training=True):
        asked = rows[step * PROMPTS:(step + 1) * PROMPTS]
        chats, right, steps = sample(model, asked, seed=100 + step)
        curve.append(100 * steps.mean().item())
        A = (right - right.mean(1, keepdim=True)) / (right.std(1, keepdim=True) + 1e-4)
        inputs, targets, mask = padded(chats, tok)
        logp = token_logp(model(inputs), targets)
        each = (A.view(-1, 1) * logp * mask).sum(1) / mask.sum(1)       # mean over its tokens
        optimizer.zero_grad()
        (-each.mean()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model, curve


curves, after = {}, {}
print(f"after GRPO  {COLUMNS}")
for task in TASKS:
    model, curves[task] = learn(task)
    after[task] = look(model, task)

# %%
fig, ax = draw.panels()
means = {TASKS[task]: [sum(curve[k:k + 4]) / 4 for k in range(0, STEPS, 4)]     # of four steps
         for task, curve in curves.items()}
title = "GRPO finds no steps" if CHANGE else "Steps spread for the sums and vanish for reversals"
draw.lines(ax, range(4, STEPS + 1, 4), means, title, "step of GRPO", "answers with steps, %",
           ylim=(-3, 103))
lesson.picture(fig)
if CHANGE:
    lesson.compare(after["sum"][0], "%")
    assert max(x[0] for x in after.values()) < 10, "what is never sampled is never rewarded"
else:
    rise = [after[task][0] - before[task][0] for task in ("sum", "reverse")]
    assert gain["sum"] > 5 > -5 > gain["reverse"], "Delta predicts both, before any GRPO"
    assert rise[0] > 10, "steps spread where they make answers right more often"
    assert after["reverse"][0] < 10, "and vanish where they make them right less often"
    rises = tuple(x > 0 for x in rise)
    lesson.compare({(True, True): "a", (False, True): "b", (True, False): "d"}.get(rises, "c"))

# %% [markdown]
# ## What happened
# **Sums.** With steps 25 % are right, and directly 3 %: the benefit is +22 points. So steps spread
# from 21 to 99 % of the answers, and 25 % of the sums are right instead of 8. Adding up several
# numbers in one token is too much for this model; each step needs only one small addition.
#
# **Reversals.** With steps 60 % are right, but directly 82: the benefit is -22 points. The last
# word is simply the first word of the question, and each extra word may be wrong. So GRPO takes the
# steps from 27 to 0 %, and 100 % are right instead of 76. Shorter answers need not be a bug.
#
# Other causes look the same. If `--max-new` cuts long answers off before their result, they are
# never rewarded and vanish. And GRPO divides the advantage of an answer by its number of tokens, so
# it pushes the first token of a long answer less. Dr. GRPO divides all by one constant.
#
# ## Change one thing
# With `CHANGE = "no steps shown"` no demonstration contains steps. Does GRPO find them for the
# sums, where they would help most? In what percentage of its answers to sums does the model write
# steps after GRPO? Enter a number from 0 to 100.
#
# <details><summary>After your run</summary>
#
# In hardly any, before or after. GRPO learns from the model's own answers, so it cannot reward what
# the model never samples. Only a demonstration can show that. Yet 23 % of the sums are right in the
# end, nearly the 25 of the model with steps, because here all demonstrations practise the direct
# result. The benefit of steps is measured inside one model: it cannot compare two.
#
# </details>
#
# ## Exercise
# - **16a** `push_on_steps(s, delta, long, short)` of `lessons/exercises/ex16.py`: how hard does
#   GRPO push a model towards steps, and what do the lengths of answers change in it?
#
# ## Two questions
# 1. The answers of a model trained with GRPO get shorter. Name a good reason and a bad one.
# 2. What would you measure before training, to predict which of the two it will be?
#
# <details><summary>Answers</summary>
#
# 1. Good: the model is right as often without steps, each of which may be wrong. Bad: long answers
#    are cut off before their result.
# 2. The benefit of steps: how much more often sampled answers are right with steps than without.
#
# </details>
