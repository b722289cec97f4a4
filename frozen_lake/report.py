"""What the command prints: the lake, its demonstrations, and for each start a table of methods."""
import math

from torch import Tensor

from frozen_lake.demos import Ghost, Path, arrows
from frozen_lake.lake import Lake
from frozen_lake.measure import CONTRASTS, joined
from frozen_lake.pictures import label
from frozen_lake.planning import optimal, optimal_actions, success, uniform, value_iteration
from nanouft.errors import say
from nanouft.eval.stats import interval, verdict

COLUMNS = {
    "distance": "squared distance to the nearest optimal policy, mean over live cells; "
                "a uniform row costs .1875",
    "path": "the same on the demonstrator's cells",
    "loser": "on the worse path's other cells",
    "elsewhere": "on the rest (- where a map has none)",
    "success": "chance to arrive from the start within gymnasium's limit of steps",
    "noise": "the same if one move in ten is random",
    "drop": "the drop test: chance to arrive, mean over all live cells as starting points",
    "direct": "live cells whose vector entered the loss",
    "overlap": "of the cells that the loss reads with those that the learner itself visits"}


def plus_minus(half: float) -> str:
    """' ±0.012', or nothing for a single seed, which has no interval."""
    return f" ±{half:.3f}" if math.isfinite(half) else ""


def print_lake(lake: Lake, name: str) -> None:
    V, _ = value_iteration(lake)
    arrives, at_random = (success(lake, p)[lake.start] for p in (optimal(lake), uniform(lake)))
    ties = sum(int(optimal_actions(lake)[s].sum() > 1) for s in lake.live)
    say(f"{name}{', slippery' * lake.slippery}: {len(lake.live)} live cells, "
        f"{len(lake.holes)} holes")
    say("\n".join("    " + row for row in lake.rows))
    say(f"value of the start {V[lake.start]:.4f} (discount .99); within {lake.limit} steps the "
        f"optimal policy arrives with {arrives:.4f},\na random walk with {at_random:.4f}; "
        f"{ties} cells have several optimal moves")


def print_demonstrations(lake: Lake, best: Path, worse: Path, kind: str, ghosts: list[Ghost],
                         moves: list[str]) -> None:
    say(f"demonstrator {arrows(best)} ({len(best)} steps), worse path {arrows(worse)} "
        f"({kind}, {len(worse)})")
    say(f"ghosts: {len(ghosts)} wrong steps from the path end on a live cell "
        f"({sum(g.bump for g in ghosts)} against a wall); the move that IFT copies there is "
        f"optimal for {sum(g.right for g in ghosts)}")
    cancel = "" if lake.slippery else " (they cancel in DPO)"
    say(f"the worse path's {len(moves)} move{'s' * (len(moves) > 1)}: {moves.count('shared')} "
        f"shared with the good one{cancel}, {moves.count('optimal')} optimal in their own cell\n"
        f"(and pushed down all the same), {moves.count('wrong')} wrong")


def print_table(title: str, rows: list[dict]) -> None:
    """Means, and the interval of the distance; results.json has the intervals of all."""
    first, *others = COLUMNS
    say(f"\n{title}\n{'':<22}{first:<14}" + "".join(f"{name:>10}" for name in others))
    for row in rows:
        mean, half = row[first]
        line = f"{label(row['method']):<22}{f'{mean:.3f}' + plus_minus(half):<13}"
        for name in others:
            mean, digits = row[name][0], 1 if name == "direct" else 3
            line += f"{'-':>10}" if math.isnan(mean) else f"{mean:>10.{digits}f}"
        say(line)


def print_order(distances: dict[str, Tensor]) -> None:
    """The paper's order on this map, judged over seeds. distances: {method: (N,)}."""
    for suffix, data in (("", "one pair"), (" online", "online pairs")):
        names = {"sft": "sft", "ift": "ift", "orpo": "orpo" + suffix, "dpo": "dpo" + suffix}
        if not set(names.values()) <= distances.keys():
            continue
        gaps = {contrast: interval((distances[names[a]] - distances[names[b]]).tolist())
                for contrast, (a, b) in CONTRASTS.items()}
        order = joined([verdict(mean, half, 0.0) for mean, half in gaps.values()])
        numbers = ", ".join(f"{contrast} {mean:+.3f}{plus_minus(half)}"
                            for contrast, (mean, half) in gaps.items())
        say(f"  {data}: {numbers}: DPO < IFT < ORPO, SFT {order} here")


def print_columns() -> None:
    say("\nwhat the columns mean")
    for name, text in COLUMNS.items():
        say(f"  {name:<14} {text}")
