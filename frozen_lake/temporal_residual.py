"""What SFT and IFT estimate of a policy, the true value, and where the error is.

    best_move_probs(lake, residual(policy, path, 0.2), path)     # (N,T) IFT's estimate; 0: SFT's
    best_move_probs(lake, placebo(policy, path, 0.2, "random cell"), path)   # a placebo of its size
    best_moves_alone(lake, probs, 8)        # (N,8) the true value, where its own walks stand
    error_by_cell(lake, probs, path)        # (N,S) where SFT's estimate errs
    distance(lake, probs)                   # (N,S) 0 = as good as optimal in that cell

SFT reads each demonstrated cell. IFT reads a mix of that cell and of the policy's own prediction,
which is the cell where its own likeliest move, one step earlier, would have led (the temporal
residual, arXiv:2405.11870v3, Eq. 17). The inputs are mixed, one-hot vectors; in a table that is a
mix of logits. A placebo moves as much probability and knows nothing of the prediction: a random
cell in its place, or uniform logits.
Over the whole path SFT is exact: the product of its probabilities is that of making all of these
moves, because in a cell of the path the policy has made the same moves before (the chain rule).
Move by move all can err: how likely is a best move, whichever it is, where its own walks stand?
"""
import torch
import torch.nn.functional as F
from torch import Tensor

from frozen_lake.lake import Lake
from frozen_lake.planning import Path, optimal_actions, transitions
from frozen_lake.policies import Policy


def predicted_cells(lake: Lake, probs: Tensor, path: Path) -> Tensor:
    """(N,S,4) policies -> (N,T) cells: where the likeliest move in the cell before would have led.
    The first cell has none before it and is its own."""
    cells = torch.tensor([s for s, _ in path])
    led = lake.step[cells[:-1], probs[:, cells[:-1]].argmax(-1)]
    return torch.cat([cells[:1].expand(len(probs), 1), led], 1)


# ---- estimates -----------------------------------------------------------------------------------
def probs_of_mixed_input(policy: Policy, path: Path, other: Tensor,
                         share: float | Tensor) -> Tensor:
    """(N,C,T) other cells -> (N,C,T,4) probabilities of the moves if in the input each cell of the
    path is mixed with them. share: of the others, a number or (N,)."""
    cells, one_hot = torch.tensor([s for s, _ in path]), torch.eye(policy.lake.S).double()
    share = torch.as_tensor(share, dtype=torch.float64).view(-1, 1, 1, 1)
    x = (1 - share) * one_hot[cells] + share * one_hot[other]           # (N,C,T,S)
    return policy.logits(x.flatten(1, 2)).softmax(-1).view(*x.shape[:-1], 4)


def residual(policy: Policy, path: Path, lam: float) -> Tensor:
    """(N,1,T,4): what IFT reads; SFT's at lam 0."""
    predicted = predicted_cells(policy.lake, policy.probs(), path)[:, None]
    return probs_of_mixed_input(policy, path, predicted, lam)


def random_cell(policy: Policy, path: Path, share: Tensor) -> Tensor:
    """(N,C,T,4): the same with each cell of `live` in the place of the predicted one."""
    other = torch.tensor(policy.lake.live)[:, None].repeat(1, len(path))
    other[:, 0] = path[0][0]
    return probs_of_mixed_input(policy, path, other.expand(policy.N, -1, -1), share)


def uniform(policy: Policy, path: Path, share: Tensor) -> Tensor:
    """(N,1,T,4): SFT's logits mixed with those of a uniform policy, which is a softmax at the
    temperature 1 / (1 - share); not in the first cell, where IFT mixes nothing either."""
    sft = residual(policy, path, 0)
    flat = ((1 - share.view(-1, 1, 1, 1)) * sft.log()).softmax(-1)
    return torch.cat([sft[:, :, :1], flat[:, :, 1:]], 2)


PLACEBOS = {"random cell": random_cell, "uniform": uniform}


def size(moves: Tensor, sft: Tensor) -> Tensor:
    """(N,C,T,4) -> (N,): how much probability these move, compared with SFT's: the total variation
    distance, a mean over moves (and over C)."""
    return (moves - sft).abs().sum(-1).mean((1, 2)) / 2


def placebo(policy: Policy, path: Path, lam: float, name: str) -> Tensor:
    """(N,C,T,4): a change that knows nothing of the policy's prediction, with the share at which
    it is, for each policy, of the size of the residual at lam (1 if none is as large)."""
    sft = residual(policy, path, 0)
    wanted = size(residual(policy, path, lam), sft)
    if not wanted.any():
        return sft
    low, high = torch.zeros(policy.N).double(), torch.ones(policy.N).double()
    for _ in range(20):                         # by bisection: a larger share moves more
        middle = (low + high) / 2
        less = size(PLACEBOS[name](policy, path, middle), sft) < wanted
        low, high = torch.where(less, middle, low), torch.where(less, high, middle)
    return PLACEBOS[name](policy, path, low)


def best_move_probs(lake: Lake, moves: Tensor, path: Path) -> Tensor:
    """(N,C,T,4) probabilities of moves -> (N,T) the estimate: how likely is a best move, whichever
    it is, at each step of the path? A mean over C."""
    return (moves * optimal_actions(lake)[[s for s, _ in path]]).sum(-1).mean(1)


# ---- the true value ------------------------------------------------------------------------------
def share_among_standing(lake: Lake, probs: Tensor, steps: int) -> Tensor:
    """(N,S,4) policies -> (N,steps,S): of all walks from the start that are still on the ice, the
    share that stands in each cell before each move."""
    at = F.one_hot(torch.tensor(lake.start), lake.S).double().expand(len(probs), -1)
    out = []
    for _ in range(steps):
        on = at.masked_fill(lake.terminal, 0)
        out.append(on / on.sum(-1, keepdim=True))
        at = torch.einsum("ns,nst->nt", on, transitions(lake, probs))
    return torch.stack(out, 1)


def best_moves_alone(lake: Lake, probs: Tensor, steps: int) -> Tensor:
    """(N,S,4) policies -> (N,steps) exact chance of a best move at each of these steps, of the
    walks that are still on the ice: those that have fallen in are left out."""
    right = (probs * optimal_actions(lake)).sum(-1)         # (N,S)
    return (share_among_standing(lake, probs, steps) * right[:, None]).sum(-1)


def error_by_cell(lake: Lake, probs: Tensor, path: Path) -> Tensor:
    """(N,S,4) policies -> (N,S): SFT's estimate minus the true value, as a sum over cells: the
    probability of a wrong move times the cell's share among the policy's own walks, less its share
    in the path. Positive: wrong moves that SFT does not see, because no path leads there."""
    wrong = 1 - (probs * optimal_actions(lake)).sum(-1)
    own = share_among_standing(lake, probs, len(path)).mean(1)
    on_path = F.one_hot(torch.tensor([s for s, _ in path]), lake.S).double().mean(0)
    return (own - on_path) * wrong


def distance(lake: Lake, probs: Tensor) -> Tensor:
    """(...,S,4) -> (...,S): squared distance to the nearest optimal policy, divided by 4; the
    paper's "MSE between policy tables", made fair to ties. That policy shares the probability d of
    wrong actions evenly among the m optimal ones: (sum of wrong pi^2 + d^2 / m) / 4."""
    best = optimal_actions(lake)
    wrong = probs * ~best
    return (wrong.square().sum(-1) + wrong.sum(-1).square() / best.sum(-1)) / 4
