# %% [markdown]
# # 01 · What is the least code that talks?
# *Core · about 25 minutes (estimated, n=0) · needs Python only · GPT-2 (Radford et al. 2019), `nanouft/gpt.py`*
#
# A language model is asked one thing: **which token comes next?** It names one, the token is put behind the text,
# and it is asked again. That is all of talking. You will train such a model from nothing, then take away **one
# matrix of zeros and ones** and train it again on the same text. `python lessons/01_gpt.py`, under half a minute.
#
# Two old questions: (00) one method only half learnt to stop; why? (00) what does a bar of the ledger not tell?

# %% Guess before you run. Nothing is checked, but the lesson will remind you.
MY_GUESS = None   # without the causal mask, after the same training: "a" higher loss and worse text
                  # "b" lower loss and better text   "c" lower loss and worse text

# %% [markdown]
# ## The text
# NanoWorld's corpus, cut into *tokens*: pieces of words from a list of 1,024. `<|user|>` and its like are tokens too.

# %%
from nanouft.look import plots
from nanouft.models.generate import generate
from nanouft.gpt import GPT, GPTConfig
from nanouft.pretrain import world_rows
from nanouft.data.tokenizer import Tokenizer
import torch                                            # after nanouft, which lets idle threads sleep

BREAK = "mask"                                          # the switch, see "Break it": "mask" | "positions"
STEPS, ROWS, T, HALF = 220, 32, 64, 32                  # a step reads 32 rows of 64 tokens
torch.set_num_threads(2)                                # fp32, two threads, fixed seeds: nearly equal on each machine
tok = Tokenizer.load("nano")
rows, held = torch.from_numpy(world_rows(STEPS * ROWS + 64, T + 1, seed=1, tok=tok)).split([STEPS * ROWS, 64])
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
# the contents are 0 and 4. The first place sees only itself: **0**. The second gives 3/4 to the first and 1/4 to
# itself: **1**. (The second number of each content is 1, so what comes out there is the attention, added up.)

# %%
q, k = torch.ones(2, 4), torch.tensor([[3.0], [1.0]]).log() * torch.tensor([0.5] * 4)
v = torch.tensor([[0.0, 1, 0, 0], [4, 1, 0, 0]])
y = torch.nn.functional.scaled_dot_product_attention(q[None], k[None], v[None], is_causal=True)[0]
print(f"two places: outputs {y[0, 0]:.2f} and {y[1, 0]:.2f}, attention adds up to {y[0, 1]:.2f} and {y[1, 1]:.2f}")
assert torch.allclose(y[:, :2], torch.tensor([[0.0, 1], [1, 1]])), "causal attention by hand: outputs 0 and 1"

# %% [markdown]
# ## The loop that teaches it
# Five parts; every training program of this project has the same five. Because place $i$ cannot see place $i+1$,
# **one row asks 64 honest questions at once**. That is what the mask is for: with it, nobody can copy the answer.

# %%
def break_it(model: GPT, what: str) -> None:
    for block in model.h if what == "mask" else ():     # hand each attention a matrix that forbids nothing
        block.attn.forward = lambda x, mask, *rest, see=block.attn.forward: see(x, torch.tensor([[True]]), *rest)
    if what == "positions":
        model.wpe.weight.requires_grad_(False).zero_()


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
    (a,) = generate(model, [tok.encode(start)], stop=tok.end, pad=tok.pad, max_new=20, temperature=0.5, cached=False)
    return (start + tok.decode(a.ids)).encode("ascii", "replace").decode()      # any console can show it


# Nats for token 33 of the held-out rows when `seen` tokens are in view: 64 as in training, 32 as in talking.
def ask(model: GPT, seen: int) -> float:
    return -model(held[:, :seen], want="logp", targets=held[:, 1:seen + 1])[:, HALF - 1].mean().item()


runs, nats = {"GPT": train("nothing"), f"no {BREAK}": train(BREAK)}, []
for name, (model, losses) in runs.items():
    nats.append((sum(losses[-20:]) / 20, ask(model, T), ask(model, HALF)))
    print(f"\n{name}: training loss {losses[0]:.2f} -> {nats[-1][0]:.2f} nats a token. It says")
    print(*("    " + talk(model, s) for s in (" Many say the", " When the dog is not", " 7 and 4 is")), sep="\n")

# %% [markdown]
# ## The surprise
# The first model talks after a few seconds (it has grammar, not arithmetic: be suspicious of fluency). The second has
# a training loss near 0, which the first will never reach, and babbles. It learnt **to copy the answer from the
# right**, and in talking there is no right. The right-hand picture asks both for the same token of unseen text: first
# with the rest of the row in view, as in training, then without it, as in talking.

# %%
plots.plt.rcParams["font.size"] = 16
fig, (left, right) = plots.plt.subplots(1, 2, figsize=(15, 6.5))
for (name, (_, losses)), n, style, hatch, color in zip(runs.items(), nats, ("-", "--"), ("", "//"), plots.LINES):
    left.plot(plots.smooth(losses, 0.8), style, lw=3, color=color, label=name)
    bars = right.bar([f"{name}:\nin view", f"{name}:\nhidden"], n[1:], color=color, hatch=hatch, edgecolor="white")
    right.bar_label(bars, fmt="%.2f", padding=3)
left.set(title="training loss (nats a token)", xlabel="step", ylim=(0, None))
left.legend(frameon=False)
right.set(title="one and the same token (nats),\nwith the rest of the row ...", ylim=(0, 6.5))
print("\npicture:", plots.save(fig, plots.Path("out/lessons/01.png")))

# %% [markdown]
# ## The proof

# %%
(loss, in_view, hidden), (broken_loss, _, broken_hidden) = nats
did = "not asked" if BREAK != "mask" else "a" if broken_loss > loss else "b" if broken_hidden < hidden else "c"
print(f"you guessed {MY_GUESS!r};" if MY_GUESS else "you wrote no guess (MY_GUESS, above);", f"it did {did!r}")
assert abs(in_view - hidden) < 1e-3, "with the mask, what comes later changes nothing"
assert BREAK != "mask" or broken_loss < 0.2 and 1.7 < loss < 2.1, "without the mask the answer is read off the right"
assert BREAK != "mask" or broken_hidden > 2 * hidden, "what was copied was not learnt: in talking it is lost"

# %% [markdown]
# ## Break it
# `BREAK = "positions"` keeps the mask and takes away the list that tells each token its place. Guess the loss first:
# nearer to the GPT's 1.9, or to where the training began? Then look at the two bars: why are they equal again?
#
# ## Exercises (take away the first `# ` of the lines that check you)
# **01a** (D2) Write `my_attention(q, k, v)` from the equation, without PyTorch's. What goes wrong: masking after the
# softmax, softmax over the wrong axis, no $\sqrt h$, a place that may not see itself.

# %%
# assert torch.allclose(my_attention(q, k, v), y), "the outputs must be 0 and 1, and each attention must add up to 1"

# %% [markdown]
# **01b** (D3) To say token 33 the model reads the first 32 again, each time, unless their $k$ and $v$ are kept (*KV
# cache*). Write `class MyCache` with `n = 0`, the number of places read so far (the GPT counts it up by itself), and
# `add(layer, k, v)`, which takes the new place's (B, nh, 1, hs) and returns all so far. What goes wrong: handing out
# the old ones without the new one, mixing up the layers, counting twice so that the positions jump.

# %%
# model, cache = GPT(GPTConfig(8, 4, 2, 2, 8, init_std=0.3), seed=0), MyCache()
# step_by_step = torch.cat([model(torch.tensor([[i]]), cache=cache) for i in (5, 3, 7)], dim=1)
# assert torch.allclose(step_by_step, model(torch.tensor([[5, 3, 7]])), atol=1e-4), "cached must equal uncached"

# %% [markdown]
# **01c** (D1) On paper: how many parameters has a GPT with 1 layer, $C=4$, 8 tokens and 4 places? Four matrices a
# layer ($C$ to $3C$, $C$ to $C$, $C$ to $4C$, $4C$ to $C$), each with a bias; three LayerNorms of $2C$; two embeddings.
# What goes wrong: the output head is counted, though it *is* the token embedding (*tied*); biases are forgotten.

# %%
# assert my_count == GPT(GPTConfig(vocab_size=8, n_ctx=4, n_layer=1, n_head=1, n_embd=4)).n_params(), "count again"

# %% [markdown]
# ## Recall, without looking up
# 1. To say 20 tokens, how often is the model asked, and what does it read each time?
# 2. Why can a row of 64 tokens be 64 questions, and which cheat does the mask make impossible?
# 3. The broken model's training loss is near 0 but not 0. Which place of each row still has an honest question?
# 4. Without positions and with the mask, a model still knows something about the order of words. How?
