"""What the page shows, computed: one policy after every update and at every share of its own guess.

The policy is a table. It first imitates the worse path (its habit), then the demonstrator's by
SFT. For each of these updates is recorded how SFT and IFT, at every share, estimate its moves,
what it does by itself, what each method reads and what one step of IFT would push.
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
PRINTED = 5                             # the update whose figures the command prints
LAMS = [k / 10 for k in range(11)]      # shares of the own guess; 0 is SFT
OPENS = {"update": 3, "lam": 2}         # the page's cursor at first: the middle, and IFT's default
PAGE_NAMES = {"twoway5": "Two ways", "default4": "Four by four", "default8": "Eight by eight"}


def record(lake: Lake) -> dict:
    """Everything that the page reads about one lake.

    "chances" and "paths" have one part for each of LAMS, "reads" for the policy itself, SFT, IFT
    at its default share and DPO; each part has one entry for each update, as have "alone" and
    "pushes", those of IFT as released."""
    task = task_of(lake)
    policies, path = page_policies(task), task.best
    probs = policies.probs()
    own = visits(lake, probs)
    lam = LAMS[OPENS["lam"]]

    def board(read: Tensor) -> list:
        shared = rounded(overlap(read, own))
        return [{"cells": cells, "shared": x} for cells, x in zip(shares(read), shared)]
    return {
        "name": PAGE_NAMES.get(lake.name, lake.name), "rows": lake.rows, "best": path,
        "worse": task.worse, "step": lake.step.tolist(), "policies": rounded(probs, 3),
        "guesses": own_guesses(lake, probs, path).tolist(),
        "chances": [rounded(best_moves(policies, path, lam)) for lam in LAMS],
        "alone": rounded(best_moves_alone(lake, probs, len(path))),
        "paths": [rounded(estimate(policies, path, lam).prod(-1)) for lam in LAMS],
        "reads": [board(own), *(board(reads(task, probs, name, lam))
                                for name in ("sft", "ift", "dpo"))],
        "pushes": pushed(task, pushes(task, policies, "ift released", lam=lam))}


def page_policies(task: Task) -> Table:
    """The policy with its habit, then after each update on the path, up to the update from which on
    no own guess is wrong (or the one that is printed). After it SFT and IFT say the same."""
    numbers = torch.randn(task.lake.S, 4, generator=torch.Generator().manual_seed(SEED))
    fresh = table_of(task.lake, (SPREAD * numbers[None]).double().softmax(-1))
    habit = learn(Task(task.lake, task.worse, task.best), fresh, "sft", HABIT, RATE)[-1]
    probs = learn(task, table_of(task.lake, habit), "sft", UPDATES, RATE)[:, 0]
    cells = torch.tensor([s for s, _ in task.best])
    wrong = (own_guesses(task.lake, probs, task.best) != cells).any(-1)
    last = max([PRINTED, *(wrong.nonzero()[:, 0] + 1).tolist()])
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
