"""Policies: a table of logits, and the paper's two-layer network. N learners at once, each with
weights of its own.

    policy = Net(20, lake.S)                        # 20 learners; policy.probs() is (20, S, 4)
    pretrain(policy, task.lakes, "presub")          # first imitate mixed episodes

A policy answers like nanouft's GPT: `forward` takes and gives the same names. So the `forward` and
`loss` of nanouft's objectives run on a lake unchanged. Tokens are cells, targets are actions, an
embedding is the one-hot vector of a cell. One answer is different: "argmax" names the cell that the
greedy action leads to, because here that is the next state.
Rows of a batch are learners: row r belongs to learner r modulo N (several roles stand below each
other).
"""
from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from frozen_lake.demos import detour, half_random
from frozen_lake.lake import Lake, Lakes
from frozen_lake.planning import draw, optimal, simulate
from nanouft.errors import UserError
from nanouft.gpt import put_back
from nanouft.objective import NOT_SET


class Policy(nn.Module, ABC):
    """What table and network share."""
    step: Tensor        # (N,S,4) the cell that each action intends; learn() sets it

    def __init__(self, N: int, S: int):
        super().__init__()
        self.N, self.S = N, S
        self.guess: torch.Generator | None = None  # draws the guesses; None: greedy guesses
        self.seen = torch.zeros(N, S, dtype=torch.float64)  # shares of the cells in the last loss

    @abstractmethod
    def logits(self, x: Tensor) -> Tensor:
        """(N,M,S) blends of cells -> (N,M,4)."""

    def all_logits(self) -> Tensor:
        """(N,S,4), of every cell."""
        return self.logits(torch.eye(self.S, dtype=torch.float64).expand(self.N, -1, -1))

    @torch.no_grad()
    def probs(self) -> Tensor:
        """(N,S,4), the whole policy, no gradient."""
        return self.all_logits().softmax(-1)

    def forward(self, ids: Tensor = NOT_SET, *, embeds: Tensor = NOT_SET, want: str = "logits",
                targets: Tensor = NOT_SET, at: Tensor | None = None) -> Tensor:
        """GPT.forward for lakes.

        In:   ids (B,T) cells | embeds (B,T,S) blends of one-hot cells; B is a multiple of N.
        Out:  want = "embeds" (B,T,S)
              | "logits" (B,T,4)
              | "argmax" (B,T) the cell that the guessed action intends, 0 outside `at`
              | "logp"   (B,T) nats, log-prob of the actions `targets`, 0 outside `at`.
        at:   (K,) places in the flattened (B,T); None = everywhere."""
        x = F.one_hot(ids, self.S).double() if embeds is None else embeds
        if want == "embeds":
            return x
        B, T = x.shape[:2]

        def by_learner(y: Tensor) -> Tensor:  # (B,T,K) -> (N, B/N * T, K)
            y = y.reshape(B // self.N, self.N, T, -1)
            return y.transpose(0, 1).reshape(self.N, B // self.N * T, -1)
        logits = self.logits(by_learner(x)).reshape(self.N, B // self.N, T, 4)
        logits = logits.transpose(0, 1).reshape(B, T, 4)
        if want == "logits":
            return logits
        on = torch.ones(B, T) if at is None else put_back(torch.ones(len(at)), at, (B, T))
        if want == "argmax":
            greedy = self.guess is None
            action = logits.argmax(-1) if greedy else draw(logits.softmax(-1), self.guess)
            learner = torch.arange(B)[:, None] % self.N
            return self.step[learner, x.argmax(-1), action].masked_fill(on == 0, 0)
        read = by_learner(x.detach() * on[..., None]).sum(1)
        self.seen = read / read.sum(-1, keepdim=True)
        logp = logits.log_softmax(-1).gather(-1, targets[..., None])[..., 0]
        return logp.masked_fill(on == 0, 0)


class Table(Policy):
    """One row of logits for each cell, uniform in [-spread, spread], by each learner's seed.
    On a blend of two cells its logits are the blend of their rows."""

    def __init__(self, N: int, S: int, spread: float = 0.0, seeds: list[int] | None = None):
        super().__init__(N, S)
        self.table = nn.Parameter(spread * _uniform(N, (S, 4), seeds))

    def logits(self, x: Tensor) -> Tensor:
        return x @ self.table


class Net(Policy):
    """The paper's policy: Linear, ReLU, Linear on the one-hot cell. The paper does not give its
    width; here it is 32. Weights start as torch's nn.Linear starts them, by each learner's seed."""

    def __init__(self, N: int, S: int, hidden: int = 32, seeds: list[int] | None = None):
        super().__init__(N, S)
        sizes = [S * hidden, hidden, hidden * 4, 4]
        w1, b1, w2, b2 = _uniform(N, (sum(sizes),), seeds).split(sizes, -1)
        first, second = S ** -0.5, hidden ** -0.5
        self.w1 = nn.Parameter(first * w1.reshape(N, S, hidden))
        self.b1 = nn.Parameter(first * b1[:, None])
        self.w2 = nn.Parameter(second * w2.reshape(N, hidden, 4))
        self.b2 = nn.Parameter(second * b2[:, None])

    def logits(self, x: Tensor) -> Tensor:
        return F.relu(x @ self.w1 + self.b1) @ self.w2 + self.b2


def _uniform(N: int, shape: tuple[int, ...], seeds: list[int] | None) -> Tensor:
    """(N, *shape) in [-1,1). A learner's numbers depend on its own seed only."""
    def draw_one(seed: int) -> Tensor:
        rng = torch.Generator().manual_seed(seed)
        return 2 * torch.rand(shape, generator=rng, dtype=torch.float64) - 1
    return torch.stack([draw_one(seed) for seed in (range(N) if seeds is None else seeds)])


# ---- what a learner has imitated before the experiment -------------------------------------------
EPISODES = {"premix": 40, "presub": 60}  # of each learner, for each start


def habit(lake: Lake, start: str) -> Tensor:
    """(S,4): the policy whose episodes are imitated.
    premix  half of the moves are the best ones, half are random
    presub  70 %: follow the detour wherever it passes, best elsewhere; 30 %: random"""
    if start == "premix":
        return half_random(lake)
    path = detour(lake)
    if path is None:
        raise UserError(f"map {lake.name}: it has no detour, which the start 'presub' follows; "
                        "use fresh or premix")
    policy = optimal(lake)
    for s, a in path:
        policy[s] = F.one_hot(torch.tensor(a), 4)
    return 0.7 * policy + 0.075


def start_policy(kind: str, start: str, task, seeds: list[int] | None = None) -> Policy:
    """What a learner starts with: a "net" or a "table"; "fresh", or after imitating a habit."""
    N, S = task.N, task.lakes.S
    policy = Net(N, S, seeds=seeds) if kind == "net" else Table(N, S, 0.2, seeds)
    pretrain(policy, task.lakes, start, seed=seeds[0] if seeds else 0)
    return policy


def pretrain(policy: Policy, lakes: Lakes, start: str, seed: int = 0, steps: int = 150,
             lr: float = 0.02) -> None:
    """Behaviour cloning in place by Adam: every learner imitates episodes of its own."""
    if start == "fresh":
        return
    habits = {lake: habit(lake, start) for lake in dict.fromkeys(lakes.each)}
    cells, actions = simulate(lakes, torch.stack([habits[lake] for lake in lakes.each]),
                              EPISODES[start], seed)
    on = actions >= 0  # (N,episodes,steps)
    place = torch.where(on, cells[..., :-1] * 4 + actions, 0).flatten(1)
    share = torch.zeros(policy.N, policy.S * 4, dtype=torch.float64)
    share = share.scatter_add(1, place, on.flatten(1).double()).reshape(policy.N, policy.S, 4)
    share = share / share.sum((1, 2), keepdim=True)  # of each (cell, action)
    optimizer = torch.optim.Adam(policy.parameters(), lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = -(share * policy.all_logits().log_softmax(-1)).sum()  # each learner its own mean
        loss.backward()
        optimizer.step()
