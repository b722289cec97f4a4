"""Does the map's exchange rate hold elsewhere? In a second world (sums.py), and with models of other sizes.

    python -m lab.transfer              # tunes, trains and scores what is missing; lab.map --write tells it

Written down before the first cell, from the map:
- The order of methods: RFT, UNA and RLOO above DPO; RLOO, which asks while it trains, level with RFT.
- About 20 judged answers replace a demonstration at 1,000, about 28 at 4,000, whatever one began with.
- This holds in the second world, and with models of .3M and 4M parameters.
A rate agrees with the map's where the two differ by a factor of 1.5 at most. "Intervals overlap" is said beside it.
What was seen before: one seed of an earlier study (SFT 32.5 %, RFT 48, GRPO 75), and here one validation seed of each
row at 100 x 1,000 with settings that nobody had chosen (SFT 58, RFT 69, UNA 66, DPO 61.5, RLOO 53).
Changed after the first validation cells of SFT, to save computing: with 300 demonstrations SFT alone has 97 % right, so
nothing is left to gain, and judged answers are read with 30 and 100 only; with 4,000 of them one axis is searched.
Settings are chosen on validation: in the second world those of SFT at each number of demonstrations, of other rows with
100; of other sizes the learning rates, with 100, around the map's times 128 / width.
"""
import contextlib
import sys
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from lab import sums
from lab.cells import read_cells
from lab.contrast import contrast
from lab.own import Own
from lab.prices import exchange
from lab.regimes import PER_PROMPT, PER_STEP
from lab.runner import Missing, kept, results_of
from lab.study import Plan, Row, Study
from lab.words import difference_word
from nanouft.shell import config
from nanouft.shell.errors import in_range
from nanouft.shell.text import choose

FIELDS = "--prompt-field question --response-field answer"
SMALL, LARGE = "out/base-64", "out/base-256"        # .3M and 4M parameters; bases.json says how to make them
FOLDER = Path("docs/results/transfer")
FILES = {"sums": "sums.jsonl", "more": "sums.jsonl", "small": "small.jsonl", "large": "large.jsonl"}
WIDTHS = {SMALL: 64, LARGE: 256}


@dataclass(frozen=True)
class Place:
    demos: int
    samples: int = 0
    base: str = "base"
    world: str = ""


PASSES = {30: 6, 100: 12, 300: 6, 1020: 3}          # the map's, of SFT
RATES = ("1e-5", "3e-5", "1e-4")
AXES = {
    "SFT": {"--lr": ("2.5e-4", "5e-4", "1e-3"), "--epochs": ("8", "16")},
    "RFT": {"--lr": ("1e-4", "2.5e-4", "5e-4"), "--epochs": ("2", "4")},
    "UNA": {"--lr": RATES, "--beta": ("1", "0.3")},
    "DPO": {"--lr": RATES, "--beta": ("1", "0.3")},
    "RLOO": {"--lr": ("3e-5", "1e-4", "3e-4"), "--beta": ("0.05", "0.005")},
}
LONG = "RLOO, four times as long"
READS = {"RFT": "--objective sft --data {own}/demos.jsonl --eval-data {own}/demos.jsonl",
         "UNA": "--objective una --data {own}/scores.jsonl --eval-data {own}/scores.jsonl --epochs 2",
         "DPO": "--objective dpo --data {own}/pairs.jsonl --eval-data {own}/pairs.jsonl --epochs 8"}
PIECES = {"sums": [Place(n, world="sums") for n in (30, 100, 300)] + [Place(n, 1000, world="sums") for n in (100, 30)],
          "more": [Place(n, 4000, world="sums") for n in (100, 30)]} | {
    name: [Place(n, base=base) for n in PASSES] + [Place(n, 4000, base) for n in (100, 30, 300)]
    for name, base in (("small", SMALL), ("large", LARGE))}
GROUPS = {"sums": PIECES["sums"] + PIECES["more"], "small": PIECES["small"], "large": PIECES["large"]}
FACTOR = 1.5


@lru_cache
def plan(p: Place) -> Plan:
    return second_world(p) if p.world else other_size(p)


def second_world(p: Place) -> Plan:
    """SFT alone, or with so many judged answers; the settings of its other rows are chosen with 100 demonstrations."""
    file = f"{{world}}/demos-{p.demos}.jsonl"
    rows = {"SFT": Row(f"--objective sft --data {file} --eval-data {file} {FIELDS} --batch-size 16", AXES["SFT"],
                       at=replace(p, samples=0))}
    if p.samples:
        asked = p.samples // PER_PROMPT
        own, there = Own(None, asked, rows=p.demos), replace(p, demos=100)
        rows |= {name: Row(f"{flags} --batch-size 16 {fixed(name, p)}", axes(name, p), "SFT", own=own, at=there)
                 for name, flags in READS.items()}
        file = f"{{world}}/questions-{asked}.jsonl"
        flags = (f"--objective rloo --data {file} --eval-data {file} --prompt-field question --reward {sums.RIGHT} "
                 f"--batch-size {PER_STEP} {fixed('RLOO', p)} --steps")
        steps = asked // PER_STEP
        rows["RLOO"] = Row(f"{flags} {steps}", axes("RLOO", p), "SFT", own=own, at=there)
        if p == Place(100, 1000, world="sums"):
            rows[LONG] = Row(f"{flags} {4 * steps}", after="SFT", own=own, like="RLOO")
    effort = {"more": 0, "growths": 1} if p.samples == 4000 else {"more": 1, "growths": 2 if p.demos < 300 else 0}
    return Plan(rows, "SFT", bases=("base",), parts=(), world="sums", ends=("0.005",), effort=effort)


def axes(name: str, p: Place) -> dict[str, tuple[str, ...]]:
    """With 4,000 answers only the learning rate is searched."""
    return {flag: values for flag, values in AXES[name].items() if p.samples < 4000 or flag == "--lr"}


def fixed(name: str, p: Place) -> str:
    """The first value of what is not searched."""
    return " ".join(f"{flag} {values[0]}" for flag, values in AXES[name].items() if flag not in axes(name, p))


def other_size(p: Place) -> Plan:
    """The map's rows with its passes and beta; three learning rates around the map's times 128 / width."""
    def rates(of_map: float) -> dict[str, tuple[str, ...]]:
        return {"--lr": tuple(f"{of_map * 128 / WIDTHS[p.base] * part:.2g}" for part in (0.5, 1, 2))}
    rows = {"SFT": Row(f"--objective sft --rows {p.demos} --batch-size 16 --epochs {PASSES[p.demos]}", rates(1.25e-4),
                       at=Place(100, base=p.base))}
    if p.samples:
        how = {"after": "SFT", "own": Own(None, p.samples // PER_PROMPT, rows=p.demos), "at": replace(p, demos=100)}
        rows["RFT"] = Row("--objective sft --data {own}/demos.jsonl --batch-size 16 --epochs 2", rates(1e-4), **how)
        rows["UNA"] = Row("--objective una --data {own}/scores.jsonl --batch-size 16 --epochs 2 --beta 1", rates(3e-5),
                          **how)
    return Plan(rows, "SFT", bases=(p.base,), tuned_on=(p.base,), parts=(), seeds=range(3 if p.base == LARGE else 5),
                effort={"more": 1})


# ---- what came out ---------------------------------------------------------------------------------------------------
def found(folder: Path, of_map: list[dict]) -> list[dict]:
    """A line for each place and row that is finished, as prices.exchange gives it, with points over SFT, and whether
    its rate agrees with that of the map's same row (of_map: the lines of map.json)."""
    out: list[dict] = []
    for name, places in GROUPS.items():
        done, study, got = read_cells(folder / FILES[name]), Study(plan), {}
        for p in places:
            with contextlib.suppress(Missing):
                study.tune([p], kept(done, "Run python -m lab.transfer"))
                rows = study.test_cells(p)[p.base]
                got[p] = {row: results_of(cells, done, "Run python -m lab.transfer") for row, cells in rows.items()}
        curve = {p.demos: rows["SFT"] for p, rows in got.items()}
        others = {(p.demos, p.samples, row, 0): cells for p, rows in got.items() for row, cells in rows.items()
                  if row != "SFT"}
        for line in exchange(curve, others) if len(curve) > 1 and others else []:
            cells, sft = others[line["demos"], line["samples"], line["row"], 0], curve[line["demos"]]
            gain = contrast(cells, sft, (tuple(sft[0]["each"]),))
            right = [c["right"]["questions"] for c in cells if "right" in c]
            out.append({"where": name, **line, "gain": gain, "verdict": difference_word(*gain), "seeds": len(cells),
                        "sft": float(np.mean([c["mean"] for c in sft])), "right": float(np.mean(right or [0])),
                        "agrees": agrees(line, of_map)})
    return out


def agrees(line: dict, of_map: list[dict]) -> str:
    """Does a rate agree with the map's?"""
    same = ("demos", "samples", "row", "errs")
    other = next((x for x in of_map if all(x[k] == line[k] for k in same)), None)
    if other is None or min(line["low"], other["low"]) <= 0:
        return "cannot be told"
    factor, overlap = line["answers"] / other["answers"], line["low"] <= other["high"] and other["low"] <= line["high"]
    return ("yes" if 1 / FACTOR <= factor <= FACTOR else "intervals overlap" if overlap else "no") + f" ({factor:.1f})"


@dataclass
class Transfer:
    pieces: list[str] | None = None     # sums, more (4,000 judged answers), small, large [all]
    workers: int = 2                    # processes of one thread each
    out: str = str(FOLDER)              # folder of the cells

    def check(self) -> None:
        for name in self.pieces or ():
            choose("--pieces", name, PIECES)
        in_range(self, "workers", low=1, high=64)


def main(argv=None) -> int:
    cfg, _ = config.parse(Transfer, argv, "python -m lab.transfer", __doc__)
    cfg.check()
    for piece in cfg.pieces or PIECES:
        Study(plan).run(PIECES[piece], Path(cfg.out) / FILES[piece], cfg.workers)
    return 0


if __name__ == "__main__":
    sys.exit(config.run(main))
