# %% [markdown]
# # 10 · What follows weighs
# IFT gives a token more weight if what follows it goes wrong. In the authors' code these weights
# have a gradient. Which way does it push a token that is learned already, such as `<|end|>`?
#
# *30 minutes; needs 03. IFT: arXiv:2405.11870v3, Eq. 18 to 21 and Algorithm 1; released code:
# TsinghuaC3I/Intuitive-Fine-Tuning at 03adb93, src/trainers.py. You write `ift_loss`.*
#
# If the first token of an answer is wrong, those after it go wrong as well. A slip in the last one
# does no further harm. So IFT weights each token by its own loss and the losses *after* it. The
# paper calls this **dynamic relation propagation**. Here it is without the blend of lesson 03.

# %%
import torch
from course import ask, curves, show, tell
from mine import answers_of, token_logp, tokens

from nanouft import world
from nanouft.gpt import shipped_base
from nanouft.models.tokenizer import nano

GAMMA, DIVIDED, STEPS, ROWS, RATE = 0.95, True, 64, 16, 3e-4    # GAMMA: discount of later losses
tok, base = nano(), shipped_base()
lists = world.rows("train", "demos", STEPS * ROWS, seed=0, skills=("list",))
unseen = world.rows("val", "demos", 60, seed=0, skills=("list",))
guess = ask("""The base ends almost none of its lists. SFT on right lists, which all end with
<|end|>, teaches it to end every new one. You train the base on the same lists with the released
loss. What percentage of new lists does it end then?""", "0 to 100")

# %% [markdown]
# ## Two tokens at the blackboard
# Take an answer of two tokens: a hard word with loss a, and then `<|end|>` with loss b. (A loss is
# -log p.) The word weighs $a+\gamma b$, and `<|end|>` weighs b. The weights are divided by their
# mean, so that a hard answer counts no more than an easy one. The loss is the mean of weight times
# loss:
# $$L=\frac{(a+\gamma b)\,a+b\cdot b}{(a+\gamma b)+b}=\frac{a^2+\gamma ab+b^2}{a+(1+\gamma)b}.$$
# Let the model have learned to stop: b = 0. The numerator is then $a^2$ and grows with b by
# $\gamma a$. The denominator is a and grows by $1+\gamma$. By the rule for quotients
# $$\frac{\partial L}{\partial b}=\frac{\gamma a\cdot a-a^2(1+\gamma)}{a^2}=-1.$$
# So **L falls as `<|end|>` becomes less likely.** The weight of `<|end|>` is its own loss, so a
# small loss costs nothing. But it takes weight from the hard word, which carries nearly all of L.
# As b grows its own cost grows, too. At some b the derivative is 0, and training stops there.
#
# If the weights are constants (**detached**), only the losses have a derivative. Then it is b's
# weight, which is 0 at b = 0. Autograd agrees:

# %%
def weights_by_losses(losses, mask):
    """(B,T) the weight of each token: a sum over the losses from it on, discounted."""
    T = losses.shape[1]
    later = torch.arange(T)[None] - torch.arange(T)[:, None]            # (T,T) how much later
    discount = torch.where(later >= 0, GAMMA ** later.clamp(min=0).float(), 0.0)
    weights = (losses * mask) @ discount.T * mask
    mean = weights.sum(1, keepdim=True) / mask.sum(1, keepdim=True)
    return weights / mean if DIVIDED else weights


def loss_of(losses, mask, form):
    """(B,) the loss of each answer."""
    weights = mask if form == "SFT" else weights_by_losses(losses, mask)
    if form == "IFT detached":
        weights = weights.detach()
    return (weights * losses * mask).sum(1) / mask.sum(1)


def slopes(losses, mask, form):
    """(B,T) the derivative of an answer's loss with respect to each token's loss."""
    losses = losses.clone().requires_grad_()
    return torch.autograd.grad(loss_of(losses, mask, form).sum(), losses)[0]


pair, both = torch.tensor([[2.5, 0.0]]), torch.ones(1, 2)               # a = 2.5, b = 0
for form in ("IFT detached", "IFT released"):
    da, db = slopes(pair, both, form)[0].tolist()
    print(f"{form:<13} a = 2.5, b = 0: dL/da = {da:+.2f}, dL/db = {db:+.2f}")

# %% [markdown]
# ## Three losses, and a stop on the way
# Lists are such a case. The question does not say which animals to name, so these words stay hard.
# The last word is prescribed, and then comes `<|end|>`; both are easy. This is the loop of SFT with
# other weights. One run of SFT ends after 16 steps, when its model has just learned to stop.

# %%
def losses_of(model, rows):
    """(B,T) the loss of each target, and the mask."""
    inputs, targets, mask = tokens(rows, "answer", tok)
    return -token_logp(model(inputs), targets) * mask, mask


_, targets, _ = tokens(unseen, "answer", tok)
end = targets == tok.end                                                # (60,T)
models, paths, ends = {"base": base}, {}, {}        # the loss of <|end|>; % of new lists that stop
for form, steps in (("SFT early", 16), ("SFT", STEPS), ("IFT detached", STEPS),
                    ("IFT released", STEPS)):
    model, paths[form] = shipped_base(), []
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.95), weight_decay=0.0)
    for step in range(steps):
        losses, mask = losses_of(model, lists[ROWS * step:ROWS * step + ROWS])  # 1. each token's
        loss = loss_of(losses, mask, form.replace(" early", "")).mean() # 2. weighted
        optimizer.zero_grad()
        loss.backward()                                                 # 3. its gradient
        optimizer.param_groups[0]["lr"] = RATE * (1 - step / steps)
        optimizer.step()                                                # 4. the weights move
        if step % 4 == 3:
            with torch.no_grad():
                paths[form].append(losses_of(model, unseen)[0][end].mean().item())
    models[form], said = model, answers_of(model, unseen, tok)
    ends[form] = 100 * sum(x.ended and "<|" not in tok.decode(x.ids) for x in said) / 60
    print(f"{form:<13} loss of <|end|> {paths[form][-1]:.2f}, {ends[form]:.0f} % stop:",
          tok.decode(said[0].ids + [tok.end] * said[0].ended).strip())
curves("10", range(4, STEPS + 1, 4), {x: paths[x] for x in paths if x != "SFT early"},
       "loss of <|end|>, nats")
tell(guess, ends["IFT released"], "%")

# %% [markdown]
# ## Could you have foreseen it?
# Take the model that has just learned to stop, and one new list. These are the pushes of the three
# losses on its tokens, where SFT's is 1.

# %%
with torch.no_grad():
    before, on = losses_of(models["SFT early"], unseen)
answer = on[0] == 1
print(unseen[0].prompt[0].text)
show(tok, targets[0][answer], loss=before[0][answer], **{
    form.replace("IFT ", ""): (slopes(before, on, form)[0] * on[0].sum())[answer]
    for form in ("SFT", "IFT detached", "IFT released")})
low, high = 0.0, 5.0
for _ in range(40):                                 # bisection: where is the mean derivative 0?
    middle = (low + high) / 2
    falls = slopes(before.masked_fill(end, middle), on, "IFT released")[end].mean() < 0
    low, high = (middle, high) if falls else (low, middle)
print(f"<|end|> should settle at a loss of {low:.2f}; it did at {paths['IFT released'][-1]:.2f}")

# %% [markdown]
# ## What happened
# **If weights are divided by their mean, detach them.** Gradient through such weights teaches a
# model not to stop, by lists that all end with `<|end|>`. SFT learns to stop from the same lists, and so
# does IFT with detached weights. With the released loss `<|end|>` settles at 1.44 nats. The two
# tokens of the blackboard say why, and sixty real lists predict the place: 1.40.
#
# At 1.44 nats `<|end|>` still has a probability of 0.24. But most of the rest goes to `<|user|>`,
# which began the next question in the pretraining text, and the likeliest token is taken. Two
# tokens of the list above are pushed down: the last word, which is easy and follows hard ones, and
# `<|end|>`. (One run each. `docs/results/ift.md` has five seeds, two models and gentler settings,
# with which most lists end.)
#
# **The paper and its code.** The gradient is no slip: in issue 2 of the code's repository the first
# author calls it part of the objective. The code divides by the mean (line 423), which neither
# Eq. 21 nor Algorithm 1 does. Our default, `--objective ift`, detaches the weights;
# `--variant released` does not.
#
# ## Change one thing
# `DIVIDED` = `False`: the weights are no longer divided by their mean, and still have a gradient.
# The loss of the two tokens is then half of $a^2+\gamma ab+b^2$. What is its derivative with
# respect to b at b = 0? How many lists will end?
#
# <details><summary>After your runs</summary>
#
# The derivative is $\gamma a/2$, here +1.19, and only grows with b. So b falls to 0: all lists end.
#
# </details>
#
# ## To hand in
# Mix the two: weights that are `share * weights + (1 - share) * weights.detach()`, for a share of
# 0, 0.25, 0.5, 0.75 and 1. A curve of the lists that end, and two sentences: does a little of this
# gradient do harm, and how does the bisection predict it?
#
# ## Your own program
#     def ift_loss(model, reference, rows, tok, step):
#         """One number, the loss of IFT with detached weights. The model reads mix_in_own_guess
#         (model(embeds=...)), so the losses -log p are those of the blend. A token's weight is a
#         constant: its own loss, plus GAMMA times the next one in the answer, plus GAMMA squared
#         times the one after that, and so on. Divide the weights of each answer by their mean. The
#         loss is a mean over the tokens of each answer, then over the answers."""
#
# ## Two questions
# 1. The loss of the last token is zero. What does it cost to raise it a little, and what does this
#    gain?
# 2. All losses of an answer are doubled. What becomes of L, with and without the division?
#
# <details><summary>Answers</summary>
#
# 1. Its weight is its own loss, so a small rise costs nearly nothing. But it takes weight from the
#    hard word, and L falls.
# 2. It is doubled, because the weights keep their mean of 1. Without the division they are doubled
#    too, and L is multiplied by four.
#
# </details>
