"""What the page shows, computed: one policy at every position of its two sliders.

The policy is a table. It first imitates the worse path (its habit), then the demonstrator's by
SFT. Its moves are recorded before and after each of these updates, with what SFT and IFT say of
them for each share of the own guess, and with what one step of either would push. The page draws.
"""
import torch
from torch import Tensor

from frozen_lake.estimate import estimate, overlap, own_guesses, pushes, reads
from frozen_lake.lake import Lake
from frozen_lake.learn import Task, learn, task_of
from frozen_lake.planning import visits
from frozen_lake.policies import Policy, Table

SEED, SPREAD = 5, 0.3                   # of the first numbers; this seed has wrong guesses to show
HABIT, UPDATES, RATE = 12, 20, 0.05     # updates on each path; learning rate
LAMS = [n / 10 for n in range(11)]      # shares of the own guess
SHOWN = (2, 5)                          # where the sliders stand at first: LAMS[2], 5 updates


def record(lake: Lake) -> dict:
    """Everything that the page reads; the ice of the page is never slippery."""
    task = task_of(Lake(lake.name, lake.rows))
    fresh = fresh_table(task.lake)
    habit = learn(Task(task.lake, task.worse, task.best), fresh, "sft", HABIT, RATE).policy
    stages = trained(task, habit)
    return {
        "rows": lake.rows, "slippery": lake.slippery, "shown": SHOWN, "lams": LAMS,
        "best": task.best, "worse": task.worse, "step": task.lake.step.tolist(),
        "policies": rounded(stages.probs()),
        "guesses": own_guesses(task.lake, stages.probs(), task.best).tolist(),
        "sft": rounded(estimate(stages, task.best)),
        "ift": [rounded(estimate(stages, task.best, lam)) for lam in LAMS],
        "boards": boards(task, habit.probs()),
        "sftPushes": pushed(task, pushes(task, stages, "sft")),
        "iftPushes": [pushed(task, pushes(task, stages, "ift released", lam=lam)) for lam in LAMS],
        "down": {"habit": pushing_down(task, stages),
                 "fresh": pushing_down(task, trained(task, fresh))}}


def fresh_table(lake: Lake) -> Table:
    """One policy from scratch."""
    numbers = torch.randn(lake.S, 4, generator=torch.Generator().manual_seed(SEED))
    return table_of(lake, (SPREAD * numbers[None]).double().softmax(-1))


def table_of(lake: Lake, probs: Tensor) -> Table:
    """(N,S,4) probabilities -> a table of N policies with these."""
    table = Table(lake, len(probs))
    table.table.data = probs.log()
    return table


def trained(task: Task, policy: Policy) -> Table:
    """UPDATES + 1 policies: before and after each update of SFT."""
    return table_of(task.lake, learn(task, policy, "sft", UPDATES, RATE).policies[:, 0])


def boards(task: Task, probs: Tensor) -> dict:
    """Of one policy (1,S,4): where it goes, what each method reads, and which share they have in
    common."""
    own = visits(task.lake, probs)

    def board(name: str, lam: float = 0.0) -> dict:
        read = reads(task, probs, name, lam)
        return {"cells": rounded(read[0]), "shared": round(float(overlap(read, own)), 4)}
    return {"own": rounded(own[0]), "sft": board("sft"), "dpo": board("dpo"),
            "ift": [board("ift", lam) for lam in LAMS]}


def pushed(task: Task, push: Tensor) -> list[list[tuple[int, int, float]]]:
    """(N,S,4) pushes -> N times [(cell, action, push), ...]: in each cell of the path the
    demonstrated action, elsewhere the one that is pushed most."""
    path = dict(task.best)

    def of(one: Tensor) -> list[tuple[int, int, float]]:
        chosen = [(s, path.get(s, int(one[s].abs().argmax()))) for s in task.lake.live]
        return [(s, a, round(float(one[s, a]), 4)) for s, a in chosen if one[s, a].abs() > 1e-4]
    return [of(one) for one in push]


def pushing_down(task: Task, policies: Table) -> int:
    """For how many of these policies does a step of IFT as released make a demonstrated move less
    likely?"""
    cells, actions = torch.tensor(task.best).T
    push = pushes(task, policies, "ift released")[:, cells, actions]
    return int((push < 0).any(-1).sum())


def rounded(x: Tensor) -> list:
    """As nested lists, with four decimals."""
    return [rounded(row) if row.dim() else round(float(row), 4) for row in x]
