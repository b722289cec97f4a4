"""Which method when? One table a regime: so many demonstrations, so many scored answers of the
model's own.

    python -m lab.map                   # tunes, trains, scores what is missing: 6 hours, 2 cores
    python -m lab.map --pieces grid     # some pieces: grid, long, source, noise, judges, second
    python -m lab.map --write           # docs/map.md, its picture and map.json from kept cells

regimes.py has the plan: what a user may have, the rows, how their settings are chosen. Figures are
means over seeds with 95 % intervals for other seeds and other prompts (contrast.py); stops and
diversity, which a cell holds once, with Student's t over seeds.
"""
import shlex
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lab import prices, transfer
from lab import regimes as plan
from lab.cell import Cell
from lab.cells import read_cells, stops
from lab.contrast import NINE, Parts, contrast
from lab.map_text import page, picture
from lab.own import APART
from lab.runner import Missing, kept
from lab.study import ITEMS, Study
from lab.words import MARGIN, difference_word
from nanouft.errors import UserError, in_range
from nanouft.eval.stats import interval
from nanouft.run import config
from nanouft.run.storage import write_json, write_text
from nanouft.run.words import choose

FOLDER, DOCS = Path("docs/results/map"), Path("docs")
BROKEN = ("fact", "truth", "unknown")           # families shown beside the endpoint


# ---- one regime ----------------------------------------------------------------------------------
def regime(r: plan.Regime, rows: dict[str, list[Cell]], chosen: dict[str, dict],
           done: dict[str, dict]) -> dict:
    """What map.json says of a regime: its rows, best first, each with those that are significantly
    worse. The best row was picked by the same figures, so its comparisons with others have a wider
    interval; those with SFT were planned. A row whose settings were chosen elsewhere is never
    called worse or equal: better settings might help it."""
    got = {name: [done[c.key] for c in cells] for name, cells in rows.items()}
    ends = {name: contrast(cells) for name, cells in got.items()}
    order = sorted(got, key=lambda name: -ends[name][0])
    flops = {name: float(np.mean([c["spent"]["flops"] for c in cells if "spent" in c] or [0]))
             for name, cells in got.items()}
    own = {name: name == "SFT" or chosen[name]["searched"] in ("", replace(r, base="base").name)
           for name in order}
    out = []
    for place, name in enumerate(order):
        looks = len(order) - 1 if place == 0 else 1
        mean, half, word = (judged(got[name], got["SFT"])
                            if name != "SFT" else (0.0, 0.0, "baseline"))
        out.append({
            "name": name, "needs": needs(name, r), "endpoint": list(ends[name]),
            "borrowed": not own[name],
            "worse": [n for n in order[place + 1:] if own[n]
                      and judged(got[n], got[name], looks=looks)[2] == "worse"],
            "gain": [mean, half], "verdict": word if own[name] or word == "better" else "undecided",
            "changes": changes(got[name], got["SFT"]) if name != "SFT" else {},
            "cost": {"samples": samples(r, name), "flops": flops[name],
                     "relative": flops[name] / flops["SFT"],
                     "at_inference": plan.PER_PROMPT if name == plan.BEST else 1},
            **chosen[name], "failed": sum("failed" in c for c in got[name]),
            "commands": [line.replace("out/", f"out/{folder_name(r)}/")
                         for line in commands(rows[name][0])]})
    more = {"steps": r.steps} if r.steps else {}
    more |= {"cleaned": judged(got[plan.CLEANED], got["RFT"])} if plan.CLEANED in got else {}
    # all rows have the same judges
    agreed = [c["agreement"] for c in got.get("DPO", ()) if "agreement" in c]
    more |= {"agreement": interval(agreed)} if agreed else {}
    return {"name": r.name, "demos": r.demos, "samples": r.samples, "noise": r.noise,
            "errs": r.errs, "source": f"errs {r.errs}" if r.errs else r.source,
            "base": "base" if r.base == "base" else "second base", **more, "rows": out}


def folder_name(r: plan.Regime) -> str:
    """30x4000, 100x1000-40wrong."""
    return r.name.replace(", ", "-").translate(dict.fromkeys(map(ord, " ,%")))


def judged(row: list[dict], other: list[dict], parts: Parts = NINE, looks: int = 1) -> list:
    """[mean, half width, word] of a paired difference, picked from so many."""
    mean, half = contrast(row, other, parts, looks=looks)
    return [mean, half, difference_word(mean, half)]


def changes(row: list[dict], sft: list[dict]) -> dict[str, list]:
    """{family, ends or diversity: [mean, half width, word]} minus SFT. Of diversity neither more
    nor less is better."""
    out = {f: judged(row, sft, ((f,),)) for f in BROKEN}
    finished = [(a, b) for a, b in zip(row, sft) if "failed" not in a and "failed" not in b]
    for name, of in (("ends", stops), ("diversity", lambda c: c["diversity"])):
        if finished and (name == "ends" or "diversity" in finished[0][0]):
            mean, half = interval([of(a) - of(b) for a, b in finished])
            word = difference_word(mean, half)
            varied = ({"better": "more varied", "worse": "less varied"}
                      if name == "diversity" else {})
            out[name] = [mean, half, varied.get(word, word)]
    return out


def samples(r: plan.Regime, name: str) -> int:
    """Scored or judged answers that a row needs."""
    if name == "SFT":
        return 0
    if name == plan.CLEANED:
        return r.demos
    if r.source != "own":
        return r.samples // 2 if name == plan.RIGHT else r.samples
    if plan.on_policy(plan.recipes(r)[name]):
        return plan.steps(r) * plan.PER_STEP * plan.PER_PROMPT
    return r.samples // plan.PER_PROMPT * plan.PER_PROMPT


def needs(name: str, r: plan.Regime) -> str:
    """nothing, pairs, labels, scores, or a reward that may be asked at any time."""
    special = {"SFT": "nothing", plan.CLEANED: "labels", plan.BEST: "pairs", plan.PICKED: "scores"}
    return special.get(name) or plan.recipes(r)[name].needs


def commands(cell: Cell) -> list[str]:
    """The command lines that make a cell's model."""
    own = cell.own
    if own and not own.prompts:
        return [f"python -m nanouft.world --demos {own.rows} --noise {own.noise:g} --right --seed "
                f"{own.seed} --out out/own/right.jsonl", train(cell, cell.base, "out/sft")]
    first = cell.start if isinstance(cell.start, Cell) else own.model if own else None
    out = [train(first, first.base, "out/sft")] if first else []
    if own and own.labelled:
        out.append(f"python -m nanouft.reward --init out/sft --pairs samples --rows {own.labelled} "
                   f"--seed {2 * APART + own.seed} --out out/reward")
    if any("{own}" in f for f in cell.flags):
        judge = (" --reward out/reward" if own.labelled
                 else f" --reward {own.judge} --good 1" if own.errs else "")
        out.append(f"python -m nanouft.rewards.harvest --init out/sft --prompts {own.prompts} "
                   f"--samples {own.samples} --seed {own.seed}{judge} --out out/own")
    if cell.best_of > 1:
        return [*out, f"python -m nanouft.evaluate --init out/sft --best-of {cell.best_of} "
                "--reward out/reward"]
    chained = isinstance(cell.start, Cell)
    folder = "out/sft-2" if chained and cell.flags[1] == "sft" else f"out/{cell.flags[1]}"
    return [*out, train(cell, "out/sft" if chained else cell.base, folder)]


def train(c: Cell, init: str, folder: str) -> str:
    judge = c.own.judge if c.own and c.own.errs else "out/reward"
    flags = [f.replace("{own}", "out/own").replace("{reward}", judge) for f in c.flags]
    start = [] if init == "base" else ["--init", init]
    return shlex.join(["python", "-m", "nanouft.train", *flags, *start, "--seed", str(c.seed),
                       "--out", folder])


# ---- all of it -----------------------------------------------------------------------------------
def summary(done: dict[str, dict]) -> dict:
    """map.json; regimes that are not finished are named."""
    regimes, unfinished, curve, others, edges, searches = [], [], {}, {}, {}, set()
    look_up = kept(done, "Run python -m lab.map")
    for piece, r in ((piece, r) for piece, places in plan.PIECES.items() for r in places):
        study = Study(plan.plan)
        try:
            study.tune([r], look_up)
            cells = study.test_cells(r)[r.base]
            look_up([c for row in cells.values() for c in row])
        except Missing:
            unfinished.append(r.name)
            continue
        chosen = {name: {"settings": study.setting(r, name, r.base),
                         "searched": study.home(r, name)[0].name if name != plan.BEST else "",
                         "edges": study.edges(r, name, r.base)} for name in cells}
        regimes.append({"piece": piece, **regime(r, cells, chosen, done)})
        searches |= set(study.searches)
        edges |= {(place, name): f"{name} at {place.name} "
                  f"({', '.join(flag.removeprefix('--') for flag in s.edges)})"
                  for (place, name, _), s in study.searches.items() if s.edges}
        if piece in ("grid", "judges") or (piece == "long" and r.base == "base"):
            got = {name: [done[c.key] for c in row] for name, row in cells.items()}
            curve |= {r.demos: got["SFT"]} if piece == "grid" else {}
            others |= {(r.demos, r.samples, name, r.errs): row
                       for name, row in got.items() if name != "SFT"}
    if not regimes:
        raise UserError("no regime of the map is finished; run python -m lab.map")
    rates = prices.exchange(curve, others) if len(curve) > 1 else []
    elsewhere = kept(read_cells(transfer.FILE), "Run python -m lab.map")
    against_sft = sum(row["name"] != "SFT" for r in regimes for row in r["rows"])
    return {"command": "python -m lab.map", "seeds": len(plan.plan(plan.GRID[0]).seeds),
            "items": ITEMS, "margin": MARGIN, "endpoint": "mean of the nine families' scores",
            "contrasts": against_sft, "unfinished": unfinished, "searches": len(searches),
            "edges": list(edges.values()),
            "exchange": rates,
            "transfer": transfer.found(elsewhere, rates),
            "of transfer": transfer.at_edge(elsewhere),
            "alone": {d: contrast(cells)[0] for d, cells in curve.items()}, "regimes": regimes}


def write(folder: Path, done: dict[str, dict], docs: Path = DOCS) -> str:
    """Writes map.json, and page and pictures, which need all but the judges that err; -> a line
    that says what."""
    found = summary(done)
    write_json(folder / "map.json", found)
    whole = all(name.endswith("misjudged") for name in found["unfinished"])
    if whole:
        picture(found, docs / "map.png")
        write_text(docs / "map.md", page(found))
    written = (f"{folder / 'map.json'}, {docs / 'map.md'}"
               if whole else f"{folder / 'map.json'}, no page yet")
    return (f"{written}: {len(found['regimes'])} regimes; not finished: "
            f"{'; '.join(found['unfinished']) or 'none'}")


@dataclass
class Map:
    pieces: list[str] | None = None     # grid, source, noise ... sums, more, small ... [all]
    write: bool = False                 # page, pictures and data from what is there; no training
    workers: int = 2                    # processes of one thread each
    out: str = str(FOLDER)              # folder of cells.jsonl and map.json

    def check(self) -> None:
        for name in self.pieces or ():
            choose("--pieces", name, [*plan.PIECES, *transfer.PIECES])
        in_range(self, "workers", low=1, high=64)
        if self.write and self.pieces:
            raise UserError("--write tells all pieces that are there; drop --pieces")


def main(argv=None) -> int:
    cfg, _ = config.parse(Map, argv, "python -m lab.map", __doc__)
    cfg.check()
    file = Path(cfg.out) / "cells.jsonl"
    if cfg.write:
        print(write(Path(cfg.out), read_cells(file)))
        return 0
    for name in cfg.pieces or [*plan.PIECES, *transfer.PIECES]:
        place, kept_in = (plan, file) if name in plan.PIECES else (transfer, transfer.FILE)
        Study(place.plan).run(place.PIECES[name], kept_in, cfg.workers)
    return 0


if __name__ == "__main__":
    sys.exit(config.run(main))
