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
import io
import json
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

from nanouft import train
from nanouft.lab import cost, snapshot
from nanouft.look import probes, scores
from nanouft.models.load import folder_of, start_model
from nanouft.objectives import OBJECTIVES
from nanouft.shell import devices
from nanouft.shell.config import UserError
from nanouft.shell.files import Lines, checksum, made_once, write_json

CELL_VERSION = 1
EVAL_EVERY = 24                 # steps between held-out figures of a snapshot; looking changes no weight
SNAPSHOT_VERSION = 2            # raised by hand when snapshot.py changes what it gives
KEEP = Path("out/.cells")                                       # models that chains start from
KEPT = ("score", "strict", "ends", "length", "gold_logp")       # of a family; intervals over prompts are not kept


@dataclass(frozen=True)
class Cell:
    """One training run. `start` is another cell (a chain) or the name of a base; no flags = the start as it is."""
    flags: tuple[str, ...]
    seed: int = 0
    start: "Cell | str" = "base"
    split: str = "test"
    items: int = 100
    probes: bool = False            # look/probes.py too, on at most 30 prompts a family
    snapshot: bool = False          # what the comparison page shows of a model, too (snapshot.py); "portrait" in JSON

    @property
    def base(self) -> str:
        """The base that the first of a chain starts from."""
        return self.start.base if isinstance(self.start, Cell) else self.start

    @property
    def key(self) -> str:
        start = self.start.key if isinstance(self.start, Cell) else fingerprint(self.start)
        about = [CELL_VERSION, self.flags, self.seed, start, self.split, self.items]
        about += ["probes"] if self.probes else []
        about += [f"portrait {SNAPSHOT_VERSION}"] if self.snapshot else []
        return checksum(json.dumps(about))[:16]

    @property
    def model_key(self) -> str:
        """Key of what is trained, however it is scored afterwards."""
        return replace(self, split="", items=0, probes=False, snapshot=False).key


@lru_cache
def fingerprint(init: str) -> str:
    try:
        return checksum(folder_of(init) / "model.safetensors")[:16]
    except OSError:
        raise UserError(f"{init}: no model.safetensors there; give 'base', a run folder or one that "
                        "python -m nanouft.pretrain made")


def train_cell(cell: Cell, folder: Path, keep: Path = KEEP) -> str:
    """Train a cell in `folder`, and what it starts from in `keep`, unless that is there already; returns the --init
    value of its model. A cell without flags is its start."""
    start = cell.start if isinstance(cell.start, str) else kept_model(cell.start, keep)
    if not cell.flags:
        return start
    argv = [*cell.flags, "--init", start, "--seed", str(cell.seed), "--threads", "1", "--device", "cpu",
            "--items", "0", "--save-every", "0", "--out", str(folder),
            *(("--eval-every", str(EVAL_EVERY)) if cell.snapshot else ())]
    began, sampled = time.process_time(), any(OBJECTIVES[f].on_policy for f in cell.flags if f in OBJECTIVES)
    with cost.counted() if sampled else contextlib.nullcontext() as meter:
        train.main(argv)
    write_json(folder / "spent.json", {"seconds": round(time.process_time() - began, 2),
                                       "flops": meter.flops if meter else None})
    return str(folder)


def kept_model(cell: Cell, keep: Path = KEEP) -> str:
    """The --init value of a model that others start from: trained once; several processes may ask for it."""
    if not cell.flags:
        return train_cell(cell, keep, keep)
    return str(made_once(keep / cell.model_key, lambda place: train_cell(cell, place, keep)))


def run_cell(cell: Cell, keep: Path | None = KEEP) -> dict:
    """Train, score, forget the weights: -> a small JSON object. A run that diverges is a result too: {failed: why}.
    `keep` None: the models that the cell starts from are trained anew."""
    folder, began = Path(tempfile.mkdtemp(prefix="nanouft-cell-")), time.process_time()
    device = devices.pick("cpu", "fp32", 1)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            init = train_cell(cell, folder / "run", keep or folder / "starts")
            model, tok = start_model(init)
            result, answers = scores.families(model, tok, device, cell.split, cell.items)
            log = Lines(Path(init) / "metrics.jsonl").read() if cell.flags else []
            more = {"probes": probe(cell, model, tok)} if cell.probes else {}
            if cell.snapshot:
                more["portrait"] = snapshot.snapshot_of(cell, init, model, tok, answers, log)
        out = {"mean": scores.mean_score(result), "families": {f: {k: round(r[k], 4) for k in KEPT}
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
    values = probes.probe(model, start_model(cell.base)[0], tok, cell.split, min(cell.items, 30))
    return {k: round(v, 4) for k, v in values.items()}


def read_cells(file: Path) -> dict[str, dict]:
    """{key: finished cell} of a results file; of a cell that was run twice the later one."""
    return {c["key"]: c for c in Lines(file).read()}


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
    missing = [(c,) for c in dict.fromkeys(cells) if c.key not in done]
    if missing:
        lines = Lines(file)
        for cell in tqdm(finished(run_cell, missing, workers), total=len(missing), desc=file.stem, mininterval=5):
            lines.add(cell)
            done[cell["key"]] = cell
    return done


def stops(cell: dict) -> float:
    """Share of answers that stop by themselves, macro mean over families."""
    return float(np.mean([f["ends"] for f in cell["families"].values()]))


def repeat(cell: Cell, old: dict) -> tuple[dict, str]:
    """Train a finished cell once more, with all that it starts from -> (the new one, "the same" | what differs). Every
    number is compared but the seconds. Digits depend on the processor and on torch as well as on the code."""
    new = json.loads(json.dumps(run_cell(cell, keep=None)))
    if timeless(new) == timeless(old):
        return new, "the same"
    if "mean" in new and "mean" in old and new["mean"] != old["mean"]:
        return new, f"DIFFERENT: mean {100 * new['mean']:.4f}, it was {100 * old['mean']:.4f}"
    return new, f"DIFFERENT in {', '.join(k for k in new if timeless(new)[k] != timeless(old).get(k))}"


def timeless(cell: dict) -> dict:
    """A cell without what a clock says."""
    return {k: timeless(v) if isinstance(v, dict) else v for k, v in cell.items()} | {"seconds": 0}
