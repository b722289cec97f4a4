"""Experiments as cells: {flags of train} x {seed}, each trained once, scored, kept.

    cell = Cell(("--objective", "dpo"), seed=0, start=Cell(("--objective", "sft"), seed=0))         # SFT -> DPO
    done = run_cells([cell, ...], Path("out/mine.jsonl"))          # {cell.key: {"mean": ..., "families": ...}}

A cell is what `python -m nanouft.train FLAGS --seed S --threads 1` gives, scored on `items` prompts a family. Cells
run in worker processes of one thread each, so a number does not depend on how many run beside it. A finished cell is
a line of a JSON-lines file, keyed by its flags, its seed and what it started from: interrupt at any time, start again,
and only what is missing runs. CELL_VERSION is raised by hand when a change of code changes what cells give.
The model that a chain starts from is trained once and kept in out/.cells under its key.
"""
import contextlib
import hashlib
import io
import json
import math
import multiprocessing
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from tqdm import tqdm

from nanouft import evaluate, train
from nanouft.lab import cost
from nanouft.look import probes
from nanouft.shell import devices, runs
from nanouft.shell.config import UserError
from nanouft.objectives import OBJECTIVES

CELL_VERSION = 1
EVAL_EVERY = 24                 # steps between held-out figures of a portrait; looking changes no weight
PORTRAIT_VERSION = 2            # raised by hand when portrait.py changes what it gives
KEEP = Path("out/.cells")                                       # models that chains start from
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
    portrait: bool = False          # what the comparison page shows of a model, too (portrait.py)

    @property
    def base(self) -> str:
        """The base that the first of a chain starts from."""
        return self.start.base if isinstance(self.start, Cell) else self.start

    @property
    def key(self) -> str:
        start = self.start.key if isinstance(self.start, Cell) else fingerprint(self.start)
        about = [CELL_VERSION, self.flags, self.seed, start, self.split, self.items] + ["probes"] * self.probes
        about += [f"portrait {PORTRAIT_VERSION}"] * self.portrait
        text = json.dumps(about)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def model_key(self) -> str:
        """Key of what is trained, however it is scored afterwards."""
        return replace(self, split="", items=0, probes=False, portrait=False).key


@lru_cache
def fingerprint(init: str) -> str:
    """Hash of a base's weights."""
    folder = runs.BASE if init == "base" else Path(init)
    try:
        return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()[:16]
    except OSError:
        raise UserError(f"{init}: no model.safetensors there; give 'base', a run folder or one that "
                        "python -m nanouft.pretrain made")


def train_cell(cell: Cell, folder: Path, keep: Path | None = KEEP) -> str:
    """Train a cell below `folder`, and what it starts from in `keep` (None: below `folder`, too), unless that is there
    already; returns the --init value of its model."""
    start = cell.start if isinstance(cell.start, str) else (
        train_cell(cell.start, folder / "start", None) if keep is None else kept_model(cell.start, folder, keep))
    if not cell.flags:
        return start
    argv = [*cell.flags, "--init", start, "--seed", str(cell.seed), "--threads", "1", "--device", "cpu",
            "--items", "0", "--save-every", "0", "--out", str(folder / "run"),
            *(("--eval-every", str(EVAL_EVERY)) if cell.portrait else ())]
    began, sampled = time.process_time(), any(OBJECTIVES[f].source == "rollouts" for f in cell.flags if f in OBJECTIVES)
    with cost.counted() if sampled else contextlib.nullcontext() as meter:
        train.main(argv)
    runs.write_json(folder / "run" / "spent.json", {"seconds": round(time.process_time() - began, 2),
                                                    "flops": meter.flops if meter else None})
    return str(folder / "run")


def kept_model(cell: Cell, folder: Path, keep: Path) -> str:
    """The folder of a model that others start from; several processes may make it at once."""
    if not cell.flags:
        return train_cell(cell, folder, keep)
    place = keep / cell.model_key
    if not (place / "model.safetensors").exists():
        made = Path(train_cell(cell, folder / "start", keep))
        place.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(OSError):                       # another process was faster: the same bytes
            made.rename(place)
        shutil.rmtree(folder / "start", ignore_errors=True)
    return str(place)


def run_cell(cell: Cell, keep: Path | None = KEEP) -> dict:
    """Train, score, forget the weights: -> a small JSON object. A run that diverges is a result too: {failed: why}."""
    folder, began = Path(tempfile.mkdtemp(prefix="nanouft-cell-")), time.process_time()
    device = devices.pick("cpu", "fp32", 1)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            init = train_cell(cell, folder, keep)
            model, tok = runs.start_model(init)
            result, answers = evaluate.families(model, tok, device, cell.split, cell.items)
            log = runs.read_metrics(Path(init) / "metrics.jsonl") if cell.flags else []
            more = {"probes": probe(cell, model, tok)} if cell.probes else {}
            if cell.portrait:
                from nanouft.lab import snapshot as portrait    # it draws in the ledger: only where it is asked for
                more["portrait"] = portrait.of(cell, init, model, tok, answers, log)
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


def leave_with_parent() -> None:
    """For workers: end when the process that started them was killed, instead of going on alone."""
    def wait() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)
    threading.Thread(target=wait, daemon=True).start()


def finished(work: Callable, jobs: Iterable[tuple], workers: int) -> Iterator:
    """work(*job) of every job in `workers` processes, each result as it ends."""
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), leave_with_parent) as pool:
        waiting = [pool.submit(work, *job) for job in jobs]
        try:
            yield from (future.result() for future in as_completed(waiting))
        except BaseException:                                   # what has not begun is not begun
            pool.shutdown(cancel_futures=True)
            raise


def run_cells(cells: Iterable[Cell], file: Path, workers: int = 2) -> dict[str, dict]:
    """Run what is missing in `file`, append each as it finishes; returns all of it by key."""
    done = read_cells(file)
    missing = [c for c in dict.fromkeys(cells) if c.key not in done]
    if not missing:
        return done
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.exists():                                           # a line cut short by a kill goes
        file.write_text("".join(json.dumps(c) + "\n" for c in done.values()), encoding="utf-8")
    for cell in tqdm(finished(run_cell, [(c,) for c in missing], workers), total=len(missing), desc=file.stem,
                     mininterval=5):
        done[cell["key"]] = cell
        with open(file, "a", encoding="utf-8") as f:
            f.write(json.dumps(cell) + "\n")
    return done


def interval(values: list[float]) -> tuple[float, float]:
    """(mean, half width of its 95 % t-interval) over seeds; infinite for one seed, no mean of none."""
    x = np.asarray(values, float)
    if len(x) < 2:
        return (float(x[0]) if len(x) else math.nan), math.inf
    t = T95[max(k for k in T95 if k <= len(x) - 1)]              # a missing row takes the next wider one
    return float(x.mean()), float(t * x.std(ddof=1) / math.sqrt(len(x)))


def percent(values: list[float]) -> str:
    mean, half = interval(values)
    return f"{100 * mean:.1f}" + (f" ± {100 * half:.1f}" if half < math.inf else "")


def stops(cell: dict) -> float:
    """Share of answers that stop by themselves, macro mean over families."""
    return float(np.mean([f["ends"] for f in cell["families"].values()]))
