"""From finished cells to what the comparison says: means, intervals, costs, needs.

    summarise(rows, done, about)        # -> what compare.py writes as results.json

A row is one way of training; its figures are means over seeds with the 95 % t-interval (None for a single seed).
Nothing here trains a model or knows a result: the same cells give the same summary.
"""
import inspect
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from lab import snapshot
from lab.cell import Cell
from lab.cells import stops
from lab.cost import Cost, cost_of
from lab.words import MARGIN, difference_word, format_interval
from nanouft import world
from nanouft.data.tokenizer import Tokenizer
from nanouft.look.stats import interval
from nanouft.objectives import OBJECTIVES
from nanouft.training.flags import needs


@dataclass(frozen=True)
class Row:
    """One line of the comparison: flags of train, and those of the run it starts from (a chain)."""
    flags: tuple[str, ...]
    group: str
    after: tuple[str, ...] = ()

    def cell(self, seed: int, init: str, split: str, items: int, snapshot: bool) -> Cell:
        """A chain starts from a run with the same seed, hence with the same prompts."""
        start = Cell(self.after, seed, init, split, items) if self.after else init
        return Cell(self.flags, seed, start, split, items, snapshot=snapshot)

    @property
    def objective(self) -> str | None:
        return self.flags[1] if self.flags else None


GROUPS = {"start": "nothing: the base as it is", "demonstrations": "demonstrations", "pairs": "pairs",
          "grades": "scores or labels", "both": "demonstrations and scores",
          "chain": "two stages", "control": "SFT, for longer", "on-policy": "its own answers and their rewards"}


@dataclass(frozen=True)
class Measure:
    """A column: how to read it from a cell, how to write it, and which way is better (+1, -1; 0: neither)."""
    title: str
    of: Callable[[dict], float | None]
    text: str
    scale: float = 1.0
    digits: int = 2
    better: int = 0

    def write(self, figure: list | None, half: bool = True) -> str:
        """'79.9 ± 2.3', or without the interval, or '–' where there is nothing."""
        if figure is None:
            return "–"
        mean, wide = figure
        written = format_interval(mean, math.inf if wide is None or not half else wide, self.scale, self.digits)
        return written if float(written.split()[0]) else written.removeprefix("-")          # -0.00 is 0.00


def probe(name: str) -> Callable[[dict], float]:
    return lambda c: c["portrait"]["probes"][name]


def family(name: str, key: str = "score") -> Callable[[dict], float]:
    return lambda c: c["families"][name][key]


def percent(title: str, of: Callable, text: str, better: int = 1) -> Measure:
    return Measure(title, of, text, 100, 1, better)


MEASURES: dict[str, Measure] = {
    "score": percent("score", lambda c: c["mean"], "mean over the nine families of the exact score, percent"),
    "strict": percent("strict", lambda c: float(np.mean([f["strict"] for f in c["families"].values()])),
                      "answers that are fully right and stop, percent"),
    "ends": percent("stops", stops, "answers that stop by themselves, percent"),
    "diversity": percent("diversity", probe("diversity"),
                         "different answers among four samples a prompt at temperature 1, percent", 0),
    "kl_own": Measure("KL to base", probe("kl_own"), "nats per token along its own samples: how far it went from the "
                      "base", digits=3, better=-1),
    "own_prefix_gap": Measure("own-prefix gap", probe("own_prefix_gap"), "nats per token that right answers lose after "
                              "the model's own words; 0: its mistakes do not confuse it", digits=2, better=-1),
    "chosen": Measure("Δ chosen", lambda c: c["portrait"]["pairs"]["chosen"], "change of the log-prob of right "
                      "answers since the base, nats per answer", better=1),
    "rejected": Measure("Δ rejected", lambda c: c["portrait"]["pairs"]["rejected"], "the same for the wrong answers "
                        "beside them", better=-1),
    "corpus_nll": Measure("corpus loss", probe("corpus_nll"), "nats per token on the base's own kind of text: large = "
                          "it forgot", digits=2, better=-1),
    **{f: percent(f.replace("_", " "), family(f), f"exact score on {f}, percent") for f in world.FAMILIES},
    "seconds": Measure("CPU s", lambda c: c["portrait"].get("seconds"), "processor seconds of its training commands, "
                       "median; noisy, it depends on the machine and its neighbours", digits=1, better=-1),
}


def figure(measure: Measure, name: str, cells: list[dict]) -> list | None:
    """[mean, half width of the 95 % interval or None] over the cells; of seconds the median."""
    values = [v for v in map(measure.of, cells) if v is not None]
    if not values:
        return None
    if name == "seconds":
        return [float(np.median(values)), None]
    mean, half = interval(values)
    return [mean, half if half < float("inf") else None]


def needed(row: Row) -> dict[str, str]:
    """What data and what other models a row needs, all its stages together."""
    data, models = [], []
    for flags in filter(None, (row.after, row.flags)):
        objective = OBJECTIVES[flags[1]]
        more = needs(objective, objective.hp())
        data += more[0]
        models += more[1] if not objective.on_policy else ["SFT's model as the start"]
    return {"data": ", ".join(dict.fromkeys(data)) or "none", "models": ", ".join(dict.fromkeys(models)) or "none"}


def priced(row: Row, seed: int, cells: list[dict]) -> Cost | None:
    """Gradient tokens and FLOPs of all stages, counted for one seed; of a stage that samples while it trains the mean
    of what its cells counted (None if none is left)."""
    def stage(flags: tuple[str, ...]) -> Cost:
        if not OBJECTIVES[flags[1]].on_policy:
            return cost_of([*flags, "--seed", str(seed)])
        return Cost(round(np.mean([c["tokens"] for c in cells])),
                         float(np.mean([c["portrait"]["flops"] for c in cells])))
    cells = [c for c in cells if "failed" not in c]
    if row.group == "on-policy" and not cells:
        return None
    return sum(map(stage, filter(None, (row.after, row.flags))), Cost())


def sources(row: Row) -> dict[str, str | None]:
    """The file of a row's objective, its paper and arXiv id (None for the base)."""
    if row.objective is None:
        return {"file": None, "paper": None, "arxiv": None}
    o = OBJECTIVES[row.objective]
    found = re.search(r"arXiv:(\d{4}\.\d{5})", o.paper)
    return {"file": f"nanouft/objectives/{Path(inspect.getfile(o.loss)).name}", "paper": o.paper,
            "arxiv": found[1] if found else None}


def pipeline(row: Row) -> str:
    """How many stages, and whether the last one samples: what kind of run it is, apart from its data."""
    if row.group in ("start", "control"):
        return {"start": "no training", "control": "one stage, twice as long"}[row.group]
    return ("two stages" if row.after else "one stage") + (", samples" if row.group == "on-policy" else "")


def one(row: Row, cells: list[dict], price: Cost | None, sft: Cost) -> dict:
    good = [c for c in cells if "failed" not in c]
    faces = [c["portrait"] for c in good]
    out = {"group": row.group, "flags": " ".join(row.flags), "after": " ".join(row.after), "pipeline": pipeline(row),
           **needed(row), **sources(row),
           "seeds": [c["seed"] for c in good], "scores": {c["seed"]: c["mean"] for c in good},
           "failed": {c["seed"]: c["failed"] for c in cells if "failed" in c},
           "figures": {name: figure(m, name, good) for name, m in MEASURES.items()},
           "cost": asdict(price) | {"relative": price.flops / sft.flops} if price else None}
    if good:
        first = faces[0]
        out |= {"answers": {c["seed"]: c["portrait"]["answers"] for c in good}, "ledger": first.get("ledger"),
                "curve": mean_curve([f["curve"] for f in faces]),
                "held": {"name": first["held"]["name"], "points": mean_curve([f["held"]["points"] for f in faces])}
                if first["held"] else None}
    return out


def mean_curve(curves: list[list[list[float]]]) -> list[list[float]]:
    """[[step, value]] of several seeds -> [[step, mean, smallest, largest]] (they have the same steps)."""
    def point(values: list[float]) -> list[float]:
        return [snapshot.four_digits(f(values)) for f in (np.mean, np.min, np.max)]
    return [[points[0][0], *point([p[1] for p in points])] for points in zip(*curves)]


# ---- ranks that admit ties -------------------------------------------------------------------------------------------
Scores = Mapping[int, float]    # {seed: score}


def minus(mine: Scores, other: Scores | None) -> tuple[list, str] | None:
    """([mean, half or None], word) of mine - other over their common seeds (the same seed drew the same data for both,
    so most of its luck cancels); None if they have none in common."""
    seeds = sorted(mine.keys() & other.keys()) if other else []
    if not seeds:
        return None
    mean, half = interval([mine[s] - other[s] for s in seeds])
    return [mean, half if half < math.inf else None], difference_word(mean, half)


def places(scores: Mapping[str, Scores]) -> dict[str, list[int]]:
    """{row: [best, worst place]}: from 1 + the number of rows that are significantly better, to the number of all rows
    less those that are significantly worse (each pair of rows for itself, 95 %)."""
    there = {name: s for name, s in scores.items() if s}
    words = {name: [got[1] for other, s in there.items() if other != name and (got := minus(mine, s))]
             for name, mine in there.items()}
    return {name: [1 + seen.count("worse"), len(there) - seen.count("better")] for name, seen in words.items()}


def ranked(rows: dict[str, dict]) -> dict[str, dict]:
    """Each row with its places and with its score minus SFT's, seed by seed; the base has no seeds, it is one model
    and stands beside every seed of the others."""
    every = sorted({s for r in rows.values() for s in r["scores"]})
    scores = {n: dict.fromkeys(every, *r["scores"].values()) if r["group"] == "start" else r["scores"]
              for n, r in rows.items()}
    held, out = places(scores), {}
    for name, row in rows.items():
        gain, word = name != "sft" and minus(scores[name], scores.get("sft")) or (None, None)
        out[name] = row | {"rank": held.get(name), "minus_sft": gain, "verdict": word}
    return out


def shown_prompts(split: str, tok: Tokenizer) -> list[dict]:
    """The fixed prompts with a right and a wrong answer and their tokens."""
    out = []
    for family in snapshot.SHOWN:
        prompt = world.rows(split, "prompts", 1, 0, skills=(family,))[0].prompt[-1].text
        right, wrong = world.reference(prompt), snapshot.wrong_answer(prompt)
        out.append({"family": family, "prompt": prompt, "right": right, "wrong": wrong,
                    "right_tokens": [t.strip() for t in snapshot.answer_tokens(tok, right)],
                    "wrong_tokens": [t.strip() for t in snapshot.answer_tokens(tok, wrong)]})
    return out


def summarise(rows: dict[str, Row], done: dict[str, list[dict]], about: dict) -> dict:
    """results.json: `about` (the command and sizes), measures, prompts, and each row's figures."""
    sft = cost_of(["--objective", "sft", "--seed", str(about["first_seed"])])
    return {**about, "families": list(world.FAMILIES), "groups": GROUPS,
            "measures": {name: {"title": m.title, "text": m.text, "scale": m.scale, "digits": m.digits,
                                "better": m.better} for name, m in MEASURES.items()},
            "prompts": shown_prompts(about["split"], Tokenizer.load("nano")),
            "margin": MARGIN,
            "rows": ranked({name: one(row, done[name], priced(row, about["first_seed"], done[name]), sft)
                            for name, row in rows.items()})}
