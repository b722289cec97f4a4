# %% [markdown]
# # 01 · What is the least code that talks?
# *Core · about 25 minutes (our estimate) · needs Python only · GPT-2 (Radford et al. 2019),
# `nanouft/gpt.py`*
#
# After this lesson you can
# - say how a GPT makes text, token by token, and what attention does;
# - write causal attention and the loss of next-token prediction;
# - tell a low training loss from a model that works.
#
# A language model answers one question: **which token comes next?** It names one token. We put that
# token at the end of the text and ask again. That is how it talks.
#
# In this lesson you train such a model from scratch. Then you remove **one matrix of zeros and
# ones** and train it again on the same text. `python lessons/01_gpt.py` takes less than half a
# minute.
#
# Two old questions: (00) One method only half learnt to stop. Why? (00) What does a bar of the
# ledger not tell you?

# %% [markdown]
# ## Guess before you run
# Without the causal mask, after the same training, the model has ...
# - **a** a higher loss, and its text is worse;
# - **b** a lower loss, and its text is better;
# - **c** a lower loss, and its text is worse.

# %%
from course import Lesson, progress

lesson = Lesson("01", "abc")

# %% [markdown]
# ## The text
# The text is NanoWorld's corpus, cut into *tokens*. A token is a piece of a word, from a list of
# 1,024 pieces. Markers such as `<|user|>` are tokens, too.

# %%
from nanouft.tokenizer import nano
from nanouft.eval import plots
from nanouft.gpt import GPT, GPTConfig
from nanouft.sampling import generate
from nanouft.world.documents import token_rows
import draw
import torch

BREAK = "mask"                  # the switch, see "Break it": "mask" | "positions"
STEPS = 220
ROWS = 32                       # rows that a step reads
T = 64                          # tokens of a row
HALF = 32
tok = nano()
text = torch.from_numpy(token_rows(STEPS * ROWS + 64, T + 1, seed=1, tok=tok))
rows, held = text.split([STEPS * ROWS, 64])         # `held` is never trained on
print("tokens:", "|".join(tok.decode([i]) for i in rows[0, :20]), "...")

# %% [markdown]
# ## The model in four sentences
# Each token becomes a list of $C$ numbers, plus another list for its place in the row
# (*embeddings*). Then, twice over, every place **looks back** and fetches what it needs from
# earlier places (*attention*). After that it **thinks** alone about what it has (*MLP*); both steps
# add their result to what is there already (*residual stream*). At the end the list is compared
# with every token of the vocabulary, and the best match is the guess for the next token.
#
# ## One equation
# Looking back works like this. Place $i$ asks with $q_i$. Place $j$ has a label $k_j$ and a content
# $v_j$. All three are lists of $h$ numbers.
# $$y_i=\sum_j a_{ij}v_j,\qquad
# a_i=\mathrm{softmax}_j\Big(\frac{q_i\cdot k_j}{\sqrt h}+M_{ij}\Big),\qquad
# M_{ij}=-\infty\ \text{where}\ j>i,\ \text{else}\ 0.$$
# $M$ is the **causal mask**: no place looks at what comes later. In `nanouft/gpt.py`, in
# `Attention.forward`, it is the word `is_causal`.
#
# Here it is by hand, with two places and $h=4$. Both places ask the same: $q\cdot k$ is $2\ln 3$
# for the first label and 0 for the second. The contents begin with 0 and 4. The first place sees
# only itself, so its output is **0**. The second place gives 3/4 to the first and 1/4 to itself, so
# its output is **1**. The second number of each content is 1. So the second number of each output
# is the sum of the attention weights of that place.

# %%
q = torch.ones(2, 4)
k = torch.tensor([[3.0], [1.0]]).log() * torch.tensor([0.5] * 4)
v = torch.tensor([[0.0, 1, 0, 0], [4, 1, 0, 0]])
attention = torch.nn.functional.scaled_dot_product_attention
y = attention(q[None], k[None], v[None], is_causal=True)[0]
print(f"two places: outputs {y[0, 0]:.2f} and {y[1, 0]:.2f}, "
      f"attention adds up to {y[0, 1]:.2f} and {y[1, 1]:.2f}")
by_hand = torch.tensor([[0.0, 1], [1, 1]])
assert torch.allclose(y[:, :2], by_hand), "causal attention by hand: outputs 0 and 1"

# %% [markdown]
# ## The loop that teaches it
# The loop has five parts. Every training program of this project has the same five. Place $i$
# cannot see place $i+1$, so **one row asks 64 fair questions at once**. That is the purpose of the
# mask: no place can copy the answer.

# %%
def remove_mask(attention) -> None:
    """Give this attention a matrix that forbids nothing."""
    def look_everywhere(x, mask, cache, layer):
        return masked(x, torch.tensor([[True]]), cache, layer)

    masked = attention.forward
    attention.forward = look_everywhere


def remove_positions(model: GPT) -> None:
    """Set the list that tells each token its place to 0, and do not train it."""
    model.wpe.weight.requires_grad_(False)
    model.wpe.weight.zero_()


def train(broken: str) -> tuple[GPT, list[float]]:
    """A model of two layers after STEPS steps, and its losses."""
    sizes = GPTConfig(tok.n_vocab, n_ctx=T, n_layer=2, n_head=4, n_embd=64, init_std=0.125)
    model = GPT(sizes, seed=0)
    if broken == "mask":
        for block in model.h:
            remove_mask(block.attn)
    if broken == "positions":
        remove_positions(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.98))
    losses = []
    for step in progress(range(STEPS), "training"):
        ids = rows[step * ROWS:(step + 1) * ROWS]                       # 1. data
        logp = model(ids[:, :-1], want="logp", targets=ids[:, 1:])      # 2. forward
        loss = -logp.mean()                                             # 3. objective
        optimizer.zero_grad()                                           # 4. update
        loss.backward()
        optimizer.step()
        losses.append(loss.item())                                      # 5. report
    return model, losses


runs = {"GPT": train("nothing"), f"no {BREAK}": train(BREAK)}

# %% [markdown]
# The forward pass writes `logp`: the log-probability of each next token. The loss is minus its
# mean. Its unit is the *nat*, because the logarithm is the natural one.
#
# Now both models talk, and both take an exam. It asks for token 33 of rows that are not in the
# training data. First the model sees the whole row, as in training. Then it sees only the 32 tokens
# before, as in talking.

# %%
def talk(model: GPT, start: str) -> str:
    """`start`, and how the model continues it."""
    (a,) = generate(model, [tok.encode(start)], stop=tok.end, pad=tok.pad, max_new=20,
                    temperature=0.5, cached=False)
    text = start + tok.decode(a.ids)
    return text.encode("ascii", "replace").decode()     # any console can show it


def exam(model: GPT, seen: int) -> float:
    """Mean nats for token 33 of the held-out rows if `seen` tokens are in view."""
    logp = model(held[:, :seen], want="logp", targets=held[:, 1:seen + 1])
    return -logp[:, HALF - 1].mean().item()


final = {}                      # name -> training loss at the end
in_view = {}                    # name -> exam with the whole row in view
hidden = {}                     # name -> exam with 32 tokens in view
for name, (model, losses) in runs.items():
    final[name] = sum(losses[-20:]) / 20
    in_view[name] = exam(model, T)
    hidden[name] = exam(model, HALF)
    print(f"\n{name}: training loss {losses[0]:.2f} -> {final[name]:.2f} nats per token. It says")
    for start in (" Many say the", " When the dog is not", " 7 and 4 is"):
        print("    " + talk(model, start))

# %% [markdown]
# ## The surprise
# The first model talks after a few seconds of training. Its grammar is right, its arithmetic is
# not: do not trust fluency. The second model has a training loss near 0, which the first will
# never reach, but it babbles. It learnt **to copy the answer from the right**, and in talking there
# is nothing to the right. The right-hand picture shows the exam: the same token, once with the rest
# of the row in view and once without it.

# %%
# Seen: Two training losses over the steps, and the loss of one token in view and hidden, as bars.
fig, (left, right) = draw.panels(1, 2)
curves = {name: plots.smooth(losses, 0.8) for name, (_, losses) in runs.items()}
draw.lines(left, range(STEPS), curves, "training loss (nats per token)", "step", ylim=(0, None))
exams = {name: [in_view[name], hidden[name]] for name in runs}
title = "one and the same token (nats), with\nthe rest of the row in view or hidden"
draw.bars(right, exams, ["in view", "hidden"], title, top=6.5, number="%.2f")
lesson.picture(fig, BREAK=(BREAK, "mask"))

# %% [markdown]
# ## The proof

# %%
broken = f"no {BREAK}"
if BREAK != "mask":
    did = "not asked"
elif final[broken] > final["GPT"]:
    did = "a"
else:
    did = "b" if hidden[broken] < hidden["GPT"] else "c"
lesson.compare(did)
change = abs(in_view["GPT"] - hidden["GPT"])
assert change < 1e-3, "with the mask, what comes later changes nothing"
if BREAK == "mask":
    assert 1.7 < final["GPT"] < 2.1, "the model with its mask learns to talk"
    assert final[broken] < 0.2, "without the mask the answer is read off the right"
    assert hidden[broken] > 2 * hidden["GPT"], "what was copied was not learnt: talking shows it"

# %% [markdown]
# ## Break it
# `BREAK = "positions"` keeps the mask. It removes the list that tells each token its place. Guess
# the loss first: is it nearer to the GPT's 1.9, or to the loss at the start of training? Then look
# at the two bars. Why are they equal again?
#
# *Read on after your run.* The loss is 1.98, near the GPT's 1.86. The mask is back, so no place
# sees what comes later, and hiding it changes nothing.
#
# ## Exercises
# `python -m lessons.grade 01a` judges them (`lessons/exercises/README.md` says how).
#
# - **01a** (D2) `attention(q, k, v)`: causal attention from the equation, without PyTorch's own
#   function.
# - **01b** (D2) `next_token_loss(logits, ids)`: the loss of next-token prediction: each place is
#   asked for the token after it.
# - **01c** (D2, debug) `generate(step, start, end, max_new)`: a program that talks; it has one bug.
#
# ## Recall, without looking up
# 1. To say 20 tokens, how often is the model asked, and what does it read each time?
# 2. Why can a row of 64 tokens be 64 questions? Which cheat does the mask make impossible?
# 3. The broken model's training loss is near 0 but not 0. Which place of each row still has a fair
#    question?
# 4. A model with the mask but without positions still knows something about the order of words.
#    How?
#
# <details><summary>Answers</summary>
#
# 1. 20 times. Each time it reads the text so far: the start, and all tokens that it has said.
#    (With a cache only the newest token is computed; the k and v of the others are kept.)
# 2. Each place sees only itself and the places before it, so its guess for the next token is fair.
#    It cannot copy the answer from the right.
# 3. The last one. Its answer is token 65, which is not among the 64 tokens that the model reads.
# 4. From the mask: place 2 sees two tokens, place 5 sees five. So places differ in what they can
#    collect, and the second layer can use that. (Its loss is 1.98, near the 1.86 with positions.)
#
# The two old questions: (00) DPO, because `<|end|>` stands in both answers. (00) What the trained
# model says.
#
# </details>
#
# **Runs that failed:** story 2 of `docs/gallery.md`. What went wrong?
#
# **Next:** `lessons/02_world_and_kl.py`.
