# %% [markdown]
# # 14 · Does it think?
# Some models write steps before their result, a **chain of thought**, though only the result was
# rewarded. Small models often drop them, and answers get shorter. What decides between the two?
#
# *25 minutes; needs 07. DeepSeek-R1: arXiv:2501.12948; Dr. GRPO: arXiv:2503.20783.*
#
# Two tasks, and each allows two forms of answer:
# - *Add up 9 3 5 step by step.* With steps `9 and 3 is 12 and 5 is 17`, directly `17`.
# - *Say pig bee saw backwards.* With steps `saw bee pig`, directly `pig`.
#
# SFT shows a model both forms. Then GRPO rewards only the last word. Before GRPO 21 % of the
# answers to sums have steps, and 25 % of these are right. Of the reversals 27 % have steps, and
# 60 % of these are right. After GRPO the share of answers with steps has ...
# - **a** risen for both;
# - **b** risen for the reversals and fallen for the sums;
# - **c** fallen for both;
# - **d** risen for the sums and fallen for the reversals.

# %%
import copy
import random

import torch
from course import ask, curves, tell
from mine import padded, token_logp, tokens

from nanouft import world
from nanouft.data.row import Row
from nanouft.generate import generate
from nanouft.gpt import shipped_base
from nanouft.models.tokenizer import nano

SHOWN = 0.3             # share of the demonstrations with steps
LONGEST = 40            # tokens of an answer
STEPS, PROMPTS, K = 32, 8, 8                            # of GRPO
tok, tasks = nano(), ("sum", "reverse")
guess = ask("What has happened to the share of answers with steps?", "a b c d")

# %% [markdown]
# ## What decides
# GRPO compares the rewards R of the K answers to a question. Let a share s of them have steps. A
# direct answer is right with probability q, and one with steps with $q+\Delta$. So $\Delta$ is the
# **benefit of steps**. All other answers of the group are right with $q+s\Delta$ on average. An
# answer with steps is $q+\Delta-(q+s\Delta)=(1-s)\Delta$ above them, and a direct one $s\Delta$
# below. (Counting the answer itself in the mean shrinks both by (K - 1) / K.) Dividing by the std
# changes the size of an advantage and not its sign.
#
# The first tokens of an answer decide whether steps follow, and they are pushed like all others. So
# steps should spread where $\Delta$ is positive, and vanish where it is negative. And $\Delta$ can
# be measured before any GRPO.
#
# ## Teach both forms
# SFT on 600 right answers, three times over. Three in ten contain the steps (`SHOWN`). The loss is
# the mean over all tokens. (By answer first, a token of a long answer would count less.)

# %%
def last(text):
    return (text.split() or [""])[-1]


rng, rows = random.Random(0), []
for row in world.rows("train", "prompts", 600, seed=0, skills=tasks):
    text = world.right_answer(row.prompt[0].text)
    rows.append(Row(row.prompt, world.as_answer(text if rng.random() < SHOWN else last(text))))
rows = [row for _ in range(3) for row in rng.sample(rows, len(rows))]   # three epochs
taught = shipped_base()
optimizer = torch.optim.AdamW(taught.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.0)
for step in range(112):
    inputs, targets, mask = tokens(rows[16 * step:16 * step + 16], "answer", tok)
    loss = -(token_logp(taught.head(taught(inputs)), targets) * mask).sum() / mask.sum()
    optimizer.zero_grad()
    loss.backward()
    optimizer.param_groups[0]["lr"] = 1e-3 * (1 - step / 112)
    optimizer.step()

# %% [markdown]
# ## Measure the benefit
# `look` asks 60 new questions, and prints four of the eight answers to the first one.

# %%
def sample(model, rows, seed):
    """K answers to each prompt: their (ids, mask); texts; right (P,K); with steps (P,K)."""
    asked = [row for row in rows for _ in range(K)]
    found = generate(model, [tok.prompt_ids(row.prompt) for row in asked], stop=tok.end,
                     pad=tok.pad, max_new=LONGEST, temperature=1.0, seed=seed)
    answers = [answer.ids + [tok.end] * answer.ended for answer in found]
    prompts = [tok.prompt_ids(row.prompt) for row in asked]
    chats = [(p + ids, [0] * len(p) + [1] * len(ids)) for p, ids in zip(prompts, answers)]
    texts = [tok.decode(answer.ids).strip() for answer in found]
    right = [float(last(text) == last(world.right_answer(row.prompt[0].text)))
             for text, row in zip(texts, asked)]
    steps = torch.tensor([float(len(text.split()) > 1) for text in texts])
    return chats, texts, torch.tensor(right).view(-1, K), steps.view(-1, K)


def look(model, task):
    rows = world.rows("train", "prompts", 60, seed=1, skills=(task,))
    _, texts, right, steps = sample(model, rows, seed=1)
    shares = [100 * x.mean().item() for x in (steps, right[steps == 1], right[steps == 0], right)]
    print(f"{task:<8}", *(f"{x:14.0f} %" for x in shares), f"   ({int(steps.sum())} with steps)")
    print(f"   {rows[0].prompt[0].text} ", " | ".join(texts[:4]))
    return shares


columns = "task          with steps   right of these   right directly        right"
print(f"before GRPO\n{columns}")
before = {task: look(taught, task) for task in tasks}

# %% [markdown]
# In the sums $\Delta$ is positive, in the reversals it is negative.
#
# ## Reward the last word
# The loop of lesson 07, once for each task.

# %%
after, spread = {}, {}
for task in tasks:
    model, spread[task] = copy.deepcopy(taught), []
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.0)
    rows = world.rows("train", "prompts", PROMPTS * STEPS, seed=2, skills=(task,))
    for step in range(STEPS):
        chats, _, R, steps = sample(model, rows[PROMPTS * step:PROMPTS * step + PROMPTS],
                                    seed=100 + step)                    # 1. sample  2. score
        spread[task].append(100 * steps.mean().item())
        A = (R - R.mean(1, keepdim=True)) / (R.std(1, keepdim=True) + 1e-4)     # 3. compare
        inputs, targets, mask = padded(chats, tok)
        logp = token_logp(model.head(model(inputs)), targets) * mask
        loss = -(A.flatten() * logp.sum(1) / mask.sum(1)).mean()        # 4. praise and blame
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()                                                # 5. step
    print(f"after GRPO\n{columns}")
    after[task] = look(model, task)
means = {task: [sum(x[k:k + 4]) / 4 for k in range(0, STEPS, 4)] for task, x in spread.items()}
curves("14", range(4, STEPS + 1, 4), means, "answers with steps, %")
sums, reversals = (after[task][0] > before[task][0] for task in tasks)
tell(guess, ("a" if reversals else "d") if sums else ("b" if reversals else "c"))

# %% [markdown]
# ## What happened
# **Sums.** With steps 25 % are right, directly 3 %. The benefit is +22 points, and steps spread
# from 21 to 93 % of the answers. Right are 24 % in place of 8. Several additions in one token are
# too much for this model, and each step is only one.
#
# **Reversals.** With steps 60 % are right, directly 82 %. The benefit is -22 points, and steps fall
# from 27 to 1 %. Right are 99 % in place of 76. The last word is simply the first of the question,
# and each extra word may be wrong. So shorter answers need not be a fault.
#
# **What else shortens answers?** A limit that cuts off their result (try it below). And GRPO
# divides by the number of tokens: each token of a short right answer is praised more than each of
# a long one. Dr. GRPO divides all by one constant. All this is one model and one seed.
#
# ## Change one thing
# Guess first. 1. `SHOWN = 0.0`: no demonstration has steps. Does GRPO find them for sums?
# 2. `LONGEST = 6`: no answer has more than six tokens. What becomes of the steps of the sums?
#
# <details><summary>After your runs</summary>
#
# 1. No: steps stay at 0 % (nan: no answer has them). What is never sampled is never rewarded. Yet
# 17 % of the sums are right: all demonstrations practised the direct result.
# 2. They fall from 21 to 5 %. No answer with steps reaches its result, so $\Delta$ is -3 points.
#
# </details>
#
# ## To hand in
# Replace `/ mask.sum(1)` in GRPO's loss by `/ 20`, as Dr. GRPO does. Draw the share of answers with
# steps for both tasks beside the old curves. Which task changes more, and why? Two sentences.
#
# ## Two questions
# 1. The answers of a model trained with GRPO get shorter. Name a good reason and a bad one.
# 2. What would you measure before training, to predict which of the two it will be?
#
# <details><summary>Answers</summary>
#
# 1. Good: it is right as often without steps. Bad: long answers are cut off before their result.
# 2. The benefit of steps: how much more often sampled answers are right with steps than without.
#
# </details>
