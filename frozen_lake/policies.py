"""Policies: a table of logits, and the paper's two-layer network. N learners at once, each with its own weights.

    policy = Net(20, lake.S)                        # 20 learners; policy.probs() is (20, S, 4)
    pretrain(policy, task, "presub")                # start from mixed episodes instead of from scratch

A policy answers like nanouft's GPT: `forward` is the only door, with the same names for what goes in and comes out. So
nanouft's objectives run on a lake unchanged, their `forward` and their `loss`: tokens in are cells, targets are
actions, an embedding is the one-hot vector of a cell. One answer is a lake's own: asked for its greedy guess
("argmax"), a policy names the cell that its greedy action leads to, since here that is the next state.
Rows of a batch are learners: row r belongs to learner r modulo N (several roles stand below each other).
"""
from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from frozen_lake.demos import other_way
from frozen_lake.lake import Lake
from frozen_lake.planning import draw, optimal, simulate
from nanouft.errors import UserError
from nanouft.gpt import put_back


class Policy(nn.Module, ABC):
    """What table and network share. `step` (N,S,4), the cells that actions intend, is set by the task (learn.py)."""

    def __init__(self, N: int, S: int):
        super().__init__()
        self.N, self.S = N, S
        self.step: Tensor | None = None
        self.guess: torch.Generator | None = None       # None: greedy guesses; a generator: sampled ones
        self.seen = torch.zeros(N, S, dtype=torch.float64)      # share of each cell in what the loss read last

    @abstractmethod
    def logits(self, x: Tensor) -> Tensor:
        """(N,M,S) blends of cells -> (N,M,4)."""

    def probs(self) -> Tensor:
        """(N,S,4), the whole policy, no gradient."""
        with torch.no_grad():
            return self.logits(torch.eye(self.S, dtype=torch.float64).expand(self.N, -1, -1)).softmax(-1)

    def forward(self, ids: Tensor | None = None, *, embeds: Tensor | None = None, want: str = "logits",
                targets: Tensor | None = None, at: Tensor | None = None) -> Tensor:
        """GPT.forward for lakes. In: ids (B,T) cells | embeds (B,T,S) blends of one-hot cells; B a multiple of N.
        Out: "embeds" (B,T,S) | "logits" (B,T,4) | "argmax" (B,T) the cell that the guessed action intends
        | "logp" (B,T) nats, log-prob of the actions `targets`. The last two are 0 outside `at`, (K,) numbers of places
        in the flattened (B,T)."""
        x = F.one_hot(ids, self.S).double() if embeds is None else embeds
        if want == "embeds":
            return x
        B, T = x.shape[:2]
        def by_learner(y: Tensor) -> Tensor:                            # (B,T,K) -> (N, B/N * T, K)
            return y.reshape(B // self.N, self.N, T, -1).transpose(0, 1).reshape(self.N, -1, y.shape[-1])
        logits = self.logits(by_learner(x)).reshape(self.N, B // self.N, T, 4).transpose(0, 1).reshape(B, T, 4)
        at = torch.ones(B, T).bool() if at is None else put_back(torch.ones(len(at)).bool(), at, (B, T))
        if want == "argmax":
            action = logits.argmax(-1) if self.guess is None else draw(logits.softmax(-1), self.guess)
            cell = x.argmax(-1)
            return self.step[torch.arange(B)[:, None] % self.N, cell, action].masked_fill(~at, 0)
        if want == "logp":
            read = by_learner(x.detach() * at[..., None]).sum(1)
            self.seen = read / read.sum(-1, keepdim=True)
            logp = logits.log_softmax(-1).gather(-1, targets[..., None])[..., 0]
            return logp.masked_fill(~at, 0)
        return logits


class Table(Policy):
    """One row of logits a cell. spread 0: exactly uniform; else uniform in [-spread, spread], by each learner's seed.
    On a blend of two cells its logits are the blend of their rows."""

    def __init__(self, N: int, S: int, spread: float = 0.0, seeds: list[int] | None = None):
        super().__init__(N, S)
        self.table = nn.Parameter(spread * _uniform(N, (S, 4), seeds))

    def logits(self, x: Tensor) -> Tensor:
        return x @ self.table


class Net(Policy):
    """The paper's policy: Linear, ReLU, Linear on the one-hot cell; its width is not given, 32 here. Weights start as
    torch's nn.Linear starts them, by each learner's seed."""

    def __init__(self, N: int, S: int, hidden: int = 32, seeds: list[int] | None = None):
        super().__init__(N, S)
        first, second = S ** -0.5, hidden ** -0.5
        flat = _uniform(N, (S * hidden + hidden + hidden * 4 + 4,), seeds)
        w1, b1, w2, b2 = flat.split([S * hidden, hidden, hidden * 4, 4], -1)
        self.w1, self.b1 = nn.Parameter(first * w1.reshape(N, S, hidden)), nn.Parameter(first * b1[:, None])
        self.w2, self.b2 = nn.Parameter(second * w2.reshape(N, hidden, 4)), nn.Parameter(second * b2[:, None])

    def logits(self, x: Tensor) -> Tensor:
        return F.relu(x @ self.w1 + self.b1) @ self.w2 + self.b2


def _uniform(N: int, shape: tuple[int, ...], seeds: list[int] | None) -> Tensor:
    """(N, *shape) in [-1,1): a learner's numbers depend on its seed only, not on who stands beside it."""
    seeds = list(range(N)) if seeds is None else seeds
    return torch.stack([2 * torch.rand(shape, generator=torch.Generator().manual_seed(s), dtype=torch.float64) - 1
                        for s in seeds])


# ---- starting from something ----------------------------------------------------------------------------------------
def habit(lake: Lake, start: str) -> Tensor:
    """(S,4): whose episodes a learner has imitated before the experiment.
    premix  half of the moves are the best ones, half are random
    presub  follows the detour wherever it passes and is best elsewhere, 70 %; random, 30 %"""
    if start == "premix":
        return 0.5 * optimal(lake) + 0.125
    way = other_way(lake)
    if way is None:
        raise UserError(f"map {lake.name}: it has no detour, which the start 'presub' follows; use fresh or premix")
    habit = optimal(lake).clone()
    for s, a in way:
        habit[s] = F.one_hot(torch.tensor(a), 4)
    return 0.7 * habit + 0.075


def start_policy(kind: str, start: str, task, seeds: list[int] | None = None) -> Policy:
    """The network or the table that a learner starts with, after its habit has been imitated."""
    net = kind == "net"
    policy = Net(task.N, task.lakes.S, seeds=seeds) if net else Table(task.N, task.lakes.S, 0.2, seeds)
    pretrain(policy, task, start, seed=seeds[0] if seeds else 0)
    return policy


def pretrain(policy: Policy, task, start: str, seed: int = 0, steps: int = 150, lr: float = 0.02) -> None:
    """Behaviour cloning in place: every learner imitates episodes of its own (premix 40, presub 60; Adam)."""
    if start == "fresh":
        return
    once = {lake: habit(lake, start) for lake in dict.fromkeys(task.lakes.each)}
    cells, actions = simulate(task.lakes, torch.stack([once[lake] for lake in task.lakes.each]),
                              40 if start == "premix" else 60, seed)
    count = torch.zeros(policy.N, policy.S * 4, dtype=torch.float64)
    on = actions >= 0
    place = torch.where(on, cells[..., :-1] * 4 + actions, 0).flatten(1)
    count = count.scatter_add(1, place, on.flatten(1).double()).reshape(policy.N, policy.S, 4)
    count = count / count.sum((1, 2), keepdim=True)
    optimizer = torch.optim.Adam(policy.parameters(), lr=lr)
    every = torch.eye(policy.S, dtype=torch.float64).expand(policy.N, -1, -1)
    for _ in range(steps):
        optimizer.zero_grad()
        (-(count * policy.logits(every).log_softmax(-1)).sum()).backward()          # each learner its own mean
        optimizer.step()
