"""Demonstrations: the best path, three kinds of worse ones, and IFT's ghosts.

    gold(lake)                      # the best path, as [(cell, action), ...]
    loser(lake, "detour")           # arrives late; "fall" ends in a hole; "dither" steps back once
    ghosts(lake, gold(lake))        # where one wrong step would lead: is the copied action right?

The paper trains on one optimal and one sub-optimal trajectory (arXiv:2405.11870v3, section 5.3) and
does not show them. So the kind of worse path is a setting here. On a slippery lake no path is *the*
best one: there the demonstrations are sampled episodes.
"""
import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import torch

from frozen_lake.lake import ARROWS, Lake
from frozen_lake.planning import optimal, optimal_actions, simulate
from nanouft.errors import UserError

Path = list[tuple[int, int]]                        # (cell, action), as many as there are steps
LONGEST = 40                                        # steps of a sampled demonstration


# ---- deterministic lakes -------------------------------------------------------------------------
def best_path(lake: Lake) -> Path:
    """From S to G, each time the first optimal action (ties: left, down, right, up)."""
    best = optimal_actions(Lake(lake.name, lake.rows))
    s, path = lake.start, []
    while s != lake.goal:
        a = int(best[s].double().argmax())
        path.append((s, a))
        s = int(lake.step[s, a])
    return path


def detour(lake: Lake) -> Path | None:
    """The path to G that shares the fewest cells with the best one; of several, the shortest.
    None if it is no longer than the best one: then it is not sub-optimal, or there is no other."""
    best = best_path(lake)
    on_best = {s for s, _ in best}
    queue: list[tuple[int, int, Path]] = [(0, lake.start, [])]
    seen = set()
    while queue:  # Dijkstra: a shared cell costs 1,000 steps more
        cost, s, path = heapq.heappop(queue)
        if s == lake.goal:
            return path if len(path) > len(best) else None
        if s in seen or lake.terminal[s]:
            continue
        seen.add(s)
        for a, t in enumerate(lake.step[s].tolist()):
            heapq.heappush(queue, (cost + 1 + 1000 * (t in on_best), t, path + [(s, a)]))
    return None


def fall(lake: Lake) -> Path | None:
    """Leaves the best path as early as possible, then takes the shortest way into a hole off it."""
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
    for k, (s, _) in enumerate(path):  # no cell beside the path: fall from the path
        for a, t in enumerate(lake.step[s].tolist()):
            if t in lake.holes:
                return path[:k] + [(s, a)]
    return None


def dither(lake: Lake) -> Path | None:
    """The best path with one step back (and forth again) in the middle: a single wrong move."""
    path = best_path(lake)
    k = len(path) // 2
    if k == 0:
        return None
    back = (path[k - 1][1] + 2) % 4  # left and right, down and up are two apart
    return path[:k] + [(path[k][0], back), path[k - 1]] + path[k:]


LOSERS = {"detour": detour, "fall": fall, "dither": dither}


# ---- both kinds of lake --------------------------------------------------------------------------
def gold(lake: Lake, seed: int = 0) -> Path:
    """The demonstration to imitate. Slippery: the best policy's first episode that arrives."""
    if not lake.slippery:
        return best_path(lake)
    return _episode(lake, optimal(lake), seed, lambda path, arrived: arrived)


def loser(lake: Lake, kind: str = "detour", seed: int = 0) -> Path:
    """The worse demonstration. Slippery: an episode of a walker that errs in half of its moves;
    "detour" arrives, but later than gold; "fall" does not. UserError where a map has none."""
    if not lake.slippery:
        found = LOSERS[kind](lake)
        if found is None:
            raise UserError(f"map {lake.name}: it has no {kind} "
                            f"(known losers: {', '.join(LOSERS)})")
        return found
    if kind == "dither":
        raise UserError("a dithering walker needs a lake that is not slippery; "
                        "use the losers detour or fall")
    best = len(gold(lake, seed))

    def wanted(path: Path, arrived: bool) -> bool:
        return not arrived if kind == "fall" else arrived and len(path) > best
    return _episode(lake, half_random(lake), seed + 1, wanted)


def half_random(lake: Lake) -> torch.Tensor:
    """(S,4): half of the moves are the best ones, half are random."""
    return 0.5 * optimal(lake) + 0.125


def _episode(lake: Lake, policy: torch.Tensor, seed: int,
             wanted: Callable[[Path, bool], bool]) -> Path:
    for part in range(20):
        cells, actions = simulate(lake, policy, 100, 1000 * seed + part)
        for c, a in zip(cells.tolist(), actions.tolist()):
            path = [(s, move) for s, move in zip(c, a) if move >= 0]
            if 2 <= len(path) <= LONGEST and wanted(path, lake.goal in c):
                return path
    raise UserError(f"map {lake.name}, slippery: no such episode of at most {LONGEST} steps "
                    "in 2,000")


# ---- what demonstrations teach about other cells -------------------------------------------------
@dataclass(frozen=True)
class Ghost:
    """One wrong step from the demonstrator's path. IFT blends the cell that it leads to into the
    demonstrator's next state, and trains the demonstrator's action on both."""
    cell: int               # the demonstrator's cell one step earlier, from which the step leads
    at: int                 # where the ghost stands
    copied: int             # the demonstrator's action
    right: bool             # is it optimal where the ghost stands?
    bump: bool              # the step went into a wall: the ghost has not moved


def ghosts(lake: Lake, path: Path) -> list[Ghost]:
    """All ghosts on live cells: every other action, at every step of the path but the last."""
    best, live = optimal_actions(lake), set(lake.live)
    found = []
    for i in range(1, len(path)):
        (cell, taken), (_, copied) = path[i - 1], path[i]
        for a in range(4):
            at = int(lake.step[cell, a])
            if a != taken and at in live:
                found.append(Ghost(cell, at, copied, bool(best[at, copied]), at == cell))
    return found


def moves_of_loser(lake: Lake, winner: Path, worse: Path) -> list[str]:
    """For each step of the loser: "shared" with the winner (cancels in DPO), "optimal" in its own
    cell (and pushed down all the same), or "wrong"."""
    best = optimal_actions(lake)
    return ["shared" if step in winner else "optimal" if best[step] else "wrong" for step in worse]


def arrows(path: Path) -> str:
    return "".join(ARROWS[a] for _, a in path)
