# %% [markdown]
# # 08 · DPO's relatives
# *About 25 minutes; read 07 first. CPO 2401.08417, SimPO 2405.14734; each method has its file in
# `nanouft/objectives/`.*
#
# DPO asks a second model, the reference, how likely both answers were at the start. That costs
# memory and time. So what does the reference hold back? In this lesson you will take it out and
# see, and meet two methods that do without it. DPO's relatives have many names, but there are only
# a few ideas behind them.
#
# ## Guess
# In the run of lesson 07 $\log p(\mathrm{chosen})$ goes from -2.5 to about -13 nats. We repeat it
# without the reference in the loss. Where does $\log p(\mathrm{chosen})$ end? Write down a number.

# %%
from course import Lesson, progress

lesson = Lesson("08")
CHANGE = ""                     # change one thing: "" | "tenfold"

# %% [markdown]
# ## One family
# Let $\Delta$ be the difference between the log-probabilities of the chosen and the rejected
# answer. It may be a difference of sums or of means over the tokens, and measured against a
# reference or not. Then most losses over pairs have the form
# $$L=-\log\sigma(\beta\Delta-\gamma)+\alpha\cdot\mathrm{NLL}(\mathrm{chosen}),$$
# where NLL, the *negative log-likelihood*, is the loss of SFT on the chosen answer. The first term
# pushes the chosen answer up and the rejected one down, until the pair is won clearly enough. The
# second pushes the chosen answer up without end.
#
# | method | $\Delta$ | $\beta$ | $\gamma$ | $\alpha$ |
# |---|---|---|---|---|
# | DPO | sums, minus those of the reference | 0.1 | 0 | 0 |
# | DPO without its reference | sums | 0.1 | 0 | 0 |
# | CPO | sums | 0.1 | 0 | 1 |
# | SimPO | means over the tokens | 2 | 0.5 | 0 |
#
# SimPO has to take means, because a sum falls with each token and a long answer would look bad for
# its length alone. In DPO the sum of the reference makes up for that. The next cell trains all four
# on the pairs of lesson 07, in which "I do not know." is the better answer about an invented
# creature.

# %%
import copy
from typing import NamedTuple

import draw
import torch
import torch.nn.functional as F

from nanouft import world
from nanouft.run.evaluation import answer_rows
from nanouft.gpt import shipped_base
from nanouft.simple import token_logp, tokens
from nanouft.models.tokenizer import nano

STEPS, ROWS = 40, 32
tok, base = nano(), shipped_base()


class Side(NamedTuple):
    """The chosen or the rejected answers of a step, (B,) each."""
    logp: torch.Tensor          # nats, the policy's, summed over the tokens of an answer
    ref: torch.Tensor           # nats, the reference's
    n: torch.Tensor             # tokens


def side(model, rows, name: str) -> Side:
    inputs, targets, mask = tokens(rows, name, tok)
    with torch.no_grad():
        ref = (token_logp(base(inputs), targets) * mask).sum(1)
    return Side((token_logp(model(inputs), targets) * mask).sum(1), ref, mask.sum(1))


def dpo(w: Side, l: Side):
    return -F.logsigmoid(0.1 * ((w.logp - w.ref) - (l.logp - l.ref)))


def dpo_without_reference(w: Side, l: Side):
    return -F.logsigmoid(0.1 * (w.logp - l.logp))


def cpo(w: Side, l: Side):
    return -F.logsigmoid(0.1 * (w.logp - l.logp)) - w.logp.sum() / w.n.sum()


def simpo(w: Side, l: Side):
    beta = 0.2 if CHANGE == "tenfold" else 2.0
    return -F.logsigmoid(beta * (w.logp / w.n - l.logp / l.n) - 0.5)


def train(name: str, loss_of, rows, steps: int, rate: float, unseen=()):
    """The base after these steps, and log p(chosen) of the unseen pairs every four steps."""
    model, path = copy.deepcopy(base), []
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.95), weight_decay=0.0)
    for step in progress(range(steps + 1), name):
        if unseen and step % 4 == 0:
            path.append(side(model, unseen, "chosen").logp.mean().item())
        if step < steps:
            some = [rows[i % len(rows)] for i in range(step * ROWS, (step + 1) * ROWS)]
            loss = loss_of(side(model, some, "chosen"), side(model, some, "rejected")).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model, path


pairs = world.rows("train", "pairs", 300, seed=0, skills=("unknown",))
unseen = world.rows("val", "pairs", 40, seed=0, skills=("unknown",))
losses = {"DPO": dpo, "DPO, no reference": dpo_without_reference, "CPO": cpo, "SimPO": simpo}
paths = {}                      # log p(chosen) over the steps
print(f"{'log p(chosen)':<19} start     end    {unseen[2].prompt[0].text}")
for name, loss_of in losses.items():
    model, paths[name] = train(name, loss_of, pairs, STEPS, 1e-4, unseen)
    answer = answer_rows(model, tok, unseen[2:3], max_new=8)[0]
    says = tok.decode(answer.ids).encode("ascii", "replace").decode().strip()
    print(f"{name:<18}{paths[name][0]:7.2f} {paths[name][-1]:7.2f}    {says}")

# %%
fig, ax = draw.panels()
hold = " and ".join(name for name, path in paths.items() if path[-1] > path[0])
draw.lines(ax, range(0, STEPS + 1, 4), paths,
           f"Without its reference DPO falls as far; what holds is {hold}", "step",
           "log p(chosen) of unseen pairs, nats")
lesson.picture(fig, CHANGE)

# %%
fell = {name: path[0] - path[-1] for name, path in paths.items()}
with_it, without = fell.pop("DPO"), fell.pop("DPO, no reference")
if not CHANGE:
    assert with_it > 2, "DPO runs away from its reference, and the chosen answer falls"
    assert max(fell.values()) < 0, "CPO and SimPO hold the chosen answer"
    assert abs(without - with_it) < with_it / 4, "without its reference DPO falls about as far"
    lesson.compare(paths["DPO, no reference"][-1])

# %% [markdown]
# ## What happened
# Without the reference, nearly the same happens: the chosen answer falls as far, and the model says
# as much nonsense. Within a pair the reference is an **offset** of the margin. It only says where
# the margin is zero, and a constant that is added to the margin does not hold anything back.
#
# The other two methods show what does. CPO adds a push that stays when the pair is won, so letting
# the chosen answer fall would raise the loss. SimPO asks for less: at a margin of about two nats
# per token its push has already faded. DPO with $\beta=0.1$ pushes until a pair has a margin of
# some forty nats in all, and long before that the chosen answer has fallen. How soon a push fades
# matters more than how strong it is, because Adam divides each gradient by its recent size.
#
# The other relatives of DPO each change one more decision: which tokens are pushed, how far a label
# is trusted, or whether there are pairs at all. `docs/methods.md` has the loss of every one of them
# and how hard it pushes the tokens of one fixed pair.
#
# ## Change one thing
# `CHANGE = "tenfold"` divides SimPO's $\beta$ by ten, so it asks for ten times the margin before
# its push fades. Guess where its chosen answer ends.
#
# *After your run.* It ends at -13.34 instead of -1.28, and the model answers with nonsense, as
# DPO's does.
#
# ## Exercise
# Write it in `lessons/exercises/ex08.py` and check it with `python -m lessons.check 08`.
#
# - **08a** `fades_at(share, beta, gamma)` returns the margin at which the push of such a loss has
#   faded to a share of its largest value, with which you can check the two and forty nats above.
#
# ## Two questions
# 1. What does the reference do in the margin of DPO, and what does it not do?
# 2. Why does SimPO take means over the tokens, and DPO sums?
#
# <details><summary>Answers</summary>
#
# 1. It sets the zero of the margin, but it does not hold the policy back.
# 2. A sum falls with each token. In DPO that of the reference falls as well, and they are
#    subtracted; without a reference a long answer would lose for its length.
#
# </details>
#
# **Next:** `lessons/09_one_number_for_an_answer.py`.
