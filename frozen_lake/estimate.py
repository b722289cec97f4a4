"""What SFT and IFT say about a policy, and what each method reads.

    best_moves(lake, probs, task.best)      # (N,T) SFT's chance of a best move at each step
    best_moves(lake, probs, task.best, 0.2) # (N,T) IFT's
    best_moves_alone(lake, probs, 8)        # (N,8) where its own walks stand, fallen ones left out
    reads(task, probs, "dpo")               # (N,S) shares of the cells that a method reads
    overlap(reads(...), visits(lake, probs))
    distance(lake, probs)                   # (N,S) 0 = as good as optimal in that cell

SFT reads each demonstrated cell. IFT reads a blend of that cell and of the policy's own guess,
which is the cell where its own likeliest move, one step earlier, would have led (the temporal
residual, arXiv:2405.11870v3, Eq. 17); a policy is a table here, so it is a blend of logits. Over
the whole path SFT is exact: the product of its chances is the chance that the policy makes all of
these moves, because in a cell of the path it has made the same moves before (the chain rule). Move
by move both can err: how likely is a best move, whichever it is, where its own walks stand?
"""
import torch
import torch.nn.functional as F
from torch import Tensor

from frozen_lake.lake import Lake
from frozen_lake.learn import Task
from frozen_lake.planning import Path, optimal_actions, transitions
from nanouft.objectives.ift import IFT


def own_guesses(lake: Lake, probs: Tensor, path: Path) -> Tensor:
    """(N,S,4) policies -> (N,T) cells: where the likeliest move in the cell before would have led.
    The first cell has none before it and is its own."""
    cells = torch.tensor([s for s, _ in path])
    led = lake.step[cells[:-1], probs[:, cells[:-1]].argmax(-1)]
    return torch.cat([cells[:1].expand(len(probs), 1), led], 1)


def best_moves(lake: Lake, probs: Tensor, path: Path, lam: float = 0.0) -> Tensor:
    """(N,S,4) tables -> (N,T) chance of a best move, whichever it is, at each step of the path: in
    the demonstrator's cell at lam 0 (SFT), in IFT's blend of its logits and the guess's above."""
    cells = torch.tensor([s for s, _ in path])
    logits, learner = probs.log(), torch.arange(len(probs))[:, None]
    own = logits[learner, own_guesses(lake, probs, path)]
    blend = ((1 - lam) * logits[:, cells] + lam * own).softmax(-1)          # (N,T,4)
    return (blend * optimal_actions(lake)[cells]).sum(-1)


def on_ice(lake: Lake, probs: Tensor, steps: int) -> Tensor:
    """(N,S,4) policies -> (N,steps,S): of all walks from the start, the share that stands in each
    cell before each move. What is missing to 1 has fallen in or has arrived."""
    at = F.one_hot(torch.tensor(lake.start), lake.S).double().expand(len(probs), -1)
    out = []
    for _ in range(steps):
        on = at.masked_fill(lake.terminal, 0)
        out.append(on)
        at = torch.einsum("ns,nst->nt", on, transitions(lake, probs))
    return torch.stack(out, 1)


def standing(lake: Lake, probs: Tensor, steps: int) -> Tensor:
    """(N,S,4) policies -> (N,steps,S): the same among the walks that are still on the ice."""
    on = on_ice(lake, probs, steps)
    return on / on.sum(-1, keepdim=True)


def best_moves_alone(lake: Lake, probs: Tensor, steps: int) -> Tensor:
    """(N,S,4) policies -> (N,steps) exact chance of a best move at each of these steps, of the
    walks that are still on the ice: those that have fallen in are left out."""
    right = (probs * optimal_actions(lake)).sum(-1)         # (N,S)
    return (standing(lake, probs, steps) * right[:, None]).sum(-1)


def reads(task: Task, probs: Tensor, name: str) -> Tensor:
    """(N,S,4) policies -> (N,S): the share of each cell in what a method reads, among the cells
    from which G can be reached."""
    N, S = probs.shape[:2]
    path = F.one_hot(torch.tensor([s for s, _ in task.best]), S).sum(0).double()
    if name in ("dpo", "orpo"):
        path = path + F.one_hot(torch.tensor([s for s, _ in task.worse]), S).sum(0)
    read = path.expand(N, S)
    if name.startswith("ift"):
        guessed = F.one_hot(own_guesses(task.lake, probs, task.best), S).sum(1)
        read = (1 - IFT.lam) * read + IFT.lam * guessed
    live = torch.zeros(S, dtype=torch.float64)
    live[task.lake.live] = 1
    return read * live / (read * live).sum(-1, keepdim=True)


def overlap(a: Tensor, b: Tensor) -> Tensor:
    """Two shares (...,S) -> (...): how much of one lies where the other is, 0 to 1."""
    return torch.minimum(a, b).sum(-1)


def distance(lake: Lake, probs: Tensor) -> Tensor:
    """(...,S,4) -> (...,S): squared distance to the nearest optimal policy, divided by 4; the
    paper's "MSE between policy tables", made fair to ties. That policy shares the probability d of
    wrong actions evenly among the m optimal ones: (sum of wrong pi^2 + d^2 / m) / 4."""
    best = optimal_actions(lake)
    wrong = probs * ~best
    return (wrong.square().sum(-1) + wrong.sum(-1).square() / best.sum(-1)) / 4
