# %% [markdown]
# # 08 · What holds a loss back if there is no reference?
# *Core · about 25 minutes (our estimate) · needs 07 · CPO 2401.08417, SimPO 2405.14734,
# SLiC 2305.10425, ASFT 2409.10571, ORPO 2403.07691, TPO 2405.16681, KTO 2402.01306; each has its
# file in `nanouft/objectives/`*
#
# After this lesson you can
# - place a loss over pairs in one family, by its margin and by how its push fades;
# - name three ways to hold such a loss back;
# - write the losses of SimPO and KTO, and the log-odds of ORPO.
#
# DPO asks a second model, the reference, how likely both answers were at the start. That costs
# memory and time. A whole group of methods works without it. They look different, but the chart
# below shows only three ideas. First a guess about the reference itself. In lesson 07 DPO ran away
# from it. So what did the reference hold back?
#
# Two old questions: (07) Why must both answers of a pair have the same question? (03) Token mean
# and sequence mean: which of them gives a long answer more weight?

# %% [markdown]
# ## Guess before you run
# We repeat lesson 07's run twice, the second time without the reference log-probs in the loss.
# Without them, log p(chosen) falls ...
# - **a** much further;
# - **b** about as far;
# - **c** much less.

# %%
from course import Lesson, progress

lesson = Lesson("08", "abc")

# %% [markdown]
# ## One family
# Let $\Delta$ be the difference of the two answers' log-probs. It may be summed or per token, and
# against a reference or not. Then nearly all of these methods are
# $$L=\phi(\beta\,\Delta)+\alpha\cdot\mathrm{NLL}(\text{chosen}),\qquad
# -\frac{\partial L}{\partial\log\pi(w)}=-\beta\,\phi'(\beta\Delta)+\frac{\alpha}{N}.$$
# NLL is the negative log-likelihood: the mean of $-\log\pi$ over the tokens, as in SFT.
#
# | | $\Delta$ | $\phi$ | $\alpha$ |
# |---|---|---|---|
# | `dpo` | sums, minus the reference's | $-\log\sigma$, $\beta=.1$ | 0 |
# | `cpo` | sums | $-\log\sigma$, $\beta=.1$ | 1 (here also 0: DPO without its reference) |
# | `simpo` | means | $-\log\sigma(\cdot-\gamma)$, $\beta=2$ | 0 |
# | `slic` | sums | hinge $\max(0,1-\Delta)$ | .1 of the *sum* |
#
# `asft` and `orpo` use log-odds, $\log\frac{p}{1-p}$. Here $p$ is the probability of an answer on
# average per token (the geometric mean). ORPO compares the two log-odds. ASFT takes each answer
# alone: $-\log p_w-\log(1-p_l)$. So its push on one answer does not depend on the other at all.

# %%
from nanouft import world
from nanouft.batches import collate, encode, order
from nanouft.models.load import start_model
from nanouft.objective import REF, pushes
from nanouft.objectives import OBJECTIVES
from nanouft.reference import Models, add_columns
from nanouft.sampling import answer_rows
import draw
import torch

SIMPO = {}                                      # the switch, see "Break it"
SEED = 0                                        # the draw of pairs
STEPS = 40                                      # of each run
base, tok = start_model("base")
LOSSES = {                                      # label: (objective, its hyper-parameters)
    "DPO": ("dpo", {}),
    "the same, no reference": ("cpo", {"alpha": 0.0}),
    "CPO": ("cpo", {}),
    "SimPO": ("simpo", SIMPO),
    "SLiC": ("slic", {}),
    "ASFT": ("asft", {}),
    "ORPO": ("orpo", {}),
}


def pairs(split: str, n: int, seed: int):
    rows = world.rows(split, "pairs", n, seed, skills="unknown")
    data, _ = encode(OBJECTIVES["dpo"].rows(rows, None), tok, base.cfg.n_ctx)
    add_columns(data, (REF,), Models(base, tok.pad))
    return rows, data


_, data = pairs("train", 300, SEED)
asked, unseen = pairs("val", 40, 0)             # never trained on


def train(label: str, objective, hp):
    """Lesson 07's run. Returns [log p(chosen), log p(rejected)] every four steps, and an answer."""
    model, _ = start_model("base")
    probe = collate(unseen, range(40), tok.pad)
    path = []
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.0)
    steps = order([e.length for e in data], 32, STEPS + 1, SEED)
    for i, rows in enumerate(progress(steps, label)):
        if i % 4 == 0:
            objective.forward(model, probe, hp)
            _, metrics = objective.loss(probe, hp)
            path.append([float(metrics["logp_chosen"]), float(metrics["logp_rejected"])])
        batch = collate(data, rows, tok.pad)
        objective.forward(model, batch, hp)
        loss, _ = objective.loss(batch, hp)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    text = tok.decode(answer_rows(model, tok, asked[2:3], max_new=12)[0].ids).strip()
    return path, text.encode("ascii", "replace").decode()       # nonsense is not always text


print("log p(chosen) and log p(rejected), start -> end; and an answer to:", asked[2].prompt[0].text)
paths = {}
for label, (name, flags) in LOSSES.items():
    objective = OBJECTIVES[name]
    path, says = train(label, objective, objective.hp(**flags))
    paths[label] = path
    (chosen, rejected), (chosen_end, rejected_end) = path[0], path[-1]
    print(f"{label:<23}{chosen:7.2f} -> {chosen_end:6.2f} "
          f"{rejected:8.2f} -> {rejected_end:6.1f}    {says}")

# %% [markdown]
# ## The surprise
# Without the reference nearly the same happens. The chosen answer falls about as far, and the model
# says as much nonsense. In a pair the reference is just an **offset** of the margin: it says where
# zero is, and holds nothing back. A loss is held back if its push fades early, or if another push
# is stronger. The chart shows three ways:
# - **Ask for less.** SimPO's push has faded at a margin of about two nats on average per token.
#   SLiC's push on the pair ends at one nat in all.
# - **Hold on.** The likelihood of the chosen answer (CPO, SLiC, ORPO, ASFT) is a push that stays
#   when the pair is won.
# - **Look at one answer only.** ASFT's push on the rejected answer fades with the probability of
#   that answer.
#
# DPO with $\beta=.1$ pushes until each pair has a margin of about forty nats. Long before that, the
# chosen answer has fallen. (Adam divides by the recent size of the gradient. So what matters is how
# *fast* a push fades, more than how large it was.)

# %%
def pushes_at(objective, hp, margin: float) -> list[float]:
    """How hard a token of chosen is pushed, and one of rejected, at this margin per token."""
    batch = collate(unseen, [0], tok.pad)
    for role, logp in (("chosen", -1.0), ("rejected", -1.0 - margin)):
        s = batch.seqs[role]
        s.logp = torch.full_like(s.mask, logp).double()
        s.ref_logp = torch.full_like(s.mask, -1.0).double()
    found = []
    for role, push in pushes(objective, batch, hp).items():
        answer = batch.seqs[role].mask[0] > 0
        found.append(abs(push[0][answer][0].item()))
    return found


margins = [x / 8 - 0.75 for x in range(70)]
up, down, live = {}, {}, {}                     # label -> a curve
for label, (name, flags) in LOSSES.items():
    objective = OBJECTIVES[name]
    curves = torch.tensor([pushes_at(objective, objective.hp(**flags), m) for m in margins])
    up[label], down[label] = (curves / curves.max(0).values).T      # shares of the largest push
    live[label] = [chosen for chosen, _ in paths[label]]
# Seen: The push of seven losses up and down over the margin, and log p(chosen) in training.
fig, ax = draw.panels(1, 3)
per_token = "margin, nats per token"
draw.lines(ax[0], margins, up, "push UP on chosen,\nshare of its largest", per_token, legend="")
draw.lines(ax[1], margins, down, "push DOWN on rejected,\nshare of its largest", per_token,
           legend="")
draw.lines(ax[2], range(0, STEPS + 1, 4), live, "log p(chosen),\nlive", "step", legend="")
fig.legend(*ax[0].get_legend_handles_labels(), frameon=False, ncols=4, loc="lower center")
lesson.picture(fig, layout={"rect": (0, 0.13, 1, 1)}, SIMPO=(SIMPO, {}))

# %% [markdown]
# ## The proof

# %%
fell = {label: path[0][0] - path[-1][0] for label, path in paths.items()}
with_it, without = fell.pop("DPO"), fell.pop("the same, no reference")
if without > 2 * with_it:
    did = "a"
elif without < with_it / 2:
    did = "c"
else:
    did = "b"
lesson.compare(did)
assert did == "b" and with_it > 2, "the reference is an offset: without it, chosen falls as far"
assert SIMPO or max(fell.values()) < 0, "the others hold the chosen answer back"

# %% [markdown]
# KTO is not in the chart, because it has no pairs. It learns from single answers with a label. It
# compares each of them with what the policy gains on *mismatched* questions and answers: an
# estimate of how far the policy has moved as a whole. Here the reference is needed: without it,
# nothing says how far the policy has moved. TPO is CPO with a third answer to hold on to.
#
# ## Break it
# With `SIMPO = {"beta": 0.2}` SimPO asks for ten times the margin. Where has its push faded now,
# and what happens to the chosen answer? Guess from the chart alone, then run.
#
# *Read on after your run.* Now the push fades at ten times the margin. Log p(chosen) ends at
# -12.6, not at -1.2, and the model says nonsense.
#
# ## Exercises
# `python -m lessons.grade 08a` judges them (`lessons/exercises/README.md` says how).
#
# - **08a** (D2) `simpo_loss(chosen, rejected, beta, gamma)`: the loss of SimPO, without a
#   reference.
# - **08b** (D2) `log_odds(logp)`: the log-odds of an answer, finite even where it is nearly
#   certain.
# - **08c** (D3) `kto_loss(ratios, good, mismatched, beta)`: the loss of KTO, for answers with a
#   label and a KL from mismatched pairs.
# - **08d** (D2, card) Which loss made which strip, at the start of training?
#
# ## Recall, without looking up
# 1. What does the reference do in DPO's margin, and what does it not do?
# 2. Name the three ways to hold a loss over pairs back, and a method for each.
# 3. Why must SimPO take means and not sums, if it has no reference?
# 4. (07) Which two numbers are logged apart, and what can both of them do while the margin grows?
#
# <details><summary>Answers</summary>
#
# 1. It sets the zero of the margin: an offset. It does not hold the policy back.
# 2. Ask for less: SimPO, SLiC. Hold on to the chosen answer: CPO, SLiC, ORPO, ASFT. Look at one
#    answer only: ASFT.
# 3. A sum of log-probs falls with each token, so a long answer looks bad. In DPO the reference's
#    sum removes that.
# 4. log p(chosen) and log p(rejected). Both can fall.
#
# The two old questions: (07) So that Z(x) cancels. (03) The token mean.
#
# </details>
#
# **Next:** `lessons/09_una.py`.
