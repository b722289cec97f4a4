# %% [markdown]
# # 13 · Learning without forgetting
# Teach a model to answer "I do not know.", and it answers so about facts it knew. Find out whether
# these facts are gone, and how much a single token can do.
#
# *About 20 minutes; read 02 first. DFT: arXiv:2508.05629; PreTTY: arXiv:2404.16766;
# `nanouft/objectives/dft.py`.*
#
# Asked about an unknown name, the base invents an answer, a **hallucination**. We show it a
# **refusal**, "I do not know.", for such names, and SFT teaches this too well: the model refuses to
# answer about names that it knows (**over-refusal**). To lose old abilities is called
# **catastrophic forgetting** (`docs/terms.md` has the terms). We compare SFT with two methods that
# promise less of it.
#
# - **Dynamic Fine-Tuning (DFT)** multiplies the loss of each token by the token's probability, so
#   the model hardly learns what it finds very unlikely.
# - **PreTTY** leaves the base as it is. It takes the first token of its answer from a fine-tuned
#   model, and lets the base continue.
#
# ## Guess
# The base, never fine-tuned, has to begin each answer with the first token of SFT's, and continues
# by itself. What percentage of SFT's gain on unknown names is this? Enter a number from 0 to 100.

# %%
from course import Lesson, train

CHANGE = ""                     # change one thing: "" | "rules", see below
lesson = Lesson("13", CHANGE)
CHANGE = lesson.change

# %% [markdown]
# ## Two losses
# SFT pushes every token of an answer alike, DFT by its probability $p_t$:
# $$L_{\mathrm{SFT}}=-\mathrm{mean}_t\,\log p_t,\qquad
# L_{\mathrm{DFT}}=-\mathrm{mean}_t\,\mathrm{sg}(p_t)\log p_t,$$
# where sg, the **stop-gradient**, means that its argument is treated as a constant (detached). So
# DFT pushes a token $p_t$ times as hard as SFT does. Both have the same learning rate.

# %%
import draw

from nanouft import world
from nanouft.generate import generate
from nanouft.gpt import shipped_base
from nanouft.simple import token_logp, tokens
from nanouft.models.tokenizer import nano

STEPS, ROWS = 48, 32
tok, base = nano(), shipped_base()
demos = world.rows("train", "demos", STEPS * ROWS, seed=0,
                   skills=("unknown", "rules", "list", "truth"))
TAUGHT = CHANGE or "unknown"    # the task that is evaluated beside the facts
tests = world.rows("val", "prompts", 120, seed=0, skills=(TAUGHT, "fact"))


def loss_of(method: str):
    """SFT's loss or DFT's, a function of a model and some rows."""
    def loss(model, rows):
        inputs, targets, mask = tokens(rows, "answer", tok)
        logp = token_logp(model(inputs), targets)
        weight = logp.detach().exp() if method == "DFT" else 1.0
        return -(weight * logp * mask).sum() / mask.sum()
    return loss

# %% [markdown]
# ## The evaluation
# The demonstrations show unknown names, rules, lists and the truth about myths. The base answers
# all known facts, and no model trains on them, so a fall in their score is forgetting. Two rows of
# the table need no training: the base has to begin as SFT would, which is PreTTY with one token,
# and SFT has to begin as the base would. The forced first token is part of the scored answer.

# %%
def answers(model, begin: list | None = None, max_new: int = 30) -> list[list[int]]:
    """The model's answers to the tests; `begin`: the tokens with which each has to begin."""
    begin = begin or [[]] * len(tests)
    asked = [tok.prompt_ids(row.prompt) + first for row, first in zip(tests, begin)]
    found = generate(model, asked, stop=tok.end, pad=tok.pad, max_new=max_new)
    return [first + answer.ids for first, answer in zip(begin, found)]


def evaluate(model, begin: list | None = None):
    """(2,) exact scores in %: what was taught, and known facts."""
    said = [tok.decode(ids).strip() for ids in answers(model, begin)]
    return 100 * world.exact_scores(tests, said).reshape(2, -1).mean(1)


models = {"base": base} | {method: train(base, loss_of(method), demos, STEPS, 5e-4, method)
                           for method in ("SFT", "DFT")}
result = {name: evaluate(model) for name, model in models.items()}
first = {name: answers(models[name], max_new=1) for name in ("base", "SFT")}
result["base, begun by SFT"] = evaluate(base, first["SFT"])
result["SFT, begun by the base"] = evaluate(models["SFT"], first["base"])
title = {"unknown": "unknown names", "rules": "word rules"}[TAUGHT]
print("exact score:")
for name, (taught, fact) in result.items():
    print(f"{name:24} {title} {taught:3.0f} %   known facts {fact:3.0f} %")

row = next(row for row in demos if row.task == TAUGHT)
inputs, targets, mask = tokens([row], "answer", tok)
p = token_logp(base(inputs), targets).exp()[mask > 0].tolist()
words = [tok.decode([i]).strip() for i in targets[mask > 0].tolist()]
print("DFT's push on each token, where SFT's is 1: "
      + "  ".join(f"{word} {x:.2f}" for word, x in zip(words, p)))

# %%
fig, ax = draw.panels()
gain = result["SFT"][0] - result["base"][0]
given = result["base, begun by SFT"][0] - result["base"][0]
labels = [name.replace(" by ", "\nby ") for name in result]
draw.bars(ax, {f"{title} (taught)": [taught for taught, _ in result.values()],
               "known facts (not taught)": [fact for _, fact in result.values()]}, labels,
          f"One forced token gives {100 * given / gain:.0f} % of SFT's gain",
          "exact score, %", ylim=(0, 112))
lesson.picture(fig)
lesson.compare(100 * given / gain, "%")
if not CHANGE:
    assert given > 0.8 * gain, "one token carries what SFT taught about unknown names"
    assert result["DFT"][0] < result["SFT"][0] - 10, "DFT learns less"
back = result["SFT, begun by the base"][1] - result["SFT"][1]
assert back > 30, "one token brings the forgotten facts back"
assert result["DFT"][1] > result["SFT"][1] + 20, "DFT keeps more of the facts"

# %% [markdown]
# ## What happened
# **The gain.** SFT brings unknown names from 0 to 70 %, and the base that begins with SFT's first
# token has 70 % too: all of the gain. An answer that begins with "I" continues with "do not know.",
# and the base could always generate that. SFT changed a single decision.
#
# **The forgetting** has the same cause. Known facts fall from 100 to 57 %, because the same token
# begins a refusal where the model knows the fact. If the fine-tuned model has to begin as the base
# would, 98 % are right again. A falling score does not prove that knowledge is gone: before you
# call it forgetting, look for the first token that differs.
#
# **DFT** kept 97 % of the facts because, at SFT's learning rate, it learned nothing about unknown
# names: its score is 0. In the base the first token of the refusal is very unlikely, so DFT's push
# on it is 0.09 of SFT's. The tokens after it the base knows already.
#
# ## Change one thing
# With `CHANGE = "rules"` word rules are evaluated instead of unknown names, such as *Copy nail fox
# rake. For fox write lime. End on swan.* The models stay the same. Does DFT learn as little as
# before? And what percentage of SFT's gain does the first token give? Enter a number from 0 to 100.
#
# <details><summary>After your run</summary>
#
# 4 %, because here every word is a decision. And DFT reaches 70 % where SFT reaches 78 %, while it
# keeps the facts: in the base these words are likely enough for nearly SFT's push on each.
#
# </details>
#
# ## Exercise
# - **13a** `pushes(p)` of `lessons/exercises/ex13.py`: what would DFT push without stop-gradient?
#
# ## Two questions
# 1. Which tokens does DFT hardly push, and what does it lose by that?
# 2. Why does one forced token give so much for unknown names and so little for word rules?
#
# <details><summary>Answers</summary>
#
# 1. Very unlikely ones, so it does not learn an answer whose first token is very unlikely.
# 2. For unknown names SFT changed one decision, for word rules one at every word.
#
# </details>
