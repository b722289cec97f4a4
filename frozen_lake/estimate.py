"""What SFT and IFT say about a policy, what each method reads, and what a step pushes.

    estimate(policy, task.best)             # (N,T) SFT's chance of each demonstrated move
    estimate(policy, task.best, lam=0.2)    # IFT's
    reads(task, probs, "dpo")               # (N,S) shares of the cells that a method reads
    overlap(reads(...), visits(lake, probs))
    pushes(task, table, "ift released")     # (N,S,4) how one step pushes each logit
    distance(lake, probs)                   # (N,S) 0 = as good as optimal in that cell

SFT reads each demonstrated cell and asks for the demonstrated move. The product of these chances is
exactly the chance that the policy, walking alone, makes all of these moves: in a cell of the path
it has made the same moves before, so this is the chain rule. IFT reads a blend of that cell and of
the policy's own guess, which is the cell where its own likeliest move, one step earlier, would have
led (arXiv:2405.11870v3, Eq. 17).
"""
import copy

import torch
import torch.nn.functional as F
from torch import Tensor

from frozen_lake.lake import Lake
from frozen_lake.learn import Task, batch_of, method, seqs_of
from frozen_lake.planning import Path, optimal_actions
from frozen_lake.policies import Policy, Table
from nanouft.objective import Batch


@torch.no_grad()
def estimate(policy: Policy, path: Path, lam: float = 0.0) -> Tensor:
    """(N,T) chance of each move of the path: SFT's at lam 0, IFT's above. Read by IFT's own
    forward."""
    batch = Batch({"answer": seqs_of(path, policy.N)})
    objective, hp = method("ift", lam=lam)
    objective.forward(policy, batch, hp)
    return batch.seqs["answer"].logp.exp()


def own_guesses(lake: Lake, probs: Tensor, path: Path) -> Tensor:
    """(N,S,4) policies -> (N,T) cells: where the likeliest move in the cell before would have led.
    The first cell has none before it and is its own."""
    cells = torch.tensor([s for s, _ in path])
    led = lake.step[cells[:-1], probs[:, cells[:-1]].argmax(-1)]
    return torch.cat([cells[:1].expand(len(probs), 1), led], 1)


def reads(task: Task, probs: Tensor, name: str, lam: float = 0.2) -> Tensor:
    """(N,S,4) policies -> (N,S): the share of each cell in what a method reads, among the cells
    from which G can be reached."""
    N, S = probs.shape[:2]
    path = F.one_hot(torch.tensor([s for s, _ in task.best]), S).sum(0).double()
    if name in ("dpo", "orpo"):
        path = path + F.one_hot(torch.tensor([s for s, _ in task.worse]), S).sum(0)
    read = path.expand(N, S)
    if name.startswith("ift"):
        guessed = F.one_hot(own_guesses(task.lake, probs, task.best), S).sum(1)
        read = (1 - lam) * read + lam * guessed
    live = torch.zeros(S, dtype=torch.float64)
    live[task.lake.live] = 1
    return read * live / (read * live).sum(-1, keepdim=True)


def overlap(a: Tensor, b: Tensor) -> Tensor:
    """Two shares (...,S) -> (...): how much of one lies where the other is, 0 to 1."""
    return torch.minimum(a, b).sum(-1)


def pushes(task: Task, policy: Table, name: str, **settings) -> Tensor:
    """(N,S,4) minus the gradient of one step's loss by the logits of a table."""
    policy = copy.deepcopy(policy)
    objective, hp = method(name, **settings)
    batch = batch_of(task, name, policy.probs())
    objective.forward(policy, batch, hp)
    loss, _ = objective.loss(batch, hp)
    return -torch.autograd.grad(loss, policy.table)[0]


def distance(lake: Lake, probs: Tensor) -> Tensor:
    """(...,S,4) -> (...,S): squared distance to the nearest optimal policy, divided by 4. A uniform
    row costs .1875 where one action is best. The nearest policy shares the probability d of wrong
    actions evenly among the m optimal ones, so it is (sum of wrong pi^2 + d^2 / m) / 4. The paper's
    "MSE between policy tables", made fair to ties."""
    best = optimal_actions(lake)
    wrong = probs * ~best
    return (wrong.square().sum(-1) + wrong.sum(-1).square() / best.sum(-1)) / 4
