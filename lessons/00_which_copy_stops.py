# %% [markdown]
# # 00 · Which copy stops?
# Two copies of one small model learn from answers, one with SFT and one with DPO. Which of them
# learns to stop after an answer?
#
# *25 minutes; needs nothing. DPO: arXiv:2305.18290. You write `token_logp`.*
#
# You know PyTorch, and nothing of language models. A **token** is a piece of text, mostly a word or
# a sign. A **language model** reads tokens and gives every token that it knows a probability to
# come next. It writes by appending the likeliest one and reading again. When this is `<|end|>`, the
# **EOS token** (end of sequence), the answer is over. A model that never takes it talks on and on.
#
# The **base** has only learned to continue text. Ours has a million weights and knows a made-up
# world. **Fine-tuning** trains a copy of it to answer questions (prompts and responses, in papers).
# **SFT**, supervised fine-tuning, reads right answers, and makes each of their tokens more likely.
# **DPO**, direct preference optimization, reads a better and a worse answer to each question, and
# makes the better one more likely, compared with the worse one. All answers end with `<|end|>`.
# Each copy trains for 40 steps of 16 rows, DPO (as is usual) at an eighth of SFT's learning rate.

# %%
import torch
import torch.nn.functional as F
from course import ask, show, tell
from mine import answers_of, token_logp, tokens

from nanouft import world  # made-up questions, and a program that scores
from nanouft.data.row import Row
from nanouft.gpt import shipped_base
from nanouft.models.tokenizer import nano  # words <-> token ids

BETA = 0.1
COUNT_END = True                        # does the <|end|> of the worse answer count?
RATES = {"SFT": 1.25e-4, "DPO": 1.5e-5}
tok, base = nano(), shipped_base()
tests = world.rows("val", "prompts", 60, seed=0, skills=("list",))     # new questions
one = tests[45]                         # the one that you see


def says(model, rows) -> list[str]:                         # the likeliest token, again and again
    return [tok.decode(x.ids + [tok.end] * x.ended).strip() for x in answers_of(model, rows, tok)]


print(f"The base: {one.prompt[0].text}\n   {says(base, [one])[0]}")
guess = ask("After 40 steps the two copies answer 60 new questions. Which stops after most of them?"
            "\n   a  only SFT's copy   b  only DPO's copy   c  both   d  neither", "a b c d")

# %% [markdown]
# The base forgets the last word, and then asks itself another question.
#
# ## What a model reads
# A **row** is one line of data, here a question with its answer. At each position the model gives a
# probability p to the token that comes next, the **target**. We teach answers and not questions. So
# a **mask** says which targets count: 1 in the answer, 0 in the question. Each line of the table is
# a target, and the model has read all lines above it.

# %%
right = world.right_answer(one.prompt[0].text)
worse = right.rsplit(" ", 1)[0]                             # the base's mistake: no last word
row = Row(one.prompt, answer=world.as_answer(right), chosen=world.as_answer(right),
          rejected=world.as_answer(worse))
inputs, targets, mask = tokens([row], "answer", tok)                    # (1,T) each
show(tok, targets[0], mask=mask[0], p=token_logp(base.head(base(inputs)), targets).exp()[0])

# %% [markdown]
# ## Two losses
# `model(inputs)` is a state at each position. `model.head` makes of it a number for each token, the
# **logit**, and `token_logp` log p of each target. SFT's loss is minus the mean of log p over the
# tokens that count. DPO asks how much an answer has gained: its log p now, minus its log p in the
# base. With the gain of the better answer w, that of the worse one l, and $\beta=0.1$, its loss is
# $$L=-\log\sigma(\beta\,(\mathrm{gain}_w-\mathrm{gain}_l)),\qquad\sigma(z)=1/(1+e^{-z}).$$
# The further w leads, the smaller the loss. Lesson 05 derives this formula.

# %%
def sft(model, rows):                                       # its loss, log p of each target (B,T)
    inputs, targets, mask = tokens(rows, "answer", tok)
    logp = token_logp(model.head(model(inputs)), targets)
    return -(logp * mask).sum() / mask.sum(), logp


def dpo(model, rows):                                       # its loss, log p of both answers
    logp, gain = {}, {}
    for side in ("chosen", "rejected"):
        inputs, targets, mask = tokens(rows, side, tok)
        if side == "rejected" and not COUNT_END:
            mask = mask * (targets != tok.end)
        logp[side], before = (token_logp(m.head(m(inputs)), targets) for m in (model, base))
        gain[side] = ((logp[side] - before.detach()) * mask).sum(1)
    return -F.logsigmoid(BETA * (gain["chosen"] - gain["rejected"])).mean(), *logp.values()


stops, words = {}, {}                                           # % of the 60 answers
for name, loss_of, kind in (("SFT", sft, "demos"), ("DPO", dpo, "pairs")):
    model, rows = shipped_base(), world.rows("train", kind, 640, seed=0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATES[name], betas=(0.9, 0.95))
    for step in range(40):
        if step in (0, 5, 20):
            print(f"{name}, step {step:2}:   {says(model, [one])[0]}")
        loss, *_ = loss_of(model, rows[16 * step:16 * step + 16])       # 1. rows become a loss
        optimizer.zero_grad()
        loss.backward()                                                 # 2. its gradient
        optimizer.step()                                                # 3. the weights move
    said = says(model, tests)
    ended = [text.endswith("<|end|>") and text.count("<|") == 1 for text in said]
    words[name] = 100 * world.exact_scores(tests, [text.split("<|")[0] for text in said]).mean()
    stops[name] = 100 * sum(ended) / 60
    print(f"{name}, step 40:   {says(model, [one])[0]}\n   right words {words[name]:.0f} %, "
          f"stops {stops[name]:.0f} %")
letters = {(True, False): "a", (False, True): "b", (True, True): "c", (False, False): "d"}
tell(guess, letters[stops["SFT"] > 50, stops["DPO"] > 50])

# %% [markdown]
# ## What happened
# Both copies learn the words: 98 and 97 % are right. In this run SFT's copy stops after every
# answer, DPO's only after 32 %. Yet both answers of each pair ended with `<|end|>`. Why did DPO
# hardly learn it? A loss makes tokens more or less likely. Minus its gradient with respect to
# log p is the **push** on a token. Here are the pushes on the right answer to the question above.
# As the worse one DPO gets the base's mistake, which lacks the last word.

# %%
loss, logp = sft(base, [row])
push = torch.autograd.grad(-loss, logp)[0]
loss, better, worse = dpo(base, [row])
push_better, push_worse = torch.autograd.grad(-loss, [better, worse])
show(tok, targets[0, -6:], SFT=push[0, -6:], better=push_better[0, -6:])    # six tokens
show(tok, tokens([row], "rejected", tok)[1][0, -5:], worse=push_worse[0, -5:])

# %% [markdown]
# SFT pushes each token up by one sixth. DPO pushes the better answer up by $\beta/2$ and the worse
# one down by as much. Their first four words are the same, so these pushes cancel. The `<|end|>`
# follow different words, but to the base both places are nearly alike: what one push does to the
# weights, the other nearly undoes. One small step on this pair shows it:

# %%
for name in ("one push", "all pushes"):
    model = shipped_base()
    loss, logp, _ = dpo(model, [row])
    if name == "one push":
        loss = -BETA / 2 * logp[0, -1]                      # on the better answer's <|end|> alone
    loss.backward()
    with torch.no_grad():
        for weight in model.parameters():
            weight -= 1e-3 * weight.grad
    _, better_now, worse_now = dpo(model, [row])
    gain = [(better_now - better)[0, -1].item(), (worse_now - worse)[0, -1].item()]
    print(f"{name:<12}log p(<|end|>): better answer {gain[0]:+.3f}, worse answer {gain[1]:+.3f}")

# %% [markdown]
# Pushed up only in the better answer, `<|end|>` gains 0.013 there. It gains 0.011 in the worse
# answer too, where nothing pushed it. With all pushes, 0.002 is left in the better answer. Pictures
# of the same: `python -m nanouft.pushes`, and the page of `python -m nanouft.playground`.
#
# ## Change one thing
# Edit the line, guess, and run the file again.
# 1. `COUNT_END = False`: nothing pushes the worse answer's `<|end|>` down. How many stop?
# 2. `"DPO": 1.25e-4`: the learning rate of SFT. Which explanation of the 32 % does this add?
#
# <details><summary>After your runs</summary>
#
# 1. 88 % stop, so the two pushes did cancel.
# 2. 100 % stop, with 92 % of the words right. What the two pushes leave works slowly, and a larger
#    rate makes up for it. So try several rates for each method before you compare two.
#
# </details>
#
# ## To hand in
# DPO at five rates from 1.5e-5 to 1.25e-4: one curve of the answers that stop, one of the right
# words. Two sentences: which rate would you take, and what could another seed of the rows change?
#
# ## Your own program
# `mine.py` starts as our `nanouft/simple.py`. Write the first part into it. Then run
# `python -m lessons check token_logp`, and this lesson again.
#
#     def token_logp(logits, targets):
#         """(B,T,V) logits and (B,T) targets -> (B,T) natural log-probability of each target."""
#
# ## Two questions
# 1. Why does a push up on one token not always make this token more likely?
# 2. What do you print first when you train on your own rows, and what do you look for?
#
# <details><summary>Answers</summary>
#
# 1. All pushes move the same weights. A push down on this token in a similar place can undo it.
# 2. One row with its mask: does the mask count the answer and its `<|end|>`, and nothing else?
#
# </details>
