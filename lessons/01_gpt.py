# %% [markdown]
# # 01 · What is the least code that talks?
# *Core · about 25 minutes (estimated, n=0) · needs Python only · GPT-2 (Radford et al. 2019), `nanouft/gpt.py`*
#
# A language model is asked one thing: **which token comes next?** It names one, the token is put behind the text,
# and it is asked again. That is all of talking. You will train such a model from nothing in a few seconds, then
# take away **one matrix of zeros and ones** and train it again. Run this file with `python lessons/01_gpt.py`.

# %% Guess before you run. Nothing is checked, but the lesson will remind you.
MY_GUESS = None   # without the causal mask, after the same training: "a" higher loss, worse text
                  # "b" lower loss, better text   "c" lower loss, worse text

# %% [markdown]
# ## The switch
# `BREAK = "mask"` is the lesson. Run it once as it is, then set it to `"positions"`, guess again, run again.

# %%
import torch
from torch.nn.functional import cross_entropy, scaled_dot_product_attention
from nanouft import plots
from nanouft.generate import generate
from nanouft.gpt import GPT, Cache, GPTConfig
from nanouft.pretrain import world_rows
from nanouft.tokenizer import Tokenizer

BREAK = "mask"                                          # "mask" | "positions"
STEPS, ROWS, T, HALF = 320, 32, 64, 32                  # 32 rows of 64 tokens a step
torch.set_num_threads(2)                                # fp32, two threads, fixed seeds: the same numbers each time
tok = Tokenizer.load("nano")
TINY = GPTConfig(vocab_size=tok.n_vocab, n_ctx=T, n_layer=2, n_head=4, n_embd=64, init_std=0.125)
rows = torch.from_numpy(world_rows(STEPS * ROWS + 64, T + 1, seed=1, tok=tok))         # (N, T+1) token ids
held = rows[-64:]                                       # never trained on
print("text:  ", tok.decode(rows[0, :30]))
print("tokens:", "|".join(tok.decode([i]) for i in rows[0, :12]), "->", rows[0, :12].tolist())

# %% [markdown]
# ## The model, in four sentences
# Each token becomes a list of $C$ numbers, plus another list for its place in the row (*embeddings*).
# Then, twice over: a place **looks back** and fetches what it needs from earlier places (*attention*),
# and **thinks** about what it has, alone (*MLP*). Both add to what is there already (*residual stream*).
# At the end, the list is compared with every token of the vocabulary: the best match is the guess for the next token.
#
# ## One equation
# Looking back: place $i$ asks $q_i$, place $j$ answers to $k_j$ and hands over $v_j$. With $h$ numbers in each of them,
# $$y_i=\sum_j a_{ij}v_j,\qquad a_i=\mathrm{softmax}_j\Big(\frac{q_i\cdot k_j}{\sqrt h}+M_{ij}\Big),\qquad M_{ij}=-\infty\ \text{if}\ j>i,\ \text{else}\ 0.$$
# $M$ is the **causal mask**: nobody looks at what comes later. Open `nanouft/gpt.py`: in `Attention.forward` it is the
# word `is_causal`. Two places by hand, $h=4$: the raw score $q_i\cdot k_j$ is $2\ln 3$ for the first key and 0 for the
# second, the values are 0 and 4. The second place pays 3/4 of its attention to the first and 1/4 to itself:

# %%
def check_attention(f) -> None:
    """f(q, k, v), each (2, 4) -> (2, 4). Column 0 of v holds the values 0 and 4; column 1 holds ones: what comes out
    there is the sum of the attention. The first place may see only itself."""
    q, k = torch.ones(2, 4), torch.tensor([[3.0], [1.0]]).log() * torch.tensor([0.5] * 4)      # raw scores 2 ln 3, 0
    y = f(q, k, torch.tensor([[0.0, 1, 0, 0], [4, 1, 0, 0]]))
    assert torch.allclose(y[:, 0], torch.tensor([0.0, 1.0])), f"outputs 0 and 1 expected, got {y[:, 0].tolist()}"
    assert torch.allclose(y[:, 1], torch.ones(2)), f"attention must add up to 1, it adds up to {y[:, 1].tolist()}"


check_attention(lambda q, k, v: scaled_dot_product_attention(q[None, None], k[None, None], v[None, None], is_causal=True)[0, 0])
print("by hand = by PyTorch: outputs 0 and 1")

# %% [markdown]
# ## The loop that teaches it
# Five lines, and every training program in this project has the same five. Since place $i$ cannot see place $i+1$,
# **one row asks 64 honest questions at once**: that is what the mask is for.


# %%
def break_it(model: GPT, what: str) -> None:
    if what == "positions":
        model.wpe.weight.requires_grad_(False).zero_()
    for block in model.h if what == "mask" else ():     # give each attention a matrix that forbids nothing
        def unmasked(x, mask, cache, layer, masked=block.attn.forward):
            return masked(x, torch.ones(x.shape[1], x.shape[1], dtype=torch.bool), cache, layer)
        block.attn.forward = unmasked


def train(broken: str) -> tuple[GPT, list[float]]:
    model, losses = GPT(TINY, seed=0), []
    break_it(model, broken)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.98))
    for step in range(STEPS):
        ids = rows[step * ROWS:(step + 1) * ROWS]                               # data
        logp = model(ids[:, :-1], want="logp", targets=ids[:, 1:])              # forward: log-prob of each next token
        loss = -logp.mean()                                                     # objective
        optimizer.zero_grad(), loss.backward(), optimizer.step()                # update
        losses.append(loss.item())                                              # report
    return model, losses


def talk(model: GPT, start: str) -> str:
    (a,) = generate(model, [tok.encode(start)], stop=tok.end, pad=tok.pad, max_new=20, temperature=0.6, cached=False)
    return (start + tok.decode(a.ids)).encode("ascii", "replace").decode()      # any console can show it


@torch.no_grad()
def exam(model: GPT, shown: bool) -> float:
    """Nats for token 33 of held-out rows, after 32: with the rest of the row also there (as in training), or with
    nothing behind (as in talking)."""
    return cross_entropy(model(held[:, :T if shown else HALF])[:, HALF - 1], held[:, HALF]).item()


runs = {"GPT": train("nothing"), f"no {BREAK}": train(BREAK)}
result = {name: (sum(losses[-20:]) / 20, exam(m, True), exam(m, False)) for name, (m, losses) in runs.items()}
for name, (model, losses) in runs.items():
    print(f"\n{name}: loss {losses[0]:.2f} -> {result[name][0]:.2f} nats a token. It says:")
    for start in (" Many say the", " When the dog is not", " 7 and 4 is"):
        print("   ", talk(model, start))

# %% [markdown]
# ## The surprise
