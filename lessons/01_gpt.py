# %% [markdown]
# # 01 · What is the least code that talks?
# *Core · about 25 minutes (estimated, n=0) · needs Python only · GPT-2 (Radford et al. 2019), `nanouft/gpt.py`*
#
# A language model is asked one thing: **which token comes next?** It names one, the token is put behind the text,
# and it is asked again. That is all of talking. You will train such a model from nothing, then take away **one
# matrix of zeros and ones** and train it again on the same text. `python lessons/01_gpt.py`, under half a minute.

# %% Guess before you run. Nothing is checked, but the lesson will remind you.
MY_GUESS = None   # without the causal mask, after the same training: "a" higher loss and worse text
                  # "b" lower loss and better text   "c" lower loss and worse text

# %% [markdown]
# ## The text
# NanoWorld's corpus, in *tokens*: pieces of words from a list of 1,024. `<|user|>` and its like are tokens too.

# %%
import torch
from torch.nn.functional import cross_entropy, scaled_dot_product_attention
from nanouft import plots
from nanouft.generate import generate
from nanouft.gpt import GPT, GPTConfig
from nanouft.pretrain import world_rows
from nanouft.tokenizer import Tokenizer

BREAK = "mask"                                          # the switch, see "Break it": "mask" | "positions"
STEPS, ROWS, T, HALF = 220, 32, 64, 32                  # a step reads 32 rows of 64 tokens
torch.set_num_threads(2)                                # fp32, two threads, fixed seeds: your numbers are ours, nearly
tok = Tokenizer.load("nano")
rows = torch.from_numpy(world_rows(STEPS * ROWS + 64, T + 1, seed=1, tok=tok))         # (N, T+1) token ids
held = rows[-64:]                                       # never trained on
print("tokens:", "|".join(tok.decode([i]) for i in rows[0, :20]), "...")

# %% [markdown]
# ## The model in four sentences
# Each token becomes a list of $C$ numbers, plus another list for its place in the row (*embeddings*).
# Then, twice over, every place **looks back** and fetches what it needs from earlier places (*attention*),
# and **thinks** about what it has, alone (*MLP*). Both add to what is there already (*residual stream*).
# In the end the list is compared with every token of the vocabulary: the best match is the guess for the next one.
#
# ## One equation
# Looking back: place $i$ asks with $q_i$; place $j$ has a label $k_j$ and a content $v_j$, lists of $h$ numbers.
# $$y_i=\sum_j a_{ij}v_j,\qquad a_i=\mathrm{softmax}_j\Big(\frac{q_i\cdot k_j}{\sqrt h}+M_{ij}\Big),\qquad
# M_{ij}=-\infty\ \text{where}\ j>i,\ \text{else}\ 0.$$
# $M$ is the **causal mask**: nobody looks at what comes later. In `nanouft/gpt.py`, `Attention.forward`, it is the word
# `is_causal`. By hand, two places, $h=4$: both ask with $q\cdot k=2\ln 3$ for the first label and 0 for the second;
# the contents are 0 and 4. The first place sees itself: **0**. The second gives 3/4 to the first, 1/4 to itself: **1**.

# %%
def check_attention(attention) -> None:
    """attention(q, k, v): (2, 4) each, returns (2, 4). Column 0 of v is the case above; column 1 holds ones, so that
    the attention itself comes out, added up."""
    q, k = torch.ones(2, 4), torch.tensor([[3.0], [1.0]]).log() * torch.tensor([0.5] * 4)
    y = attention(q, k, torch.tensor([[0.0, 1, 0, 0], [4, 1, 0, 0]]))
    assert torch.allclose(y[:, 0], torch.tensor([0.0, 1.0])), f"the outputs must be 0 and 1, they are {y[:, 0].tolist()}"
    assert torch.allclose(y[:, 1], torch.ones(2)), f"attention must add up to 1, it adds up to {y[:, 1].tolist()}"


check_attention(lambda q, k, v: scaled_dot_product_attention(q[None], k[None], v[None], is_causal=True)[0])
print("attention by hand and by PyTorch: outputs 0 and 1")

# %% [markdown]
# ## The loop that teaches it
# Five lines; every training program of this project has the same five. Because place $i$ cannot see place $i+1$,
# **one row asks 64 honest questions at once**. That is what the mask is for: with it, nobody can copy the answer.

# %%
def break_it(model: GPT, what: str) -> None:
    if what == "positions":
        model.wpe.weight.requires_grad_(False).zero_()
    for block in model.h if what == "mask" else ():     # hand each attention a matrix that forbids nothing
        def sees_all(x, mask, cache, layer, masked=block.attn.forward):
            return masked(x, torch.ones(x.shape[1], x.shape[1], dtype=torch.bool), cache, layer)
        block.attn.forward = sees_all


def train(broken: str) -> tuple[GPT, list[float]]:
    model, losses = GPT(GPTConfig(tok.n_vocab, n_ctx=T, n_layer=2, n_head=4, n_embd=64, init_std=0.125), seed=0), []
    break_it(model, broken)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.98))
    for step in range(STEPS):
        ids = rows[step * ROWS:(step + 1) * ROWS]                               # data
        logp = model(ids[:, :-1], want="logp", targets=ids[:, 1:])              # forward: log-prob of each next token
        loss = -logp.mean()                                                     # objective, in nats a token
        optimizer.zero_grad(), loss.backward(), optimizer.step()                # update
        losses.append(loss.item())                                              # report
    return model, losses


def talk(model: GPT, start: str) -> str:
    (a,) = generate(model, [tok.encode(start)], stop=tok.end, pad=tok.pad, max_new=20, temperature=0.6, cached=False)
    return (start + tok.decode(a.ids)).encode("ascii", "replace").decode()      # any console can show it


@torch.no_grad()
def ask(model: GPT, seen: int) -> float:
    """Loss of token 33 of the held-out rows when `seen` tokens stand in the input: 64 as in training, 32 as in talking."""
    return cross_entropy(model(held[:, :seen])[:, HALF - 1], held[:, HALF]).item()


runs, nats = {"with the mask" if BREAK == "mask" else "with positions": train("nothing"), f"no {BREAK}": train(BREAK)}, []
for name, (model, losses) in runs.items():
    nats.append((sum(losses[-20:]) / 20, ask(model, T), ask(model, HALF)))
    print(f"\n{name}: training loss {losses[0]:.2f} -> {nats[-1][0]:.2f} nats a token. It says")
    print(*("    " + talk(model, start) for start in (" Many say the", " When the dog is not", " 7 and 4 is")), sep="\n")

# %% [markdown]
# ## The surprise
# The first model talks after some seconds (it has grammar and no arithmetic: be suspicious of fluency). The second
# has a training loss that the first will never reach, and says nothing. It learnt **to copy the answer from the
# right**, and when it talks there is no right. The right-hand picture asks both about one and the same token of
# unseen text, first with the rest of the row in view, then without. The dashed line knows only how often each token
# occurs: without its crib, the broken model knows less than that.

# %%
count = torch.bincount(rows[:-64].flatten(), minlength=tok.n_vocab) + 1.0
frequency = -(count / count.sum()).log()[held[:, HALF]].mean().item()
plots.plt.rcParams["font.size"] = 16
fig, (left, right) = plots.plt.subplots(1, 2, figsize=(14, 6))
for i, ((name, (_, losses)), style) in enumerate(zip(runs.items(), ("-", "--"))):
    left.plot(plots.smooth(losses, 0.8), style, lw=3, color=plots.LINES[i], label=name)
    for dx, value, look in ((-0.2, nats[i][1], {"color": "white", "hatch": "//"}), (0.2, nats[i][2], {"color": plots.LINES[i]})):
        right.bar_label(right.bar(i + dx, value, 0.38, edgecolor=plots.LINES[i], lw=2, **look), fmt="%.2f", padding=3)
left.set(title="training: one of them cheats", xlabel="step", ylabel="nats a token", ylim=(0, None))
left.legend(frameon=False)
right.axhline(frequency, color="black", ls=":", lw=2)
right.set(title="the same token (nats): hatched = rest of row\nin view, full = nothing to the right", xticks=(0, 1))
right.set_xticklabels(runs)
print("\npicture:", plots.save(fig, plots.Path("out/lessons/01.png")))
