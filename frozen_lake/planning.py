"""Everything about a known lake, computed: values, best actions, chances, where a policy goes.

    V, Q = value_iteration(lake)
    success(lake, policy)  # exact, under gymnasium's own limit of steps

Policies are (..., S, 4) probabilities: leading dimensions (checkpoints, learners) are carried
along, and `lake` may be a stack of lakes with one learner each. The discount is below 1: with 1 a
detour would cost nothing, and on a deterministic lake nearly every cell would have several "best"
actions. G and H lead to themselves, so linear systems are solved on the other cells only.
Simplified: dense tables; fine for a few hundred cells.
"""
from functools import lru_cache

import torch
from torch import Tensor

from frozen_lake.lake import Lake, Lakes

GAMMA = 0.99
TIE = 1e-9  # two actions whose values differ by less are equally good


# ---- the best policy -----------------------------------------------------------------------------
def backup(lake: Lake | Lakes, V: Tensor, gamma: float = GAMMA) -> Tensor:
    """(...,S) -> (...,S,4): Q(s,a) = R(s,a) + gamma sum_t P(t|s,a) V(t); V of G and H is 0."""
    V = V.masked_fill(lake.terminal, 0)
    return lake.R + gamma * torch.einsum("...sat,...t->...sa", lake.P, V)


def value_iteration(lake: Lake, tol: float = 1e-14) -> tuple[Tensor, Tensor]:
    """(V (S,), Q (S,4)) of the best policy. Stops when no value moves by more than tol."""
    V = torch.zeros(lake.S, dtype=torch.float64)
    while True:
        Q = backup(lake, V)
        new = Q.amax(-1).masked_fill(lake.terminal, 0)
        if (new - V).abs().max() <= tol:
            return new, backup(lake, new)
        V = new


@lru_cache(maxsize=None)
def optimal_actions(lake: Lake) -> Tensor:
    """(S,4) bool, ties included. In cells where no action matters: all four."""
    Q = value_iteration(lake)[1]
    return Q >= Q.amax(-1, keepdim=True) - TIE


def optimal(lake: Lake) -> Tensor:
    """(S,4): the best policy that shares ties evenly."""
    best = optimal_actions(lake).double()
    return best / best.sum(-1, keepdim=True)


def uniform(lake: Lake) -> Tensor:
    """(S,4): all actions alike, a random walk."""
    return torch.full((lake.S, 4), 0.25, dtype=torch.float64)


def greedy(policy: Tensor) -> Tensor:
    """(...,4) -> one-hot of the first largest entry."""
    return torch.nn.functional.one_hot(policy.argmax(-1), 4).double()


# ---- what a given policy does --------------------------------------------------------------------
def transitions(lake: Lake | Lakes, policy: Tensor) -> Tensor:
    """(...,S,4) -> (...,S,S): from cell to cell under the policy."""
    return torch.einsum("...sa,...sat->...st", policy, lake.P)


def _system(lake: Lake | Lakes, policy: Tensor) -> Tensor:
    """(...,S,S): I - GAMMA T on the cells that are not terminal, I on the others."""
    on = (~lake.terminal).double()
    T = transitions(lake, policy) * on[..., :, None] * on[..., None, :]
    return torch.eye(lake.S, dtype=torch.float64) - GAMMA * T


def solve(lake: Lake | Lakes, policy: Tensor) -> Tensor:
    """(...,S,4) -> (...,S): the value of a policy by one linear system."""
    reward = (policy * lake.R).sum(-1)
    return torch.linalg.solve(_system(lake, policy), reward)


def occupancy(lake: Lake | Lakes, policy: Tensor) -> Tensor:
    """(...,S): discounted visits of each cell from the start, sum_t gamma^t P(s_t = s); 0 on G and
    H. With it the return is J = sum_s d(s) sum_a pi(a|s) R(s,a)."""
    A = _system(lake, policy)
    return torch.linalg.solve(A.transpose(-1, -2), lake.at_start.expand(A.shape[:-1]))


def visit_shares(lake: Lake | Lakes, policy: Tensor) -> Tensor:
    """(...,S): the occupancy, scaled to sum 1."""
    visits = occupancy(lake, policy)
    return visits / visits.sum(-1, keepdim=True)


def success(lake: Lake | Lakes, policy: Tensor, steps: int | None = None) -> Tensor:
    """(...,S) chance of standing on G after at most `steps` moves [gymnasium's limit], from every
    cell: finite-horizon dynamic programming, exact. Without the limit a slippery lake looks better
    than any episode can be."""
    T = transitions(lake, policy)
    V = lake.at_goal.expand(T.shape[:-1])[..., None]
    for _ in range(lake.limit if steps is None else steps):
        V = T @ V
    return V[..., 0]


def policy_gradient(lake: Lake | Lakes, policy: Tensor) -> Tensor:
    """(...,S,4): dJ/dlogits of a softmax table, exactly: d(s) pi(a|s) (Q(s,a) - V(s)), the policy
    gradient theorem (Sutton et al. 2000, Advances in NIPS 12)."""
    V = solve(lake, policy)
    advantage = backup(lake, V) - V[..., None]
    return occupancy(lake, policy)[..., None] * policy * advantage


# ---- episodes ------------------------------------------------------------------------------------
def draw(p: Tensor, rng: torch.Generator | None) -> Tensor:
    """(...,K) probabilities -> (...) one index each."""
    u = torch.rand(p.shape[:-1], generator=rng, dtype=torch.float64)[..., None]
    return (p.cumsum(-1) <= u).sum(-1).clamp_max(p.shape[-1] - 1)


def simulate(lake: Lake | Lakes, policy: Tensor, episodes: int, seed: int = 0,
             start: int | None = None, steps: int | None = None) -> tuple[Tensor, Tensor]:
    """(cells (N,episodes,steps+1), actions (N,episodes,steps)) of policies (N,S,4); -1 after the
    end of an episode. A single policy (S,4) gives (episodes, ...) without N."""
    if policy.dim() == 2:
        cells, actions = simulate(lake, policy[None], episodes, seed, start, steps)
        return cells[0], actions[0]
    N, rng = len(policy), torch.Generator().manual_seed(seed)
    n = torch.arange(N)[:, None]
    steps = lake.limit if steps is None else steps
    P = lake.P.expand(N, -1, -1, -1)
    over = lake.terminal.expand(N, -1)
    at = lake.at_start.argmax(-1) if start is None else torch.tensor(start)
    at = at.reshape(-1, 1).expand(N, episodes)
    cells = torch.full((N, episodes, steps + 1), -1)
    actions = torch.full((N, episodes, steps), -1)
    cells[:, :, 0] = at
    for t in range(steps):
        on = ~over[n, at]
        if not on.any():
            break
        a = draw(policy[n, at], rng)
        at = torch.where(on, draw(P[n, at, a], rng), at)
        actions[:, :, t] = torch.where(on, a, -1)
        cells[:, :, t + 1] = torch.where(on, at, -1)
    return cells, actions
