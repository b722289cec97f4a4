"""Claim C5: does the paper's order, DPO < IFT < ORPO, SFT in distance to the optimal policy, hold
on many lakes?

    python -m lab.lake_study    # 100 random maps x 8 seeds x 24 settings: 8 minutes; resumable

One base setting, fixed before looking, is the paper's set-up as far as it is described
(arXiv:2405.11870v3, section 5.3): a two-layer network from scratch, one optimal and one sub-optimal
path (a detour), RMSprop, lam .2, gamma .95. Then one factor at a time; one learning rate for all
methods. Every setting learns on the same random maps, so contrasts are paired by map: a map's
number is the mean over its seeds, an interval is the 95 % t-interval over maps.
The claim holds in a setting if all three contrasts do (above 0), does not hold if one of them does
not. C5's verdict is that of the base setting.
"""
import json
import sys
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path

import torch

from frozen_lake.demos import best_path, detour, fall, gold, loser
from frozen_lake.lake import Lake, Lakes
from frozen_lake.learn import Method, Task, learn, method
from frozen_lake.measure import CONTRASTS, distance, joined, measures, over
from frozen_lake.policies import start_policy
from lab.pictures import interval_picture
from lab.runner import Missing, open_store, read_lines, run_missing
from lab.words import format_interval, markdown_table, read_template
from nanouft.errors import UserError, in_range
from nanouft.eval.stats import interval, verdict
from nanouft.run import config
from nanouft.run.storage import checksum, write_json, write_text

STUDY_VERSION = 1           # raised by hand when a change of code changes what cells give
MAPS, SEEDS = 100, 8        # random lakes, learners on each
EARLY = 25                  # updates after which the distance is looked at once more
SIZE, ICE = 5, 0.7          # of a random lake: cells a side, share of ice
CHUNK = 50                  # maps that learn side by side in one process
FIELDS = ("distance", "distance_transition", "path", "loser", "elsewhere", "success", "drop",
          "early")
METHODS = ("sft", "ift", "orpo", "dpo")


@dataclass(frozen=True)
class Setting:
    """One way to do the paper's experiment."""
    policy: str = "net"             # net | table
    start: str = "fresh"            # fresh | premix | presub
    loser: str = "detour"           # detour | fall | dither
    online: bool = False            # DPO's and ORPO's loser is sampled at each update
    slippery: bool = False
    lam: float = 0.2
    gamma: float = 0.95
    sampled: bool = False           # IFT's guess is sampled
    variant: str = "released"       # IFT's weights
    detach: bool = False            # IFT's weights are constants
    beta: float = 0.1
    orpo_lam: float = 1.0
    lr: float = 5e-3
    steps: int = 200

    def methods(self) -> dict[str, Method]:
        online = " online" * self.online
        ift = method("ift sampled" if self.sampled else "ift", self.lam, self.gamma,
                     variant=self.variant, detach=self.detach)
        return {"sft": method("sft"), "ift": ift,
                "orpo": method("orpo" + online, orpo_lam=self.orpo_lam),
                "dpo": method("dpo" + online, beta=self.beta)}


BASE = Setting()
SETTINGS: dict[str, Setting] = {"base": BASE, **{name: replace(BASE, **change) for name, change in {
    "a table": dict(policy="table"), "a table, rate 2e-2": dict(policy="table", lr=2e-2),
    "start: mixed episodes": dict(start="premix"), "start: detour habit": dict(start="presub"),
    "loser: fall": dict(loser="fall"), "loser: dither": dict(loser="dither"),
    "slippery": dict(slippery=True),
    "online pairs": dict(online=True),
    "online pairs, detour habit": dict(online=True, start="presub"),
    "lam 0 (weights only)": dict(lam=0.0), "lam 0.5": dict(lam=0.5), "lam 1": dict(lam=1.0),
    "lam 0.5, sampled guess": dict(lam=0.5, sampled=True),
    "gamma 0 (mixing only)": dict(gamma=0.0), "gamma 1": dict(gamma=1.0),
    "Eq. 21's weights": dict(variant="eq21"), "constant weights": dict(detach=True),
    "beta 1": dict(beta=1.0), "beta 5": dict(beta=5.0), "ORPO's lam 0.25": dict(orpo_lam=0.25),
    "rate 1e-3": dict(lr=1e-3), "rate 2e-2": dict(lr=2e-2), "1000 updates": dict(steps=1000),
}.items()}}


# ---- random lakes --------------------------------------------------------------------------------
@lru_cache(maxsize=None)
def random_lake(seed: int) -> Lake:
    """A lake drawn from its seed: S and G anywhere, at least five steps apart, with a worse path of
    every kind, as in the paper. Ice from which G cannot be reached becomes a hole."""
    rng = torch.Generator().manual_seed(seed)

    def lake_of(cells: list[str]) -> Lake:
        rows = ("".join(cells[i * SIZE:(i + 1) * SIZE]) for i in range(SIZE))
        return Lake(f"random{seed}", tuple(rows))
    while True:
        random = torch.rand(SIZE * SIZE, generator=rng).tolist()
        cells = ["F" if x < ICE else "H" for x in random]
        s, g = torch.randperm(SIZE * SIZE, generator=rng)[:2].tolist()
        cells[s], cells[g] = "S", "G"
        live = lake_of(cells).live
        if s not in live:
            continue
        lake = lake_of([c if c in "SG" or i in live else "H" for i, c in enumerate(cells)])
        if len(best_path(lake)) >= 5 and detour(lake) and fall(lake):
            return lake


# ---- cells ---------------------------------------------------------------------------------------
def key(setting: Setting, number: int, maps: int, seeds: int) -> str:
    """Of the cell of one map. Learners of a chunk share one stream of random numbers, so the chunk
    is part of it."""
    text = json.dumps([STUDY_VERSION, asdict(setting), number, chunk_of(number, maps), seeds],
                      sort_keys=True)
    return checksum(text)[:16]


def chunk_of(number: int, maps: int) -> list[int]:
    first = number // CHUNK * CHUNK
    return list(range(first, min(first + CHUNK, maps)))


@dataclass(frozen=True)
class Chunk:
    """The maps from `first` on that learn side by side in one setting."""
    name: str
    first: int
    maps: int
    seeds: int

    @property
    def keys(self) -> list[str]:
        return [key(SETTINGS[self.name], n, self.maps, self.seeds)
                for n in chunk_of(self.first, self.maps)]


def run_chunk(chunk: Chunk) -> list[dict]:
    """The cells of a chunk, one JSON object a map."""
    torch.set_num_threads(1)
    setting, seeds, cells, lakes, paths = SETTINGS[chunk.name], chunk.seeds, [], [], []
    for number, its_key in zip(chunk_of(chunk.first, chunk.maps), chunk.keys):
        cells.append({"key": its_key, "setting": chunk.name, "map": number})
        lake = random_lake(number)
        if setting.slippery:
            lake = Lake(lake.name, lake.rows, slippery=True)
        try:
            paths.append((gold(lake, number), loser(lake, setting.loser, number)))
            lakes.append(lake)
        except UserError as e:  # a slippery map whose episodes are all too long
            cells[-1]["skipped"] = str(e)
    rows = [i for i in range(len(lakes)) for _ in range(seeds)]
    if not rows:
        return cells
    task = Task(Lakes([lakes[i] for i in rows]), [paths[i][0] for i in rows],
                [paths[i][1] for i in rows])
    own = [1000 * int(lakes[i].name[6:]) + k % seeds for k, i in enumerate(rows)]
    policy = start_policy(setting.policy, setting.start, task, own)
    live = [lake.live for lake in task.lakes.each]
    learnt = {}
    for m, how in setting.methods().items():
        trace = learn(task, policy, how, setting.steps, setting.lr, seed=chunk.first, every=EARLY)
        found = measures(task, trace.policies[-1])
        found["early"] = over(distance(task.lakes, trace.policies[1]), live)
        learnt[m] = torch.stack([found[f]
                                 for f in FIELDS], -1).reshape(len(lakes), seeds, -1).nanmean(1)
    for i, cell in enumerate(cell for cell in cells if "skipped" not in cell):
        cell.update({m: [round(x, 5) if x == x else None for x in learnt[m][i].tolist()]
                     for m in METHODS})
    return cells


def run_study(file: Path, maps: int, seeds: int, workers: int, names: list[str]) -> dict[str, dict]:
    """Run what is missing in `file`; returns all cells by key."""
    with open_store(file) as store:
        chunks = [Chunk(name, first, maps, seeds) for name in names
                  for first in range(0, maps, CHUNK)]
        run_missing(chunks, store, workers, run_chunk)
        return store.done


def cells_of(name: str, maps: int, seeds: int, done: dict[str, dict]) -> list[dict]:
    """The cells of a setting, map by map."""
    found = [done.get(key(SETTINGS[name], n, maps, seeds)) for n in range(maps)]
    if None in found:
        raise Missing(f"C5, {name}: {found.count(None)} of {maps} maps are missing; run python -m "
                      "lab.lake_study")
    return found


# ---- from cells to a verdict ---------------------------------------------------------------------
def summary(name: str, cells: list[dict]) -> dict:
    """What C5.json says of a setting."""
    ran = [c for c in cells if "skipped" not in c]

    def column(m: str, field: str) -> list[float]:
        return [c[m][FIELDS.index(field)] for c in ran if c[m][FIELDS.index(field)] is not None]

    def contrasts(field: str) -> dict[str, list]:
        gaps = {label: interval([x - y for x, y in zip(column(a, field), column(b, field))])
                for label, (a, b) in CONTRASTS.items()}
        return {label: [mean, half, verdict(mean, half, 0.0)]
                for label, (mean, half) in gaps.items()}
    order = [dpo < ift < min(orpo, sft)
             for dpo, ift, orpo, sft in zip(*(column(m, "distance")
                                              for m in ("dpo", "ift", "orpo", "sft")))]
    out = {"name": name, "setting": asdict(SETTINGS[name]), "maps": len(ran),
           "skipped": len(cells) - len(ran),
           "order_share": sum(order) / len(order), "contrasts": contrasts("distance"),
           "contrasts_early": contrasts("early"),
           **{f: {m: interval(column(m, f)) for m in METHODS} for f in FIELDS}}
    return out | {"verdict": joined([c[2] for c in out["contrasts"].values()])}


def report(done: dict[str, dict], maps: int, seeds: int, names: list[str]) -> tuple[dict, str]:
    """(C5.json's object, the text of C5.md)."""
    found = [summary(name, cells_of(name, maps, seeds, done)) for name in names]

    def count(verdicts: list[str]) -> dict[str, int]:
        return {v: verdicts.count(v) for v in ("holds", "does not hold", "undecided")}
    data = {"claim": "C5: distance to the optimal policy, DPO < IFT < ORPO, SFT",
            "verdict": found[0]["verdict"],
            "base": names[0], "maps": maps, "seeds": seeds,
            "verdicts": count([s["verdict"] for s in found]),
            "legs": {label: count([s["contrasts"][label][2] for s in found])
                     for label in CONTRASTS},
            "settings": found}
    return data, page(data)


def page(data: dict) -> str:
    """C5.md from C5.json's object."""
    def told(n: dict[str, int]) -> str:
        return (f"holds in {n['holds']}, does not hold in {n['does not hold']}, is undecided in "
                f"{n['undecided']}")
    found = data["settings"]
    tables = {
        "distance": markdown_table(
            ["setting", "SFT", "IFT", "ORPO", "DPO", "maps in this order", "claim"], [
                [s["name"], *(format_interval(*s["distance"][m], 1, 3) for m in METHODS),
                 f"{100 * s['order_share']:.0f} %", s["verdict"]] for s in found]),
        "contrasts": markdown_table(["setting", *CONTRASTS, *CONTRASTS], [
            [s["name"], *(f"{format_interval(mean, half, 1, 4, '+')} {v}"
                          for where in ("contrasts", "contrasts_early")
                          for mean, half, v in s[where].values())] for s in found]),
        "walker": markdown_table(
            ["setting", "maps", "SFT", "IFT", "ORPO", "DPO", "drop: SFT", "IFT", "ORPO", "DPO"], [
                [s["name"], s["maps"], *(f"{100 * s[f][m][0]:.0f} %" for f in ("success", "drop")
                                         for m in METHODS)] for s in found])}
    return read_template("C5.md")[0].format(
        **{name: "\n".join(lines) for name, lines in tables.items()}, early=EARLY,
        maps=data["maps"],
        seeds=data["seeds"], verdict=data["verdict"], settings=len(found),
        counts=told(data["verdicts"]),
        legs="; ".join(f"{label} {told(n)}" for label, n in data["legs"].items()))


def study(folder: Path, maps: int, seeds: int, workers: int,
          names: list[str] | None = None) -> dict:
    """Run, write C5.jsonl, C5.json, C5.md and C5.png below `folder`, print the table; returns
    C5.json's object."""
    names = names or list(SETTINGS)
    data, text = report(run_study(folder / "C5.jsonl", maps, seeds, workers, names), maps, seeds,
                        names)
    write_json(folder / "C5.json", data)
    write_text(folder / "C5.md", text)
    panels = {f"{label}, claimed above 0": [(s["name"], [s["contrasts"][label]], (0.0,))
                                            for s in data["settings"]] for label in CONTRASTS}
    print(f"{text}picture: "
          f"{interval_picture(panels, folder / 'C5.png', len(panels), 'distance', 1)}")
    return data


def first_chunk_again(folder: Path) -> bool:
    """Learn the first chunk of the base setting once more: is every number the same? fp64, so on
    every machine."""
    chunk, old = Chunk("base", 0, MAPS, SEEDS), read_lines(folder / "C5.jsonl")
    return all(json.loads(json.dumps(new)) == old[new["key"]] for new in run_chunk(chunk))


@dataclass
class Study:
    workers: int = 2                # processes of one thread each
    out: str = "docs/results"       # folder of C5.jsonl, C5.json, C5.md and C5.png


def main(argv=None) -> int:
    cfg, _ = config.parse(Study, argv, "python -m lab.lake_study", __doc__)
    in_range(cfg, "workers", low=1, high=64)
    study(Path(cfg.out), MAPS, SEEDS, cfg.workers)
    return 0


if __name__ == "__main__":
    sys.exit(config.run(main))
