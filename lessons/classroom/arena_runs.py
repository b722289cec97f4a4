"""The runs of the arena: trained in a process of their own, scored by this one.

    found = measure("mine", "mine.py", task, "val", 7)      # a Result: scores of five seeds
    others = baselines("stop", task, "val", 7)              # of the methods beside it, made once

What trains leaves weights and nothing else that is believed; model, tokenizer, prompts and scores
are this program's own.
"""
import contextlib
import hashlib
import io
import os
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lessons.tasks.child import PYTHON, ROOT, container
from nanouft.gpt import BASE, GPT
from nanouft.models.folders import read_gpt
from nanouft.models.tokenizer import nano
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.files import read_json
from nanouft.plumbing.printing import say
from nanouft.run.evaluation import score_tasks

OUT = Path("out/arena")
ASKED = ("list", "sum", "sort", "reverse")
SEEDS, TRIES = range(5), (100, 101)             # of the verdict; of the choice of a rate
ITEMS, FEW = 240, 60                    # prompts of each task: of the verdict, of a choice
WAITING = 720                   # seconds, for the tries of a rate and again for the verdict
RUN_ALL = """import shlex, sys
from nanouft import train
for word in sys.argv[1:]:                       # a folder and the flags of a run
    folder, *flags = shlex.split(word)
    train.main([*flags, *"--warmup 0.1 --plain --device cpu --threads 1 --save-every 0".split(),
                "--out", folder])"""


@dataclass(frozen=True)
class Task:
    about: str
    flags: str                          # rows and steps of nanouft.train, for everybody
    rates: tuple[str, ...]              # which everybody tries
    beside: dict[str, str]              # name: flags. The first is the one to beat
    doubt: str = ""                     # what must be known of those beside


# ---- training, in a process that leaves weights --------------------------------------------------
def train(name: str, flags: str, task: Task, jobs: list[tuple[int, str]], runs: Path) -> None:
    """One run for each (seed, rate) in `runs`, a process for all of them; UserError if one is
    missing. What it prints is never believed."""
    shutil.rmtree(runs, ignore_errors=True)
    runs.mkdir(parents=True)
    say(f"  training {name}: {len(jobs)} runs")
    words = [f"{folder_of(job)} --objective {flags} {task.flags} --lr {job[1]} --seed {job[0]}"
             for job in jobs]
    here, said, ended = runs.resolve(), runs.resolve() / "said.txt", "it ended Python"
    entry = Path(shlex.split(flags)[0]).resolve()               # "sft" is no file
    jail = container(entry.parent if entry.is_file() else ROOT, [], room=here)
    with said.open("wb") as file:
        try:
            subprocess.run([*jail, PYTHON, "-c", RUN_ALL, *words], cwd=here,
                           stdout=file, stderr=file, timeout=WAITING,
                           env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"})
        except subprocess.TimeoutExpired:
            ended = f"out of time, it had not ended after {WAITING} seconds,"
    missing = [job for job in jobs if not (runs / folder_of(job) / "model.safetensors").is_file()]
    if missing:
        raise UserError(f"{name}: {ended} and {len(missing)} of "
                        f"{len(jobs)} runs left no weights; the last line was: {last_words(said)}")


def last_words(said: Path) -> str:
    """The last line that a process has printed."""
    text = said.read_text(encoding="utf-8", errors="replace") if said.is_file() else ""
    return (text.strip().splitlines() or ["no word"])[-1][:300]


def folder_of(job: tuple[int, str]) -> str:
    return f"{job[0]}-{job[1]}"


# ---- judging, by this program's own code ---------------------------------------------------------
def model_of(folder: Path) -> GPT:
    """The shipped model with a run's weights: only these numbers are taken from its folder."""
    return read_gpt(folder, read_json(BASE / "config.json"))


def scores(folder: Path, split: str, seed: int, items: int) -> tuple[np.ndarray, np.ndarray]:
    """(tasks, prompts) scores of a run's weights, and which answers stop."""
    model = model_of(folder)
    with contextlib.redirect_stderr(io.StringIO()):
        answers = score_tasks(model, nano(), split, items, seed, ASKED)[1]
    return tuple(np.array([[x[what] for x in answers if x["family"] == f] for f in ASKED], float)
                 for what in ("score", "ended"))


@dataclass
class Result:
    rate: str                           # and whether it is the lowest or the highest tried
    scores: np.ndarray                  # (seeds, tasks, prompts)
    ended: np.ndarray


def measure(name: str, flags: str, task: Task, split: str, seed: int) -> Result:
    """Choose the rate on validation prompts, then train and score the five seeds."""
    runs = OUT / "runs" / "".join(c if c.isalnum() else "-" for c in name)
    rate = task.rates[0]
    if len(task.rates) > 1:
        jobs = [(s, rate) for rate in task.rates for s in TRIES]
        train(name, flags, task, jobs, runs)
        tried = {rate: np.mean([scores(runs / folder_of((s, rate)), "val", 3, FEW)[0].mean()
                                for s in TRIES]) for rate in task.rates}
        rate = max(tried, key=tried.get)
        say(f"  {name}: " + ", ".join(f"{100 * x:.1f} at {r}" for r, x in tried.items()))
    jobs = [(s, rate) for s in SEEDS]
    train(name, flags, task, jobs, runs)
    folders = [runs / folder_of(job) for job in jobs]
    found = [scores(folder, split, seed, ITEMS) for folder in folders]
    shutil.rmtree(runs)
    edge = len(task.rates) > 1 and rate in (task.rates[0], task.rates[-1])
    told = f"{rate} (at the edge)" if edge else rate
    return Result(told, *(np.array(x) for x in zip(*found)))


def baselines(name: str, task: Task, split: str, seed: int) -> dict[str, Result]:
    """The methods beside an entry, trained once on this machine and kept in out/arena, under a
    hash of their commands."""
    commands = hashlib.sha256(
        repr((task.flags, task.rates, task.beside)).encode()).hexdigest()[:16]
    file = OUT / f"{name}-{split}-{seed}-{commands}.npz"
    if not file.exists():
        say(f"first, once: {'; '.join(task.beside)}")
        out = {who: measure(who, flags, task, split, seed) for who, flags in task.beside.items()}
        np.savez_compressed(file, **{f"{who}/{key}": value for who, x in out.items()
                                     for key, value in vars(x).items()})
    kept = np.load(file)
    return {who: Result(str(kept[f"{who}/rate"]), kept[f"{who}/scores"], kept[f"{who}/ended"])
            for who in task.beside}
