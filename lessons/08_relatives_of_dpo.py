# %% [markdown]
# # 08 · DPO's relatives
# DPO compares with a frozen copy of the model. Train without the copy, and with two relatives that
# need none: what really holds the better answer in place?
#
# *About 25 minutes; read 07 first. CPO 2401.08417, SimPO 2405.14734; each method has its file in
# `nanouft/objectives/`.*
#
# DPO asks a second model, the reference, how likely both answers were at the start. That costs
# memory and time. So what does the reference hold back? DPO's relatives have many names, but there
# are only a few ideas behind them.
#
# ## Guess
# In the run of lesson 07 $\log p(\mathrm{chosen})$ goes from -2.5 to about -13 nats. We repeat it
# without the reference in the loss. Where does $\log p(\mathrm{chosen})$ end? Write down a number
# from -20 to 0.

# %%
from course import Lesson, train

CHANGE = ""                     # change one thing: "" | "tenfold"
lesson = Lesson("08", CHANGE)
CHANGE = lesson.change

# %% [markdown]
# ## One family
# Let $\Delta$ be the difference between the log-probabilities of the chosen and the rejected
# answer. It may be a difference of sums or of means over the tokens, and measured against a
# reference or not. Then most losses over pairs have the form
# $$L=-\log\sigma(\beta\Delta-\gamma)+\alpha\cdot\mathrm{NLL}(\mathrm{chosen}),$$
# where NLL, the *negative log-likelihood*, is the loss of SFT on the chosen answer. The first term
# pushes the chosen answer up and the rejected one down, until the pair is won clearly enough. The
# second, the **imitation term**, pushes the chosen answer up without end. A **pairs-only loss** has
# no such term: its $\alpha$ is 0.
#
# | method | $\Delta$ | $\beta$ | $\gamma$ | $\alpha$ |
# |---|---|---|---|---|
# | DPO | sums, minus those of the reference | 0.1 | 0 | 0 |
# | DPO without its reference | sums | 0.1 | 0 | 0 |
# | CPO | sums | 0.1 | 0 | 1 |
# | SimPO | means over the tokens | 2 | 0.5 | 0 |
#
# The second row changes one thing in the first, and CPO one thing in the second. SimPO differs in
# three: means, $\beta$ and $\gamma$. It has to take means, because a sum falls with each token and
# a long answer would look bad for its length alone. In DPO the sum of the reference makes up for
# that. The next cell trains all four, at one learning rate, on the pairs of lesson 07: "I do not
# know." is the better answer about an invented creature.

# %%
import draw
import torch
import torch.nn.functional as F

from nanouft import world
from nanouft.run.evaluation import answer_rows
from nanouft.gpt import shipped_base
from nanouft.simple import token_logp, tokens
from nanouft.models.tokenizer import nano

STEPS = 40
tok, base = nano(), shipped_base()


def side(model, rows, name: str):
    """(B,) each: log p of the chosen or rejected answers, summed over their tokens; the tokens."""
    inputs, targets, mask = tokens(rows, name, tok)
    return (token_logp(model(inputs), targets) * mask).sum(1), mask.sum(1)


def loss_of(name: str):
    """One of the four losses, a function of a model and some pairs."""
    def loss(model, rows):
        w, n_w = side(model, rows, "chosen")
        l, n_l = side(model, rows, "rejected")
        if name == "SimPO":
            beta = 0.2 if CHANGE == "tenfold" else 2.0
            return -F.logsigmoid(beta * (w / n_w - l / n_l) - 0.5).mean()
        if name == "DPO":
            with torch.no_grad():
                offset = side(base, rows, "chosen")[0] - side(base, rows, "rejected")[0]
            return -F.logsigmoid(0.1 * (w - l - offset)).mean()
        nll = -w.sum() / n_w.sum() if name == "CPO" else 0
        return -F.logsigmoid(0.1 * (w - l)).mean() + nll
    return loss


@torch.no_grad()
def chosen(model) -> float:
    """log p(chosen) of the unseen pairs, in nats."""
    return side(model, unseen, "chosen")[0].mean().item()


pairs = world.rows("train", "pairs", 300, seed=0, skills=("unknown",))
unseen = world.rows("val", "pairs", 40, seed=0, skills=("unknown",))
paths = {name: [] for name in ("DPO", "DPO, no reference", "CPO", "SimPO")}
print(f"{'log p(chosen)':<19} start     end      right   {unseen[2].prompt[0].text}")
for name, path in paths.items():
    model = train(base, loss_of(name), pairs, STEPS, 1e-4, name,
                  look=lambda model: path.append(chosen(model)))
    says = [tok.decode(x.ids).strip() for x in answer_rows(model, tok, unseen, max_new=8)]
    right = says.count("I do not know.")
    print(f"{name:<18}{path[0]:7.2f} {path[-1]:7.2f} {right:5} of {len(says)}   {says[2]}")

# %%
stronger = chosen(train(base, lambda model, rows: 10 * loss_of("SimPO")(model, rows), pairs, STEPS,
                        1e-4, "SimPO, ten times the loss"))
print(f"SimPO with ten times the loss: {stronger:.2f}")

# %%
fig, ax = draw.panels()
hold = " and ".join(name for name, path in paths.items() if path[-1] > path[0])
draw.lines(ax, range(0, STEPS + 1, 4), paths,
           f"Without its reference DPO falls as far; what holds is {hold}", "step",
           "log p(chosen) of unseen pairs, nats")
lesson.picture(fig)

# %%
fell = {name: path[0] - path[-1] for name, path in paths.items()}
with_it, without = fell.pop("DPO"), fell.pop("DPO, no reference")
if not CHANGE:
    assert max(fell.values()) < 0, "CPO and SimPO hold the chosen answer"
    assert abs(without - with_it) < with_it / 4, "without its reference DPO falls about as far"
    assert abs(stronger - paths["SimPO"][-1]) < 0.2, "ten times the push ends at the same place"
    lesson.compare(paths["DPO, no reference"][-1], "nats")
else:
    lesson.compare(paths["SimPO"][-1], "nats")

# %% [markdown]
# ## What happened
# Within a pair the reference is an **offset** of the margin. It only says where the margin is zero,
# and a constant that is added to the margin holds nothing back. So without it nearly the same
# happens: the chosen answer falls as far, and of 40 answers 16 are right in place of DPO's 15.
# After CPO and SimPO all 40 are.
#
# The other two methods show what does hold. CPO adds a push that stays when the pair is won, so
# letting the chosen answer fall would raise the loss. SimPO asks for less: at a margin of about two
# nats per token its push has already faded. DPO with $\beta=0.1$ pushes until a pair has a margin
# of some forty nats in all, and long before that the chosen answer has fallen.
#
# How soon a push fades matters more than how strong it is, because Adam divides each gradient by
# its recent size. With ten times the loss, and so ten times the push in every step, SimPO ends
# where it ended before.
#
# The other relatives of DPO each change one more decision: which tokens are pushed, how far a label
# is trusted, or whether there are pairs at all. `docs/methods.md` has the loss of every one of them
# and how hard it pushes the tokens of one fixed pair.
#
# ## Change one thing
# `CHANGE = "tenfold"` divides SimPO's $\beta$ by ten, so it asks for ten times the margin before
# its push fades. At the usual $\beta$ the log-probability of its chosen answer ends at -1.3 nats.
# Where does it end now? Write down a number from -20 to 0.
#
# <details><summary>After your run</summary>
#
# It ends at -13.34 instead of -1.28, and none of the 40 answers is right. After DPO 15 are,
# although its chosen answers end as unlikely. A mean of log-probabilities does not tell what a
# model says.
#
# </details>
#
# ## Exercise
# In `lessons/exercises/ex08.py`:
#
# - **08a** `fades_at(share, beta, gamma)` returns the margin at which the push of such a loss has
#   faded to a share of its largest value. Check the two and forty nats above with it.
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
