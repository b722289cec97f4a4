# %% [markdown]
# # 06 · A token weighs by what follows it
# IFT weights each token by losses. Work out on paper, for two tokens, which way such a loss pushes
# each of them; then train a model with it and see.
#
# *About 35 minutes; read 04 first. Intuitive fine-tuning (IFT), second idea: arXiv:2405.11870v3,
# Eq. 18 to 21, Algorithm 1; released code: TsinghuaC3I/Intuitive-Fine-Tuning at 03adb93,
# src/trainers.py; `nanouft/objectives/ift.py`.*
#
# If the first token of a response is wrong, those after it go wrong as well; a slip in the last one
# does no further harm. So the second idea of IFT gives a token more weight while its own
# cross-entropy loss, or that of the tokens *after* it, is high. The paper calls this **dynamic
# relation propagation**. The weights then change as the losses do. What does this do to `<|end|>`,
# the EOS token (end of sequence; `docs/terms.md` has the terms)? A response *ends* when the model
# outputs it.
#
# ## Guess
# The base ends almost none of its lists. SFT on perfect lists that all end with `<|end|>` teaches
# it to end every new one. We train it on the same lists with the loss of the released code. What
# percentage of the new lists does it end then? Enter a number from 0 to 100.

# %%
from course import Lesson, train

CHANGE = ""                     # change one thing: "" | "undivided"
lesson = Lesson("06", CHANGE)
CHANGE = lesson.change

# %% [markdown]
# ## Two tokens on paper
# Take a response of two tokens, a hard word with loss $a$ and then `<|end|>` with loss $b$. The
# **weight** of a token is its own loss plus the discounted losses of all tokens after it, its
# **loss-to-go**. (In reinforcement learning a sum of later rewards is a *return*.) So the word has
# weight $a+\gamma b$, and `<|end|>` has weight $b$. Finally the weights are normalised, divided by
# their mean:
# $$L = \frac{(a + \gamma b)\,a + b\,b}{(a + \gamma b) + b}.$$
# Suppose that the model has already learned to stop, $b=0$, while the word is still hard. Which way
# does $L$ push the two tokens? (A **push** is minus the gradient with respect to the log-prob.)
# Autograd computes both derivatives. The cell also finds the **equilibrium**, the value of $b$ at
# which $\partial L/\partial b=0$, so that $L$ pushes `<|end|>` neither up nor down.
#
# **Write it first.** `weights_of` of `lessons/exercises/ex06.py` (06a) gives these weights.

# %%
import draw
import torch

from nanouft import world
from nanouft.run.evaluation import answer_rows
from nanouft.generate import stops
from nanouft.gpt import shipped_base
from nanouft.simple import token_logp, tokens
from nanouft.models.tokenizer import nano

GAMMA = 0.95                    # discount of later losses, as in the released code
STEPS, ROWS, RATE = 64, 16, 3e-4      # steps, batch size, learning rate
weights_of = lesson.yours("06a")


def loss_of(losses, mask, form: str):
    """(B,T) token losses -> (B,) losses of responses."""
    divided = CHANGE != "undivided"
    weights = mask if form == "SFT" else weights_of(losses, mask, GAMMA, divided)
    if form == "IFT detached":
        weights = weights.detach()                  # constants: no gradient flows through them
    return (weights * losses).sum(1) / mask.sum(1)


def slopes(losses, mask, form: str):
    """(B,T) the derivative of a response's loss with respect to each of its token losses."""
    losses = losses.clone().requires_grad_()
    return torch.autograd.grad(loss_of(losses, mask, form).sum(), losses)[0]


def balance(losses, mask, token) -> float:
    """The loss of this token, (B,T) bool, where its mean derivative is zero; by bisection."""
    low, high = 0.0, 5.0
    for _ in range(40):
        middle = (low + high) / 2
        changed = losses.masked_fill(token, middle)         # all other losses stay as they are
        falls = slopes(changed, mask, "IFT released")[token].mean() < 0
        low, high = (middle, high) if falls else (low, middle)
    return low


pair, both = torch.tensor([[2.5, 0.0]]), torch.ones(1, 2)   # a = 2.5, b = 0
da, db = slopes(pair, both, "IFT released")[0].tolist()
db_constant = slopes(pair, both, "IFT detached")[0, 1].item()
on_paper = balance(pair, both, torch.tensor([[False, True]]))
print(f"a = 2.5, b = 0: dL/da = {da:+.2f}, dL/db = {db:+.2f} "
      f"({db_constant:+.2f} with detached weights); equilibrium at b = {on_paper:.2f}")

# %% [markdown]
# Let $b$ rise a little from 0. `<|end|>` has almost no weight, so its own loss costs next to
# nothing. But the weights keep the mean 1: a higher $b$ moves weight from the hard word to
# `<|end|>`, and the hard word carries nearly all of $L$. So $L$ falls when `<|end|>` becomes *less*
# likely, as fast as when the hard word becomes more likely. Only at $b=0.92$ do the two cancel.
#
# ## One real response, and a prediction
# Open lists are such a case. The prompt does not say which three animals to name, so these words
# always stay hard. After them come a last word that the prompt prescribes, and `<|end|>`, both easy
# to learn. We teach the base to stop with 16 steps of SFT, then draw the push on each token of an
# unseen list, for SFT and two forms of IFT, both without the blend (mixed-in predictions) of lesson
# 04. `IFT released` is the loss above, from the code that the paper's authors released. `IFT
# detached` treats the same weights as constants, as this project does and lesson 00 did.
#
# Then we predict, by the same bisection as for $b=0.92$, now on sixty real lists: all other losses
# are held fixed, and we solve for the loss of `<|end|>` at which its mean derivative is zero.
# Training should leave `<|end|>` near this value.

# %%
base, tok = shipped_base(), nano()
unseen = world.rows("val", "demos", 60, seed=0, skills=("list",))
_, targets, mask = tokens(unseen, "answer", tok)
end = targets == tok.end                            # (60,T)


def losses_of(model, rows):
    """(B,T) nats: the loss of each token of the responses, 0 on the prompts; and the mask."""
    inputs, targets, mask = tokens(rows, "answer", tok)
    return -token_logp(model(inputs), targets) * mask, mask


@torch.no_grad()
def loss_of_end(model) -> float:
    return losses_of(model, unseen)[0][end].mean().item()


def run(form: str, steps: int = STEPS):
    """The base after these steps, and the loss of <|end|> every four steps."""
    path = []
    model = train(base, lambda model, rows: loss_of(*losses_of(model, rows), form).mean(), lists,
                  steps, RATE, form, ROWS, falls=True,
                  look=lambda model: path.append(loss_of_end(model)))
    return model, path


lists = world.rows("train", "demos", STEPS * ROWS, seed=0, skills=("list",))
stopper, _ = run("SFT", steps=16)
with torch.no_grad():
    before, _ = losses_of(stopper, unseen)
answer = mask[0] > 0                                # the tokens of the first response
words = [draw.plain(tok.decode([token])) for token in targets[0][answer].tolist()]
print("unseen:", unseen[0].prompt[0].text)
push = {form: slopes(before, mask, form)[0][answer] * len(words)
        for form in ("SFT", "IFT detached", "IFT released")}
predicted = balance(before, mask, end)
print(f"prediction: with the released loss <|end|> settles at {predicted:.2f} nats, "
      f"a probability of {torch.tensor(-predicted).exp():.2f}")
b = torch.linspace(0, 4, 81)
losses = torch.stack([torch.full_like(b, 2.5), b], 1)               # (81,2) a = 2.5, and every b
curves = {form: loss_of(losses, torch.ones(81, 2), form) for form in ("SFT", "IFT released")}
fig, (curve, table) = draw.panels(1, 2)
curve.axvline(on_paper, color=draw.DOWN)
draw.lines(curve, b, curves, f"Released IFT is lowest at b = {on_paper:.2f}",
           "b, the loss of <|end|>, nats", "L for a = 2.5", legend=True)
draw.heat(table, torch.stack(list(push.values())), words, [x.replace(" ", "\n") for x in push],
          f"A real list: <|end|> is pushed by {push['IFT released'][-1]:+.1f}", 2, "%+.1f")
lesson.picture(fig, "balance")

# %% [markdown]
# The released loss pushes the last word down too, because it is easy and follows hard words.
#
# ## Three runs
# Now the base trains on these lists with each of the three losses, at the same learning rate.

# %%
runs = {form: run(form) for form in ("SFT", "IFT detached", "IFT released")}
ending = {}                                         # % of the responses that end with EOS
for name, (model, path) in {"base": (base, [loss_of_end(base)]), **runs}.items():
    ended = [stops(answer, tok) for answer in answer_rows(model, tok, unseen, max_new=16)]
    ending[name] = 100 * sum(ended) / len(ended)
    print(f"{name:<13} loss of <|end|> {path[0]:.2f} -> {path[-1]:.2f} nats; "
          f"{ending[name]:3.0f} % of the lists end with it")

# %%
fig, ax = draw.panels()
ax.axhline(predicted, color=draw.DOWN, lw=5, label="prediction")
draw.lines(ax, range(0, STEPS + 1, 4), {name: path for name, (_, path) in runs.items()},
           f"The calculation predicted {predicted:.2f} nats for the <|end|> of released IFT",
           "step", "loss of <|end|>, nats", legend=True, ylim=(0, None))
lesson.picture(fig)
if not CHANGE:
    assert abs(da - 1) + abs(db + 1) < 1e-4, "where <|end|> is learned, they are +1 and -1"
    found = runs["IFT released"][1][-1]
    assert abs(found - predicted) < 0.35, "the loss of <|end|> settles at the predicted equilibrium"
    assert ending["IFT released"] < 20, "with the released loss the model ends hardly any list"
    assert min(ending["SFT"], ending["IFT detached"]) > 80, "SFT and detached IFT learn to stop"
lesson.compare(ending["IFT released"], "%")

# %% [markdown]
# ## What happened
# **If you divide weights by their mean, detach them.** Gradient through such weights teaches a
# model not to stop, from lists that all end with `<|end|>`. SFT learns to stop from the same lists,
# and so does IFT with detached weights, whose derivative at $b=0$ is zero. With the released loss
# the loss of `<|end|>` settles at 1.44 nats; the calculation predicted 1.40.
#
# At 1.44 nats `<|end|>` still has probability 0.24. But most of the rest goes to `<|user|>`, which
# began the next prompt in the pretraining text, and greedy decoding takes the likeliest token.
#
# ## Change one thing
# `CHANGE = "undivided"` skips the division by the mean, while gradient still flows through the
# weights. Then the loss of the two tokens is half of $a^2+\gamma ab+b^2$. What is its derivative
# with respect to $b$ at $b=0$, where must the equilibrium be, and what percentage of the lists will
# end? Enter a number from 0 to 100.
#
# <details><summary>After your run</summary>
#
# The derivative is $+1.19$, or $\gamma a/2$, and only grows with $b$. So $b$ falls to 0: all lists
# end.
#
# </details>
#
# ## From the paper to this loss
# *Optional, for readers of the paper.* Let $\ell_t$ be the loss of the $t$-th of $N$ tokens after
# the blended state of lesson 04.
#
# 1. Eq. 18 mixes probabilities, $(1-\lambda)\,\pi(x_t\mid s_t^*)+\lambda\,\pi(x_t\mid s_t^\theta)$,
#    where $s_t^*$ is the expert's state and $s_t^\theta$ the model's own. The code takes
#    $\pi(x_t\mid s_t)$ in the blended state, which is not the same, since a network is not linear.
# 2. Training should bring the product of these, Eq. 19, to 1. Minus its logarithm, Eq. 20, is
#    $L=\sum_t\ell_t$: SFT on blended states.
# 3. Eq. 21 judges a token by what follows it. Let $R_t=\sum_{k\ge t}\ell_k=\ell_t+R_{t+1}$ be the
#    loss-to-go from token $t$ on; the paper calls this a Bellman equation. The loss sums these,
#    $L=\sum_t R_t=\sum_k k\,\ell_k$, so late tokens weigh more.
#
# Algorithm 1 does not follow from it. It multiplies each loss-to-go by the loss of its first token,
# $L=\sum_t\alpha^{N-t}R_t\ell_t$ with $\alpha=.95$; in a short response early tokens weigh more.
# The released code departs from that in three ways: the discount $\gamma^{k-t}$ is inside $R_t$
# (line 405), the weights are divided by their mean (423), and $L$ is a mean over tokens and then
# over responses (594). The gradient through the weights is no error: in issue 2 of the code's
# repository the first author calls it part of the objective. `docs/results` says what it costs (C1
# and C1d).
#
# ## Exercise
# **In your own program.** This lesson unlocks the part `ift_loss`. Then
# `python -m lessons check mine --run ift` trains the base with your functions.
#
# ## Two questions
# 1. The loss of the last token is zero. What does it cost to raise it a little, and what does this
#    gain?
# 2. All losses of a response are doubled. What becomes of $L$, with and without the division?
#
# <details><summary>Answers</summary>
#
# 1. Its weight is its own loss, so a small rise costs nearly nothing. But it takes weight from the
#    hard word, and the total loss falls.
# 2. It is doubled, because the weights keep their mean of 1. Without the division they are doubled
#    too, and $L$ is multiplied by four.
#
# </details>
