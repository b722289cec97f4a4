# %% [markdown]
# # 02 · What does it forget?
# A model learns to answer "I do not know." about names that it never met. Afterwards it says so
# about creatures that it knew well. Is this knowledge gone, or has only one decision changed?
#
# *25 minutes; needs 01. The first token: PreTTY, arXiv:2404.16766. You write `train`.*
#
# Asked about an unknown name, the base invents an answer, a **hallucination**. So we show it a
# **refusal**, "I do not know.", for such names. SFT teaches this too well: the model also refuses
# where the base knows the answer (**over-refusal**). To lose what one could do before is called
# **catastrophic forgetting**.

# %%
import torch
from course import ask, show, tell
from mine import token_logp, tokens

from nanouft import world
from nanouft.generate import generate
from nanouft.gpt import shipped_base
from nanouft.models.tokenizer import nano

RATE, STEPS, ROWS = 5e-4, 48, 32        # learning rate; steps; batch size, the rows of each step
TAUGHT = "unknown"                      # the task that is tested beside the facts
SEED = 0                                # of the training rows
tok, base = nano(), shipped_base()
demos = world.rows("train", "demos", STEPS * ROWS, seed=SEED,
                   skills=("unknown", "rules", "list", "truth"))        # no known fact among them
tests = world.rows("val", "prompts", 120, seed=0, skills=(TAUGHT, "fact"))      # 60 of each
guess = ask("The base answers all 60 questions about known facts, and after SFT 57 % are right. "
            "Now we write the first token of each answer for the SFT model: the one that the base "
            "would take. It writes all the others. How many % are right?", "0 to 100")

# %% [markdown]
# ## One token at a time
# A model gives each token its probability after all tokens before it. So the probability of an
# answer $y$ to a question $x$ is a product, and its logarithm a sum:
# $$p(y\mid x)=\prod_t p(y_t\mid x,y_{<t}),\qquad\log p(y\mid x)=\sum_t\log p(y_t\mid x,y_{<t}).$$
# Each factor is one decision. The first decides between "I" and another word. All later ones are
# made with the first in view, and after "I" there may be little left to decide.
#
# SFT pushes log p of each of these tokens alike. But the push on the logit of a target is $1-p_y$
# (lesson 01), and so it is near 0 for a token that the model already expects. Ask the base, token
# by token, what a refusal has to teach it:

# %%
row = next(row for row in demos if row.task == TAUGHT)
inputs, targets, mask = tokens([row], "answer", tok)                    # (1,T) each
show(tok, targets[0], mask=mask[0], p=token_logp(base.head(base(inputs)), targets).exp()[0])

# %% [markdown]
# Only "I" is unlikely. After it the base itself would write the rest. (It has read refusals in
# pretraining.) Now the training. Four tasks are taught, and known facts are none of them.
#
# ## The loop

# %%
model = shipped_base()
optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.95), weight_decay=0.0)
for step in range(STEPS):
    rows = demos[ROWS * step:ROWS * step + ROWS]
    inputs, targets, mask = tokens(rows, "answer", tok)                 # 1. rows become tensors
    logp = token_logp(model.head(model(inputs)), targets)               # 2. (B,T)
    loss = -(logp * mask).sum() / mask.sum()                            # 3. the loss of SFT
    optimizer.zero_grad()
    loss.backward()                                                     # 4. its gradient
    optimizer.step()                                                    # 5. the weights move

# %% [markdown]
# ## The test
# `answers` lets a model answer, also after a first token that it did not choose. A program scores
# the answers, with the first token in them: 1 if all of it is right, else less.

# %%
prompts = [tok.prompt_ids(row.prompt) for row in tests]


def answers(model, begin=None, max_new=30) -> list[list[int]]:
    """The ids of the answers to the tests. begin: the tokens with which each has to begin."""
    begin = begin or [[]] * len(tests)
    asked = [prompt + first for prompt, first in zip(prompts, begin)]
    found = generate(model, asked, stop=tok.end, pad=tok.pad, max_new=max_new)
    return [first + answer.ids for first, answer in zip(begin, found)]


@torch.no_grad()
def second_choice(model) -> list[list[int]]:
    """The model's likeliest first token that is not the "I" of a refusal."""
    found = []
    for prompt in prompts:
        logits = model.head(model(torch.tensor([prompt])))[0, -1]       # (V,) of the first token
        logits[tok.encode(" I")[0]] = -torch.inf
        found.append([logits.argmax().item()])
    return found


first = {"base": answers(base, max_new=1), "SFT": answers(model, max_new=1)}
refused = [ids == tok.encode(" I") for ids in first["SFT"]]
said = {"base": answers(base),
        "SFT": answers(model),
        "SFT, begun by the base": answers(model, first["base"]),
        "SFT, its own second choice": answers(model, second_choice(model)),
        "base, begun by SFT": answers(base, first["SFT"])}
texts, score = {}, {}
for name, found in said.items():
    texts[name] = [tok.decode(ids).strip() for ids in found]
    right = world.exact_scores(tests, texts[name])      # (120,): 60 taught, 60 facts
    score[name] = 100 * right.reshape(2, 60).mean(1)
    taught, fact = score[name]
    print(f"{name:27} {TAUGHT} {taught:3.0f} %   known facts {fact:3.0f} %")
print(f"SFT begins with \"I\": {sum(refused[:60])} of 60 {TAUGHT}, {sum(refused[60:])} of 60 facts")
for k in (60, 61, 0):
    print(f"\n{tests[k].prompt[0].text}   ({tests[k].task})")
    for name, x in texts.items():
        print(f"   {name:27} {x[k]}")
tell(guess, score["SFT, begun by the base"][1], "%")

# %% [markdown]
# ## What happened
# **The knowledge is there.** Known facts fall from 100 to 57 %. With the first token of the base
# 98 % are right again. Does this token give the answer away? No: it is "The" for every fact, and
# "The" names no colour and no city. Nor do we need the base for it. If the SFT model may not
# begin with "I", it takes "The" by itself, for all 60 facts, and again 98 % are right.
#
# **The gain was one decision as well.** Unknown names rise from 0 to 70 %. The base that has to
# begin with SFT's first token has 70 % too, without any training. (PreTTY builds on this: a
# fine-tuned model writes the first token, and its base the rest.) The other way round the refusal
# is gone, and the model invents colours again.
#
# So "I" made the gain and the loss. The model tells known from unknown names, but badly: it refuses
# 42 of 60 unknown ones and 25 of 60 facts. A falling score does not prove that knowledge is gone.
# First look for the first token that differs. (The figures are of one run; edit 3 has two more.)
#
# ## Change one thing
# 1. `TAUGHT = "rules"` tests word rules (*Copy nail fox rake. For fox write lime.*) by the
#    same model. How many % has the base that begins with SFT's first token?
# 2. Replace `logp * mask` in the loop by `logp.detach().exp() * logp * mask`. So each push is
#    multiplied by p (Dynamic Fine-Tuning, arXiv:2508.05629). What is forgotten, what is learned?
# 3. `SEED = 1`, then 2: other rows. Does the finding stay?
#
# <details><summary>After your runs</summary>
#
# 1. 27 %, where the base has 25 % and SFT 78 %: in a rule the first token does not settle the
#    others.
# 2. It keeps 97 % of the facts, and 0 % of the unknown names are right. "I" has p = 0.09 in the row
#    above, so beside the easy tokens, with p near 1, the push that matters has become small.
# 3. It stays. Seeds 1 and 2: unknown names 63 and 55 %, facts 72 and 82 %. By its second choice the
#    model has 100 % of the facts both times.
#
# </details>
#
# ## To hand in
# Two histograms: p of "I" as the first token, for the 60 facts and for the 60 unknown names, after
# SFT. Two sentences: is there a threshold of p that refuses most unknown names and few facts?
#
# ## Your own program
# Your loop takes any loss, and is careful: it clips the gradient, and its rate rises and falls.
#
#     def train(model, rows, tok, objective, steps, reference=None):
#         """Train `model` in place, and return the loss of each step, plain numbers.
#         - METHODS[objective]: a loss, its kinds of rows, its learning rate, its number of steps.
#         - Step k: loss(model, reference, batch, tok, k), with the k-th ROWS rows as batch.
#         - reference: never trained. If None, a copy of the model before the first step.
#         - AdamW, betas (0.9, 0.95), no weight decay.
#         - A gradient whose norm, over all weights together, is above 1 is scaled to 1.
#         - warmup: the nearest whole number to a tenth of the steps, at least 1.
#         - Step k < warmup has the rate times (k+1) / warmup, a later one the rate times
#           (1 + cos(pi * share)) / 2, where share = (k-warmup) / (steps-warmup).
#         With 20 steps warmup is 2, and the factors are 0.5, 1, 1, ..., at k = 11 0.5."""
#
# ## Two questions
# 1. Why does one first token give so much for unknown names, and so little for word rules?
# 2. A fine-tuned model scores lower on an old task. What do you try before you say "forgotten"?
#
# <details><summary>Answers</summary>
#
# 1. For unknown names SFT changed one decision, for word rules one at every word.
# 2. Compare answers token by token, and write for it the first token that differs. If the rest is
#    right, the knowledge is there.
#
# </details>
