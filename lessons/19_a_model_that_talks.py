# %% [markdown]
# # 19 · A model that talks
# Every lesson began with a model that was ready. Here you train one from nothing, and then without
# its sense of position, or its causal mask. What does that do to the loss, and to the talking?
#
# *25 minutes; needs 01. GPT-2 (Radford et al. 2019). You write `attention`.*
#
# A model looks up a list of C numbers for each token, its **embedding**, and learns these numbers.
# It learns a list for each position, too, the **position embedding**, and adds the two. Without the
# second, nothing in a token says that "dog" came before "barks".

# %%
import torch
import torch.nn.functional as F
from course import ask, tell
from mine import token_logp
from torch import nn

from nanouft import gpt
from nanouft.models.tokenizer import nano
from nanouft.world.documents import token_rows

STEPS, ROWS, T = 220, 32, 64                            # T: tokens that the model reads
LAYERS = 2
WITHOUT = "positions"
tok = nano()
text = torch.from_numpy(token_rows(STEPS * ROWS + 64, T + 1, seed=1, tok=tok))
rows, held = text.split([STEPS * ROWS, 64])             # the model is never trained on `held`
print("a row:", "|".join(tok.decode([i]) for i in rows[0, :20]), "...")
guess = ask(f"""The loss is the mean of -log p of the next token, in nats. With the whole model it
falls from 7.48 to 1.86. Now train without {WITHOUT}. Where does it end?""", "0 to 8")

# %% [markdown]
# ## What is a small loss?
# There are V = 1,024 tokens. A model that knows nothing gives each of them 1/V, and its loss is
# log V. One that knows only the last token can count which tokens follow it: a **bigram** model.
#
# ## A GPT
# In an **MLP** each position works on its own list of C numbers. Only in **attention** does
# information move between positions. Position i asks with a query $q_i$. Position j offers a key
# $k_j$ and a value $v_j$, each a list of h numbers. The better they agree, the larger the weight:
# $$y_i=\sum_j a_{ij}\,v_j,\qquad a_i=\mathrm{softmax}_j(q_i\cdot k_j/\sqrt h+M_{ij}).$$
# M is the **causal mask**: $-\infty$ where j > i, else 0. So no position sees a later one, and a
# row of 64 tokens asks 64 fair questions at once. Several **heads** do this side by side. Why
# $\sqrt h$? A sum of h products with mean 0 and variance 1 each has the variance h. Divided by
# $\sqrt h$ it has variance 1, and the softmax starts soft. Attention and MLP only add to their
# input, the **residual stream**. A **layer norm** before each brings a list to mean 0, variance 1.

# %%
after = torch.bincount((rows[:, :-1] * tok.n_vocab + rows[:, 1:]).flatten(),
                       minlength=tok.n_vocab ** 2).view(-1, tok.n_vocab) + 0.01     # never 0
bigram = (after / after.sum(1, keepdim=True))[held[:, :-1], held[:, 1:]]            # (64,64) p
print(f"a uniform guess, log V: {torch.tensor(tok.n_vocab).log():.2f} nats; a bigram model on new "
      f"rows: {-bigram.log().mean():.2f}")


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
        self.h, self.ln_f = nn.ModuleList(Block(C) for _ in range(LAYERS)), nn.LayerNorm(C)
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
# A model **talks** by reading its own words. We divide the logits by a **temperature** of 0.5, so
# likely tokens become likelier still. And as when it talks, we take the loss on token 33 of new
# rows with only the 32 tokens before it in view.

# %%
@torch.no_grad()
def talk(model, start: str) -> str:
    ids, rng = tok.encode(start), torch.Generator().manual_seed(0)
    for _ in range(20):
        p = (model(torch.tensor([ids]))[0, -1] / 0.5).softmax(-1)       # (V,) of the next token
        ids.append(int(torch.multinomial(p, 1, generator=rng)))
    return tok.decode(ids)


ends, talking = {}, {}
for without in ("nothing", WITHOUT):
    model, losses = Model(without), []
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.98))
    for step in range(STEPS):
        ids = rows[step * ROWS:(step + 1) * ROWS]                       # 1. rows, (32,65)
        logp = token_logp(model(ids[:, :-1]), ids[:, 1:])               # 2. next tokens, (32,64)
        loss = -logp.mean()                                             # 3. the loss
        optimizer.zero_grad()
        loss.backward()                                                 # 4. its gradient
        optimizer.step()                                                # 5. the weights move
        losses.append(loss.item())
    talking[without] = -token_logp(model(held[:, :32]), held[:, 1:33])[:, -1].mean().item()
    ends[without] = sum(losses[-20:]) / 20
    print(f"\nwithout {without}: loss {losses[0]:.2f} -> {ends[without]:.2f} nats; "
          f"token 33, when it talks: {talking[without]:.2f}")
    for start in (" Many say the", " When the dog is not", " 7 and 4 is"):
        print("   " + talk(model, start))
tell(guess, ends[WITHOUT], "nats")

# %% [markdown]
# ## What happened
# The loss starts above log V, 6.93, because random weights prefer some tokens by chance. Both
# models pass the bigrams' 2.50. **Without positions** the loss is 1.98, only 0.12 above the whole
# model. Both talk, and both claim that 7 and 4 is 20. Two explanations are at hand:
# - **The mask leaks position.** Position 2 averages over two tokens and position 5 over five. The
#   second layer can read that off. With one layer, the tokens before a position give the same mean
#   in any order. So of the order nothing leaks, only how many they are.
# - **Order is worth little here.** A position always knows its own token. Attention tells it which
#   tokens came before, as a bag without order, and this may be nearly enough.
#
# ## Change one thing
# Guess the loss first, each time, and whether it still talks.
# 1. `LAYERS = 1`: is it the leak?
# 2. `WITHOUT = "mask"`, with two layers again: each position sees the next token, too.
# 3. `WITHOUT = "positions, mask"`: it sees the next token, but not where.
#
# <details><summary>After your runs</summary>
#
# 1. 2.06 without positions, 1.88 with them. One layer knows no order, and still only 0.18 are
# lost. So most of the answer is the second explanation. (One run each.)
# 2. 0.07, because the answer is in plain view. On token 33, with nothing behind it, the loss is
# 5.43, and 1.72 with the mask. The model has learned to copy, and talks of "say the say the say".
# 3. 1.87, but 2.93 on token 33, and it says "at at at". It knows what is in the row, not what is
# next. A training loss tells only how well a model does with what it sees in training.
#
# </details>
#
# ## To hand in
# Run it with `STEPS` of 55 and 110, too. Hand in a table of both losses, and two sentences: do
# position embeddings help more early or late?
#
# ## Your own program
#     def attention(q, k, v):
#         """Causal attention, without PyTorch's, for the newest T of n + T positions (n may be 0).
#         q (B,T,h), k (B,n+T,h), v (B,n+T,c) -> (B,T,c): for each of the newest positions the mean
#         of the values up to and including its own, weighted by the softmax over these of
#         q . k / sqrt(h). Query i is position n + i. Scores may be some hundreds."""
#
# To train with it, `import mine`, and let `y` in `Block` be `mine.attention(q, k, v)`.
#
# ## Two questions
# 1. To generate 20 tokens, how often is the model called, and what does it read each time?
# 2. The loss of the model without a mask is near 0, but not 0. Where can it not see its target?
#
# <details><summary>Answers</summary>
#
# 1. Twenty times, and each time it reads all of the text so far.
# 2. At the last position. Its target is token 65, and the model reads only 64.
#
# </details>
