# %% [markdown]
# # 08 · DPO's relatives
# DPO compares with a frozen copy of the model, and beta is said to be the leash that ties it there.
# Cut the copy out of the loss: does the leash still hold?
#
# *About 20 minutes; read 07 first. CPO 2401.08417, SimPO 2405.14734; each method has its file in
# `nanouft/objectives/`.*
#
# DPO asks a second model, the reference, how likely both answers were at the start. That costs
# memory and time. In its derivation $\beta$ is the price of leaving the reference (lesson 07), so a
# larger $\beta$ should keep the policy nearer to it. This is true.
#
# ## Guess
# In the run of lesson 07, with $\beta=0.1$, $\log p(\mathrm{chosen})$ of unseen pairs falls from
# -2.5 to -13.3 nats. With $\beta=1$ it ends at -0.9. Now we take the reference out of the loss and
# leave $\beta=1$. Where does $\log p(\mathrm{chosen})$ end? Write down a number from -20 to 0.

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
# | DPO | sums, minus those of the reference | 0.1 or 1 | 0 | 0 |
# | DPO without its reference | sums | 0.1 or 1 | 0 | 0 |
# | CPO | sums | 0.1 | 0 | 1 |
# | SimPO | means over the tokens | 2 | 0.5 | 0 |
#
# SimPO has to take means, because a sum falls with each token and a long answer would look bad for
# its length alone. All are trained at one rate on the pairs of lesson 07: "I do not know." is the
# better answer about an invented creature. The KL from the reference is along the chosen answer.

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


def loss_of(name: str, beta: float, times: float = 1.0):
    """One of the losses, a function of a model and some pairs."""
    def loss(model, rows):
        w, n_w = side(model, rows, "chosen")
        l, n_l = side(model, rows, "rejected")
        if name == "SimPO":
            return -F.logsigmoid(beta * (w / n_w - l / n_l) - 0.5).mean()
        offset = 0
        if name == "DPO":
            with torch.no_grad():
                offset = side(base, rows, "chosen")[0] - side(base, rows, "rejected")[0]
        nll = -w.sum() / n_w.sum() if name == "CPO" else 0
        return times * (-F.logsigmoid(beta * (w - l - offset)).mean() + nll)
    return loss


@torch.no_grad()
def measure(model) -> tuple[float, float]:
    """Of the unseen chosen answers, in nats: the log-probability, and the KL from the reference."""
    inputs, targets, mask = tokens(unseen, "chosen", tok)
    p, q = model(inputs).log_softmax(-1), base(inputs).log_softmax(-1)
    apart = (p.exp() * (p - q)).sum(-1) * mask
    return side(model, unseen, "chosen")[0].mean().item(), apart.sum(1).mean().item()


pairs = world.rows("train", "pairs", 300, seed=0, skills=("unknown",))
unseen = world.rows("val", "pairs", 40, seed=0, skills=("unknown",))
RUNS = {"DPO, beta 0.1": ("DPO", 0.1), "no reference, beta 0.1": ("none", 0.1),
        "DPO, beta 1": ("DPO", 1), "no reference, beta 1": ("none", 1), "CPO": ("CPO", 0.1),
        "SimPO": ("SimPO", 0.2 if CHANGE == "tenfold" else 2),
        "DPO, beta 0.1, loss x 10": ("DPO", 0.1, 10)}
paths = {name: [] for name in RUNS}
print(f"{'log p(chosen)':<25} start     end    KL      right   {unseen[2].prompt[0].text}")
for name, path in paths.items():
    model = train(base, loss_of(*RUNS[name]), pairs, STEPS, 1e-4, name,
                  look=lambda model: path.append(measure(model)[0]))
    says = [tok.decode(x.ids).strip() for x in answer_rows(model, tok, unseen, max_new=8)]
    right = says.count("I do not know.")
    print(f"{name:<24}{path[0]:7.2f} {path[-1]:7.2f} {measure(model)[1]:5.1f} {right:5} of "
          f"{len(says)}   {says[2]}")

# %%
fig, ax = draw.panels()
draw.lines(ax, range(0, STEPS + 1, 4), {name: paths[name] for name in list(RUNS)[:6]},
           "The leash holds without anything that it is tied to", "step",
           "log p(chosen) of unseen pairs, nats")
lesson.picture(fig)
end = {name: path[-1] for name, path in paths.items()}
for beta in (0.1, 1):
    with_it, without = (end[f"{name}, beta {beta}"] for name in ("DPO", "no reference"))
    assert abs(without - with_it) < 1.5, "the reference makes little difference"
assert end["no reference, beta 1"] > end["DPO, beta 0.1"] + 5, "and beta a large one"
assert abs(end["DPO, beta 0.1, loss x 10"] - end["DPO, beta 0.1"]) < 1, "not by its strength"
lesson.compare(end["SimPO" if CHANGE else "no reference, beta 1"], "nats")

# %% [markdown]
# ## What happened
# **The leash holds, and is tied to nothing.** With $\beta=1$ the chosen answer ends at -1.1 nats
# without the reference, and at -0.9 with it; with $\beta=0.1$ at -12.8 and -13.3. Even the KL from
# the reference, which such a loss never sees, is 7.8 and 7.1 in place of 62 and 63. Within a pair
# the reference is an **offset** of $\Delta$. It says where $\Delta$ is zero, and a constant holds
# nothing back.
#
# On five other sets of pairs (seeds 1 to 5) the reference changes as little. With $\beta=1$ the
# chosen answer ends at -0.9 to -1.3 nats with it and at -0.9 to -1.4 without it, the KL at 7 to 8
# and at 7 to 9. With $\beta=0.1$ all five fall: to -3.6 to -10.6 with it, -3.9 to -9.8 without.
#
# **What $\beta$ does is to let the push fade.** DPO's push has faded to 4 % of the first one at a
# $\Delta$ of forty nats for $\beta=0.1$, and of four for $\beta=1$. Until then both answers are
# moved, and long before forty nats the chosen one has begun to fall. It is not the strength: with
# ten times the loss nothing changes, because Adam divides each gradient by its recent size. SimPO's
# push fades at two nats per token. CPO has another cure: a push that stays when the pair is won, so
# letting the chosen answer fall would raise the loss.
#
# **What the reference is for**: an answer that was much likelier from the start must not win for
# that alone. In our pairs this lead is small, 2.3 nats on average, and every pair is won by far
# more. Where it is tens of nats, the zero decides which pairs are pushed at all. The price is one
# pass of a second model over all pairs, or, as here, two more forward passes in each step.
# `docs/methods.md` has the losses of DPO's other relatives.
#
# ## Change one thing
# `CHANGE = "tenfold"` divides SimPO's $\beta$ by ten, so it asks for ten times the $\Delta$ before
# its push fades. At the usual $\beta$ the log-probability of its chosen answer ends at -1.3 nats.
# Where does it end now? Write down a number from -20 to 0.
#
# <details><summary>After your run</summary>
#
# At -13.34, and none of the 40 answers is right. After DPO 15 are, although its chosen answers end
# as unlikely. A mean of log-probabilities does not tell what a model says.
#
# </details>
#
# ## Exercise
# - **08a** `fades_at(share, beta, gamma)` of `lessons/exercises/ex08.py`: at which $\Delta$ has the
#   push of such a loss faded to a share of its largest value? Check the two and forty nats above.
#
# ## Two questions
# 1. What does the reference do in the $\Delta$ of DPO, and what does it not do?
# 2. Why does SimPO take means over the tokens, and DPO sums?
#
# <details><summary>Answers</summary>
#
# 1. It sets the zero of $\Delta$, but it does not hold the policy back.
# 2. A sum falls with each token. DPO subtracts the reference's sum, which falls as well; without a
#    reference a long answer would lose for its length.
#
# </details>
