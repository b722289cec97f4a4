# %% [markdown]
# # 19 · A model that talks
# Every lesson began with a model that was ready. Here you train one from nothing. Then you take
# away one part: its sense of position, or its causal mask. What does that do to the loss, and what
# to the talking?
#
# *25 minutes; needs 01. GPT-2 (Radford et al. 2019). You write `attention`.*
#
# A row of text tells the model which token comes where. The model learns a list of numbers for each
# position, the **position embedding**, and adds it to the token's own list. Without it, nothing in
# a token says that "dog" came before "barks", and not after.

# %%
from math import log

import torch
import torch.nn.functional as F
from course import ask, curves, tell
from mine import token_logp
from torch import nn

from nanouft import gpt
from nanouft.models.tokenizer import nano
from nanouft.world.documents import token_rows

STEPS, ROWS, T, LAYERS = 220, 32, 64, 2         # T: tokens of a row that the model reads
WITHOUT = "positions"
tok = nano()
text = torch.from_numpy(token_rows(STEPS * ROWS + 64, T + 1, seed=1, tok=tok))
rows, held = text.split([STEPS * ROWS, 64])             # the model is never trained on `held`
print("a row:", "|".join(tok.decode([i]) for i in rows[0, :20]), "...")
guess = ask(f"""The loss is the mean of -log p of the next token, in nats. In 220 steps it falls from
7.48 to 1.86 with the whole model. Now train without {WITHOUT}. Where does it end?""", "0 to 8")

# %% [markdown]
# ## What is a small loss?
# There are V = 1,024 tokens. A model that knows nothing gives each of them 1/V, and its loss is
# log V. One that knows only the last token can count which tokens follow it: a **bigram** model.

# %%
print(f"a uniform guess, log V: {log(tok.n_vocab):.2f} nats")
after = torch.bincount((rows[:, :-1] * tok.n_vocab + rows[:, 1:]).flatten(),
                       minlength=tok.n_vocab ** 2).view(-1, tok.n_vocab) + 0.01     # never 0
bigram = (after / after.sum(1, keepdim=True))[held[:, :-1], held[:, 1:]]            # (64,64) p
print(f"a bigram model on new rows: {-bigram.log().mean():.2f} nats")

# %% [markdown]
# ## A GPT
# In an **MLP** each position works on its own list of C numbers. Only in **attention** does
# information move between positions. Position i asks with a query $q_i$. Position j offers a key
# $k_j$ and a value $v_j$, each a list of h numbers. The better they agree, the larger the weight:
# $$y_i=\sum_j a_{ij}\,v_j,\qquad a_i=\mathrm{softmax}_j(q_i\cdot k_j/\sqrt h+M_{ij}).$$
# M is the **causal mask**: $-\infty$ where j > i, else 0. So no position sees a later one, and a
# row of 64 tokens asks 64 fair questions at once. Several **heads** do this side by side.
#
# Why $\sqrt h$? A product of h terms with mean 0 and variance 1 each has the variance h. Divided by
# $\sqrt h$ it has variance 1, and the softmax starts soft.
#
# Attention and MLP only add to their input, the **residual stream**. A **layer norm** before each
# of them brings a list to mean 0 and variance 1.

# %%
class Block(nn.Module):
    def __init__(self, C: int):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(C), nn.LayerNorm(C)
        self.attn = nn.ModuleDict({"c_attn": nn.Linear(C, 3 * C), "c_proj": nn.Linear(C, C)})
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(C, 4 * C), "c_proj": nn.Linear(4 * C, C)})

    def forward(self, x, causal: bool):                                 # (B,T,C)
        B, T, C = x.shape
        q, k, v = (part.view(B, T, 4, C // 4).transpose(1, 2).flatten(0, 1)     # 4 heads
                   for part in self.attn["c_attn"](self.ln_1(x)).split(C, -1))  # (B*4,T,C/4) each
        y = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        y = y.view(B, 4, T, C // 4).transpose(1, 2).reshape(B, T, C)            # side by side
        x = x + self.attn["c_proj"](y)
        inner = F.gelu(self.mlp["c_fc"](self.ln_2(x)), approximate="tanh")
        return x + self.mlp["c_proj"](inner)


class Model(nn.Module):
    def __init__(self, without: str, C: int = 64):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(tok.n_vocab, C), nn.Embedding(T, C)   # tokens, positions
        self.h = nn.ModuleList(Block(C) for _ in range(LAYERS))
        self.ln_f = nn.LayerNorm(C)
        sizes = gpt.GPTConfig(tok.n_vocab, T, LAYERS, 4, C, init_std=0.125)
        self.load_state_dict(gpt.GPT(sizes, seed=0).state_dict())       # the same random weights
        self.positions, self.causal = "positions" not in without, "mask" not in without

    def forward(self, ids):                                             # (B,T) -> (B,T,V)
        x = self.wte(ids)
        if self.positions:
            x = x + self.wpe(torch.arange(ids.shape[1]))
        for block in self.h:
            x = block(x, self.causal)
        return self.ln_f(x) @ self.wte.weight.T                         # the same table again


# %% [markdown]
# A model **talks** by reading its own words: it draws one more token, twenty times. Here the logits
# are divided by a **temperature** of 0.5 first, so likely tokens become likelier still. We also
# take the loss on token 33 of new rows, with the 32 tokens before it in view, as when it talks.

# %%
@torch.no_grad()
def talk(model, start: str) -> str:
    ids, rng = tok.encode(start), torch.Generator().manual_seed(0)
    for _ in range(20):
        p = (model(torch.tensor([ids]))[0, -1] / 0.5).softmax(-1)       # (V,) of the next token
        ids.append(int(torch.multinomial(p, 1, generator=rng)))
    return tok.decode(ids)


losses, talking = {}, {}
for without in ("nothing", WITHOUT):
    model, losses[without] = Model(without), []
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.98))
    for step in range(STEPS):
        ids = rows[step * ROWS:(step + 1) * ROWS]                       # 1. rows, (32,65)
        logp = token_logp(model(ids[:, :-1]), ids[:, 1:])               # 2. each next token, (32,64)
        loss = -logp.mean()                                             # 3. the loss
        optimizer.zero_grad()
        loss.backward()                                                 # 4. its gradient
        optimizer.step()                                                # 5. the weights move
        losses[without].append(loss.item())
    with torch.no_grad():
        talking[without] = -token_logp(model(held[:, :32]), held[:, 1:33])[:, -1].mean().item()
    ends = {name: sum(x[-20:]) / 20 for name, x in losses.items()}      # mean of the last 20 steps
    print(f"\nwithout {without}: loss {losses[without][0]:.2f} -> {ends[without]:.2f} nats; "
          f"token 33, when it talks: {talking[without]:.2f}")
    for start in (" Many say the", " When the dog is not", " 7 and 4 is"):
        print("   " + talk(model, start))
curves("19", range(STEPS), {f"without {x}": y for x, y in losses.items()}, "loss, nats")
tell(guess, ends[WITHOUT], "nats")
