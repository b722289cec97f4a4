# %% [markdown]
# # 20 · Language as a walk
# On a frozen lake one policy copies the shortest path, and another finds its own way. Put both down
# beside the path. Which of them still gets home? In which states does a method learn?
#
# *25 minutes; needs 04 and 07. Language as a Markov decision process: arXiv:2405.11870v3, section
# 3.*
#
# A model that writes is like somebody who walks. It stands in a **state**, the text so far. There
# it takes an **action**, the next token, and that leads to a new state. This is a **Markov decision
# process**, and the papers on IFT, DPO and reinforcement learning are written in its terms.
#
# There are far too many texts to look at one by one. A lake has 17 cells of ice, so we can look at
# every state. The expert shows one path: 8 cells, and an arrow in each. Nine cells are off it.

# %%
import torch
import torch.nn.functional as F
from course import ask, curves, tell

from frozen_lake.lake import ARROWS, make_lake
from frozen_lake.planning import arrows, best_path, success
from frozen_lake.policies import Net, Table  # noqa: F401

N, STEPS, RATE, GAMMA = 20, 200, 0.02, 0.99     # N policies side by side
lake = make_lake("twoway5")
path = best_path(lake)                          # the demonstration: [(cell, arrow), ...]
cells, moves = (list(part) for part in zip(*path))
off = [cell for cell in lake.live if cell not in cells]         # the rest of the ice
print(*lake.rows, sep="\n")
print("S start, F ice, H hole, G goal. The demonstration:", arrows(path))
guess = ask("""Twenty policies imitate the demonstration. Twenty others raise the expected reward of
their own walks from S, and only G gives a reward. At the end all 40 reach G from S.
Put on the nine other cells of ice, the imitators reach G in 12 % of the cases.
In what percentage do the others?""", "0 to 100")

# %% [markdown]
# ## The value of a walk
# A walk that reaches G after n moves gets the reward $0.99^{n-1}$, and any other gets nothing. The
# expected reward from a cell is its **value** V. The first move gives the reward r on average. Then
# the walk stands in another cell, with the probabilities P, and its value counts 0.99 times:
# $$V=r+0.99\,PV.$$
# These are 25 linear equations with 25 unknowns. So V is computed, over all walks at once. Lesson
# 07 had to sample, because nobody can list all answers.

# %%
def value(p):
    """(N,S,4) probabilities of the moves in each cell -> (N,S) V, and (N,S,S) P."""
    r = (p * lake.R).sum(-1)                                            # R is 1 for a move onto G
    P = torch.einsum("nsa,sat->nst", p, lake.P).masked_fill(lake.terminal, 0)   # G and H end it
    return torch.linalg.solve(torch.eye(lake.S) - GAMMA * P, r), P


# %% [markdown]
# Autograd can differentiate this solution. The gradient of V(S) is the **policy gradient** of
# lesson 07, without the noise of samples.
#
# How often does a walk from S visit each cell? Let d be the expected number of visits. The start
# has one, and each visit sends P on: $d=e_S+P^\mathsf{T}d$. This is the same system, transposed.
#
# ## Two ways to learn
# Each policy is a small network with four outputs for a cell and a softmax. As in a language model,
# all states share its weights. The twenty policies differ only in their small random weights.

# %%
def home(p):
    """(N,S) 1 if the likeliest moves lead from a cell to G within 100 moves, else 0."""
    return success(lake, F.one_hot(p.argmax(-1), 4).double())


def walk(p, cell: int) -> str:
    """The likeliest moves of one policy (S,4) from a cell, and where they end."""
    said = ""
    while not lake.terminal[cell] and len(said) < 20:
        move = p[cell].argmax().item()
        cell, said = lake.step[cell, move].item(), said + ARROWS[move]
    return f"{said} {'goal' if cell == lake.goal else 'hole' if lake.terminal[cell] else '...'}"


beside, visits, reaches, changed = {}, {}, {}, {}
for name in ("imitates", "walks"):
    policy, beside[name], visits[name] = Net(lake, N), [], []
    start = policy.probs()
    optimizer = torch.optim.RMSprop(policy.parameters(), lr=RATE)
    for step in range(STEPS + 1):
        p = policy.probs()                                              # (N,S,4), no gradient
        beside[name].append(100 * home(p)[:, off].mean().item())
        d = torch.linalg.inv(torch.eye(lake.S) - value(p)[1])[:, lake.start]    # visits from S
        visits[name].append(d[:, off].sum(-1).mean().item())
        if step in (0, 1, 2, 4, 10, STEPS):
            print(f"{name}, step {step:3}: off the path {beside[name][-1]:3.0f} %, a walk from S "
                  f"has {visits[name][-1]:.3f} visits there; policy 0 from cell {4}: "
                  f"{walk(p[0], 4)}")
        if step == STEPS:
            break
        logits = policy.all_logits()                                    # 1. (N,S,4), every state
        if name == "imitates":
            loss = -logits.log_softmax(-1)[:, cells, moves].mean(-1).sum()      # 2. SFT's loss
        else:
            loss = -value(logits.softmax(-1))[0][:, lake.start].sum()   # 2. minus V(S)
        optimizer.zero_grad()
        loss.backward()                                                 # 3. its gradient
        optimizer.step()                                                # 4. the weights move
    reaches[name], changed[name] = home(p), (p != start)[:, off].sum().item()
    print(f"   from the path {100 * reaches[name][:, cells].mean():.0f} %, off it "
          f"{beside[name][-1]:.0f} %; {changed[name]} of {N * len(off) * 4} probabilities off the "
          "path have changed\n   % of the policies that reach G from each cell:")
    for row in range(0, lake.S, 5):
        print("   ", *(f"{100 * reaches[name][:, s].mean():4.0f}" if s in lake.live else
                       f"{lake.letters[s]:>4}" for s in range(row, row + 5)))
curves("20", range(STEPS + 1), beside, "% that reach G from cells off the path")
tell(guess, beside["walks"][-1], "%")

# %% [markdown]
# ## What happened
# **Imitation says nothing about other states.** It has changed all 720 probabilities off the path,
# because all cells share weights. Nothing made these changes right, and 12 % is what came out. The
# loss cannot show it, since it reads the path only.
#
# **The others learn where their walks go.** At first a walk from S has two visits off the path.
# After four steps it has 0.005. By then nearly all walks reach G, and the policy is finished: 27 %
# at step 4, 36 % at step 10, 36 % at the end. A state that is not visited has nearly no weight in
# the gradient. What the network does there is mostly a by-product of what it learned elsewhere.
#
# One could think that the network knew these cells and forgot them. The curve says no: it never
# rises above 40 %. But then, is it the shared weights that keep it so low? The edits test this.
#
# A model that answers soon leaves the demonstrated path, too. In training it reads right tokens
# only (**teacher forcing**), and in use its own. This gap is called **exposure bias**, and through
# it mistakes can pile up (Ross and Bagnell 2010). Sampling answers closes the gap only for those
# texts that the model still samples.
#
# ## Change one thing
# Guess the last percentage of both first, each time.
# 1. Replace `Net(lake, N)` by `Table(lake, N, spread=0.1)`: each cell has four numbers of its own.
# 2. With the table, also replace `RMSprop(policy.parameters(), lr=RATE)` by
#    `SGD(policy.parameters(), lr=10)`. RMSprop divides each gradient by its own recent size, so a
#    tiny one moves its number as far as a large one. SGD does not.
#
# <details><summary>After your runs</summary>
#
# 1. Imitation: 10 %, and 0 of 720 probabilities have changed. The others: 100 %, and that after a
# single step, when a walk still has 1.6 visits there. In a table every cell gets its own push.
# 2. 56 %, at this one rate. So separate numbers alone do not give the 100 %. RMSprop helps, which
# lifts the tiny gradients of cells that are hardly visited. In a network these gradients are added
# to the large ones of the path, in the same weights, and nothing can lift them apart.
#
# </details>
#
# ## To hand in
# Run the network with `RATE = 0.0005` and `STEPS = 800`. Hand in the curve, with the visits beside
# it at five steps, and two sentences: does a slower learner learn more about the other cells?
#
# ## Two questions
# 1. An imitator's loss on its demonstration is nearly zero. What does this say about other states?
# 2. The policy that learns from its own walks is never shown the path. Why does it still know so
#    little about the cells beside it?
#
# <details><summary>Answers</summary>
#
# 1. Nothing. In a table they stay as they began; in a network they change, and nothing makes the
#    changes right.
# 2. Each state counts as often as walks from S visit it. After a few steps nearly all walks stay
#    on the path, so the other cells have nearly no weight in the gradient.
#
# </details>
