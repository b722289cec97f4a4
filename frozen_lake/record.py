"""What the page shows, computed: one policy after every update and at every share of its own guess.

The policy is a table. It first imitates the worse path (its habit), then the demonstrator's by
SFT. For each of these updates is recorded what it prefers in each cell, how SFT and IFT, at every
share, estimate its moves, and what its own walks do.
"""
from html import escape
from pathlib import Path

import torch
from torch import Tensor

from frozen_lake.estimate import best_moves, best_moves_alone, own_guesses, standing
from frozen_lake.lake import Lake, make_lake
from frozen_lake.learn import Task, learn, task_of
from frozen_lake.planning import optimal_actions
from frozen_lake.policies import Table

WEB = Path(__file__).parent / "web"
SEED, SPREAD = 5, 0.3                   # of the first numbers; this seed has wrong guesses to show
HABIT, UPDATES, RATE = 12, 20, 0.05     # updates on each path; learning rate
OPENS = 3                               # the update at which the page opens
LAMS = [k / 10 for k in range(11)]      # shares of the own guess; 0 is SFT
PAGE_NAMES = {"twoway5": "Two ways", "default4": "Four by four", "default8": "Eight by eight"}


def page_data(lake: Lake) -> dict:
    """Everything that the page reads: this lake first, then the others of PAGE_NAMES."""
    others = [make_lake(name) for name in PAGE_NAMES if name != lake.name]
    return {"lams": LAMS, "opens": OPENS, "lakes": [record(one) for one in [lake, *others]]}


def record(lake: Lake) -> dict:
    """Everything that the page reads about one lake. "chances" has one part for each of LAMS; each
    part has one entry for each update, as have "policy" (in each cell four moves, in per cent),
    "guesses", "alone" and "stands"."""
    task = task_of(lake)
    probs, path = page_policies(task), task.best
    best, T = optimal_actions(lake), len(path)
    return {
        "name": PAGE_NAMES.get(lake.name, escape(lake.name)), "rows": lake.rows,
        "best": path,
        "good": [best[s].nonzero()[:, 0].tolist() for s in range(lake.S)],
        "policy": (100 * probs).round().int().tolist(),
        "guesses": own_guesses(lake, probs, path).tolist(),
        "chances": [round_all(best_moves(lake, probs, path, lam)) for lam in LAMS],
        "alone": round_all(best_moves_alone(lake, probs, T)),
        "stands": [[shares(cells) for cells in moves]
                   for moves in standing(lake, probs, T).tolist()]}


def page_policies(task: Task) -> Tensor:
    """(updates,S,4): the policy with its habit, then after each update on the path, up to the one
    from which on no own guess is wrong (or at which the page opens): SFT and IFT then agree."""
    numbers = torch.randn(task.lake.S, 4, generator=torch.Generator().manual_seed(SEED))
    fresh = table_of(task.lake, (SPREAD * numbers[None]).double().softmax(-1))
    habit = learn(Task(task.lake, task.worse, task.best), fresh, "sft", HABIT, RATE)[-1]
    probs = learn(task, table_of(task.lake, habit), "sft", UPDATES, RATE)[:, 0]
    cells = torch.tensor([s for s, _ in task.best])
    wrong = (own_guesses(task.lake, probs, task.best) != cells).any(-1)
    last = max([OPENS, *(wrong.nonzero()[:, 0] + 1).tolist()])
    return probs[:last + 1]


def table_of(lake: Lake, probs: Tensor) -> Table:
    """(N,S,4) probabilities -> a table of N policies with these."""
    table = Table(lake, len(probs))
    table.table.data = probs.log()
    return table


def shares(cells: list[float]) -> list[tuple[int, float]]:
    """[(cell, share), ...] without those below half a per cent."""
    return [(s, round(x, 2)) for s, x in enumerate(cells) if x >= 0.005]


def round_all(x: Tensor) -> list:
    """(N,T) as lists."""
    return [[round(one, 4) for one in row] for row in x.tolist()]
