# %% [markdown]
# # 10 · What follows weighs
# IFT gives each token a weight, made of losses. If the gradient flows through such a weight, where
# does it push a token that the model has already learned?
#
# *30 minutes; needs 03. IFT: arXiv:2405.11870v3, Eq. 21; code: TsinghuaC3I/Intuitive-Fine-Tuning at
# 03adb93, src/trainers.py. You write `ift_loss`.*
#
# If the first token of an answer is wrong, those after it go wrong as well. A slip in the last one
# does no further harm. So the **weight** of a token is its own loss (-log p) plus those of the
# tokens *after* it, each discounted by $\gamma$ a step. The paper calls this **dynamic relation
# propagation**. The weights of an answer are then divided by their mean.
#
# Our lists all end with `<|end|>`, and SFT teaches the base to end every new one. We train it on
# the same lists with the loss of the authors' code, whose gradient flows through the weights, too.

# %%
import torch
from course import ask, curves, show, tell
from mine import token_logp, tokens

from nanouft import world
from nanouft.generate import generate
from nanouft.gpt import shipped_base
from nanouft.models.tokenizer import nano
from nanouft.objectives.ift import future_sum

GAMMA, STEPS, ROWS, RATE = 0.95, 64, 16, 3e-4
FORMS = "SFT", "IFT detached", "IFT released"
tok = nano()
lists = world.rows("train", "demos", STEPS * ROWS, seed=0, skills=("list",))
unseen = world.rows("val", "demos", 60, seed=0, skills=("list",))
guess = ask("What percentage of new lists does it end then?", "0 to 100")

# %% [markdown]
# ## Two tokens by hand
# An answer has two tokens: a hard word with loss a, and then `<|end|>` with loss b. The word weighs
# $a+\gamma b$, and `<|end|>` weighs b. The weights are divided by their mean, so
# $$L=\frac{(a+\gamma b)\,a+b\cdot b}{(a+\gamma b)+b}=\frac nm,\qquad
# n=a^2+\gamma ab+b^2,\quad m=a+(1+\gamma)b.$$
# Which way does L push `<|end|>`? Four lines:
# 1. $n'=\gamma a+2b$ and $m'=1+\gamma$, the derivatives with respect to b.
# 2. $dL/db=(n'm-nm')/m^2$.
# 3. If `<|end|>` is learned, b = 0, this is $(\gamma a\cdot a-a^2(1+\gamma))/a^2=-1$.
# 4. It is zero where $(1+\gamma)\,b^2+2ab-a^2=0$, at $b=a\,(\sqrt{2+\gamma}-1)/(1+\gamma)=0.37\,a$.
#
# By line 3, L *falls* if the learned token becomes less likely. Its own loss costs nothing yet, as
# its weight is about 0. But a higher b takes weight from the hard word, which carries nearly all of
# L. By line 4 this ends at the **equilibrium**. **Detached** weights are constants for the gradient
# (`.detach()`). Then the slope is a token's weight over the number of tokens, here 0. By autograd:

# %%
def weights_of(losses, mask):
    """(B,T): own loss plus discounted later ones, divided by their mean in the answer."""
    w = future_sum(losses, GAMMA) * mask
    return w * mask.sum(1, keepdim=True) / w.sum(1, keepdim=True)


def loss_of(losses, mask, name):
    """(B,) the loss of each answer."""
    w = mask if name == "SFT" else weights_of(losses, mask)
    w = w.detach() if name == "IFT detached" else w     # constants
    return (w * losses).sum(1) / mask.sum(1)


def slopes(losses, mask, name):
    """(B,T) derivative of an answer's loss with respect to each token's loss: its push up."""
    losses = losses.detach().requires_grad_()
    return torch.autograd.grad(loss_of(losses, mask, name).sum(), losses)[0]


def equilibrium(losses, mask, token):
    """The loss of this token, (B,T) bool, at which its mean slope is no longer negative."""
    for b in torch.arange(0, 5, 0.01):
        if slopes(losses.masked_fill(token, b), mask, "IFT released")[token].mean() >= 0:
            return b.item()


two, ones = torch.tensor([[2.5, 0.0]]), torch.ones(1, 2)                # a = 2.5, b = 0
for name in FORMS[1:]:
    print(f"{name}, a = 2.5, b = 0: dL/da, dL/db = {slopes(two, ones, name)[0].tolist()}")
print(f"equilibrium at b = {equilibrium(two, ones, torch.tensor([[False, True]])):.2f}")

# %% [markdown]
# ## Three trainings
# In a list the first animals stay hard, because the question leaves them open. The last word and
# `<|end|>` are easy. After 16 steps of SFT we print the **pushes** (slopes times tokens) on one new
# list, and put line 4 to the test: with all other losses of 60 new lists held fixed, at which loss
# of `<|end|>` is its slope 0? The released loss should leave it there. (No model reads a mixture.)

# %%
def losses_of(model, rows):
    """(B,T) each: the loss of each token of the answers, 0 elsewhere, and the mask."""
    inputs, targets, mask = tokens(rows, "answer", tok)
    return -token_logp(model.head(model(inputs)), targets) * mask, mask


_, targets, on = tokens(unseen, "answer", tok)
row, end = on[0] == 1, targets == tok.end
prompts = [tok.prompt_ids(row.prompt) for row in unseen]
losses_of_end, ended, early = {}, {}, None              # ended: % of 60 new lists
for name in FORMS:
    model, losses_of_end[name] = shipped_base(), []
    optimizer = torch.optim.AdamW(model.parameters(), RATE, betas=(0.9, 0.95), weight_decay=0.0)
    for step in range(STEPS + 1):
        if step % 4 == 0:
            now = losses_of(model, unseen)[0].detach()
            losses_of_end[name].append(now[end].mean().item())
            early = now if name == "SFT" and step == 16 else early
        if step == STEPS:
            break
        losses, mask = losses_of(model, lists[ROWS * step:ROWS * step + ROWS])      # 1. rows
        loss = loss_of(losses, mask, name).mean()                                   # 2. loss
        optimizer.zero_grad()
        loss.backward()                                                             # 3. gradient
        optimizer.param_groups[0]["lr"] = RATE * (1 - step / STEPS)
        optimizer.step()                                                            # 4. step
    answers = generate(model, prompts, stop=tok.stops, pad=tok.pad, max_new=16)
    ended[name] = 100 / 60 * sum(x.stop == tok.end for x in answers)
    print(f"{name:<14}loss of <|end|> {losses_of_end[name][0]:.2f} -> {losses_of_end[name][-1]:.2f}"
          f" nats, ends {ended[name]:.0f} % of the lists, such as {tok.decode(answers[0].ids)}")
    if name == "SFT":
        print(f"\nAfter 16 steps of SFT: {unseen[0].prompt[0].text}")
        show(tok, targets[0][row], loss=early[0][row], **{
            x: row.sum() * slopes(early, on, x)[0][row] for x in FORMS})
        predicted = equilibrium(early, on, end)
        print(f"Prediction: the released loss leaves <|end|> at {predicted:.2f} nats.\n")
curves("10", range(0, STEPS + 1, 4), losses_of_end, "loss of <|end|>, nats")
tell(guess, ended["IFT released"], "%")

# %% [markdown]
# ## What happened
# **If you divide weights by their mean, detach them.** Gradient through such weights pushes a
# learned token *down*: `<|end|>` by -1.04 on the list above, near the -1 of line 3, and the easy
# last word by -0.40. So at this rate a model learns not to stop, from lists that all end with
# `<|end|>`. SFT and IFT with detached weights end all lists, from the same rows.
#
# The loss of `<|end|>` settles at 1.44 nats; 1.43 was predicted, before the training. With other
# rows (`seed=1` for `lists`) 1.50 was predicted and 1.52 found, and no list ends. At 1.44 nats
# `<|end|>` has a probability of 0.24, but `<|user|>`, a next question, is likelier.
#
# The authors mean it so: in issue 2 of their repository the gradient through the weights is part of
# the objective. This project detaches them (`docs/results/ift.md` compares, and has the equations).
#
# ## Change one thing
# Which gradient does the harm, that of the weights or that of their mean? Edit the last line of
# `weights_of`. Work out the slope at b = 0, then guess what percentage of lists ends.
# 1. `return w`: no division, so L is half of $a^2+\gamma ab+b^2$.
# 2. Put `.detach()` behind `w.sum(1, keepdim=True)`: only the divisor is a constant.
#
# <details><summary>After your runs</summary>
#
# 1. The slope is $\gamma a/2$, here +1.19. 2. It is $\gamma$, here +0.95. All lists end in both.
# So a weight's own gradient adds to the push up, and the harm is in the divisor's.
#
# </details>
#
# ## To hand in
# Do the four lines for a token that weighs its own loss only (0.95 becomes 0.0). Run the page. Hand
# in the curve, and compare equilibrium, prediction and its end with those above in two sentences.
#
# ## Your own program
#     def ift_loss(model, reference, rows, tok, step):
#         """One number: the mean over the answers of the mean over their tokens of weight * loss.
#         The losses are those of model.head(model(embeds=mix_in_own_guess(model, inputs, mask))).
#         A weight is the token's own loss + GAMMA times the next one in the answer + GAMMA^2 times
#         the one after ... The weights of each answer have the mean 1, and no gradient flows in
#         them."""
#
# ## Two questions
# 1. The last token's loss is 0. What does it cost to raise it a little, and what does this gain?
# 2. All losses of an answer are doubled. What happens to L, with and without the division?
#
# <details><summary>Answers</summary>
#
# 1. Nearly nothing, as its weight is its own loss. It takes weight from the hard word, so L falls.
# 2. With it the weights stay and L is doubled. Without it the weights double too: L is four times.
#
# </details>
