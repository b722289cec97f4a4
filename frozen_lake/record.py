"""What the page shows, computed: one policy at every position of its two sliders.

The policy is a table. It first imitates the worse path (its habit), then the demonstrator's by
SFT. For each of these updates and each share of the own guess is recorded what SFT and IFT say of
its moves, what it does by itself, and what one step of either would push. The page draws.
"""
import torch
from torch import Tensor

from frozen_lake.estimate import (
    best_moves,
    best_moves_alone,
    estimate,
    overlap,
    own_guesses,
    pushes,
    reads,
)
from frozen_lake.lake import Lake
from frozen_lake.learn import Task, learn, task_of
from frozen_lake.planning import visits
from frozen_lake.policies import Table

SEED, SPREAD = 5, 0.3                   # of the first numbers; this seed has wrong guesses to show
HABIT, UPDATES, RATE = 12, 20, 0.05     # updates on each path; learning rate
LAMS = [0.0, 0.1, 0.2, 0.5, 1.0]        # shares of the own guess; 0 is SFT
SHOWN = {"lam": 3, "update": 5}         # where the sliders stand at first: LAMS[4], 5 updates


def record(lake: Lake) -> dict:
    """Everything that the page reads about one lake.

    "chances", "paths", "reads" and "pushes" have one part for each of LAMS, the first of them SFT,
    and in each part one for each update; "alone", "left", "own" and "dpo" one for each update."""
    task = task_of(lake)
    policies, path = page_policies(task), task.best
    probs = policies.probs()
    own = visits(lake, probs)

    def board(name: str, lam: float = 0.0) -> list:
        read = reads(task, probs, name, lam)
        shared = rounded(overlap(read, own))
        return [{"cells": cells, "shared": x} for cells, x in zip(shares(read), shared)]
    return {
        "name": lake.name, "rows": lake.rows, "best": path, "worse": task.worse,
        "step": lake.step.tolist(), "policies": rounded(probs, 3),
        "guesses": own_guesses(lake, probs, path).tolist(),
        "chances": [rounded(best_moves(policies, path, lam)) for lam in LAMS],
        "alone": rounded(best_moves_alone(lake, probs, len(path))),
        "paths": [rounded(estimate(policies, path, lam).prod(-1)) for lam in LAMS],
        "left": rounded(estimate(policies, path).cumprod(-1)),
        "own": [{"cells": cells} for cells in shares(own)], "dpo": board("dpo"),
        "reads": [board("ift", lam) for lam in LAMS],
        "pushes": [pushed(task, pushes(task, policies, "sft")),
                   *(pushed(task, pushes(task, policies, "ift released", lam=lam))
                     for lam in LAMS[1:])]}


def page_policies(task: Task) -> Table:
    """The policy with its habit, then after each update on the path, up to the update from which on
    no own guess is wrong (or the one that is shown first). After it SFT and IFT say the same."""
    numbers = torch.randn(task.lake.S, 4, generator=torch.Generator().manual_seed(SEED))
    fresh = table_of(task.lake, (SPREAD * numbers[None]).double().softmax(-1))
    habit = learn(Task(task.lake, task.worse, task.best), fresh, "sft", HABIT, RATE)[-1]
    probs = learn(task, table_of(task.lake, habit), "sft", UPDATES, RATE)[:, 0]
    cells = torch.tensor([s for s, _ in task.best])
    wrong = (own_guesses(task.lake, probs, task.best) != cells).any(-1)
    last = max([SHOWN["update"], *(wrong.nonzero()[:, 0] + 1).tolist()])
    return table_of(task.lake, probs[:last + 1])


def table_of(lake: Lake, probs: Tensor) -> Table:
    """(N,S,4) probabilities -> a table of N policies with these."""
    table = Table(lake, len(probs))
    table.table.data = probs.log()
    return table


def shares(board: Tensor) -> list[list[tuple[int, float]]]:
    """(N,S) shares -> N times [(cell, share), ...], without those below half a per cent."""
    return [[(s, round(x, 2)) for s, x in enumerate(row) if x >= 0.005] for row in board.tolist()]


def pushed(task: Task, push: Tensor) -> list[list[tuple[int, int, float]]]:
    """(N,S,4) pushes -> N times [(cell, action, push), ...]: in each cell of the path the
    demonstrated action, elsewhere the one that is pushed most."""
    path = dict(task.best)

    def of(one: Tensor) -> list[tuple[int, int, float]]:
        chosen = [(s, path.get(s, int(one[s].abs().argmax()))) for s in task.lake.live]
        return [(s, a, round(float(one[s, a]), 3)) for s, a in chosen if one[s, a].abs() >= 5e-4]
    return [of(one) for one in push]


def rounded(x: Tensor, digits: int = 4) -> list:
    """As nested lists."""
    return [rounded(row, digits) if row.dim() else round(float(row), digits) for row in x]
