# %% [markdown]
# # 01 · A model that talks
# Write a GPT in forty lines and train it until it speaks in sentences. Then take away its sense of
# position, or its causal mask: what happens to the loss, and what to the talking?
#
# *About 25 minutes, Python only. GPT-2 (Radford et al. 2019), `nanouft/gpt.py`.*
#
# A language model answers a single question: which token comes next? It names one, we put that
# token at the end of the text and ask again. After twenty questions it has written a sentence.
# Everything else in this course only changes the probabilities of its answers.
#
# Here you write such a model and train it from nothing. Then you remove one small part and train
# again: first the position embeddings, the numbers that tell each token its position. Without them
# nothing in a token says that "dog" came before "barks", and not after. (Terms such as
# *cross-entropy*, which comes next, are in `docs/terms.md`.)
#
# ## Guess
# The loss is the **cross-entropy**: minus the natural logarithm of the probability that the model
# gives to the right next token, in nats. It falls from 7.48 to 1.86 with the whole model. What loss
# does the same run reach without position embeddings? Enter a number from 0 to 8.

# %%
from course import Lesson, progress

CHANGE = ""                     # change one thing: "" | "mask", see below
lesson = Lesson("01", CHANGE)
CHANGE = lesson.change

# %% [markdown]
# ## The text
# The model reads the corpus of NanoWorld, the small made-up world of this course. A program can
# write as much of it as we like. It is cut into tokens from a list of 1,024 words, pieces of words
# and special tokens. We train on 7,040 rows of 65 tokens and hold out 64 other rows to evaluate.

# %%
from functools import partial

import draw
import torch
import torch.nn.functional as F

from nanouft.gpt import GPT, GPTConfig
from nanouft.simple import token_logp
from nanouft.models.tokenizer import nano
from nanouft.world.documents import token_rows

STEPS, ROWS = 220, 32           # optimizer steps; batch size, the rows of each step
T, HALF = 64, 32                # tokens of a row that the model reads, and half of them
tok = nano()
text = torch.from_numpy(token_rows(STEPS * ROWS + 64, T + 1, seed=1, tok=tok))
rows, held = text.split([STEPS * ROWS, 64])             # the model is never trained on `held`
print("tokens:", "|".join(tok.decode([i]) for i in rows[0, :20]), "...")

# %% [markdown]
# ## How a position sees the others
# Each token enters the network as a list of $C$ numbers, its **embedding**. A second list is added
# for the token's position in the row. In an **MLP** (multilayer perceptron) every position works
# only on its own list. In **attention** a position fetches what it needs from others; only there
# does information move between positions. After the last layer each list is multiplied with the
# embedding of every token. The token with the largest product is the prediction of the next one.
#
# In attention, position $i$ asks with a query $q_i$. Position $j$ offers a key $k_j$ and a value
# $v_j$. Each of them is a list of $h$ numbers, computed from the list at that position. The better
# the query and the key agree, the larger the weight of that value:
# $$y_i=\sum_j a_{ij}\,v_j,\qquad a_i=\mathrm{softmax}_j\big(q_i\cdot k_j/\sqrt h+M_{ij}\big).$$
# The matrix $M$ is the causal mask. It is $-\infty$ where $j>i$ and 0 elsewhere, so after the
# softmax no position gives any weight to a later one.
#
# Several **heads** do this side by side, so a position can look for several things at once. Each
# head has its own queries, keys and values of $h=C/\mathrm{heads}$ numbers. Their results are laid
# one after the other and mixed by a matrix. One attention and one MLP make a **block**:
# $$x\leftarrow x+\mathrm{attention}(\mathrm{norm}(x)),\qquad
# x\leftarrow x+W_2\,\mathrm{gelu}(W_1\,\mathrm{norm}(x)).$$
# Each part only adds something to its input, the **residual stream**, and this gives the gradient a
# short way back. A **layer norm** first brings the $C$ numbers of each position to mean 0 and
# variance 1. The MLP goes to $4C$ numbers, through the nonlinear function gelu, and back to $C$.
#
# The mask makes training both cheap and fair. Position $i$ cannot see token $i+1$ and has to
# predict it, so a row of 64 tokens asks 64 questions in one pass. Their mean $-\log p$ is the loss.
# At each position the model reads the true tokens so far, and not its own: **teacher forcing**.
#
# **Write it first.** `attention` of `lessons/exercises/ex01.py` (01a) is the formula for $y_i$ with
# the mask. The lesson trains with yours if it is right, and with ours until you begin, as do all
# later ones. `everywhere` is attention without the mask.
#
# `w` holds the weights under their names in GPT-2: `c_attn` makes queries, keys and values at once,
# `attn.c_proj` mixes the heads, and `mlp.c_fc` and `mlp.c_proj` are $W_1$ and $W_2$.

# %%
SIZES = GPTConfig(tok.n_vocab, n_ctx=T, n_layer=2, n_head=4, n_embd=64, init_std=0.125)


def linear(x, w, name: str):
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def norm(x, w, name: str):
    """(B,T,C) every position to mean 0 and variance 1, then scaled and moved."""
    x = x - x.mean(-1, keepdim=True)
    x = x / (x.square().mean(-1, keepdim=True) + SIZES.eps).sqrt()
    return x * w[f"{name}.weight"] + w[f"{name}.bias"]


attention = lesson.yours("01a")          # (B,T,h), (B,T,h), (B,T,c) -> (B,T,c)


def everywhere(q, k, v):
    """The same without the mask: every position sees the whole row."""
    return (q @ k.mT / k.shape[-1] ** 0.5).softmax(-1) @ v


def heads(x, w, name: str):
    """Queries, keys and values of all heads, (B*heads,T,h) each."""
    parts = linear(x, w, f"{name}.c_attn").unflatten(-1, (3, SIZES.n_head, -1))
    return parts.permute(2, 0, 3, 1, 4).flatten(1, 2)


def mix(x, w, name: str, see):
    """(B,T,C) what each position fetches from those that it sees."""
    y = see(*heads(x, w, name)).unflatten(0, (len(x), -1))              # (B,heads,T,h)
    y = y.transpose(1, 2).reshape(x.shape)                              # the heads side by side
    return linear(y, w, f"{name}.c_proj")


def block(x, w, name: str, see):
    """(B,T,C) -> (B,T,C): attention, then the MLP, each added to the residual stream."""
    x = x + mix(norm(x, w, f"{name}.ln_1"), w, f"{name}.attn", see)
    inner = F.gelu(linear(norm(x, w, f"{name}.ln_2"), w, f"{name}.mlp.c_fc"), approximate="tanh")
    return x + linear(inner, w, f"{name}.mlp.c_proj")


def gpt(w, ids, see=attention):
    """(B,T) ids -> (B,T,V) logits."""
    x = w["wte.weight"][ids] + w["wpe.weight"][:ids.shape[1]]
    for layer in range(SIZES.n_layer):
        x = block(x, w, f"h.{layer}", see)
    return norm(x, w, "ln_f") @ w["wte.weight"].T


library = GPT(SIZES, seed=0)
difference = (gpt(dict(library.named_parameters()), held[:4, :T]) - library(held[:4, :T])).abs()
print(f"our logits and those of nanouft/gpt.py differ by at most {difference.max():.0e}")
assert difference.max() < 1e-4, "forty lines are the model of nanouft/gpt.py"

# %% [markdown]
# ## Train it, whole and with one part missing

# %%
def train(without: str):
    """A function from ids to logits after STEPS steps, and the loss of each step."""
    weights = GPT(SIZES, seed=0)
    if without == "positions":                              # the numbers that tell a position
        weights.wpe.weight.requires_grad_(False).zero_()
    see = everywhere if without == "mask" else attention
    model = partial(gpt, dict(weights.named_parameters()), see=see)
    optimizer = torch.optim.AdamW(weights.parameters(), lr=3e-3, betas=(0.9, 0.98))
    losses = []
    for step in progress(STEPS, f"no {without}" if without else "GPT", range(STEPS), training=True):
        ids = rows[step * ROWS:(step + 1) * ROWS]                       # 1. data
        logp = token_logp(model(ids[:, :-1]), ids[:, 1:])               # 2. forward pass, (B,T)
        loss = -logp.mean()                                             # 3. objective
        optimizer.zero_grad()                                           # 4. update
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return model, losses


part = CHANGE or "positions"
less = f"no {part}"
runs = {"GPT": train(""), less: train(part)}

# %% [markdown]
# ## Both models talk, and both are evaluated
# A model that talks reads what it has generated so far. We sample each token from its
# probabilities, but at a **temperature** of 0.5: likely tokens become even more likely, so the
# **entropy** of the distribution, its mean $-\log p$, falls.
#
# The evaluation takes token 33 of the 64 held-out rows: once with the full row visible, as in
# training, and once with only the 32 tokens before it, as when a model talks.

# %%
@torch.no_grad()
def talk(model, start: str) -> str:
    """`start` and twenty more tokens."""
    ids, rng = tok.encode(start), torch.Generator().manual_seed(0)
    for _ in range(20):
        logits = model(torch.tensor([ids]))[0, -1]                      # (V,) of the last position
        ids.append(int(torch.multinomial((logits / 0.5).softmax(-1), 1, generator=rng)))
    return tok.decode(ids)


@torch.no_grad()
def evaluate(model, seen: int) -> float:
    """The loss on token 33 of the held-out rows, in nats, while `seen` tokens are visible."""
    logp = token_logp(model(held[:, :seen]), held[:, 1:seen + 1])
    return -logp[:, HALF - 1].mean().item()


final, in_view, hidden = {}, {}, {}         # of each model: nats
for name, (model, losses) in runs.items():
    final[name] = sum(losses[-20:]) / 20
    in_view[name], hidden[name] = evaluate(model, T), evaluate(model, HALF)
    print(f"\n{name}: training loss {losses[0]:.2f} -> {final[name]:.2f} nats per token; loss on "
          f"token 33: {in_view[name]:.2f} with the full row visible, {hidden[name]:.2f} with only "
          f"the first {HALF} tokens")
    for start in (" Many say the", " When the dog is not", " 7 and 4 is"):
        print("    " + talk(model, start))

# %% [markdown]
# ## What happened
# Without position embeddings the loss is 1.98, only a little worse. The causal mask leaks position:
# position 2 averages over two tokens, position 5 over five, and the second layer can read that off.
# The two losses on token 33 are equal for both models: neither ever looks at what comes later. And
# both talk, with the right grammar or nearly so; both claim that 7 and 4 is 20.
#
# A training loss says how well a model does what the loss asks for, with what it sees in training.
# Whether it does what you want must be measured on its own answers, as the switch shows.

# %%
fig, ax = draw.panels()
draw.bars(ax, {name: [final[name], in_view[name], hidden[name]] for name in runs},
          ["training loss", "token 33,\nfull row visible", "token 33, only the\ntokens before it"],
          f"Without the {part} the training loss is {final[less]:.2f}, "
          f"and {hidden[less]:.2f} as when it talks", "loss, nats per token", number="%.2f")
lesson.picture(fig)

# %%
@torch.no_grad()
def sharpest_head(model, ids: list[int]):
    """(T,T) the weights a of that head of the first layer that spreads them least."""
    w, see = model.args[0], model.keywords["see"]
    x = w["wte.weight"][ids] + w["wpe.weight"][:len(ids)]
    q, k, _ = heads(norm(x[None], w, "h.0.ln_1"), w, "h.0.attn")
    a = see(q, k, torch.eye(len(ids)).expand(len(q), -1, -1))       # the values 1 and 0: weights
    return max(a, key=lambda head: head.amax(-1).mean())


ids = tok.encode(" 7 and 4 is 11 and 5 is")
words = [draw.plain(tok.decode([i])) for i in ids]
ahead = {}                      # of each model: how much of this attention goes to the next token
if CHANGE:
    fig, panels = draw.panels(1, 2)
    for ax, (name, (model, _)) in zip(panels, runs.items()):
        a = sharpest_head(model, ids)
        ahead[name] = 100 * a.diagonal(1).mean().item()
        title = f"{name}: {ahead[name]:.0f} % on the next token"
        draw.heat(ax, a, words, words, title, 1, number="")
        ax.set(xlabel="... at this token", ylabel="this position looks ...")
    lesson.picture(fig, "attention")
difference = abs(in_view["GPT"] - hidden["GPT"])
assert difference < 1e-3, "with the mask, what comes later changes nothing"
if CHANGE:
    assert ahead["GPT"] == 0 and ahead[less] > 80, "without a mask a head copies the next token"
    assert hidden[less] > 2 * hidden["GPT"], "and what is copied is not learned"
else:
    assert final[less] < final["GPT"] + 0.4, "the mask alone tells most of the order"
lesson.compare(hidden[less] if CHANGE else final[less], "nats")

# %% [markdown]
# ## Change one thing
# `CHANGE = "mask"` keeps the positions and lets each of them see the whole row. The loss falls to
# 0.07, because the next token is in plain view. When such a model talks, the rest is not written
# yet. What is its loss on token 33 of a new row, with only the tokens before it visible? That of
# the whole model is 1.72, that of an untrained one 7.48. Enter a number from 0 to 8.
#
# <details><summary>After your run</summary>
#
# 5.43 nats, where it has 0.01 with the full row visible. It has learned to copy, and hardly any
# language; the second picture shows the head that copies. When it talks there is nothing to copy:
# it repeats the same few words. The whole model can never reach 0.07: some words are random.
#
# </details>
#
# ## Two questions
# 1. To generate 20 tokens, how often is the model called, and what does it read each time?
# 2. The loss of the model without a mask is near 0, but not 0. Where can it not see its target?
#
# <details><summary>Answers</summary>
#
# 1. Twenty times, and each time it reads all of the text so far. (`nanouft/generate.py` keeps the
#    keys and values of earlier positions, so only the newest token has to be computed.)
# 2. At the last position. Its target is token 65, and the model reads only 64.
#
# </details>
