"""What the page shows, computed: random lakes, and policies of each after every update.

A policy is a table or the paper's network. It begins from scratch, or with a habit: it has imitated
60 walks along another way to the goal. Then it learns the best path by SFT. After each update is
recorded what SFT estimates of it, what IFT's residual and the placebos do, and the true value.
hundred.json has the same of 100 lakes, 10 policies on each; this computes it anew, in 5 minutes:

    python -m frozen_lake.record
"""
import json
import sys
from collections.abc import Iterable
from html import escape
from pathlib import Path

import torch
from gymnasium.envs.toy_text.frozen_lake import generate_random_map
from torch import Tensor

from frozen_lake.lake import Lake
from frozen_lake.policies import Policy, start_policy
from frozen_lake.temporal_residual import (
    PLACEBOS,
    best_move_probs,
    best_moves_alone,
    placebo,
    predicted_cells,
    residual,
)
from frozen_lake.train import learn, task_of
from nanouft.plumbing.entry import command

WEB = Path(__file__).parent / "web"
HUNDRED = Path(__file__).parent / "hundred.json"
SIZE, ICE = 6, 0.8                      # of a random lake; the probability of ice
SEEDS = range(1000, 1100)               # of the hundred lakes
MORE_ON_PAGE = 3                        # of these lakes
UPDATES, POLICIES = 8, 10               # updates of SFT; policies on each lake
LAMS = [0.2, 1.0]                       # shares of the prediction; 0.2 is the paper's
SETTINGS = {                            # {name: (kind, start, learning rate)}
    "table with a habit": ("table", "habit", 0.05),
    "network with a habit": ("net", "habit", 0.005),
    "table from scratch": ("table", "fresh", 0.05),
    "network from scratch": ("net", "fresh", 0.005)}
OPENS = 2                               # the update at which the page opens
SHOWN = "random cell"                   # the placebo of the page
RIVALS = ["SFT", *PLACEBOS]             # that the residual is compared with


def random_lake(seed: int, ice: float = ICE) -> Lake:
    return Lake(f"lake {seed}", tuple(generate_random_map(SIZE, p=ice, seed=seed)))


def estimates(lake: Lake, setting: str, N: int, placebos: Iterable[str]) -> dict[str, Tensor]:
    """{what: (LAMS,updates,N,T)} of N policies on one lake: the true value, SFT, the residual, and
    each placebo. What has no lam is the same for each."""
    task, (kind, start, lr) = task_of(lake), SETTINGS[setting]

    def look(policy: Policy) -> Tensor:
        def of(moves: Tensor) -> Tensor:
            return best_move_probs(lake, moves, task.best)
        true = best_moves_alone(lake, policy.probs(), len(task.best))
        with torch.no_grad():
            return torch.stack([torch.stack([
                true, of(residual(policy, task.best, 0)), of(residual(policy, task.best, lam)),
                *(of(placebo(policy, task.best, lam, name)) for name in placebos)])
                for lam in LAMS])                               # (LAMS,what,N,T)
    seen = learn(task, start_policy(kind, start, lake, N), "sft", UPDATES, lr, look=look)
    return dict(zip(["true", "SFT", "residual", *placebos], seen.permute(2, 1, 0, 3, 4)))


# ---- the page ------------------------------------------------------------------------------------
def page_data(lake: Lake) -> dict:
    """Everything that the page reads: this lake, then random ones, and the hundred."""
    lakes = [lake, *map(random_lake, SEEDS[:MORE_ON_PAGE])]
    return {"lams": LAMS, "opens": OPENS, "lakes": [record(lake) for lake in lakes],
            "hundred": hundred_lakes()}


def record(lake: Lake) -> dict:
    """One lake, and what is estimated of its policies in each setting."""
    return {"name": escape(lake.name), "rows": lake.rows, "best": task_of(lake).best,
            "of": {setting: of_setting(lake, setting) for setting in SETTINGS}}


def of_setting(lake: Lake, setting: str) -> dict:
    """After each update: estimates and true value, each a mean over the path and the policies, and
    the predicted cell before each move of the first policy."""
    task, (kind, start, lr) = task_of(lake), SETTINGS[setting]
    estimated = {what: x.mean((-1, -2))                         # (LAMS,updates)
                 for what, x in estimates(lake, setting, POLICIES, [SHOWN]).items()}
    probs = learn(task, start_policy(kind, start, lake, 1), "sft", UPDATES, lr)[:, 0]
    return {
        "SFT": rounded(estimated["SFT"][0]), "residual": rounded(estimated["residual"]),
        "placebo": rounded(estimated[SHOWN]), "true": rounded(estimated["true"][0]),
        "predicted": predicted_cells(lake, probs, task.best).tolist()}


# ---- a hundred lakes -----------------------------------------------------------------------------
def hundred_lakes() -> dict:
    """{setting: its summary_of_lakes}, as kept."""
    return json.loads(HUNDRED.read_text("utf-8"))


def summary_of_lakes(setting: str) -> dict:
    """Of one setting, over all lakes. "values": true value and estimates, each a mean over the
    moves of the path, then over policies and lakes. "gaps": estimate minus true value. "half" of
    both: half of the 95 % interval over lakes. "high": on how many lakes SFT overestimates. For
    each of RIVALS "closer" and "farther": on how many lakes the residual is closer to the true
    value, or farther, in the mean of its policies; "lead": by how much, in the mean of all updates,
    with its interval; "lead by move": the same of single moves instead of their mean."""
    values, by_move = [], []                        # {what: (LAMS,updates,N)} of each lake
    for seed in SEEDS:
        estimated = estimates(random_lake(seed), setting, POLICIES, PLACEBOS)
        values.append({what: x.mean(-1) for what, x in estimated.items()})
        by_move.append({what: (x - estimated["true"]).abs().mean(-1)
                        for what, x in estimated.items()})
    each = [{what: x[what] - x["true"] for what in RIVALS + ["residual"]} for x in values]

    def lead(lakes: list[dict[str, Tensor]], rival: str) -> Tensor:     # (lakes,LAMS,updates)
        return torch.stack([(x[rival].abs() - x["residual"].abs()).mean(-1) for x in lakes])

    def interval(x: Tensor) -> list:                # of each lam: mean, half of the interval
        return rounded(torch.stack([x.mean((0, -1)), half(x.mean(-1))], 1))
    gaps, values_of = ({what: torch.stack([x[what].mean(-1) for x in lakes]) for what in lakes[0]}
                       for lakes in (each, values))
    return {
        "values": {what: rounded(x.mean(0)) for what, x in values_of.items()},
        "values half": {what: rounded(half(x)) for what, x in values_of.items()},
        "gaps": {what: rounded(x.mean(0)) for what, x in gaps.items()},
        "gaps half": {what: rounded(half(x)) for what, x in gaps.items()},
        "high": (gaps["SFT"][:, 0] > 0).sum(0).tolist(),
        "closer": {x: (lead(each, x) > 1e-6).sum(0).tolist() for x in RIVALS},
        "farther": {x: (lead(each, x) < -1e-6).sum(0).tolist() for x in RIVALS},
        "lead": {x: interval(lead(each, x)) for x in RIVALS},
        "lead by move": {x: interval(lead(by_move, x)) for x in RIVALS}}


def half(of_lakes: Tensor) -> Tensor:
    """(lakes, ...) -> (...): half of the 95 % interval of a mean over lakes."""
    return 1.96 * of_lakes.std(0) / len(of_lakes) ** 0.5


def rounded(x: Tensor, digits: int = 5) -> list:
    return json.loads(json.dumps(x.tolist()), parse_float=lambda text: round(float(text), digits))


def main(argv: list[str] | None = None) -> int:
    torch.set_num_threads(1)
    summaries = {name: summary_of_lakes(name) for name in SETTINGS}
    HUNDRED.write_text(json.dumps(summaries) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
