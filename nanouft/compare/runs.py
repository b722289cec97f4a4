"""Trains and scores what is missing, in several processes. What is there is not made again.

    folder = folder_for(Path("out/compare/a/runs"), "dpo", words, files)    # named by a hash
    carry_out([Job(folder, words, asked)], 2, bar)
    values(folder, asked)["score"]["sort"]              # (questions,) of NanoWorld's task
"""
import contextlib
import hashlib
import json
import os
import re
import shlex
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from nanouft import __version__, world
from nanouft.data.holdout import question_key
from nanouft.data.rows import Row, read
from nanouft.plumbing.errors import Diverged, UserError
from nanouft.plumbing.files import own_file, read_json, removed_unless_whole, rename, write_json
from nanouft.run.folder import hash_of, locked, read_lines
from nanouft.world.answers import read_question

MORE = "--plain --items 0 --save-every 0 --threads 1".split()
KEPT = 40_000_000               # bytes: heavier weights are removed when they have been scored
Values = dict[str, dict[str, np.ndarray]]       # {measure: {task or "rows": (questions,)}}


class Asked(NamedTuple):
    """What a trained model is asked."""
    data: str = ""              # a file of your rows, or
    split: str = "test"         # NanoWorld's questions: val or test,
    seed: int = 0               # drawn with this seed,
    items: int = 100            # so many of each
    tasks: tuple[str, ...] = ()     # of these tasks
    reward: str = ""            # with rows, what scores answers to them

    @property
    def name(self) -> str:
        files = [hash_of(x) for x in (self.data, own_file(self.reward) or self.reward) if x]
        return f"scores-{short_hash([*self, *files])}.npz"

    def groups(self) -> dict[str, np.ndarray]:
        """{part: (questions,)}: one number for all that ask for the same fact, or the same."""
        if self.data:
            return {}           # they are known when a model has read them: read_groups
        numbers: dict = {}
        rows = world_rows(self)
        found = [numbers.setdefault(read_question(text) or text, len(numbers))
                 for text in (row.prompt[0].text for row in rows)]
        return dict(zip(self.tasks, np.array(found).reshape(len(self.tasks), -1)))


def world_rows(asked: Asked) -> list[Row]:
    return world.rows(asked.split, "prompts", asked.items * len(asked.tasks), asked.seed,
                      skills=asked.tasks)


def short_hash(told: Iterable) -> str:
    return hashlib.sha256(json.dumps([*told]).encode()).hexdigest()[:8]


def folder_for(place: Path, name: str, words: Sequence[str], reads: Sequence[str]) -> Path:
    """The folder of a run: a plain name, and a hash of its command and of the files that it reads,
    your loss among them."""
    told = [__version__, *words, *(hash_of(file) for file in reads)]
    return place / f"{re.sub('[^.a-zA-Z0-9]+', '_', name)[:60].strip('_')}-{short_hash(told)}"


class Job(NamedTuple):
    """One training and its scores."""
    folder: Path
    words: tuple[str, ...]      # of nanouft.train; none: the start model is only scored
    asked: Asked
    init: str = ""              # the start model
    alone: bool = False         # it trains other models first, so no other such job runs meanwhile
    try_out: bool = False       # a try may diverge
    starts: bool = False        # something starts from its weights
    program: Callable | None = None     # trains it in place of nanouft.train's main

    @property
    def scored(self) -> Path:
        return self.folder / self.asked.name

    @property
    def trained(self) -> bool:
        return not self.words or (self.folder / "model.safetensors").exists()

    @property
    def done(self) -> bool:
        return (self.scored.exists() and (self.trained or not self.starts)
                or self.try_out and (self.folder / "diverged").exists())

    @property
    def command(self) -> str:
        return f"python -m nanouft.train {shlex.join([*self.words, '--out', str(self.folder)])}"


# ---- in a process of its own ---------------------------------------------------------------------
def silent() -> None:
    """What each process does first."""
    import sys

    import torch
    torch.set_num_threads(1)
    sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")


def do(job: Job) -> None:
    """Train, if the folder is missing; score, if the scores are."""
    if job.done:
        return
    job.folder.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as at_end:
        if job.alone:
            at_end.enter_context(waiting(job.folder.parent / "alone.lock"))
        if not job.trained:
            make(job.folder, job.words, job.try_out, job.program)
    if not (job.folder / "diverged").exists():
        job.folder.mkdir(exist_ok=True)
        write_scores(job)


@contextlib.contextmanager
def waiting(lock: Path) -> Iterator[None]:
    """As folder.locked, but it waits until the other process ends."""
    while True:
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(locked(lock.parent, lock.name))
            except UserError:
                time.sleep(0.5)
                continue
            yield
            return


def make(folder: Path, words: Sequence[str], may_diverge: bool = False,
         program: Callable | None = None) -> None:
    """The folder of a run, whole or not at all; with the seconds of computing that it took."""
    from nanouft import train
    began = time.process_time()
    with removed_unless_whole(folder.with_name(f"{folder.name}.{os.getpid()}")) as partial:
        partial.mkdir(parents=True)
        try:
            (program or train.main)([*words, "--out", str(partial)])
            write_json(partial / "cost.json", cost(partial, time.process_time() - began))
        except Diverged as e:
            if not may_diverge:
                raise
            (partial / "diverged").write_text(str(e), encoding="utf-8")
        rename(partial, folder)


def cost(folder: Path, seconds: float) -> dict[str, float]:
    file = folder / "metrics.jsonl"
    if not file.exists():
        return {"seconds": seconds}
    run, log = read_json(folder / "run.json"), read_lines(file)
    return {"seconds": seconds, "steps": run["steps"], "lr": run["config"]["lr"],
            "rows": run["steps"] * run["config"]["batch_size"],
            "tokens": sum(m.get("tokens", 0) for m in log)}


def write_scores(job: Job) -> None:
    found = measure(job)
    with removed_unless_whole(job.scored.with_suffix(f".{os.getpid()}.npz")) as partial:
        arrays: Any = {f"{what}/{part}": x for what, of in found.items() for part, x in of.items()}
        np.savez_compressed(partial, **arrays)
        rename(partial, job.scored)


def measure(job: Job) -> Values:
    """What evaluate measures, row by row."""
    from nanouft import evaluate
    from nanouft.run.evaluation import score_tasks
    from nanouft.run.load import open_to_ask
    words, asked = list(job.words), job.asked
    device = words[words.index("--device") + 1] if "--device" in words else "cpu"
    model, tok, on = open_to_ask(str(job.folder) if words else job.init, device, None)
    if not asked.data:
        answers = score_tasks(model, tok, asked.split, asked.items, asked.seed, asked.tasks)[1]
        return {what: {task: np.array([x[key] for x in answers if x["family"] == task], float)
                       for task in asked.tasks} for what, key in
                (("score", "score"), ("stops", "ended"))}
    rows, _ = read([asked.data], ["demos", "pairs", "labels"])
    found, *_ = evaluate.measure_kinds("", model, tok, rows, on.exact())
    if asked.reward:
        flags = evaluate.EvaluateFlags(data=[asked.data], reward=asked.reward)
        found |= evaluate.measure_answers("", model, tok, rows, flags, on)[0]
    of_question = {r.where: question_key(r) for r in rows}
    keys = sorted({*of_question.values()})
    out: Values = {}
    for m in found.values():
        what = next(iter(m.metrics))
        if what not in out:
            out[what] = {"rows": m.sums / m.counts.mean()}
            out[f"{what} groups"] = {"rows": np.array([keys.index(of_question[w])
                                                       for w in m.where])}
    return out


# ---- all that is missing -------------------------------------------------------------------------
def carry_out(jobs: Iterable[Job], workers: int, bar: tqdm) -> None:
    """All jobs; those that are done count at once. UserError of the first that fails, in one line;
    those that run are waited for, so nothing that is begun is lost."""
    todo = []
    for job in {job.scored: job for job in jobs}.values():
        bar.update(1) if job.done else todo.append(job)
    if not todo:
        return
    pool = ProcessPoolExecutor(min(workers, len(todo)), get_context("spawn"), silent)
    try:
        running = {pool.submit(do, job): job for job in todo}
        for ended in as_completed(running):
            job = running[ended]
            try:
                ended.result()
            except BrokenProcessPool:
                raise UserError("a process was ended from outside or by a loss of your own (out of "
                                "memory?); --workers 1 needs the least. The same command goes on") \
                    from None
            except (UserError, OSError, RuntimeError) as e:
                raise UserError(f"{job.folder.name}: {e}; to see more: {job.command}") from None
            bar.update(1)
    except BaseException:
        pool.shutdown(wait=True, cancel_futures=True)
        raise
    pool.shutdown()


def values(folder: Path, asked: Asked) -> Values | None:
    """The scores of a run; None if it diverged."""
    if (folder / "diverged").exists():
        return None
    out: Values = {}
    with np.load(folder / asked.name) as kept:
        for key in kept.files:
            what, part = key.split("/", 1)
            out.setdefault(what, {})[part] = kept[key]
    return out


def costs(folder: Path) -> dict[str, Any]:
    return read_json(folder / "cost.json")


def drop_heavy(folders: Iterable[Path]) -> None:
    """Remove the weights of runs that have been scored and from which nothing starts."""
    for folder in folders:
        for weights in folder.glob("*.safetensors"):
            if weights.stat().st_size > KEPT:
                weights.unlink()
