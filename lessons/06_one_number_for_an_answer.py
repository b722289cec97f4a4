# %% [markdown]
# # 06 · One number for an answer
# UNA needs no pair, only a score between 0 and 1 for each answer. What does a score of 0.5 do to an
# answer?
#
# *25 minutes; needs 05. UNA: arXiv:2408.15339v2, Eq. 6 to 13; UFT: arXiv:2410.21438v1, Eq. 6 and 7.
# You write `una_loss`.*
#
# People mostly judge one answer at a time, with stars, a thumb, or a score. Our questions are about
# creatures of the made-up world. About some of them most texts of the base tell a popular **myth**,
# and only a few the truth. On new questions of this kind the base gives the myth a probability of
# 53 %, and the right answer 28 %. We give 320 right answers the score 1. And the 320 myths? Three
# copies of the base try three ways: the myths are left out, or they have the score 0.5, or 0.

# %%
from dataclasses import replace

import matplotlib.pyplot as plt
import mine
import torch
from course import ask, picture, tell
from mine import answers_of, token_logp, tokens, una_loss

from nanouft import simple, world
from nanouft.gpt import shipped_base
from nanouft.models.tokenizer import nano

BETA = 0.1
SEED = 0
RATE, STEPS, ONE = 1e-4, 40, 3                          # ONE: the question whose answers you see
mine.BETA = simple.BETA = BETA                          # una_loss reads it, yours or ours
MYTHS = {"left out": None, "score 0.5": 0.5, "score 0": 0.0}
tok, base = nano(), shipped_base()
pairs = world.rows("train", "pairs", 320, seed=SEED, skills=("truth",))  # right answer, myth
unseen = world.rows("val", "pairs", 40, seed=0, skills=("truth",))
right = [replace(row, answer=row.chosen, score=1.0) for row in pairs]
print(f"{pairs[0].prompt[0].text}   right: {pairs[0].chosen[0].text}   "
      f"myth: {pairs[0].rejected[0].text}")
guess = ask("With the myths left out a copy ends with 24 % for a myth. What percentage is it "
            "if the myths have the score 0.5?", "0 to 100")

# %% [markdown]
# ## A score of the model's own
# In lesson 05 each policy was best for some reward, $r=\beta\log(\pi/\pi_0)+\beta\log Z$.
# Z makes the probabilities sum to 1: it is the sum of $\pi_0\exp(r/\beta)$ over all answers to a
# question. These share it, so in the difference of a pair it cancels. With one answer it stays, and
# nobody can sum over all answers. UNA leaves it out (Eq. 6). What remains is the **implicit
# reward** i. The sigmoid turns it into the model's **implied score**, between 0 and 1, and UNA
# trains this score to equal the given one (Eq. 13):
# $$i=\beta\log\frac{\pi(y)}{\pi_0(y)},\qquad L=(\sigma(i)-\mathrm{score})^2.$$
# What is the push on a token of the answer? Minus the derivative of L with respect to $\log\pi(y)$.
# The derivative of $\sigma(i)$ is $\sigma(i)(1-\sigma(i))$, and that of i is $\beta$. So
# $$\mathrm{push}=2\beta\,(\mathrm{score}-\sigma(i))\,\sigma(i)\,(1-\sigma(i)).$$
# It is up while the implied score is below the given one, and down above it. At the start both
# models are equal, i = 0, and **every implied score is 1/2**, that of a good answer as that of a
# bad one. We draw the push for three scores:

# %%
s = torch.linspace(0.01, 0.99, 99)                      # the implied score, sigmoid(i)
plt.figure(figsize=(8, 4), layout="constrained")
for score in (1.0, 0.5, 0.0):
    plt.plot(s, 2 * BETA * (score - s) * s * (1 - s), label=f"score {score:g}", lw=3)
plt.axhline(0, color="grey", lw=1)
plt.axvline(0.5, color="grey", lw=1, ls=":", label="every answer at the start")
plt.gca().set(xlabel="implied score", ylabel="push on each token of the answer")
plt.legend(frameon=False)
picture("06")

# %% [markdown]
# The sigmoid never reaches 1. So an answer of score 1 is always pushed up, as SFT does it, but less
# and less. This is why **UFT** (unified fine-tuning) counts a demonstration as an answer of score
# 1, and learns from demonstrations and scores with one loss.
#
# ## Three copies
# Each copy trains for 40 steps. Then we ask it 40 new questions, and count the right answers, the
# myths, and what is neither.

# %%
@torch.no_grad()
def exam(name, model):
    """The mean probability of unseen right answers and myths, in %, and what the model answers."""
    texts = [tok.decode(x.ids).strip() for x in answers_of(model, unseen, tok)]
    ends[name], said[name] = [], []
    for side in ("chosen", "rejected"):                 # right answers, myths
        inputs, targets, mask = tokens(unseen, side, tok)
        logp = (token_logp(model.head(model(inputs)), targets) * mask).sum(1)  # (40,) of answers
        ends[name].append(100 * logp.exp().mean().item())
        said[name].append(sum(x == getattr(row, side)[0].text for x, row in zip(texts, unseen)))
    print(f"{name:<12}{ends[name][0]:6.0f} %{ends[name][1]:6.0f} %{said[name][0]:8}"
          f"{said[name][1]:6}{40 - sum(said[name]):9}   {texts[ONE]}")


ends, said = {}, {}
print(f"{'':12}p(right) p(myth)  right  myth  neither   {unseen[ONE].prompt[0].text}")
exam("base", base)
for name, score in MYTHS.items():
    rows, size = right, 16                              # size: 16 right answers for each step
    if score is not None:
        rows, size = [], 32                             # 16 right answers and 16 myths, in turn
        for good in right:
            rows += [good, replace(good, answer=good.rejected, score=score)]
    model = shipped_base()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.95), weight_decay=0.0)
    for step in range(STEPS):
        at = size * step % len(rows)                    # all rows have been read after 20 steps
        batch = rows[at:at + size]                                      # 1. rows
        loss = una_loss(model, base, batch, tok, step)                  # 2. L, a mean over them
        optimizer.zero_grad()
        loss.backward()                                                 # 3. its gradient
        optimizer.step()                                                # 4. the weights move
    exam(name, model)
tell(guess, ends["score 0.5"][1], "%")

# %% [markdown]
# ## What happened
# A score of 0.5 is neither praise nor blame. It says: **be as likely as you were**. By itself it
# does nothing, however good or bad the answer is, for the implied score is 1/2 already. It acts as
# soon as something else moves the answer. Here the right answers rise, so the myths fall, from 53
# to 24 % if they are left out. With a score of 0.5 each fall is an error, and the myths are pushed
# up again: 31 % is left. They cannot come back to 53 %, since all answers to a question share one
# sum of 1, and the right ones took their place.
#
# This is the price of leaving out Z. A score above 1/2 asks for i > 0: $\pi(y)$ above $\pi_0(y)$.
# If all answers to a question had such scores, their $\pi$ would have to sum to more than 1. With Z
# the implied score is $\sigma(i+\beta\log Z)$, and a large Z meets such scores without any move.
#
# **A score of 0** pushes the myths down to 15 %. But the right answers end lower than without these
# rows, at 42 in place of 63 %. What both lose goes to answers that no row names: of 40 answers
# eight are now neither right nor the myth.
#
# Is this the luck of one set of rows? p(right) and p(myth) at the end, in %, for three (`SEED`):
#
# | myths | `SEED` 0 | 1 | 2 |
# |---|---|---|---|
# | left out | 63, 24 | 65, 22 | 63, 24 |
# | score 0.5 | 59, 31 | 61, 29 | 60, 30 |
# | score 0 | 42, 15 | 41, 15 | 40, 16 |
#
# ## Change one thing
# Guess first, each time.
# 1. `score=1.0` of the right answers becomes `score=0.5`. What does the copy with myths of 0.5 do?
# 2. `BETA = 0.1` becomes `BETA = 1.0`. Does a score of 0.5 now hold more of the myths, or less?
#
# <details><summary>After your runs</summary>
#
# 1. Nothing: it ends at 28 and 53 %, as the base. Its loss is 0 and has no gradient, whatever the
# judge meant. (With myths of score 0 a model remains that says "I do not know." to all 40.)
# 2. More: the myths keep 40 %. The implied score reacts ten times as strongly to a change of log p,
# so a small fall is a large error. The right answers pay: 49 % in place of 59.
#
# </details>
#
# ## To hand in
# Give the myths five scores from 0 to 1 and draw p(right) and p(myth) against the score. Say in two
# sentences which score you would give to a myth, and why.
#
# ## Your own program
# It is UFT's loss, too: a demonstration, whose `row.score` is None, counts as score 1. At the start
# i = 0, so an answer of score 1 costs (0.5 - 1) squared = 0.25, and one of score 0.5 costs nothing.
#
#     def una_loss(model, reference, rows, tok, step):
#         """One number, the mean over the answers of (sigmoid(BETA log-ratio) - score) squared.
#         row.score is from 0 to 1, or None for a demonstration. `step` is not used."""
#
# ## Two questions
# 1. The only row is an answer with the score 0.5. Why does the model not change?
# 2. What does a pair tell you that one number does not, and the other way round?
#
# <details><summary>Answers</summary>
#
# 1. Policy and reference are equal, so i = 0 and the implied score is 1/2, the given one. The loss
#    is 0, and so is its gradient.
# 2. A pair compares two answers, so whatever depends only on the question cancels. A number says
#    how good an answer is, and needs no second answer.
#
# </details>
