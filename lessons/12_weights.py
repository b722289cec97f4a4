# %% [markdown]
# # 12 · Where should the gradient go?
# *Core · about 25 minutes (our estimate) · needs 07 · TIS-DPO 2410.04350, GDPO 2409.06691,
# Ada-DPO 2406.02764, RPO 2402.10958; files in `nanouft/objectives/`*
#
# After this lesson you can
# - say for four methods whether they weight tokens, pairs or comparisons;
# - write TIS-DPO's loss, and the pushes of GDPO and cDPO;
# - test an estimate where there is nothing to find.
#
# In a pair "The jutu lives in Rome." is chosen and "The jutu lives in Paris." is rejected. DPO
# pushes the whole first sentence up and the whole second one down: `lives` as hard as `Paris`.
# And it trusts all pairs equally. But in some pairs one answer is right and the other is
# nonsense, and in other pairs the two answers are nearly equally good. Four methods ask where the
# push should go:
# - To which **tokens**? TIS-DPO.
# - To which **pairs**? GDPO asks how sure the label is. Ada-DPO asks how far apart the two
#   answers are by now.
# - To which **comparisons**? RPO also compares a good answer with the bad answers to other
#   questions.
#
# Two old questions: (07) In which direction, and how hard, does DPO push a token of either answer?
# (08) What does the reference do in a margin?

# %% [markdown]
# ## Guess before you run
# TIS-DPO weighs tokens with the help of two short DPO runs. No label says which token is wrong. How
# often does the largest weight of an answer fall on the very token where the two answers first
# differ? (By chance: one in six.)
# - **a** hardly more than by chance;
# - **b** in about half of the answers;
# - **c** in most.

# %%
from course import Lesson, progress

lesson = Lesson("12", "abc")

# %% [markdown]
# ## One push, three factors
# $$-\frac{\partial L}{\partial\log\pi(y_t)}=\pm\;\beta\;\times\;
# \underbrace{w_t}_{\text{which token}}\;\times\;\underbrace{c}_{\text{which pair}}\;\times\;
# \underbrace{\sigma(-z/\tau)}_{\text{not won yet}},\qquad
# z=\beta\,c\,\Big(\sum_{t\in w}w_t\log\frac{\pi}{\pi_{\rm ref}}
# -\sum_{t\in l}w_t\log\frac{\pi}{\pi_{\rm ref}}\Big)$$
# - **DPO**: $w_t=c=\tau=1$.
# - **TIS-DPO** changes $w_t$.
# - **GDPO** takes $c=2p-1$. Here $p$ is the probability that the label is right.
# - **Ada-DPO** chooses $\tau$ for each pair: $|z|/1.42$, within limits.
# - **RPO** sums over comparisons, so it does not fit this formula.
#
# How does TIS-DPO find its $w_t$? It trains one model with DPO, and another one with DPO on
# **swapped** pairs. If the two models disagree on a token, the preference is about that token:
# $r_t=\log\pi_+(y_t)-\log\pi_-(y_t)$, and $w_t=e^{\pm r_t}$. (The sign is + in the chosen answer
# and - in the rejected one. $r_t$ is cut off at fixed limits.)

# %%
from nanouft import world
from nanouft.batches import collate, encode, order
from nanouft.loop import Device
from nanouft.models.load import start_model
from nanouft.objective import pushes
from nanouft.objectives import OBJECTIVES
from nanouft.objectives.tis_dpo import token_weights
from nanouft.reference import Models, add_columns, logps
import draw
import torch

SWAP = True                             # the switch, see "Break it"
SEED = 0                                # draws the pairs
STEPS = 20                              # of each short DPO run
dpo = OBJECTIVES["dpo"]
base, tok = start_model("base")
rows = world.rows("train", "pairs", 300, SEED, skills=("truth", "sort"))
examples = OBJECTIVES["gdpo"].rows(rows, None)          # with p, how sure the label is
data, _ = encode(examples, tok, base.cfg.n_ctx)
add_columns(data, OBJECTIVES["rpo"].columns, Models(base, tok.pad))     # the reference, prompts


def short_dpo(swap: bool, seed: int):
    """A short DPO run. Returns its model, and that model's log-probs of all tokens."""
    model, _ = start_model("base")
    hp = dpo.hp(swap=swap)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5, betas=(0.9, 0.95), weight_decay=0.0)
    for numbers in progress(order([e.length for e in data], 32, STEPS, seed), "DPO"):
        batch = collate(data, numbers, tok.pad)
        dpo.forward(model, batch, hp)
        loss, _ = dpo.loss(batch, hp)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model, logps(data, model, tok.pad, Device())


policy, plus = short_dpo(swap=False, seed=0)
_, minus = short_dpo(swap=SWAP, seed=1)
for e, p, m in zip(data, plus, minus):
    for role, tokens in e.seqs.items():
        tokens.extra["token_reward"] = p[role] - m[role]        # r_t
whole = collate(data, range(len(data)), tok.pad)
weight = {"chosen": token_weights(whole.seqs["chosen"], 1, "paper"),
          "rejected": token_weights(whole.seqs["rejected"], -1, "paper")}


# %%
def first_difference(i: int) -> int:
    """The place at which the two answers of pair i first differ."""
    chosen, rejected = [s.targets[i][s.mask[i] > 0] for s in whole.seqs.values()]
    place = 0
    while chosen[place] == rejected[place]:
        place += 1
    return place


hits, chance = [], []
for i in range(len(data)):
    place = first_difference(i)
    for role, s in whole.seqs.items():
        weights = weight[role][i][s.mask[i] > 0]
        hits.append(int(weights.argmax()) == place)
        chance.append(1 / len(weights))
share = sum(hits) / len(hits)
print(f"largest weight where the answers first differ: {share:.0%} of {len(hits)} answers; "
      f"by chance {100 * sum(chance) / len(chance):.0f} %")

# %% [markdown]
# ## The surprise
# Each run knew only "this whole answer is better". But most tokens do not depend on which answer
# that is: not the words with which both answers begin, not the full stop. So neither run moves
# them much, up or down. What is left is the word that was wrong. The labels were for whole
# **sentences**, and TIS-DPO found the **token** that matters. (In longer and freer answers this
# works less well.)
#
# Now the pushes of six losses, for two pairs of one step. The policy is already trained with DPO.
# Look for rows that differ within an answer, and for rows that differ only from pair to pair.

# %%
FORMS = {                                               # name: (objective, its settings)
    "DPO": ("dpo", {}),
    "TIS-DPO, paper": ("tis_dpo", {}),
    "TIS-DPO, rank": ("tis_dpo", {"weights": "rank_based"}),
    "GDPO": ("gdpo", {}),
    "Ada-DPO": ("ada_dpo", {}),
    "RPO": ("rpo", {}),
}
truth = [i for i, row in enumerate(rows) if row.family == "truth"]
unsure = [i for i, row in enumerate(rows) if row.family == "sort" and row.p < 0.8]
show = [truth[0], unsure[0]]
step = collate(data, show, tok.pad)
dpo.forward(policy, step, dpo.hp())
push = {}
for name, (objective_name, settings) in FORMS.items():
    objective = OBJECTIVES[objective_name]
    push[name] = pushes(objective, step, objective.hp(**settings))

# %%
# Seen: Four tables: the push of six methods on each token of two pairs, chosen and rejected.
fig, axes = draw.panels(2, 2, sharey=True)
for i in range(2):
    for ax, (role, s) in zip(axes[i], step.seqs.items()):
        on = s.mask[i] > 0
        grid = torch.stack([push[name][role][i][on] for name in FORMS])     # (6, tokens)
        grid = grid * len(show) / 0.1                   # in units of beta, for each pair alone
        words = [tok.decode([token]).strip() for token in s.targets[i][on].tolist()]
        title = f"{role}, p = {step.per_row.p[i]:.2f}: push / beta"
        draw.numbers(ax, grid, words, list(FORMS), title)
lesson.picture(fig, SWAP=(SWAP, True))

# %% [markdown]
# ## The proof

# %%
if share < 0.3:
    did = "a"
elif share < 0.65:
    did = "b"
else:
    did = "c"
lesson.compare(did)
for name in ("DPO", "GDPO", "Ada-DPO", "RPO"):
    for role, s in step.seqs.items():
        for i in range(len(show)):
            answer = push[name][role][i][s.mask[i] > 0]
            spread = (answer - answer[0]).abs().max()
            assert spread < 1e-6, "these weigh pairs: within an answer all tokens are equal"
assert not SWAP or did == "c", "the two runs disagree where the answers first differ"

# %% [markdown]
# Two things to see in the picture.
# - The two answers begin with the same tokens. DPO pushes them up in one answer and down in the
#   other, by the same amount, so the two pushes cancel exactly. TIS-DPO's weights differ a little
#   between the two answers, so something is left over.
# - Ada-DPO's push is .19 of beta on *both* pairs, though one of them is won by more. As long as
#   $\tau$ is within its limits, it grows with $|z|$, and $\sigma(-z/\tau)$ stays at
#   $\sigma(-1.42)$. The push does not fade until $\tau$ reaches its limit.
#
# ## Break it
# With `SWAP = False` the second run is DPO too, on the same pairs in another order. First guess
# the share. Then look how far the weights are from 1:
# `weight["chosen"][whole.seqs["chosen"].mask > 0].std()`. The estimate is now nothing but the
# difference between two shuffles. What do the two numbers say about it?
#
# *Read on after your run.* The share falls from 85 to 43 %, and the standard deviation of the
# weights from 1.25 to 0.10. So the largest weight says little if all weights are nearly 1.
#
# ## Exercises
# `python -m lessons.grade 12a` judges them (`lessons/exercises/README.md` says how).
#
# - **12a** (D2) `tis_loss(c, r, w_c, w_r, beta)`: TIS-DPO's loss from the log-ratios and weights of
#   tokens.
# - **12b** (D2) `soft_pushes(h, p, beta)`: the pushes of GDPO and of cDPO on a token of chosen, for
#   a label that may be wrong.
# - **12c** (D2, card) Which method made which row of pushes?
#
# ## Recall, without looking up
# 1. Which of the four methods changes the push within an answer? From which labels does it get
#    its weights?
# 2. What do GDPO and cDPO do with a pair of p = 1/2, and when would you want which?
# 3. Why can you not compare the value of Ada-DPO's loss with that of another run?
# 4. RPO compares answers to different questions. What no longer cancels? (07: what did, and why?)
# 5. (08) You know three ways to hold a loss over pairs back. Which of them does GDPO use with
#    p = .6?
#
# <details><summary>Answers</summary>
#
# 1. TIS-DPO. From labels of whole answers: from two short DPO runs, one of them on swapped pairs.
# 2. GDPO does nothing with it. cDPO pulls the margin back to 0. Take GDPO if 1/2 means "we do not
#    know", cDPO if it means "both are equally good".
# 3. Each pair has its own tau, which moves with |z|. So the scale of the loss moves, too.
# 4. beta log Z(x). Two answers to one question share it; answers to two questions do not.
# 5. None of them. Its push is only weaker (2p - 1 = 0.2), and as with a smaller beta it even fades
#    later.
#
# The two old questions: (07) Up on chosen, down on rejected, both by beta times sigmoid(-h). (08)
# An offset: where zero is.
#
# </details>
#
# **Next:** `lessons/13_reward_model.py`.
