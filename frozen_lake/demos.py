"""Demonstrations: the optimal path, three kinds of worse ones, and what IFT's ghosts would be told.

    gold(lake)                      # the best way, as [(cell, action), ...]
    loser(lake, "detour")           # arrives, but too late; "fall" ends in a hole; "dither" steps back once
    ghosts(lake, gold(lake))        # where one wrong step would put the walker, and is the copied action right there?

The paper trains on one optimal and one sub-optimal trajectory (arXiv:2405.11870, section 5.3) and does not show them;
what "sub-optimal" means is therefore a factor here, not a detail. On a slippery lake there is no such thing as *the*
path: there the demonstrations are sampled episodes.
"""
import heapq
from collections import deque
from dataclasses import dataclass
from functools import lru_cache

import torch

from frozen_lake.lake import ARROWS, Lake
from frozen_lake.planning import optimal, optimal_actions, simulate
from nanouft.errors import UserError

Path = list[tuple[int, int]]                        # (cell, action), as many as there are steps
LOSERS = ("detour", "fall", "dither")
LONGEST = 40                                        # steps of a sampled demonstration


# ---- deterministic lakes --------------------------------------------------------------------------------------------
def best_path(lake: Lake) -> Path:
    """From S along intended moves, each time the first optimal action (ties: left, down, right, up) until G."""
    best, s, out = optimal_actions(Lake(lake.name, lake.rows)), lake.start, []
    while s != lake.goal:
        a = int(best[s].double().argmax())
        out.append((s, a))
        s = int(lake.step[s, a])
    return out


def other_way(lake: Lake) -> Path | None:
    """The path to G that shares the fewest cells with the best one (then the shortest). None if it is no longer than
    the best one: then it is not sub-optimal, or there is no other."""
    on_best = {s for s, _ in best_path(lake)}
    queue, seen = [(0, lake.start, [])], set()
    while queue:                                    # Dijkstra: a shared cell costs as much as 1,000 steps
        cost, s, path = heapq.heappop(queue)
        if s == lake.goal:
            return path if len(path) > len(best_path(lake)) else None
        if s in seen or lake.terminal[s]:
            continue
        seen.add(s)
        for a, t in enumerate(lake.step[s].tolist()):
            heapq.heappush(queue, (cost + 1 + 1000 * (t in on_best), t, path + [(s, a)]))
    return None


def way_into_a_hole(lake: Lake) -> Path | None:
    """Leaves the best path as early as possible, then the shortest way into a hole off that path."""
    path = best_path(lake)
    on_best = {s for s, _ in path}
    for k, (leave, _) in enumerate(path):
        queue, seen = deque([(leave, path[:k])]), {leave}
        while queue:
            s, way = queue.popleft()
            for a, t in enumerate(lake.step[s].tolist()):
                if t in lake.holes and (s != leave or len(way) > k):
                    return way + [(s, a)]
                if t not in seen and t not in on_best and not lake.terminal[t]:
                    seen.add(t)
                    queue.append((t, way + [(s, a)]))
    for k, (s, _) in enumerate(path):               # no cell beside the path: fall from the path itself
        for a, t in enumerate(lake.step[s].tolist()):
            if t in lake.holes:
                return path[:k] + [(s, a)]
    return None


def step_back(lake: Lake) -> Path | None:
    """The best path with one step back (and forth again) in the middle: a single wrong move."""
    path = best_path(lake)
    k = len(path) // 2
    if k == 0:
        return None
    back = (path[k - 1][1] + 2) % 4                 # left and right, down and up are two apart
    return path[:k] + [(path[k][0], back), path[k - 1]] + path[k:]


# ---- both kinds of lake ---------------------------------------------------------------------------------------------
def gold(lake: Lake, seed: int = 0) -> Path:
    """The demonstration that everybody imitates. Slippery: the first episode of the best policy that arrives."""
    if not lake.slippery:
        return best_path(lake)
    return _episode(lake, optimal(lake), seed, lambda path, arrived: arrived)


def loser(lake: Lake, kind: str = "detour", seed: int = 0) -> Path:
    """The demonstration that is worse. Slippery: an episode of a walker that errs in half of its moves; "detour"
    arrives, but later than gold; "fall" does not. UserError where a map has none."""
    if not lake.slippery:
        found = {"detour": other_way, "fall": way_into_a_hole, "dither": step_back}[kind](lake)
        if found is None:
            raise UserError(f"map {lake.name}: it has no {kind} (known losers: {', '.join(LOSERS)})")
        return found
    best, arrives = len(gold(lake, seed)), kind != "fall"
    if kind == "dither":
        raise UserError("a dithering walker needs a lake that is not slippery; use the losers detour or fall")
    return _episode(lake, 0.5 * optimal(lake) + 0.125, seed + 1,
                    lambda path, arrived: arrived == arrives and (not arrives or len(path) > best))


def _episode(lake: Lake, policy: torch.Tensor, seed: int, wanted) -> Path:
    for part in range(20):
        cells, actions = simulate(lake, policy, 100, 1000 * seed + part)
        for c, a in zip(cells.tolist(), actions.tolist()):
            path = [(s, move) for s, move in zip(c, a) if move >= 0]
            if 2 <= len(path) <= LONGEST and wanted(path, lake.goal in c):
                return path
    raise UserError(f"map {lake.name}, slippery: no such episode of at most {LONGEST} steps in 2,000")


# ---- what demonstrations say about other cells ----------------------------------------------------------------------
@dataclass(frozen=True)
class Ghost:
    """One wrong step from the demonstrator's path. IFT blends its cell into the demonstrator's next state and stamps
    the demonstrator's action on both."""
    step: int               # of the demonstrator whose state is blended
    cell: int               # where the step was made from (the demonstrator's cell one step earlier)
    at: int                 # where the ghost stands
    copied: int             # the action that is stamped on it
    right: bool             # is it optimal where the ghost stands?
    bump: bool              # the step went into a wall: the ghost has not moved


def ghosts(lake: Lake, path: Path) -> list[Ghost]:
    """All ghosts on live cells: every action but the demonstrator's, at every step that has a next one."""
    best, live = optimal_actions(lake), set(lake.live)
    out = []
    for i in range(1, len(path)):
        (cell, taken), (_, copied) = path[i - 1], path[i]
        for a in range(4):
            at = int(lake.step[cell, a])
            if a != taken and at in live:
                out.append(Ghost(i, cell, at, copied, bool(best[at, copied]), at == cell))
    return out


def moves_of_loser(lake: Lake, winner: Path, worse: Path) -> list[str]:
    """Per step of the loser: "shared" with the winner (cancels in DPO), "optimal" in its own cell (and pushed down all
    the same), or "wrong"."""
    best = optimal_actions(lake)
    return ["shared" if step in winner else "optimal" if best[step] else "wrong" for step in worse]


# ---- random lakes ---------------------------------------------------------------------------------------------------
@lru_cache(maxsize=None)
def random_lake(seed: int, size: int = 5, ice: float = 0.7, shortest: int = 5) -> Lake:
    """A lake drawn from its seed: S and G anywhere, at least `shortest` steps apart, and a demonstration of every kind.
    Ice from which G cannot be reached becomes a hole. So it has two ways, one longer: the paper's situation."""
    rng = torch.Generator().manual_seed(seed)
    while True:
        cells = ["F" if x < ice else "H" for x in torch.rand(size * size, generator=rng).tolist()]
        s, g = torch.randperm(size * size, generator=rng)[:2].tolist()
        cells[s], cells[g] = "S", "G"
        lake = _lake(cells, seed, size)
        if s not in lake.live:
            continue
        lake = _lake([c if c in "SG" or i in lake.live else "H" for i, c in enumerate(cells)], seed, size)
        if (len(best_path(lake)) >= shortest and other_way(lake) and way_into_a_hole(lake)):
            return lake


def _lake(cells: list[str], seed: int, size: int) -> Lake:
    return Lake(f"random{seed}", tuple("".join(cells[i * size:(i + 1) * size]) for i in range(size)))


def arrows(path: Path) -> str:
    return "".join(ARROWS[a] for _, a in path)
