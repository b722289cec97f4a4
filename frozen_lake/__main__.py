"""Frozen Lake: what IFT's preference estimation and transition optimization do, where every quantity is exact.

    python -m frozen_lake                           # the paper's experiment on twoway5, half a minute of one core
    python -m frozen_lake --map my.txt --slippery --objective ift sft --lam 0.5 --seeds 5

One optimal and one worse path through a frozen lake; SFT and IFT imitate the first, DPO and ORPO prefer it to the
second (arXiv:2405.11870, section 5.3). Printed: who comes nearer to the optimal policy, where, and who arrives. Written
to --out: results.json, pictures, and index.html, a page to click through. What the paper does not say (map,
width, learning rate, seeds) is chosen here and is a flag; its result is not assumed.
"""
import math
import sys
import textwrap
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from frozen_lake import demos, page, pictures
from frozen_lake.demos import Ghost, arrows, ghosts, gold, loser, moves_of_loser
from frozen_lake.lake import MAPS, Lake, make_lake
from frozen_lake.learn import METHODS, Task, Trace, learn, method, task_of
from frozen_lake.measure import CONTRASTS, distance, joined, measures, over, used
from frozen_lake.planning import optimal, optimal_actions, policy_iteration, solve, success, value_iteration
from frozen_lake.policies import start_policy
from nanouft.errors import UserError, choose, in_range
from nanouft.eval.stats import interval, verdict
from nanouft.run import config
from nanouft.run.storage import write_json
from nanouft.sampling import threads

EVERY = 5                   # updates between two recorded policies
STARTS = {"fresh": "from scratch", "presub": "detour habit", "premix": "mixed episodes"}
MAIN = ("sft", "ift", "orpo", "dpo", "orpo online", "dpo online", "pg", "reinforce")   # printed; results.json has all
COLUMNS = {                 # what is printed, and in a line what it means
    "distance": "squared distance to the nearest optimal policy, mean over live cells; a uniform row costs .1875",
    "path": "the same on the demonstrator's cells", "loser": "on the worse path's other cells",
    "elsewhere": "on the rest (- where a map has none)",
    "success": "chance to arrive from the start within gymnasium's limit of steps",
    "noise": "the same if one move in ten is random",
    "drop": "the drop test: chance to arrive, mean over all live cells as starting points",
    "direct": "live cells whose vector entered the loss", "overlap": "of the cells that the loss reads with those that "
                                                                   "the learner itself visits"}


@dataclass
class Run:
    map: str = "twoway5"            # twoway5 | corridor4 | default4 | default8, or a text file of S, F, H and G
    slippery: bool = False          # moves go aside with probability 1/3 to either side
    objective: list[str] | None = None      # methods: sft ift dpo orpo "dpo online" pg ... [all]
    lam: float = 0.2                # IFT: share of the own next cell in each state
    gamma: float = 0.95             # IFT: discount of later losses
    beta: float = 0.1               # DPO: how strongly it stays near the start policy
    loser: str = "detour"           # the worse path: detour | fall | dither
    updates: int = 200              # of RMSprop
    lr: float = 5e-3                # its learning rate, the same for all methods
    seeds: int = 20                 # learners of each method
    out: str = "out/frozen_lake"    # folder
    study: str | None = None        # results of the study over many maps for the last scene: docs/results/C5.json

    def check(self) -> None:
        in_range(self, "lam", "gamma", high=1)
        in_range(self, "beta", above=True)
        in_range(self, "lr", above=True, high=1)     # RMSprop's first step is ten times as large
        in_range(self, "seeds", low=1, high=10_000)
        in_range(self, "updates", low=1, high=100_000)
        choose("loser", self.loser, demos.LOSERS)
        for name in self.objective or []:
            choose("method", name, METHODS)


# ---- the lake and its demonstrations --------------------------------------------------------------------------------
def facts(lake: Lake, named: str) -> None:
    V, _ = value_iteration(lake)
    others = (policy_iteration(lake)[0], solve(lake, optimal(lake)))
    ties = sum(int(optimal_actions(lake)[s].sum() > 1) for s in lake.live)
    uniform = torch.full((lake.S, 4), 0.25, dtype=torch.float64)
    print(f"{named}{', slippery' * lake.slippery}: {len(lake.live)} live cells, {len(lake.holes)} holes")
    print("\n".join("    " + row for row in lake.rows))
    print(f"value of the start {V[lake.start]:.4f} (discount .99); value iteration, policy iteration and linear solve "
          f"differ by {max((V - o).abs().max().item() for o in others):.0e}")
    print(f"within {lake.limit} steps the optimal policy arrives with {success(lake, optimal(lake))[lake.start]:.4f}, "
          f"a random walk with {success(lake, uniform)[lake.start]:.4f}; {ties} cells have several optimal moves")


def demonstrations(lake: Lake, cfg: Run) -> dict:
    """{kind: path or None}; where the map has no loser of the wanted kind, another takes its place, said aloud."""
    found = {}
    for kind in demos.LOSERS:
        try:
            found[kind] = loser(lake, kind)
        except UserError:
            found[kind] = None
    if found[cfg.loser] is None:
        other = next((k for k in demos.LOSERS if found[k]), None)
        if other is None:
            raise UserError(f"map {lake.name}: it has no worse path of any kind; make it larger")
        print(f"this map has no {cfg.loser}: the worse path is a {other} instead")
        cfg.loser = other
    return found


def say_demonstrations(lake: Lake, best: list, worse: list, kind: str) -> tuple[list[Ghost], list[str]]:
    told, moves = ghosts(lake, best), moves_of_loser(lake, best, worse)
    print(f"demonstrator {arrows(best)} ({len(best)} steps), worse path {arrows(worse)} ({kind}, {len(worse)})")
    print(f"ghosts: {len(told)} wrong steps from the path end on a live cell ({sum(g.bump for g in told)} against a "
          f"wall); the move that IFT copies there is optimal for {sum(g.right for g in told)}")
    cancel = "" if lake.slippery else " (they cancel in DPO)"
    print(f"the worse path's {len(moves)} move{'s' * (len(moves) > 1)}: {moves.count('shared')} shared with the good "
          f"one{cancel}, {moves.count('optimal')} optimal in their own cell\n"
          f"(and pushed down all the same), {moves.count('wrong')} wrong")
    return told, moves


# ---- the experiment -------------------------------------------------------------------------------------------------
def arms(lake: Lake) -> list[tuple[str, str]]:
    """(policy, start) of every table: from scratch, and from a habit: of the detour, or mixed where there is none."""
    habit = "presub" if demos.other_way(lake) else "premix"
    return [("net", "fresh"), ("net", habit), ("table", "fresh"), ("table", habit)]


def spread(half: float, digits: int = 3, gap: str = " ") -> str:
    """' ± 0.012', or nothing for a single seed, which has no interval."""
    return f" ±{gap}{half:.{digits}f}" if math.isfinite(half) else ""


def show(title: str, rows: list[dict]) -> None:
    """Means, and the interval of the distance; results.json has the intervals of all."""
    print(f"\n{title}\n{'':<22}distance      " + "".join(f"{c:>10}" for c in list(COLUMNS)[1:]))
    for row in rows:
        if row["method"] in MAIN or len(rows) <= len(MAIN):
            mean, half = row["distance"]
            print(f"{pictures.label(row['method']):<22}{f'{mean:.3f}' + spread(half, gap=''):<13}"
                  + "".join(f"{row[c][0]:>10.{1 if c == 'direct' else 3}f}" if row[c][0] == row[c][0]
                            else f"{'-':>10}" for c in list(COLUMNS)[1:]))


def say_parts(values: dict[str, torch.Tensor]) -> None:
    """What in IFT does it: distance minus SFT's, paired by seed."""
    parts = [name for name in values if name.startswith("ift") and "sft" in values]
    if parts:
        gaps = {name: interval((values[name] - values["sft"]).tolist()) for name in parts}
        said = ", ".join(f"{pictures.label(name)} {mean:+.4f}{spread(half, 4)}" for name, (mean, half) in gaps.items())
        print(textwrap.fill("distance minus SFT's (below 0 is nearer): " + said, 116, initial_indent="  ",
                            subsequent_indent="    "))


def say_order(values: dict[str, torch.Tensor]) -> None:
    """The paper's order on this map, judged over seeds."""
    for suffix, data in (("", "one pair"), (" online", "online pairs")):
        names = {"sft": "sft", "ift": "ift", "orpo": "orpo" + suffix, "dpo": "dpo" + suffix}
        if not set(names.values()) <= values.keys():
            continue
        said = []
        for contrast, (a, b) in CONTRASTS.items():
            mean, half = interval((values[names[a]] - values[names[b]]).tolist())
            said.append((f"{contrast} {mean:+.3f}{spread(half)}", verdict(mean, half, 0.0)))
        print(f"  {data}: " + ", ".join(text for text, _ in said)
              + f": DPO < IFT < ORPO, SFT {joined([v for _, v in said])} here")


def say_ghosts(task: Task, trace: Trace) -> None:
    """How long IFT's residual lasts: the share of greedy guesses that are not the demonstrator's."""
    wish = trace.policies.argmax(-1)                                            # (checkpoints, N, S)
    share = torch.stack([wish[..., s] != a for s, a in task.golds[0][:-1]]).double().mean((0, 2)).tolist()
    gone = next((i for i, x in enumerate(share) if x == 0), len(share) - 1)
    shown = sorted({0, 1, 2, gone // 2, gone} & set(range(gone + 1)))
    print("  IFT's guesses that differ from the demonstrator: "
          + ", ".join(f"{100 * share[i]:.0f} % after {trace.steps[i]}" for i in shown) + " updates")


def measured(task: Task, traces: dict[str, Trace], kind: str, start: str) -> tuple[list[dict], dict, dict]:
    """(rows of results.json, curves, {method: (N,) distances})."""
    rows, lines, last = [], {}, {}
    live = [lake.live for lake in task.lakes.each]
    elsewhere = [s for s in live[0] if s not in {s for s, _ in task.golds[0] + task.losers[0]}]
    for name, trace in traces.items():
        found = {**measures(task, trace.policies[-1]), **used(task, trace)}
        rows.append({"policy": kind, "start": start, "method": name,
                     **{k: list(interval(v.tolist())) for k, v in found.items()}})
        gap = distance(task.lakes, trace.policies)
        bands = [interval(x.tolist()) for x in over(gap, live)]
        lines[name] = {"steps": trace.steps, "distance": [m for m, _ in bands], "low": [m - h for m, h in bands],
                       "high": [m + h for m, h in bands],
                       "elsewhere": over(gap, [elsewhere] * task.N).mean(-1).tolist()}
        last[name] = found["distance"]
    return rows, lines, last


def run(cfg: Run, folder: Path) -> dict:
    study = page.read_study(Path(cfg.study)) if cfg.study else None
    lake = make_lake(cfg.map, cfg.slippery)
    facts(lake, f"map {cfg.map}" if cfg.map in MAPS else Path(cfg.map).name)
    losers = demonstrations(lake, cfg)
    best, worse, seeds = gold(lake), losers[cfg.loser], cfg.seeds
    told, moves = say_demonstrations(lake, best, worse, cfg.loser)
    task = task_of(lake, seeds, cfg.loser)
    names, rows, lines, kept = cfg.objective or list(METHODS), [], {}, {}
    mean = f"1 seed, {cfg.updates} updates" if seeds == 1 else f"{seeds} seeds, {cfg.updates} updates, mean ± 95 %"
    for kind, start in arms(lake):
        policy = start_policy(kind, start, task)
        traces = {}
        for name in tqdm(names, f"{kind}, {STARTS[start]}", leave=False, mininterval=1):
            traces[name] = learn(task, policy, method(name, cfg.lam, cfg.gamma, cfg.beta), cfg.updates, cfg.lr,
                                 every=EVERY)
        got, lines[f"{kind} {start}"], last = measured(task, traces, kind, start)
        show(f"{kind}, start: {STARTS[start]}; {mean}", got)
        say_order(last)
        say_parts(last)
        if "ift" in traces:
            say_ghosts(task, traces["ift"])
        rows, kept[kind, start] = rows + got, (policy, traces)
    print("\nwhat the columns mean")
    for name, text in COLUMNS.items():
        print(f"  {name:<14} {text}")
    V, _ = value_iteration(lake)
    data = {"map": {"name": lake.name, "rows": list(lake.rows), "slippery": lake.slippery, "height": lake.height,
                    "width": lake.width, "start": lake.start, "goal": lake.goal, "holes": lake.holes,
                    "live": lake.live, "optimal": optimal_actions(lake).int().tolist(), "value": V.tolist()},
            "hp": {"lam": cfg.lam, "gamma": cfg.gamma, "beta": cfg.beta, "lr": cfg.lr, "steps": cfg.updates,
                   "seeds": seeds, "loser": cfg.loser},
            "gold": best, "losers": losers, "ghosts": [asdict(g) for g in told], "loser_moves": moves, "rows": rows,
            "curves": lines, "study": study}
    folder.mkdir(parents=True, exist_ok=True)
    data = finite(data)
    write_json(folder / "results.json", data)
    net = next(value for (kind, start), value in kept.items() if kind == "net" and start != "fresh")
    made = pictures.everything(task, *net, lines, method("ift", cfg.lam, cfg.gamma), folder)
    print("\n" + "\n".join(f"picture: {file}" for file in made))
    return data


def finite(x):
    """NaN (no such cell) and infinity (one seed has no interval) become null: JSON knows neither."""
    if isinstance(x, dict):
        return {k: finite(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return [finite(v) for v in x]
    return None if isinstance(x, float) and not math.isfinite(x) else x


# ---- the command ----------------------------------------------------------------------------------------------------
def main(argv=None) -> int:
    cfg, _ = config.parse(Run, argv, "python -m frozen_lake", __doc__)
    cfg.check()
    folder = Path(cfg.out)
    with threads(1):                    # its tensors are small: a second thread would only wait, and double the work
        print(f"page: {page.write(folder, run(cfg, folder))}")
    print(f"numbers: {folder / 'results.json'}")
    return 0


if __name__ == "__main__":
    sys.exit(config.run(main))
