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
    share_among_standing,
)
from frozen_lake.train import learn, task_of
from nanouft.plumbing.entry import command

WEB = Path(__file__).parent / "web"
HUNDRED = Path(__file__).parent / "hundred.json"
SIZE, ICE = 6, 0.8                      # of a random lake; the probability of ice
SEEDS, ON_PAGE = range(1000, 1100), 6   # of the lakes; how many of them the page shows
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
def page_data(own: Lake | None = None) -> dict:
    """Everything that the page reads: your own lake, if there is one, then random ones."""
    lakes = [*filter(None, [own]), *map(random_lake, SEEDS[:ON_PAGE])]
    return {"lams": LAMS, "opens": OPENS, "lakes": [record(lake) for lake in lakes],
            "hundred": json.loads(HUNDRED.read_text("utf-8"))}


def record(lake: Lake) -> dict:
    """One lake, and one policy of each setting on it."""
    return {"name": escape(lake.name), "rows": lake.rows, "best": task_of(lake).best,
            "of": {setting: one_policy(lake, setting) for setting in SETTINGS}}


def one_policy(lake: Lake, setting: str) -> dict:
    """For each update and move: the estimates (of each lam where there is one), the predicted cell,
    and where the policy's own walks stand, as [(cell, share), ...]."""
    task, (kind, start, lr) = task_of(lake), SETTINGS[setting]
    estimated = {what: x[:, :, 0] for what, x in estimates(lake, setting, 1, [SHOWN]).items()}
    probs = learn(task, start_policy(kind, start, lake, 1), "sft", UPDATES, lr)[:, 0]
    stands = share_among_standing(lake, probs, len(task.best)).tolist()
    return {
        "SFT": rounded(estimated["SFT"][0], 3), "residual": rounded(estimated["residual"], 3),
        "placebo": rounded(estimated[SHOWN], 3), "true": rounded(estimated["true"][0], 3),
        "predicted": predicted_cells(lake, probs, task.best).tolist(),
        "stands": [[[(s, round(x, 2)) for s, x in enumerate(cells) if x >= 0.005]
                    for cells in moves] for moves in stands]}


# ---- a hundred lakes -----------------------------------------------------------------------------
def summary_of_lakes(setting: str) -> dict:
    """Of one setting, over all lakes. "gaps": estimate minus true value, a mean over the moves of
    the path, then over policies and lakes. "high": on how many lakes SFT overestimates. For each
    of RIVALS "closer" and "farther": on how many lakes the residual is closer to the true value,
    or farther, in the mean of its policies; "lead": by how much, in the mean of all updates, with
    its 95 % interval over lakes; "lead by move": the same of single moves instead of their mean."""
    each, by_move = [], []                          # {what: (LAMS,updates,N)} of each lake
    for seed in SEEDS:
        estimated = estimates(random_lake(seed), setting, POLICIES, PLACEBOS)
        off = {what: x - estimated["true"] for what, x in estimated.items() if what != "true"}
        each.append({what: x.mean(-1) for what, x in off.items()})
        by_move.append({what: x.abs().mean(-1) for what, x in off.items()})

    def lead(lakes: list[dict[str, Tensor]], rival: str) -> Tensor:     # (lakes,LAMS,updates)
        return torch.stack([(x[rival].abs() - x["residual"].abs()).mean(-1) for x in lakes])

    def interval(x: Tensor) -> list:                # of each lam: mean, half of the interval
        means = x.mean(-1)
        return rounded(torch.stack([means.mean(0), 1.96 * means.std(0) / len(x) ** 0.5], 1))
    gaps = {what: torch.stack([x[what].mean(-1) for x in each]) for what in each[0]}
    return {
        "gaps": {what: rounded(x.mean(0)) for what, x in gaps.items()},
        "high": (gaps["SFT"][:, 0] > 0).sum(0).tolist(),
        "closer": {x: (lead(each, x) > 1e-6).sum(0).tolist() for x in RIVALS},
        "farther": {x: (lead(each, x) < -1e-6).sum(0).tolist() for x in RIVALS},
        "lead": {x: interval(lead(each, x)) for x in RIVALS},
        "lead by move": {x: interval(lead(by_move, x)) for x in RIVALS}}


def rounded(x: Tensor, digits: int = 5) -> list:
    return json.loads(json.dumps(x.tolist()), parse_float=lambda text: round(float(text), digits))


def main(argv: list[str] | None = None) -> int:
    torch.set_num_threads(1)
    summaries = {name: summary_of_lakes(name) for name in SETTINGS}
    HUNDRED.write_text(json.dumps(summaries) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
