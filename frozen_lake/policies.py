"""Policies: a table of logits, and the paper's two-layer network. N learners at once, each with
weights of its own.

    policy = Net(lake, N=20)                        # policy.probs() is (20, S, 4)
    policy = start_policy("net", "habit", lake)     # the same, used to taking the detour

A policy is called like nanouft's GPT, so `forward` and `loss` of nanouft's objectives run on a lake
unchanged. Tokens are cells, targets are actions, and the embedding of a cell is its one-hot vector.
The final state of a position is its input with the logits behind it. One thing is different:
`greedy` names the cell that the greedy action leads to, because here that is the next state.
Rows of a batch are learners: row r belongs to learner r modulo N, so that several roles can stand
below each other.
"""
from abc import ABC, abstractmethod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from frozen_lake.lake import Lake
from frozen_lake.planning import optimal, walks, worse_path
from nanouft.plumbing.errors import one_of

HABIT_EPISODES, HABIT_UPDATES, HABIT_RATE = 60, 150, 0.02
HIDDEN = 32             # width of the network; the paper does not give it


class Policy(nn.Module, ABC):
    """What table and network share."""

    def __init__(self, lake: Lake, N: int):
        super().__init__()
        self.lake, self.N = lake, N

    @abstractmethod
    def logits(self, x: Tensor) -> Tensor:
        """(N,M,S) blends of cells -> (N,M,4)."""

    def all_logits(self) -> Tensor:
        """(N,S,4), of every cell."""
        return self.logits(torch.eye(self.lake.S, dtype=torch.float64).expand(self.N, -1, -1))

    @torch.no_grad()
    def probs(self) -> Tensor:
        """(N,S,4), the whole policy, no gradient."""
        return self.all_logits().softmax(-1)

    def wte(self, ids: Tensor) -> Tensor:
        """(B,T) cells -> (B,T,S) one-hot vectors."""
        return torch.eye(self.lake.S, dtype=torch.float64)[ids]

    def forward(self, ids: Any = None, *, embeds: Any = None) -> Tensor:
        """ids (B,T) cells | embeds (B,T,S) blends of one-hot cells; B is a multiple of N.
        -> (B,T,S+4) what was read, and the logits of the four actions."""
        x = self.wte(ids) if embeds is None else embeds
        B, T, S = x.shape
        roles = B // self.N
        by_learner = x.view(roles, self.N, T, S).transpose(0, 1).reshape(self.N, roles * T, S)
        logits = self.logits(by_learner).view(self.N, roles, T, 4).transpose(0, 1).reshape(B, T, 4)
        return torch.cat([x, logits], -1)

    def head(self, hidden: Tensor) -> Tensor:
        """(...,S+4) -> (...,4) logits of the actions."""
        return hidden[..., self.lake.S:]

    def greedy(self, hidden: Tensor) -> Tensor:
        """(...,S+4) -> (...) the cell that the greedy action intends."""
        cell = hidden[..., :self.lake.S].argmax(-1)
        return self.lake.step[cell, self.head(hidden).argmax(-1)]


class Table(Policy):
    """One row of logits for each cell, uniform in [-spread, spread], by each learner's place.
    On a blend of two cells its logits are the blend of their rows."""

    def __init__(self, lake: Lake, N: int = 20, spread: float = 0.2):
        super().__init__(lake, N)
        self.table = nn.Parameter(spread * uniform_numbers(N, (lake.S, 4)))

    def logits(self, x: Tensor) -> Tensor:
        return x @ self.table


class Net(Policy):
    """The paper's policy: Linear, ReLU, Linear on the one-hot cell. Weights start as torch's
    nn.Linear starts them."""

    def __init__(self, lake: Lake, N: int = 20):
        super().__init__(lake, N)
        S = lake.S
        sizes = [S * HIDDEN, HIDDEN, HIDDEN * 4, 4]
        w1, b1, w2, b2 = uniform_numbers(N, (sum(sizes),)).split(sizes, -1)
        first, second = S ** -0.5, HIDDEN ** -0.5
        self.w1 = nn.Parameter(first * w1.reshape(N, S, HIDDEN))
        self.b1 = nn.Parameter(first * b1[:, None])
        self.w2 = nn.Parameter(second * w2.reshape(N, HIDDEN, 4))
        self.b2 = nn.Parameter(second * b2[:, None])

    def logits(self, x: Tensor) -> Tensor:
        return F.relu(x @ self.w1 + self.b1) @ self.w2 + self.b2


def uniform_numbers(N: int, shape: tuple[int, ...]) -> Tensor:
    """(N, *shape) in [-1,1). A learner's numbers depend on its own place only."""
    def draw_one(seed: int) -> Tensor:
        rng = torch.Generator().manual_seed(seed)
        return 2 * torch.rand(shape, generator=rng, dtype=torch.float64) - 1
    return torch.stack([draw_one(seed) for seed in range(N)])


# ---- what a learner has imitated before ----------------------------------------------------------
def habit(lake: Lake) -> Tensor:
    """(S,4): 70 % of the moves follow the detour wherever it passes and are best elsewhere; 30 %
    are random."""
    policy = optimal(lake)
    for s, a in worse_path(lake):
        policy[s] = F.one_hot(torch.tensor(a), 4)
    return 0.7 * policy + 0.075


def start_policy(kind: str, start: str, lake: Lake, N: int = 20) -> Policy:
    """A "net" or a "table" of N learners: "fresh", from scratch; "habit", after each has imitated
    60 episodes of its own of that habit."""
    policy = {"net": Net, "table": Table}[kind](lake, N)
    if one_of("start", start, ("fresh", "habit")) == "habit":
        imitate(policy, habit(lake))
    return policy


def imitate(policy: Policy, teacher: Tensor) -> None:
    """Behaviour cloning in place by Adam: every learner imitates episodes of its own."""
    N, S = policy.N, policy.lake.S
    cells, actions = walks(policy.lake, teacher.expand(N, -1, -1), HABIT_EPISODES)
    on = actions >= 0                               # (N,episodes,steps)
    pair = torch.where(on, cells[..., :-1] * 4 + actions, 0).flatten(1)
    share = torch.zeros(N, S * 4, dtype=torch.float64)
    share = share.scatter_add(1, pair, on.flatten(1).double()).reshape(N, S, 4)
    share = share / share.sum((1, 2), keepdim=True)  # of each (cell, action)
    optimizer = torch.optim.Adam(policy.parameters(), lr=HABIT_RATE)
    for _ in range(HABIT_UPDATES):
        optimizer.zero_grad()
        loss = -(share * policy.all_logits().log_softmax(-1)).sum()  # each learner its own mean
        loss.backward()
        optimizer.step()
