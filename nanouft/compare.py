"""Experiments as cells: {flags of train} x {seed}, each trained once, scored, kept.

    python -m nanouft.compare --seeds 5                 # sft, ift, dpo from the shipped base -> out/compare/table.md
    python -m nanouft.compare --objectives dpo --lrs 1e-5 3e-5 1e-4 --split val --seeds 4 --first-seed 1000

A cell is what `python -m nanouft.train FLAGS --seed S --threads 1` gives, scored on `items` prompts a family. Cells
run in worker processes of one thread each, so a number does not depend on how many run beside it. A finished cell is
a line of a JSON-lines file, keyed by its flags, its seed and what it started from: interrupt at any time, start again,
and only what is missing runs. CELL_VERSION is raised by hand when a change of code changes what cells give.
"""
import contextlib
import hashlib
import io
import json
import math
import multiprocessing
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from tqdm import tqdm

from nanouft import config, devices, evaluate, probes, runs, train
from nanouft.config import UserError
from nanouft.objectives import OBJECTIVES

CELL_VERSION = 1
KEPT = ("score", "strict", "ends", "length", "gold_logp")       # of a family; intervals over prompts are not kept
T95 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262, 10: 2.228,
       11: 2.201, 12: 2.179, 13: 2.160, 14: 2.145, 15: 2.131, 16: 2.120, 17: 2.110, 18: 2.101, 19: 2.093,
       24: 2.064, 29: 2.045}                                                # Student's t, 97.5 %


@dataclass(frozen=True)
class Cell:
    """One training run. `start` is another cell (a chain) or the name of a base; no flags = the start as it is."""
    flags: tuple[str, ...]
    seed: int = 0
    start: "Cell | str" = "base"
    split: str = "test"
    items: int = 100
    probes: bool = False            # probes.py too, on at most 30 prompts a family

    @property
    def base(self) -> str:
        """The base that the first of a chain starts from."""
        return self.start.base if isinstance(self.start, Cell) else self.start

    @property
    def key(self) -> str:
        start = self.start.key if isinstance(self.start, Cell) else fingerprint(self.start)
        about = [CELL_VERSION, self.flags, self.seed, start, self.split, self.items] + ["probes"] * self.probes
        text = json.dumps(about)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@lru_cache
def fingerprint(init: str) -> str:
    """Hash of a base's weights."""
    folder = runs.BASE if init == "base" else Path(init)
    try:
        return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()[:16]
    except OSError:
        raise UserError(f"{init}: no model.safetensors there; give 'base', a run folder or one that "
                        "python -m nanouft.pretrain made")


def train_cell(cell: Cell, folder: Path) -> str:
    """Train a cell (and what it starts from) below `folder`; returns the --init value of its model."""
    start = train_cell(cell.start, folder / "start") if isinstance(cell.start, Cell) else cell.start
    if not cell.flags:
        return start
    argv = [*cell.flags, "--init", start, "--seed", str(cell.seed), "--threads", "1", "--device", "cpu",
            "--items", "0", "--save-every", "0", "--out", str(folder / "run")]
    train.main(argv)
    return str(folder / "run")


def run_cell(cell: Cell) -> dict:
    """Train, score, forget the weights: -> a small JSON object. A run that diverges is a result too: {failed: why}."""
    folder, began = Path(tempfile.mkdtemp(prefix="nanouft-cell-")), time.process_time()
    device = devices.pick("cpu", "fp32", 1)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            init = train_cell(cell, folder)
            model, tok = runs.start_model(init)
            result, _ = evaluate.families(model, tok, device, cell.split, cell.items)
            log = runs.read_metrics(Path(init) / "metrics.jsonl") if cell.flags else []
            more = {"probes": probe(cell, model, tok)} if cell.probes else {}
        out = {"mean": evaluate.mean_score(result), "families": {f: {k: round(r[k], 4) for k in KEPT}
                                                                 for f, r in result.items()},
               "tokens": sum(m.get("tokens", 0) for m in log), "last_loss": log[-1]["loss"] if log else None, **more}
    except UserError as e:
        out = {"failed": str(e).replace(str(folder), "...")}
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    after = {"after": " ".join(cell.start.flags)} if isinstance(cell.start, Cell) else {}
    return {"key": cell.key, "base": cell.base, **after, "flags": " ".join(cell.flags), "seed": cell.seed,
            "split": cell.split, "items": cell.items, **out, "seconds": round(time.process_time() - began, 1)}


def probe(cell: Cell, model, tok) -> dict[str, float]:
    """The probes of a cell's model, against the base it descends from."""
    values = probes.probe(model, runs.start_model(cell.base)[0], tok, cell.split, min(cell.items, 30))
    return {k: round(v, 4) for k, v in values.items()}


def read_cells(file: Path) -> dict[str, dict]:
    return {c["key"]: c for c in runs.read_metrics(file)} if file.exists() else {}


def run_cells(cells: Iterable[Cell], file: Path, workers: int = 2) -> dict[str, dict]:
    """Run what is missing in `file`, append each as it finishes; returns all of it by key."""
    done = read_cells(file)
    missing = [c for c in dict.fromkeys(cells) if c.key not in done]
    if not missing:
        return done
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.exists():                                           # a line cut short by a kill goes
        file.write_text("".join(json.dumps(c) + "\n" for c in done.values()), encoding="utf-8")
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        waiting = [pool.submit(run_cell, c) for c in missing]
        try:
            for future in tqdm(as_completed(waiting), total=len(waiting), desc=file.stem, mininterval=5):
                cell = future.result()
                done[cell["key"]] = cell
                with open(file, "a", encoding="utf-8") as f:
                    f.write(json.dumps(cell) + "\n")
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return done


def interval(values: list[float]) -> tuple[float, float]:
    """(mean, half width of its 95 % t-interval) over seeds; infinite for one seed."""
    x = np.asarray(values, float)
    if len(x) < 2:
        return float(x.mean()), math.inf
    t = T95[max(k for k in T95 if k <= len(x) - 1)]              # a missing row takes the next wider one
    return float(x.mean()), float(t * x.std(ddof=1) / math.sqrt(len(x)))


def percent(values: list[float]) -> str:
    mean, half = interval(values)
    return f"{100 * mean:.1f}" + (f" ± {100 * half:.1f}" if half < math.inf else "")


def stops(cell: dict) -> float:
    """Share of answers that stop by themselves, macro mean over families."""
    return float(np.mean([f["ends"] for f in cell["families"].values()]))


@dataclass
class Compare:
    objectives: list[str] | None = None     # which [all]
    lrs: list[str] | None = None    # learning rates to compare, each a row of its own [the objective's default]
    seeds: int = 5                  # a seed draws demonstrations and their order
    first_seed: int = 0             # number of the first seed; 1000 and up are used for choosing
    init: str = "base"              # where all start
    split: str = "test"             # val to choose, test to report
    items: int = 100                # prompts a family
    workers: int = 2                # processes of one thread each
    out: str = "out/compare"        # folder of cells.jsonl and table.md

    def check(self) -> None:
        config.choose("--split", self.split, ("val", "test"))
        if min(self.seeds, self.items, self.workers) < 1 or self.first_seed < 0:
            raise UserError("--seeds, --items and --workers must be at least 1, --first-seed not below 0")
        for lr in self.lrs or []:
            try:
                ok = float(lr) > 0
            except ValueError:
                ok = False
            if not ok:
                raise UserError(f"--lrs {lr}: not a learning rate")


def table(rows: dict[str, list[dict]], base: dict, about: str) -> list[str]:
    """Markdown: the base, then a row of each name with its seeds; runs that diverged are counted, not averaged."""
    names = list(base["families"])
    lines = [about, "", "| | mean | minus base | stops | list stops | " + " | ".join(names) + " |",
             "|---" * (5 + len(names)) + "|",
             f"| base | {100 * base['mean']:.1f} | | {100 * stops(base):.0f} | "
             f"{100 * base['families']['list']['ends']:.0f} | "
             + " | ".join(f"{100 * f['score']:.0f}" for f in base["families"].values()) + " |"]
    for name, cells in rows.items():
        got = [c for c in cells if "failed" not in c]
        if not got:
            lines.append(f"| {name} | all {len(cells)} seeds failed: {cells[0]['failed']} |")
            continue
        label = name if len(got) == len(cells) else f"{name} ({len(cells) - len(got)} of {len(cells)} seeds diverged)"
        figures = [[g["mean"] for g in got], [g["mean"] - base["mean"] for g in got], [stops(g) for g in got],
                   [g["families"]["list"]["ends"] for g in got],
                   *[[g["families"][f]["score"] for g in got] for f in names]]
        lines.append(f"| {label} | " + " | ".join(percent(x) for x in figures) + " |")
    return lines


def main(argv=None) -> int:
    cfg, _ = config.parse(Compare, argv, "python -m nanouft.compare", __doc__)
    cfg.check()
    names = [config.choose("objective", n, OBJECTIVES) for n in cfg.objectives or OBJECTIVES]
    arms = {f"{n} lr {lr}" if lr else n: ("--objective", n, *(("--lr", lr) if lr else ()))
            for n in names for lr in cfg.lrs or [None]}
    base = Cell((), 0, cfg.init, cfg.split, cfg.items)
    seeds = range(cfg.first_seed, cfg.first_seed + cfg.seeds)
    rows = {name: [Cell(flags, s, cfg.init, cfg.split, cfg.items) for s in seeds] for name, flags in arms.items()}
    out = Path(cfg.out)
    done = run_cells([base, *[c for cells in rows.values() for c in cells]], out / "cells.jsonl", cfg.workers)
    if "failed" in done[base.key]:
        raise UserError(f"{cfg.init} could not be scored: {done[base.key]['failed']}")
    about = f"{cfg.seeds} seed{'s' * (cfg.seeds > 1)}, {cfg.items} {cfg.split} prompts a family, scores in percent" + (
        ", 95 % t-interval over seeds" if cfg.seeds > 1 else "") + "; stops = answers that end by themselves"
    lines = table({name: [done[c.key] for c in cells] for name, cells in rows.items()}, done[base.key], about)
    (out / "table.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(config.run(main))
