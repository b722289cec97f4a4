"""Frozen Lake: what IFT's preference estimation and transition optimization do, where every
quantity is exact.

    python -m frozen_lake                       # the paper's experiment on twoway5, half a minute
    python -m frozen_lake --map my.txt --slippery --objective ift sft --lam 0.5 --seeds 5

There is one optimal and one worse path through a frozen lake. SFT and IFT imitate the first; DPO
and ORPO prefer it to the second (arXiv:2405.11870v3, section 5.3). Printed: which method comes
nearer to the optimal policy, where, and how often it arrives. Written to --out: results.json,
pictures, and index.html, a page to click through. The paper does not give map, width, learning rate
and seeds; here they are flags, and its result is tested.
"""
import math
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from tqdm import tqdm

from frozen_lake import demos, page, pictures, report
from frozen_lake.demos import ghosts, moves_of_loser
from frozen_lake.lake import MAPS, Lake, make_lake
from frozen_lake.learn import METHODS, Task, Trace, learn, method, task_of
from frozen_lake.measure import distance, measures, over, used
from frozen_lake.policies import start_policy
from nanouft.errors import UserError, in_range, say
from nanouft.eval.stats import interval
from nanouft.run import config, pages
from nanouft.run.storage import write_json
from nanouft.run.words import choose
from nanouft.sampling import threads

EVERY = 5  # updates between two recorded policies
STARTS = {"fresh": "from scratch", "presub": "with a detour habit", "premix": "with a mixed habit"}


@dataclass
class Run:
    map: str = "twoway5"            # twoway5 | corridor4 | default4 | default8 | a text file
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
    study: str | None = None        # of many maps, for the last scene [docs/results/C5.json]

    def check(self) -> None:
        in_range(self, "lam", "gamma", high=1)
        in_range(self, "beta", above=True)
        in_range(self, "lr", above=True, high=1)  # RMSprop's first step is ten times as large
        in_range(self, "seeds", low=1, high=10_000)
        in_range(self, "updates", low=1, high=100_000)
        choose("loser", self.loser, demos.LOSERS)
        for name in self.objective or []:
            choose("method", name, METHODS)


def pick_loser(lake: Lake, wanted: str) -> str:
    """The wanted kind of worse path, or where the map has none of this kind, another one."""
    for kind in sorted(demos.LOSERS, key=lambda kind: kind != wanted):
        try:
            demos.loser(lake, kind)
        except UserError:
            continue
        if kind != wanted:
            say(f"this map has no {wanted}: the worse path is a {kind} instead")
        return kind
    raise UserError(f"map {lake.name}: it has no worse path of any kind; make it larger")


def arms(lake: Lake) -> list[tuple[str, str]]:
    """(policy, start): from scratch, and from a habit: of the detour, or mixed if there is none."""
    habit = "presub" if demos.detour(lake) else "premix"
    return [(kind, start) for kind in ("net", "table") for start in ("fresh", habit)]


def the_study(wanted: str | None) -> dict | None:
    """What --study names; otherwise the study of this checkout, if it has one."""
    kept = pages.DOCS / "results" / "C5.json"
    if wanted is None and not kept.exists():
        return None
    return page.read_study(Path(wanted) if wanted else kept)


def train(task: Task, kind: str, start: str, cfg: Run) -> dict[str, Trace]:
    """{method: its training}, all from the same start."""
    policy, traces = start_policy(kind, start, task), {}
    names = cfg.objective or list(METHODS)
    for name in tqdm(names, f"{kind} {STARTS[start]}", leave=False, mininterval=1):
        m = method(name, cfg.lam, cfg.gamma, cfg.beta)
        traces[name] = learn(task, policy, m, cfg.updates, cfg.lr, every=EVERY)
    return traces


def curve(task: Task, trace: Trace) -> dict[str, list]:
    """The distance at every checkpoint, with its interval over seeds."""
    live = [lake.live for lake in task.lakes.each]
    bands = [interval(x.tolist()) for x in over(distance(task.lakes, trace.policies), live)]
    return {"steps": trace.steps, "distance": [mean for mean, _ in bands],
            "low": [mean - half for mean, half in bands],
            "high": [mean + half for mean, half in bands]}


def experiment(task: Task, kind: str, start: str, cfg: Run) -> tuple[list[dict], dict, dict]:
    """Train and print one arm: (its rows of results.json, its curves, {method: its training})."""
    traces = train(task, kind, start, cfg)
    rows, distances = [], {}
    for name, trace in traces.items():
        values = {**measures(task, trace.policies[-1]), **used(task, trace)}
        distances[name] = values["distance"]
        intervals = {column: list(interval(x.tolist())) for column, x in values.items()}
        rows.append({"policy": kind, "start": start, "method": name, **intervals})
    runs = "1 seed" if task.N == 1 else f"{task.N} seeds"
    runs += f", {cfg.updates} updates" + ", mean ± 95 %" * (task.N > 1)
    report.print_table(f"{kind} {STARTS[start]}; {runs}", rows)
    report.print_order(distances)
    return rows, {name: curve(task, trace) for name, trace in traces.items()}, traces


def run(cfg: Run, folder: Path) -> dict:
    """Train, print, write results.json and the pictures; returns what results.json holds."""
    study = the_study(cfg.study)
    lake = make_lake(cfg.map, cfg.slippery)
    report.print_lake(lake, f"map {cfg.map}" if cfg.map in MAPS else Path(cfg.map).name)
    loser = pick_loser(lake, cfg.loser)
    task = task_of(lake, cfg.seeds, loser)
    best, worse = task.golds[0], task.losers[0]
    found, moves = ghosts(lake, best), moves_of_loser(lake, best, worse)
    report.print_demonstrations(lake, best, worse, loser, found, moves)
    rows, curves, lines, networks = [], {}, {}, {}
    for kind, start in arms(lake):
        new, curves[f"{kind} {start}"], traces = experiment(task, kind, start, cfg)
        rows += new
        if kind == "net":
            lines[f"network {STARTS[start]}"] = curves[f"net {start}"]
            networks = traces  # the pictures show what the last one, with a habit, has learnt
    report.print_columns()
    data = finite({
        "map": {"name": lake.name, "rows": list(lake.rows), "slippery": lake.slippery},
        "hp": {"lam": cfg.lam, "gamma": cfg.gamma, "beta": cfg.beta, "lr": cfg.lr,
               "steps": cfg.updates, "seeds": cfg.seeds, "loser": loser},
        "gold": best, "loser": worse, "ghosts": [asdict(g) for g in found], "loser_moves": moves,
        "rows": rows, "curves": curves, "study": study})
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "results.json", data)
    made = pictures.everything(task, networks, lines, folder)
    say("\n" + "\n".join(f"picture: {file}" for file in made))
    return data


def finite(x):
    """NaN (no such cell) and infinity (one seed has no interval) become null: JSON has neither."""
    if isinstance(x, dict):
        return {name: finite(value) for name, value in x.items()}
    if isinstance(x, (list, tuple)):
        return [finite(value) for value in x]
    return None if isinstance(x, float) and not math.isfinite(x) else x


def main(argv=None) -> int:
    cfg, _ = config.parse(Run, argv, "python -m frozen_lake", __doc__)
    cfg.check()
    folder = Path(cfg.out)
    with threads(1):  # its tensors are small: a second thread would only wait
        say(f"page: {page.write(folder, run(cfg, folder))}")
    say(f"numbers: {folder / 'results.json'}")
    return 0


if __name__ == "__main__":
    sys.exit(config.run(main))
