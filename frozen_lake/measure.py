"""What was learnt: distance to the optimal policy, split by whose path a cell is on, and what the walker then does.

    distance(lake, policy)                          # (...,S), 0 = as good as optimal in that cell
    measures(task, policy)                          # {name: (N,)} of N learners
    first_update(task, policy, method("ift"))       # what one update of IFT is made of

Distance is the paper's measure, "MSE between policy tables" and "between transition matrices", made fair to ties: where
several actions are optimal it is the distance to the NEAREST policy that uses only these. Both are squared distances
divided by 4, so a uniform row costs .1875 where one action is best. They are means over live cells; a mean over all
cells hides the story, so it is also split into the demonstrator's path, the loser's other cells, and elsewhere.
"""
from functools import lru_cache
from itertools import combinations

import torch
from torch import Tensor

from frozen_lake.lake import Lake, Lakes
from frozen_lake.learn import Method, Task, Trace, batch_of
from frozen_lake.planning import greedy, optimal_actions, success
from frozen_lake.policies import Policy
from nanouft.objectives import OBJECTIVES
from nanouft.objectives.ift import own_guess, weights

NOISE = 0.1                 # share of the moves that are random in `noise`
MOVED = 0.05                # a cell counts as moved where some action's probability changed by more


def best(lake: Lake | Lakes) -> Tensor:
    """(S,4) or (N,S,4) bool: optimal actions."""
    if isinstance(lake, Lake):
        return optimal_actions(lake)
    return torch.stack([optimal_actions(one) for one in lake.each])


def distance(lake: Lake | Lakes, policy: Tensor) -> Tensor:
    """(...,S,4) -> (...,S): min over policies q on optimal actions of |pi - q|^2 / 4.
    The nearest q hands the probability d that lies on wrong actions out evenly to the m optimal ones, so it is
    (sum of wrong pi^2 + d^2 / m) / 4."""
    wrong, m = policy * ~best(lake), best(lake).sum(-1)
    return (wrong.square().sum(-1) + wrong.sum(-1).square() / m) / 4


def distance_transition(lake: Lake, policy: Tensor) -> Tensor:
    """(...,S,4) -> (...,S): the same for rows of the transition matrix, min over q of |P_s^T (pi - q)|^2 / 4."""
    out = torch.zeros(policy.shape[:-1], dtype=torch.float64)
    for s in lake.live:
        row = policy[..., s, :] @ lake.P[s]                                     # (...,S): where the policy goes from s
        gaps = [torch.where(((q := row @ K + k) >= -1e-9).all(-1), (row - q @ M).square().sum(-1), torch.inf)
                for M, K, k in _faces(lake, s)]
        out[..., s] = torch.stack(gaps).amin(0) / 4
    return out


@lru_cache(maxsize=None)
def _faces(lake: Lake, s: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    """For every choice of optimal actions in s: their rows M of P, and (K, k) such that q = row K + k is the mixture of
    them nearest to `row` (least squares with sum 1, by its KKT system). If q >= 0 it is a candidate; the best candidate
    is the projection onto all mixtures."""
    tied = optimal_actions(lake)[s].nonzero()[:, 0].tolist()
    out = []
    for n in range(1, len(tied) + 1):
        for chosen in combinations(tied, n):
            M, one = lake.P[s, list(chosen)], torch.ones(n, 1, dtype=torch.float64)
            kkt = torch.cat([torch.cat([M @ M.T, one], 1), torch.cat([one.T, torch.zeros(1, 1)], 1)])
            inverse = torch.linalg.pinv(kkt)
            out.append((M, (inverse[:n, :n] @ M).T, inverse[:n, n]))
    return out


def regions(lake: Lake, winner: list, worse: list) -> dict[str, list[int]]:
    """Live cells by whose they are: the demonstrator's path, the loser's other cells, elsewhere."""
    path = {s for s, _ in winner}
    loser = {s for s, _ in worse} - path
    return {"path": [s for s in lake.live if s in path], "loser": [s for s in lake.live if s in loser],
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
    success, noise         chance to arrive from S within the limit; with a random move in ten
    drop, drop_greedy              the same, mean over all live cells, of the policy and of its greedy version"""
    lakes, live = task.lakes, [lake.live for lake in task.lakes.each]
    gap, parts = distance(lakes, policy), [regions(*x) for x in zip(lakes.each, task.golds, task.losers)]
    from_all = success(lakes, policy)
    def at_start(x: Tensor) -> Tensor:
        return (x * lakes.at_start).sum(-1)
    row_gap = torch.stack([torch.zeros(lakes.S, dtype=torch.float64)] * task.N)
    for lake in dict.fromkeys(lakes.each):
        mine = [n for n, one in enumerate(lakes.each) if one is lake or one == lake]
        row_gap[mine] = distance_transition(lake, policy[mine])
    return {"distance": over(gap, live), "distance_transition": over(row_gap, live),
            **{name: over(gap, [p[name] for p in parts]) for name in ("path", "loser", "elsewhere")},
            "success": at_start(from_all),
            "noise": at_start(success(lakes, (1 - NOISE) * policy + NOISE / 4)),
            "drop": over(from_all, live), "drop_greedy": over(success(lakes, greedy(policy)), live)}


def used(task: Task, trace: Trace) -> dict[str, Tensor]:
    """{name: (N,)} of a whole training: `direct` live cells whose one-hot vector entered the loss, `moved` live cells
    whose row changed (a network moves all of them: informative for tables), `overlap` of what the loss read with where
    the learner itself goes (the paper's "alignment of the explored grid", made exact here)."""
    alive = task.lakes.alive
    moved = (trace.policies[-1] - trace.policies[0]).abs().amax(-1) > MOVED
    return {"direct": ((trace.seen > 0) * alive).sum(-1), "moved": (moved * alive).sum(-1), "overlap": trace.overlap}


@torch.no_grad()
def first_update(task: Task, policy: Policy, ift: Method) -> tuple[list, list, list, list]:
    """The numbers behind IFT's first update, from nanouft's own pieces, each (N,T): the cell that the learner's own
    move would have led to, the loss in the true cell, the loss on the blend of both, the weight of the step."""
    batch = batch_of(task, ift, policy.probs().log())
    s, policy.step = batch.seqs["answer"], task.lakes.step
    at = s.places
    guess = own_guess(s.inputs, s.mask, policy(s.inputs, want="argmax", at=at))
    true = -policy(s.inputs, want="logp", targets=s.targets, at=at)
    OBJECTIVES["ift"].forward(policy, batch, ift.hp)
    return guess.tolist(), true.tolist(), (-s.logp).tolist(), weights(-s.logp, s, ift.hp).tolist()


# ---- the paper's claim -----------------------------------------------------------------------------------------------
CONTRASTS = {"IFT - DPO": ("ift", "dpo"), "ORPO - IFT": ("orpo", "ift"), "SFT - IFT": ("sft", "ift")}   # claimed > 0


def joined(verdicts: list[str]) -> str:
    """All must hold; one that does not is enough to refute."""
    return ("holds" if set(verdicts) == {"holds"} else "does not hold" if "does not hold" in verdicts else "undecided")
