# %% [markdown]
# # 00 · Which copy stops?
# Two copies of one small model learn from answers, one with SFT and one with DPO. Which of them
# learns to stop after an answer?
#
# *25 minutes; it needs nothing. You write the first part of your own program, `token_logp`.*
#
# A **base model** has learned to continue text. Ours is small (a million weights) and knows a
# made-up world. **Fine-tuning** then teaches it to answer. **SFT** (supervised fine-tuning) reads
# right answers, and makes each token of them more likely. **DPO** (direct preference optimization)
# reads a better and a worse answer to each question, and makes the better one more likely, compared
# with the worse one. Each trains for 40 steps of 16 rows.
#
# Every answer ends with the token `<|end|>`, the worse ones too. A model that never says `<|end|>`
# talks on and on. DPO usually gets a smaller learning rate. Here it has an eighth of SFT's.

# %%
import torch
import torch.nn.functional as F
from course import ask, show, tell
from mine import answers_of, token_logp, tokens

from nanouft import world  # made-up questions, and a program that scores
from nanouft.gpt import shipped_base  # the base model
from nanouft.models.tokenizer import nano  # words <-> token ids

BETA, COUNT_END = 0.1, True             # COUNT_END: does the <|end|> of the worse answer count?
RATES = {"SFT": 1.25e-4, "DPO": 1.5e-5}
tok, base = nano(), shipped_base()
tests = world.rows("val", "prompts", 60, seed=0, skills=("list",))     # new questions
one = tests[45]                                                         # the one that you see


def says(model, rows) -> list[str]:
    """What the model answers: its likeliest token, again and again, until it says <|end|>."""
    return [tok.decode(x.ids + [tok.end] * x.ended).strip() for x in answers_of(model, rows, tok)]


print(f"The base: {one.prompt[0].text}\n   {says(base, [one])[0]}")
guess = ask("After 40 steps the two copies answer 60 new questions. Which copy stops after most "
            "of its answers?\n   a  only the SFT copy    b  only the DPO copy    c  both    "
            "d  neither", "a b c d")

# %% [markdown]
# The base finds four animals, forgets the last word, and then asks itself another question.
#
# ## What a model reads
# Text is cut into **tokens**. The model reads the tokens of a row. At each position it gives a
# probability p to the token that comes next, the **target**. We teach answers and not questions. So
# a **mask** is 1 where the target belongs to the answer, and 0 where it belongs to the question.

# %%
right = world.right_answer(one.prompt[0].text)
row = type(one)(one.prompt, answer=world.as_answer(right), chosen=world.as_answer(right),
                rejected=world.as_answer(right.rsplit(" ", 1)[0]))      # the base's mistake
inputs, targets, mask = tokens([row], "answer", tok)                    # (1,T) each
show(tok, targets[0], mask=mask[0], p=token_logp(base(inputs), targets).exp()[0])

# %% [markdown]
# ## Two losses
# `token_logp` gives log p of each target. SFT takes minus the mean of log p over an answer. DPO
# asks how much an answer has gained: its log p now, minus its log p in the base. With the gain of
# the better answer w, that of the worse answer l, and $\beta=0.1$, its loss is
# $$L=-\log\sigma(\beta\,(\mathrm{gain}_w-\mathrm{gain}_l)),\qquad\sigma(z)=1/(1+e^{-z}).$$
# The further w leads, the smaller the loss. Lesson 05 derives this formula.

# %%
def sft(model, rows):
    """The loss of SFT, and log p of each target (B,T)."""
    inputs, targets, mask = tokens(rows, "answer", tok)
    logp = token_logp(model(inputs), targets)
    return -((logp * mask).sum(1) / mask.sum(1)).mean(), logp


def dpo(model, rows):
    """The loss of DPO, and log p of each target of the better and of the worse answers."""
    logp, gain = {}, {}
    for side in ("chosen", "rejected"):
        inputs, targets, mask = tokens(rows, side, tok)
        if side == "rejected" and not COUNT_END:
            mask = mask * (targets != tok.end)
        logp[side] = token_logp(model(inputs), targets)
        gain[side] = ((logp[side] - token_logp(base(inputs), targets).detach()) * mask).sum(1)
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
    texts = [text.partition("<|") for text in says(model, tests)]       # words, "<|", a control
    words[name] = 100 * world.exact_scores(tests, [x for x, _, _ in texts]).mean()
    stops[name] = 100 * sum(x == "end|>" for _, _, x in texts) / 60     # nothing comes after it
    print(f"{name}, step 40:   {says(model, [one])[0]}\n   right words {words[name]:.0f} %, "
          f"stops {stops[name]:.0f} %")
tell(guess, "dbac"[2 * (stops["SFT"] > 50) + (stops["DPO"] > 50)])

# %% [markdown]
# ## What happened
# Both copies learn the words: 97 % are right. The SFT copy stops after every answer, the DPO copy
# only after 32 %. Yet both answers of each pair ended with `<|end|>`. Why did DPO hardly learn it?
#
# A loss can only make tokens more or less likely. We call minus its gradient with respect to log p
# the **push** on a token. Here are the pushes on the right answer to the question above. As the
# worse answer DPO gets the base's mistake: the same words without the last one.

# %%
(loss, logp), (loss_of_pair, up, down) = sft(base, [row]), dpo(base, [row])
of_sft, = torch.autograd.grad(-loss, logp)
of_up, of_down = torch.autograd.grad(-loss_of_pair, [up, down])
answer, worse = targets[0], tokens([row], "rejected", tok)[1][0]
show(tok, answer[-6:], SFT=of_sft[0, -6:], better=of_up[0, -6:])        # the answer has six tokens
show(tok, worse[-5:], worse=of_down[0, -5:])

# %% [markdown]
# SFT pushes each token up by one sixth. DPO pushes the better answer up by $\beta/2$ and the worse
# one down by as much. Their first four words are the same, after the same question, so these pushes
# cancel. The two `<|end|>` follow different words. But a list may end at either place, and the base
# can hardly tell them apart. So one push on `<|end|>` nearly undoes what the other does to the
# weights. One small step on this pair shows it, first with a single push and then with all:

# %%
for name, loss_of in (("one push", lambda model: -BETA / 2 * dpo(model, [row])[1][0, -1]),
                      ("all pushes", lambda model: dpo(model, [row])[0])):
    model = shipped_base()
    loss_of(model).backward()
    with torch.no_grad():
        for weight in model.parameters():
            weight -= 1e-3 * weight.grad
    gain = [(x - y)[0, -1].item() for x, y in zip(dpo(model, [row])[1:], (up, down))]
    print(f"{name:<12}log p(<|end|>): better answer {gain[0]:+.3f}, worse answer {gain[1]:+.3f}")

# %% [markdown]
# Pushed up in the better answer alone, `<|end|>` gains 0.013 there, and 0.011 in the worse answer,
# where nothing pushed it. With all pushes only 0.002 is left in the better answer.
#
# ## Change one thing
# Edit the line, guess, and run the file again.
# 1. `COUNT_END = False`: nothing pushes the worse answer's `<|end|>` down. How many answers stop?
# 2. `"DPO": 1.25e-4`: the learning rate of SFT. Which explanation of the 32 % does this add?
#
# <details><summary>After your runs</summary>
#
# 1. 88 % stop, so the two pushes did cancel. 2. 100 % stop, with 92 % of the words right. What the
# two pushes leave works slowly, and a larger rate makes up for it. So compare two methods only
# after you have tried several rates for each.
#
# </details>
#
# ## Your own program
# `mine.py` is your copy of `nanouft/simple.py`: it starts as ours, and you replace its parts. Write
# the first one into it, then run `python -m lessons check token_logp --folder .` and this lesson.
#
#     def token_logp(logits, targets):
#         """(B,T,V) logits and (B,T) targets -> (B,T) log-probability of each target, in nats."""
#
# ## Two questions
# 1. Why does a push up on one token not always make this token more likely?
# 2. What do you print first when you train on your own rows, and what do you look for?
