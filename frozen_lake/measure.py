"""What was learnt: the distance to the optimal policy, split by whose path a cell is on, and what
the walker then does.

    distance(lake, policy)                  # (...,S), 0 = as good as optimal in that cell
    measures(task, policy)                  # {name: (N,)} of N learners

Distance is the paper's measure, "MSE between policy tables" and "between transition matrices", made
fair to ties: where several actions are optimal, it is the distance to the NEAREST policy that uses
only these. Both are squared distances divided by 4, so a uniform row costs .1875 where one action
is best. They are means over live cells. Such a mean hides where the distance is, so it is also
split: the demonstrator's path, the worse path's other cells, and elsewhere.
"""
from functools import lru_cache
from itertools import combinations

import torch
from torch import Tensor

from frozen_lake.demos import Path
from frozen_lake.lake import Lake, Lakes
from frozen_lake.learn import Task, Trace
from frozen_lake.planning import greedy, optimal_actions, success

NOISE = 0.1  # share of the moves that are random in `noise`


def best(lake: Lake | Lakes) -> Tensor:
    """(S,4) or (N,S,4) bool: optimal actions."""
    if isinstance(lake, Lake):
        return optimal_actions(lake)
    return torch.stack([optimal_actions(one) for one in lake.each])


def distance(lake: Lake | Lakes, policy: Tensor) -> Tensor:
    """(...,S,4) -> (...,S): min over policies q on optimal actions of |pi - q|^2 / 4.
    The nearest q shares the probability d of wrong actions evenly among the m optimal ones, so the
    distance is (sum of wrong pi^2 + d^2 / m) / 4."""
    wrong, m = policy * ~best(lake), best(lake).sum(-1)
    return (wrong.square().sum(-1) + wrong.sum(-1).square() / m) / 4


def distance_transition(lake: Lake, policy: Tensor) -> Tensor:
    """(...,S,4) -> (...,S): the same for rows of the transition matrix,
    min over q of |P_s^T (pi - q)|^2 / 4."""
    out = torch.zeros(policy.shape[:-1], dtype=torch.float64)
    for s in lake.live:
        row = policy[..., s, :] @ lake.P[s]  # (...,S): where the policy goes from s
        gaps = []
        for M, K, k in _mixtures(lake, s):
            q = row @ K + k
            gap = (row - q @ M).square().sum(-1)
            gaps.append(torch.where((q >= -1e-9).all(-1), gap, torch.inf))
        out[..., s] = torch.stack(gaps).amin(0) / 4
    return out


@lru_cache(maxsize=None)
def _mixtures(lake: Lake, s: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    """For every choice of optimal actions in s: their rows M of P, and (K, k) such that
    q = row K + k is their mixture nearest to `row`: least squares with sum 1, by its KKT system.
    If q >= 0 it is a candidate. The best candidate is the projection onto all mixtures."""
    tied = optimal_actions(lake)[s].nonzero()[:, 0].tolist()
    out = []
    for n in range(1, len(tied) + 1):
        for chosen in combinations(tied, n):
            M, one = lake.P[s, list(chosen)], torch.ones(n, 1, dtype=torch.float64)
            upper, lower = torch.cat([M @ M.T, one], 1), torch.cat([one.T, torch.zeros(1, 1)], 1)
            inverse = torch.linalg.pinv(torch.cat([upper, lower]))
            out.append((M, (inverse[:n, :n] @ M).T, inverse[:n, n]))
    return out


def regions(lake: Lake, winner: Path, worse: Path) -> dict[str, list[int]]:
    """Live cells: on the demonstrator's path, the loser's other cells, elsewhere."""
    path = {s for s, _ in winner}
    loser = {s for s, _ in worse} - path
    return {"path": [s for s in lake.live if s in path],
            "loser": [s for s in lake.live if s in loser],
            "elsewhere": [s for s in lake.live if s not in path | loser]}


def over(x: Tensor, cells: list[list[int]]) -> Tensor:
    """(...,N,S) -> (...,N): the mean over each learner's own cells; NaN where it has none."""
    mask = torch.zeros(x.shape[-2:], dtype=torch.float64)
    for row, s in zip(mask, cells):
        row[s] = 1
    return (x * mask).sum(-1) / mask.sum(-1)


def measures(task: Task, policy: Tensor) -> dict[str, Tensor]:
    """{name: (N,)} of policies (N,S,4):
    distance, distance_transition  to the nearest optimal policy, mean over live cells
    path, loser, elsewhere         the first, over these cells only
    success, noise      chance to arrive from S within the limit; if one move in ten is random
    drop, drop_greedy   chance to arrive, mean over all live cells as starting points, of the
                        policy and of its greedy version"""
    lakes = task.lakes
    live = [lake.live for lake in lakes.each]
    gap, row_gap = distance(lakes, policy), torch.zeros(task.N, lakes.S, dtype=torch.float64)
    for lake in dict.fromkeys(lakes.each):
        learners = [n for n, one in enumerate(lakes.each) if one == lake]
        row_gap[learners] = distance_transition(lake, policy[learners])
    parts = [regions(*x) for x in zip(lakes.each, task.golds, task.losers)]
    arrives = success(lakes, policy)
    noisy = success(lakes, (1 - NOISE) * policy + NOISE / 4)
    return {"distance": over(gap, live), "distance_transition": over(row_gap, live),
            **{name: over(gap, [part[name] for part in parts]) for name in parts[0]},
            "success": (arrives * lakes.at_start).sum(-1),
            "noise": (noisy * lakes.at_start).sum(-1),
            "drop": over(arrives, live), "drop_greedy": over(success(lakes, greedy(policy)), live)}


def used(task: Task, trace: Trace) -> dict[str, Tensor]:
    """{name: (N,)} of a whole training: `direct` live cells whose one-hot vector entered the loss;
    `overlap` of what the loss read with where the learner itself goes (the paper's "alignment of
    the explored grid", made exact here)."""
    return {"direct": ((trace.seen > 0) * task.lakes.alive).sum(-1), "overlap": trace.overlap}


CONTRASTS = {"IFT - DPO": ("ift", "dpo"), "ORPO - IFT": ("orpo", "ift"),  # claimed above 0
             "SFT - IFT": ("sft", "ift")}


def joined(verdicts: list[str]) -> str:
    """The claim holds if all parts hold. One part that does not hold is enough to refute it."""
    if set(verdicts) == {"holds"}:
        return "holds"
    return "does not hold" if "does not hold" in verdicts else "undecided"
