# %% [markdown]
# # 08 · DPO's relatives
# *About 30 minutes; read 07 first. CPO 2401.08417, SimPO 2405.14734, and seven more below; each has
# its file in `nanouft/objectives/`.*
#
# DPO asks a second model, the reference, how likely both answers were at the start. That costs
# memory and time, and in lesson 07 the policy ran away from its reference all the same. So what
# does the reference hold back? In this lesson you will take it out and see. Then you will meet
# methods that do without it, and others that keep it but ask where in an answer, or in which pairs,
# the push should go. The names are many, but there are only a few ideas behind them.
#
# ## Guess
# We repeat the run of lesson 07 and then leave the reference out of the loss. Without it,
# $\log p(\mathrm{chosen})$ falls
# - **a** much further;
# - **b** about as far;
# - **c** much less.

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
from nanouft.generate import answer_rows
from nanouft.gpt import shipped_base
from nanouft.simple import pick, tokens
from nanouft.tokenizer import nano

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
        ref = (pick(base(inputs), targets) * mask).sum(1)
    return Side((pick(model(inputs), targets) * mask).sum(1), ref, mask.sum(1))


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
draw.lines(ax, range(0, STEPS + 1, 4), paths,
           "Without its reference DPO falls as far; CPO and SimPO hold on", "step",
           "log p(chosen) of unseen pairs, nats")
lesson.picture(fig, CHANGE)

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
# ## Where should the push go?
# A second group of methods is about this question. In one pair of our data "The jutu lives in
# Rome." is chosen and "The jutu lives in Paris." is rejected. DPO pushes the whole first sentence
# up and the whole second one down, `lives` as hard as `Paris`, and it trusts every pair equally.
#
# - **TIS-DPO** (2410.04350) weights *tokens*. It trains one model with DPO and a second one with
#   DPO on swapped pairs. Where the two disagree about a token, the preference must be about that
#   token.
# - **GDPO** (2409.06691) weights *pairs*: with a probability $p$ that the label is right, the
#   margin is multiplied by $2p-1$, so that a pair of $p=1/2$ teaches nothing.
# - **Ada-DPO** (2406.02764) gives each pair a temperature that grows with its margin.
# - **RPO** (2402.10958) also compares a good answer with the bad answers to *other* questions, and
#   the more alike two questions are, the more the comparison counts.
# - **TPO** (2405.16681) is CPO with a third answer, which is imitated in place of the chosen one.
# - **ASFT** (2409.10571) drops the comparison. With $p$ for the mean probability of a token, it
#   raises $\log p$ of the chosen answer and $\log(1-p)$ of the rejected one, each by itself.
#
# No label says which token of an answer is wrong. How often does the largest weight of TIS-DPO fall
# on the very word where the two answers begin to differ? The next cell counts, and then prints the
# push of every method on some tokens of two pairs: one whose label is certain, and one whose
# answers are nearly equally good.

# %%
from dataclasses import replace

from nanouft.batches import collate, encode
from nanouft.ledger import pushes
from nanouft.objectives import OBJECTIVES
from nanouft.objectives.tis_dpo import token_weights
from nanouft.reference import Models

ROLES = ("chosen", "rejected")
rows = world.rows("train", "pairs", 300, seed=0, skills=("truth", "sort"))
swapped = [replace(row, chosen=row.rejected, rejected=row.chosen) for row in rows]
policy, _ = train("DPO", dpo, rows, 20, 5e-5)
opposite, _ = train("DPO, swapped", dpo, swapped, 20, 5e-5)

data, _ = encode(OBJECTIVES["gdpo"].choose(rows, None), tok, base.cfg.n_ctx)
rpo = OBJECTIVES["rpo"]
data = Models(base, tok.pad).prepare(data, rpo, rpo.hp())               # reference and prompts
plus, minus = Models(policy, tok.pad).logps(data), Models(opposite, tok.pad).logps(data)
for row, liked, disliked in zip(data, plus, minus):
    for role in ROLES:
        row.seqs[role].extra["token_reward"] = liked[role] - disliked[role]


def own(x, s, i: int):
    """(B,T) -> the values on the tokens of answer i."""
    return x[i][s.mask[i] > 0]


def first_difference(batch, i: int) -> int:
    """The position at which the two answers of pair i begin to differ."""
    w, l = (own(s.targets, s, i).tolist() for s in (batch.seqs[role] for role in ROLES))
    return next(k for k in range(len(w)) if w[k] != l[k])


everything = collate(data, range(len(data)), tok.pad)
found, chance = [], []
for role, sign in (("chosen", 1), ("rejected", -1)):
    s = everything.seqs[role]
    weights = token_weights(s, sign, "paper")
    for i in range(len(data)):
        found.append(int(own(weights, s, i).argmax()) == first_difference(everything, i))
        chance.append(1 / int(s.mask[i].sum()))
share = 100 * sum(found) / len(found)
print(f"TIS-DPO's largest weight is on the word that differs in {share:.0f} % of {len(found)} "
      f"answers; by chance it would be {100 * sum(chance) / len(chance):.0f} %\n")

# %%
sure = next(i for i, row in enumerate(rows) if row.family == "truth")
unsure = next(i for i, row in enumerate(rows) if row.family == "sort" and row.p < 0.8)
step = collate(data, [sure, unsure], tok.pad)
step.seqs["gold"] = step.seqs["chosen"].map(torch.clone)        # TPO's third answer; here the same
step.tokens["gold"] = step.tokens["chosen"]
OBJECTIVES["dpo"].forward(policy, step, None)

differ = [first_difference(step, i) for i in range(2)]
columns = []                                        # (pair, role, number of the token)
for role in ROLES:
    columns += [(0, role, 0), (0, role, differ[0]), (0, role, -1)]
columns += [(1, role, differ[1]) for role in ROLES]
words = []
for i, role, k in columns:
    s = step.seqs[role]
    words.append(draw.plain(tok.decode([int(own(s.targets, s, i)[k])])))
p = step.per_row["p"]
print(f"{'pushes':<9}{f'sure, p = {p[0]:.2f}: chosen':>24}{'rejected':>24}{f'p = {p[1]:.2f}':>16}")
print(f"{'':<9}" + "".join(f"{word:>8}" for word in words))
table = {}
for name in ("dpo", "tis_dpo", "gdpo", "ada_dpo", "rpo", "tpo", "asft"):
    push = pushes(OBJECTIVES[name], step, OBJECTIVES[name].hp())
    if "gold" in push:
        push["chosen"] = push["chosen"] + push["gold"]
    table[name] = [2 * own(push[role], step.seqs[role], i)[k].item() for i, role, k in columns]
    print(f"{name:<9}" + "".join(f"{x:+8.3f}" for x in table[name]))

# %%
fell = {name: path[0] - path[-1] for name, path in paths.items()}
with_it, without = fell.pop("DPO"), fell.pop("DPO, no reference")
if not CHANGE:
    assert with_it > 2, "DPO runs away from its reference, and the chosen answer falls"
    assert max(fell.values()) < 0, "CPO and SimPO hold the chosen answer"
    assert share > 65, "the two models of TIS-DPO disagree where the answers differ"
    for name in ("dpo", "gdpo", "ada_dpo", "rpo", "tpo", "asft"):
        first, middle, last = table[name][:3]
        assert max(abs(first - middle), abs(first - last)) < 1e-5, "only TIS-DPO weights tokens"
    lesson.compare("a" if without > 2 * with_it else "c" if without < with_it / 2 else "b")

# %% [markdown]
# In 85 % of the answers the largest weight falls on the word that differs, where chance would give
# 16 %. Both runs were only told which whole answer is better. But most tokens do not depend on
# that, so the two models agree about them, and what is left is the word that was wrong. TIS-DPO is
# therefore the only row of the table whose pushes differ within an answer. In DPO, GDPO, Ada-DPO
# and RPO the words that both answers share get the same push up and down, so the two cancel.
#
# The remaining columns tell the other methods apart. GDPO does what DPO does where the label is
# certain, and pushes less where $p=0.75$. Ada-DPO pushes both pairs by 0.019, because its
# temperature grows with the margin and so keeps the push from fading. TPO pushes the chosen side
# much harder than the rejected one, because it also imitates it. ASFT pushes `Paris` down by 0.693
# and the wrong word of the other pair by only 0.001, because it does not ask which answer is ahead
# but how likely the rejected answer is. A table of such weights on the gradient of $\log p$, made
# for all methods of this project, stands in `docs/methods.md`; in arXiv:2509.04419 four of IFT's
# authors put many methods of post-training into one formula in this way.
#
# **KTO** (2402.01306) has no pairs. It learns from single answers with a label, good or bad, and
# compares each of them with what the policy has gained on answers to *mismatched* questions, which
# estimates how far it has moved as a whole. For this it does need the reference.
#
# ## Change one thing
# `CHANGE = "tenfold"` divides SimPO's $\beta$ by ten, so it asks for ten times the margin before
# its push fades. Guess where its chosen answer ends.
#
# *After your run.* It ends at -13.34 instead of -1.28, and the model answers with nonsense, as
# DPO's does.
#
# ## Exercises
# Write them in `lessons/exercises/ex08.py` and check them with `python -m lessons.check 08`.
#
# - **08a** `simpo_loss(chosen, rejected, beta, gamma)` returns the loss of SimPO.
# - **08b** `kto_loss(ratios, good, mismatched, beta)` returns the loss of KTO.
#
# ## Three questions
# 1. What does the reference do in the margin of DPO, and what does it not do?
# 2. Name two ways to keep the chosen answer from falling, and a method for each.
# 3. From which labels does TIS-DPO get its weights for single tokens?
#
# <details><summary>Answers</summary>
#
# 1. It sets the zero of the margin, but it does not hold the policy back.
# 2. Ask for a smaller margin, as SimPO does, or go on imitating the chosen answer, as CPO does.
# 3. From labels of whole answers only: two models, trained on the pairs and on the swapped pairs,
#    disagree about the tokens on which the preference depends.
#
# </details>
#
# **Next:** `lessons/09_one_number_for_an_answer.py`.
