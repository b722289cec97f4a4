# %% [markdown]
# # 03 · Language as a walk
# On a frozen lake, one policy copies the shortest path and another finds its own way. Put both down
# next to the path: who still gets home?
#
# *About 30 minutes; read 02 first. Language as a Markov decision process: arXiv:2405.11870v3,
# section 3.*
#
# A model that writes is like somebody who walks. It stands in a **state**, the text so far. There
# it names the next token, its **action**, and that leads to a new state, the text with that token
# at its end. This view is called a **Markov decision process**, and the papers on IFT, DPO and
# reinforcement learning are written in its terms (see `docs/terms.md`).
#
# There are far too many texts to look at one by one. A frozen lake has 17 cells of ice, so we can
# look at every state and ask what a model has learned to do in it. (`python -m frozen_lake` makes a
# page of such lakes; lesson 04 needs it.)
#
# | text | lake |
# |---|---|
# | the tokens so far | a cell |
# | the next token | one of four arrows |
# | a demonstration | the expert's shortest path: 8 cells, and an arrow in each |
# | the end of a right answer | the goal |
#
# ## Guess
# One policy imitates the shortest path, so it is taught only right moves. The other maximises the
# exact expected reward over all walks, wrong turns included, and only reaching the goal is
# rewarded. Both are small networks, and both learn to reach the goal from the start every time.
# From the nine cells of ice off the path the imitators succeed in 12 % of the cases. In what
# percentage do the others? Enter a number from 0 to 100.

# %%
from course import Lesson, progress

CHANGE = ""                     # change one thing: "" | "table", see below
lesson = Lesson("03", CHANGE)
CHANGE = lesson.change

# %% [markdown]
# ## The lake
# In the map below S is the start, G is the goal, F is ice, and H is a hole, where a walk ends
# without success. A **policy** gives each of the four arrows a probability in each cell, as a
# language model gives each token one after a text. Ours is a small network with four outputs for
# each cell and a softmax. As in a language model, all states share its weights, so an update in one
# of them also changes what it does elsewhere.
#
# We train twenty policies side by side, which differ only in their small random initial weights. A
# move always leads where its arrow points. (In Gymnasium's FrozenLake two moves in three go
# sideways, unless you set `is_slippery=False`.)

# %%
import draw
import torch
import torch.nn.functional as F

from frozen_lake.lake import ARROWS, make_lake
from frozen_lake.planning import arrows, best_path, policy_value, success, transitions
from frozen_lake.policies import Net, Table

N, STEPS, RATE = 20, 200, 0.02                  # policies, updates, learning rate
lake = make_lake("twoway5")
path = best_path(lake)                          # the demonstration: [(cell, arrow), ...]
cells, moves = (list(part) for part in zip(*path))
off = [cell for cell in lake.live if cell not in cells]         # the rest of the ice
print(*lake.rows, sep="\n")
print("the demonstration:", arrows(path), "through the cells", *cells)

# %% [markdown]
# ## Two ways to learn
# Most methods make some actions more likely and others less. They differ in **which states** they
# update, **which actions** they push there, and **how hard**. This lesson is about the first.
#
# SFT takes the states and the actions of the expert. Its loss is that of lesson 02, with cells
# instead of texts: the mean of $-\log\pi(a\mid s)$ over the eight steps of the path.
#
# The other policy takes states and actions from the walks that it might make (it learns
# **on-policy**), and is only told whether they reach the goal. A walk that does so after $n$ moves
# gets the **reward** $0.99^{n-1}$; any other walk gets nothing. Training raises the expected reward
# of a walk from the start, called the **value** of the start. The gradient of this value is the
# **policy gradient**. For a language model it has to be estimated from sampled answers (lesson 12);
# a lake is small enough to do without. The value of a cell is the mean over the policy's moves, by
# their probabilities, of the reward plus 0.99 times the value of the next cell. So all values $V$
# solve
# $$V=r+0.99\,PV,$$
# where $r$ has for each cell the mean reward of its next move, and $P$ the probabilities of getting
# from there to each other cell. Autograd can differentiate the solution of this linear system.
#
# Both losses reach the policy through the softmax $p_a=e^{z_a}/\sum_be^{z_b}$ of four numbers $z$.
# Raise one $z$: its move becomes likelier, and every other loses in proportion to its probability:
# $$\frac{\partial p_a}{\partial z_a}=p_a(1-p_a),\qquad
# \frac{\partial p_a}{\partial z_b}=-p_a\,p_b\quad(b\ne a).$$
# The optimizer, RMSprop, divides each gradient by its recent size. The cell checks both formulas.

# %%
def imitate(logits):
    """SFT: (N,S,4) logits -> the loss on the demonstrated moves, added up over the policies."""
    logp = logits.log_softmax(-1)[:, cells, moves]              # (N,8)
    return -logp.mean(-1).sum()


def walk(logits):
    """Minus the value of the start, over all walks that the policy could make."""
    return -policy_value(lake, logits.softmax(-1))[:, lake.start].sum()


def train(name: str, loss_of):
    """(N,S,4) probabilities of N policies before and after training."""
    policy = Table(lake, N, spread=0.1) if CHANGE == "table" else Net(lake, N)
    before = policy.probs()
    optimizer = torch.optim.RMSprop(policy.parameters(), lr=RATE)
    for _ in progress(STEPS, name, range(STEPS), training=True):
        loss = loss_of(policy.all_logits())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return before, policy.probs()


some = torch.randn(lake.S, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
p = some.softmax(-1)                                            # (S,4) a random policy
V = policy_value(lake, p)                                       # (S,)
next_V = V.masked_fill(lake.terminal, 0)                        # in a hole and at the goal it is 0
equation = (p * lake.R).sum(-1) + 0.99 * transitions(lake, p) @ next_V
assert torch.allclose(V, equation), "the value of a cell follows from those of the next cells"
derivatives = torch.autograd.functional.jacobian(lambda z: z.softmax(-1), some[0])       # (4,4)
assert torch.allclose(derivatives, p[0].diag() - p[0][:, None] * p[0]), "those of the softmax"

trained = {"imitates": train("imitates", imitate), "walks": train("walks", walk)}

# %% [markdown]
# We put every policy on every cell of ice in turn. It takes its most likely arrow until it meets
# the goal, a hole, or the limit of 100 moves.

# %%
reaches, beside = {}, {}        # (N,S) 1 if the policy reaches the goal from that cell, else 0; %
for name, (_, probs) in trained.items():
    reaches[name] = success(lake, F.one_hot(probs.argmax(-1), 4).double())
    on_path, beside[name] = (100 * reaches[name][:, part].mean().item() for part in (cells, off))
    print(f"{name:<9} success from cells on the path {on_path:.0f} %, off it {beside[name]:.0f} %")
moved = (trained["imitates"][0] != trained["imitates"][1])[:, off].sum().item()
print(f"imitation has changed {moved} of {N * len(off) * 4} probabilities off the path")

# %% [markdown]
# ## What happened
# A demonstration says nothing about states that the expert never visited. All the same, imitation
# has changed 720 of 720 probabilities off the path, because all cells share weights. But nothing
# made these changes right: the imitators succeed from 12 % of the other cells. Their loss cannot
# reveal this. It is nearly zero, since it only looks at cells of the path.
#
# The other policies were never shown a right move. At first many of their walks led all over the
# ice, so they could learn there. Yet from these cells they succeed in only 36 % of the cases. As
# they find the path, other cells count less and less, and the weights go on changing.
#
# A model that answers by itself does not stay on the demonstrated path for long either. After one
# token that the expert would not have written, it is in a state that no demonstration has shown.
# In training it reads only right tokens (**teacher forcing**), in use its own. This gap is called
# **exposure bias**, and because of it mistakes can pile up (Ross and Bagnell 2010). SFT evaluates
# the model on the demonstrated path only, so the paper on IFT holds that it *overestimates* the
# model. Lesson 04 tests this.

# %%
fig, panels = draw.panels(1, 2)
for ax, (name, from_cell) in zip(panels, reaches.items()):
    share = {cell: 100 * from_cell[:, cell].mean().item() for cell in lake.live}
    texts = {cell: f"{share[cell]:.0f}" for cell in lake.live}
    texts |= {cell: f"{texts[cell]}\n{ARROWS[move]}" for cell, move in path}
    draw.lake(ax, lake, texts, f"{name}: {beside[name]:.0f} % off the path", shades=share)
    ax.set_xlabel("% that reach the goal from a cell; arrows: the path")
lesson.picture(fig)
for name, from_cell in reaches.items():
    assert from_cell[:, cells].min() == 1, f"a policy that {name} succeeds from the path"
assert beside["imitates"] < beside["walks"], "a policy that makes mistakes learns off the path"
assert not CHANGE or moved == 0, "where the expert never stood, imitation changes nothing"
lesson.compare(beside["walks"], "%")

# %% [markdown]
# ## Change one thing
# `CHANGE = "table"` gives each cell four numbers of its own, so an update in one cell changes no
# other. The imitators succeed from 10 % of the cells off the path. From what percentage do the
# policies that learn from their own walks? Enter a number from 0 to 100.
#
# <details><summary>After your run</summary>
#
# From 100 %: what they learned while they made mistakes stays. In the network, later updates
# overwrote it. Imitation has now changed 0 of 720 probabilities off the path, so there its policy
# is still the random initial one. Shared weights carry knowledge from one state to another, but
# nothing guarantees that it fits there.
#
# </details>
#
# ## Exercise
# - **03a** `policy_gradient(p, r)` of `lessons/exercises/ex03.py`: the policy gradient in a single
#   state, over all actions at once.
#
# ## Two questions
# 1. An imitator's loss on its demonstration is nearly zero. What does this say about other states?
# 2. The table that learned on-policy still knows the way from cells that it no longer visits. Why
#    does it, and why does the network not?
#
# <details><summary>Answers</summary>
#
# 1. Nothing. In a table they stay as they began; in a network they change, and nothing makes the
#    changes right.
# 2. It learned there early in training, and each cell of a table has numbers of its own. In a
#    network later updates change the weights that all cells share.
#
# </details>
