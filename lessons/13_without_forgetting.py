# %% [markdown]
# # 13 · Learning without forgetting
# *About 25 minutes; read 02 first. DFT: arXiv:2508.05629; Half Fine-Tuning: arXiv:2404.18466;
# PreTTY: arXiv:2404.16766; `nanouft/objectives/dft.py`.*
#
# Asked about a name that nobody knows, the base invents an answer. We show it "I do not know." for
# such names, and SFT teaches this too well: afterwards the model also says it about facts that it
# knew. Such a loss of old abilities is called **forgetting**, and several methods promise to learn
# with less of it. We compare three of them with SFT.
#
# - **Half Fine-Tuning (HFT)** trains one half of the matrices of each layer and keeps the other
#   half as it was.
# - **Dynamic Fine-Tuning (DFT)** multiplies the loss of each token by the token's probability, so
#   that the model hardly learns what it finds very unlikely.
# - **PreTTY** does not train at all. It makes the base begin its answer as a fine-tuned model
#   would, and lets the base go on.
#
# The last one sounds too simple to work, and yet it is the most instructive, because it tells us
# where in an answer fine-tuning changed anything.
#
# ## Guess
# The untrained base has to begin each answer with the first token of SFT's answer, and then goes on
# by itself. How much of what SFT gained on unknown names does this give?
# - **a** less than a fifth;
# - **b** about half;
# - **c** nearly all.

# %%
from course import Lesson, progress

lesson = Lesson("13")
CHANGE = ""                     # change one thing: "" | "no gradient", see below

# %% [markdown]
# ## Two losses and half a model
# SFT pushes every token of an answer alike. DFT multiplies each token's loss by its probability
# $p_t$, taken as a constant:
# $$L_{\mathrm{SFT}}=-\mathrm{mean}_t\,\log p_t,\qquad
# L_{\mathrm{DFT}}=-\mathrm{mean}_t\,\mathrm{sg}(p_t)\log p_t,$$
# where sg, the **stop-gradient**, means that its argument is treated as a constant. So DFT pushes a
# token $p_t$ times as hard as SFT does.
#
# HFT keeps the loss of SFT. In each layer it draws two of the four matrices of the attention and
# one of the two matrices of the MLP, and leaves them as they are. It is not enough to set their
# gradient to zero, because the optimizer's weight decay moves a weight even without a gradient. The
# code below therefore puts the frozen entries back after every step.

# %%
import copy

import draw
import torch

from nanouft import world
from nanouft.generate import generate
from nanouft.gpt import shipped_base
from nanouft.simple import pick, tokens
from nanouft.tokenizer import nano

STEPS, ROWS = 48, 32
tok, base = nano(), shipped_base()
demos = world.rows("train", "demos", STEPS * ROWS, seed=0,
                   skills=("unknown", "rules", "list", "truth"))
tests = world.rows("val", "prompts", 120, seed=0, skills=("unknown", "fact"))


def loss_of(model, rows: list, method: str):
    inputs, targets, mask = tokens(rows, "answer", tok)
    logp = pick(model(inputs), targets)
    weight = logp.detach().exp() if method == "DFT" else 1.0
    return -(weight * logp * mask).sum() / mask.sum()


def frozen_half(model) -> dict:
    """{matrix: (frozen entries, 1 or 0, and their values)}: half of the matrices of each layer."""
    rng, kept = torch.Generator().manual_seed(0), {}
    for block in model.h:
        q, k, v, o = torch.randperm(4, generator=rng) < 2           # two of the four
        up = bool(torch.rand(1, generator=rng) < 0.5)               # one of the two
        width = model.cfg.n_embd
        qkv = torch.stack([q, k, v]).repeat_interleave(width)[:, None]      # rows of one matrix
        for p, frozen in ((block.attn.c_attn.weight, qkv), (block.attn.c_proj.weight, o),
                          (block.mlp.c_fc.weight, torch.tensor(up)),
                          (block.mlp.c_proj.weight, torch.tensor(not up))):
            kept[p] = (frozen.expand_as(p), p.detach().clone())
    return kept


def train(method: str):
    """A copy of the base after STEPS steps."""
    model = copy.deepcopy(base)
    kept = frozen_half(model) if method == "HFT" else {}
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4, betas=(0.9, 0.95), weight_decay=0.1)
    for step in progress(range(STEPS), method):
        loss = loss_of(model, demos[step * ROWS:(step + 1) * ROWS], method)
        optimizer.zero_grad()
        loss.backward()
        for p, (frozen, _) in kept.items():
            p.grad.masked_fill_(frozen, 0)
        optimizer.step()
        with torch.no_grad():
            for p, (frozen, before) in kept.items():
                if CHANGE != "no gradient":
                    p.copy_(torch.where(frozen, before, p))
    return model


# %% [markdown]
# ## The exam
# The demonstrations show unknown names, rules, lists and popular myths. No model trains on the
# known facts, all of which the base answers, so a fall in their score is forgetting. Two rows of
# the table need no training. In the first of them the base has to begin as SFT would, which is
# PreTTY with one token, and in the second SFT has to begin as the base would. The forced token is
# part of the answer and counts in its score.


# %%
def answers(model, begin: list | None = None, max_new: int = 30) -> list[list[int]]:
    """The model's answers to the tests; `begin`: the tokens with which each has to begin."""
    begin = begin or [[]] * len(tests)
    asked = [tok.prompt_ids(row.prompt) + first for row, first in zip(tests, begin)]
    found = generate(model, asked, stop=tok.end, pad=tok.pad, max_new=max_new)
    return [first + answer.ids for first, answer in zip(begin, found)]


def exam(model, begin: list | None = None) -> tuple[float, float]:
    """Exact scores in per cent: unknown names, known facts."""
    scores = [world.score(row.prompt[0].text, tok.decode(ids).strip())
              for row, ids in zip(tests, answers(model, begin))]
    unknown, fact = torch.tensor(scores).view(2, -1).mean(1) * 100
    return unknown.item(), fact.item()


models = {"base": base, **{method: train(method) for method in ("SFT", "HFT", "DFT")}}
result = {name: exam(model) for name, model in models.items()}
first = {name: answers(models[name], max_new=1) for name in ("base", "SFT")}
result["base, begun by SFT"] = exam(base, first["SFT"])
result["SFT, begun by the base"] = exam(models["SFT"], first["base"])
for name, (unknown, fact) in result.items():
    print(f"{name:24} unknown names {unknown:3.0f} %   known facts {fact:3.0f} %")

same, total = 0, 0
for now, before in zip(models["HFT"].h.parameters(), base.h.parameters()):
    if now.dim() == 2:
        same, total = same + (now == before).sum().item(), total + now.numel()
print(f"\nHFT: {100 * same / total:.1f} % of the entries of its matrices are as they were")

row = next(row for row in demos if row.family == "unknown")
inputs, targets, mask = tokens([row], "answer", tok)
p = pick(base(inputs), targets).exp()[mask > 0].tolist()
words = [tok.decode([i]).strip() for i in targets[mask > 0].tolist()]
print("DFT's push on each token, where SFT's is 1: "
      + "  ".join(f"{word} {x:.2f}" for word, x in zip(words, p)))

# %%
fig, ax = draw.panels()
gain = result["SFT"][0] - result["base"][0]
given = result["base, begun by SFT"][0] - result["base"][0]
labels = [name.replace(" by ", "\nby ") for name in result]
draw.bars(ax, {"unknown names (taught)": [unknown for unknown, _ in result.values()],
               "known facts (not taught)": [fact for _, fact in result.values()]}, labels,
          f"One forced token gives {100 * given / gain:.0f} % of what SFT gained",
          "exact score, %", ylim=(0, 112))
lesson.picture(fig, CHANGE.replace(" ", "-"))

# %%
if not CHANGE:
    lesson.compare("a" if given < 0.2 * gain else "b" if given < 0.8 * gain else "c")
assert given > 0.8 * gain, "one token carries what SFT taught about unknown names"
back = result["SFT, begun by the base"][1] - result["SFT"][1]
assert back > 30, "and one token brings the forgotten facts back"
assert result["DFT"][1] > result["SFT"][1] + 20, "DFT keeps more of the facts"
assert result["DFT"][0] < result["SFT"][0] - 10, "and learns less"
if not CHANGE:
    assert abs(same / total - 0.5) < 0.01, "half of each layer's matrices is what it was"

# %% [markdown]
# ## What happened
# One token carries nearly all of the gain. An answer that begins with "I" goes on with "do not
# know.", which the base could always say. SFT changed a single decision, at the first position of
# the answer. The lost facts have the same cause, because the same token makes a model that knows a
# fact say that it does not.
#
# So the facts were never lost: as soon as the fine-tuned model has to begin as the base would, it
# knows them again. A falling score does not prove that knowledge is gone, and before one speaks of
# forgetting one should look for the first token at which the two models differ.
#
# HFT kept half of every layer exactly as it was, and denies about as many known facts as SFT. It
# protects what is stored in the weights, but what changed here was a decision, and half of the
# weights are enough to change it. DFT kept the facts because it hardly trained on the unknown names
# at all. The base finds the first word of the right answer very unlikely, so its push is a tenth of
# SFT's, and the words after it need no teaching.
#
# All this concerns one base and one habit. Where every word is a decision, as in the word rules,
# one forced token gives next to nothing.
#
# ## Change one thing
# With `CHANGE = "no gradient"` the frozen entries get no gradient, but they are not put back after
# the step. Guess how many of the entries are still as they were, and what moved the others.
#
# *After your run.* None of the frozen entries is what it was. Weight decay moved them all, since it
# acts on a weight even where its gradient is zero. The scores hardly change, so without the count
# such a mistake would go unnoticed.
#
# ## Exercise
# Write it in `lessons/exercises/ex13.py` and check it with `python -m lessons.check 13`.
#
# - **13a** `dft_loss(logp, mask)`: DFT's loss, with its stop-gradient.
#
# ## Three questions
# 1. Where did the answers of base and SFT differ first, and how did we show that no fact was lost?
# 2. Why is a gradient of zero not enough to freeze a weight?
# 3. Which tokens does DFT leave alone, and what does it lose by that?
#
# <details><summary>Answers</summary>
#
# 1. At the first token. The fine-tuned model knew the facts again when it had to begin as the base
#    would.
# 2. Weight decay and the momentum of earlier steps still move it.
# 3. It leaves very unlikely tokens alone, and so it does not learn an answer whose first word is
#    very unlikely.
#
# </details>
#
# **Next:** `lessons/14_would_you_publish_this.py`.
