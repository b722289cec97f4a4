"""Everything about a known lake, computed: values, best actions, paths, where a policy goes.

    V, Q = value_iteration(lake)
    best_path(lake), worse_path(lake)       # what methods learn from: [(cell, action), ...]
    success(lake, policy)                   # exact, under gymnasium's own limit of steps

A policy is (..., S, 4) probabilities: leading dimensions (checkpoints, learners) are carried along.
The discount is below 1. With 1 a detour would cost nothing, and nearly every cell would have
several "best" actions. G and H lead to themselves, so linear systems are solved on the other cells
only.
"""
import heapq
from functools import cache

import torch
from torch import Tensor

from frozen_lake.lake import ARROWS, Lake

GAMMA = 0.99
TIE = 1e-9                                          # actions whose values differ by less are equal

Path = list[tuple[int, int]]                        # (cell, action), as many as there are moves


# ---- the best policy -----------------------------------------------------------------------------
def backup(lake: Lake, V: Tensor) -> Tensor:
    """(...,S) -> (...,S,4): Q(s,a) = R(s,a) + gamma sum_t P(t|s,a) V(t); V of G and H is 0."""
    return lake.R + GAMMA * torch.einsum("sat,...t->...sa", lake.P, V.masked_fill(lake.terminal, 0))


def value_iteration(lake: Lake) -> tuple[Tensor, Tensor]:
    """(V (S,), Q (S,4)) of the best policy. Stops when no value moves by more than 1e-14."""
    V = torch.zeros(lake.S, dtype=torch.float64)
    while True:
        new = backup(lake, V).amax(-1).masked_fill(lake.terminal, 0)
        if (new - V).abs().max() <= 1e-14:
            return new, backup(lake, new)
        V = new


@cache
def optimal_actions(lake: Lake) -> Tensor:
    """(S,4) bool, ties included. In cells where no action matters: all four."""
    Q = value_iteration(lake)[1]
    return Q >= Q.amax(-1, keepdim=True) - TIE


def optimal(lake: Lake) -> Tensor:
    """(S,4): the best policy that shares ties evenly."""
    best = optimal_actions(lake).double()
    return best / best.sum(-1, keepdim=True)


# ---- what a given policy does --------------------------------------------------------------------
def transitions(lake: Lake, policy: Tensor) -> Tensor:
    """(...,S,4) -> (...,S,S): from cell to cell under the policy."""
    return torch.einsum("...sa,sat->...st", policy, lake.P)


def policy_value(lake: Lake, policy: Tensor) -> Tensor:
    """(...,S,4) -> (...,S): the value of a policy by one linear system, (I - GAMMA T) V = R, where
    no step into G or H counts, nor one that stays there."""
    T = transitions(lake, policy).masked_fill(lake.terminal, 0)
    return torch.linalg.solve(torch.eye(lake.S) - GAMMA * T, (policy * lake.R).sum(-1))


def success(lake: Lake, policy: Tensor) -> Tensor:
    """(...,S,4) -> (...,S): the chance of standing on G after gymnasium's limit of moves, from
    every cell, by dynamic programming."""
    T = transitions(lake, policy)
    V = torch.eye(lake.S, dtype=torch.float64)[lake.goal].expand(T.shape[:-1])[..., None]
    for _ in range(lake.limit):
        V = T @ V
    return V[..., 0]


# ---- episodes ------------------------------------------------------------------------------------
def draw(p: Tensor, rng: torch.Generator) -> Tensor:
    """(...,K) probabilities -> (...) one index each."""
    u = torch.rand(p.shape[:-1], generator=rng, dtype=torch.float64)[..., None]
    return (p.cumsum(-1) <= u).sum(-1).clamp_max(p.shape[-1] - 1)


def walks(lake: Lake, policy: Tensor, episodes: int) -> tuple[Tensor, Tensor]:
    """(cells (N,episodes,limit+1), actions (N,episodes,limit)) of policies (N,S,4), each episode
    from the start; -1 after its end. Each call draws the same numbers."""
    rng = torch.Generator().manual_seed(0)
    N = len(policy)
    n = torch.arange(N)[:, None]
    at = torch.full((N, episodes), lake.start)
    cells = torch.full((N, episodes, lake.limit + 1), -1)
    actions = torch.full((N, episodes, lake.limit), -1)
    cells[..., 0] = at
    for t in range(lake.limit):
        on = ~lake.terminal[at]
        if not on.any():
            break
        a = draw(policy[n, at], rng)
        at = torch.where(on, draw(lake.P[at, a], rng), at)
        actions[..., t] = torch.where(on, a, -1)
        cells[..., t + 1] = torch.where(on, at, -1)
    return cells, actions


# ---- demonstrations ------------------------------------------------------------------------------
def arrows(path: Path) -> str:
    return "".join(ARROWS[a] for _, a in path)


def best_path(lake: Lake) -> Path:
    """From S to G, each time the first optimal action."""
    best = optimal_actions(lake)
    s, path = lake.start, []
    while s != lake.goal:
        a = int(best[s].double().argmax())
        path.append((s, a))
        s = int(lake.step[s, a])
    return path


def least_shared_path(lake: Lake) -> Path:
    """The path to G that shares the fewest cells with the best one; of several, the shortest."""
    on_best = {s for s, _ in best_path(lake)}
    queue: list[tuple[int, int, Path]] = [(0, lake.start, [])]
    seen = set()
    while True:  # Dijkstra: a shared cell costs 1,000 moves more
        cost, s, path = heapq.heappop(queue)
        if s == lake.goal:
            return path
        if s in seen or lake.terminal[s]:
            continue
        seen.add(s)
        for a, t in enumerate(lake.step[s].tolist()):
            heapq.heappush(queue, (cost + 1 + 1000 * (t in on_best), t, path + [(s, a)]))


def worse_path(lake: Lake) -> Path:
    """The other way, which is a detour on most maps. Where it is no longer than the best path, with
    one step back and forth in its middle, so that it is worse."""
    path = least_shared_path(lake)
    if len(path) > len(best_path(lake)):
        return path
    k = len(path) // 2
    back = (path[k - 1][1] + 2) % 4                 # left and right, down and up are two apart
    return path[:k] + [(path[k][0], back), path[k - 1]] + path[k:]
