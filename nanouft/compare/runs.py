"""One training and its scores: what a run depends on, is it there, and how it is made.

    job = job_for(place, "sft seed 0", config, "base", eval_spec=EvalSpec("my.jsonl"))
    is_done(job)                        # made and scored, by the code and from the files of today
    for part in parts_of(job):          # the training, and its scoring
        run_part(part, package)         # each in a process of its own (workers.py)
    scores_of(job)["score"]["sort"]     # (questions,) of NanoWorld's task

A folder's name has a hash of all that is known before a run: flags, rows, initial model, device,
precision, versions, the files that its flags name. What a loss of one's own imports is known only
when it has run. So made.json in the folder lists every Python file that the process had imported
outside of the installed libraries, nanouft's own too, with its hash. If one has changed, the run is
made anew.
"""
import json
import os
import re
import shlex
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from nanouft import __version__
from nanouft.compare.cached_log_probs import CachedLogProbs
from nanouft.compare.fingerprint import (
    hash_of_file,
    hash_of_input,
    hash_own_code,
    short_hash,
    unchanged,
)
from nanouft.compare.scoring import EvalSpec, Values, measure
from nanouft.models.folders import folder_of
from nanouft.plumbing.errors import Diverged, UserError
from nanouft.plumbing.files import (
    HOST,
    read_arrays,
    read_json,
    read_text,
    removed_unless_whole,
    rename,
    unfinished,
    write_arrays,
    write_json,
    write_text,
)
from nanouft.plumbing.printing import quiet
from nanouft.run.config import RunConfig
from nanouft.run.folder import lock_when_free

MADE = "made.json"
ONLY_TRAIN = {"plain": True, "items": 0, "save_every": 0, "threads": 1}
HEAVY = 40_000_000              # bytes: heavier weights are removed when they have been scored
DAY = 86400                     # seconds


class Job(NamedTuple):
    """One training and its scores. Two jobs are the same if folder and questions are."""
    folder: Path
    config: RunConfig | None = None     # None: the initial model is only scored
    eval_spec: EvalSpec | None = None   # None: it is read by other jobs alone
    init: str = ""              # the initial model
    needs: tuple["Job", ...] = ()   # what it reads, made before it
    name: str = ""              # as an error names it
    trains_others: bool = False  # it trains other models first, so no other such job runs meanwhile
    may_diverge: bool = False   # a try may diverge

    @property
    def key(self) -> tuple[Path, EvalSpec | None]:
        return self.folder, self.eval_spec

    @property
    def training(self) -> "Job":
        return self._replace(eval_spec=None)

    @property
    def scored(self) -> Path:
        assert self.eval_spec
        return self.folder / f"scores-{self.eval_spec.key}.npz"

    @property
    def command(self) -> str:
        """What to type for this training; "" if there is none."""
        words = shlex.join(self.config.argv()) if self.config else ""
        return words and f"python -m nanouft.train {words}"


@cache
def start_folder(init: str) -> str:
    """Where an initial model lies. The hub is asked once."""
    return str(folder_of(init)) if init == "base" or init.startswith("hub:") else init


def job_for(place: Path, label: str, config: RunConfig | None, init: str, needs: Sequence[Job] = (),
            **more: Any) -> Job:
    """A job whose folder has a plain name with a hash of its command and of all that it reads: the
    initial model, files and model folders. (What other jobs make is in their names.)"""
    needed_folders = tuple(str(x.folder) for x in needs)
    inputs = [__version__, torch.__version__]
    inputs += [*config.argv(), *map(hash_of_input, config.reads())] if config else []
    if init and not init.startswith(needed_folders):
        inputs.append(hash_of_input(start_folder(init)))
    name = f"{re.sub('[^.a-zA-Z0-9]+', '_', label)[:60].strip('_')}-{short_hash(inputs)}"
    return Job(place / name, config, init=init, needs=tuple(needs), **more)


def with_needs(job: Job) -> list[Job]:
    """What it reads, made first, and itself."""
    return [*(x for needed in job.needs for x in with_needs(needed)), job]


# ---- is it there? --------------------------------------------------------------------------------
def made_record(folder: Path) -> dict[str, Any]:
    """What made.json says; {} if the folder is not whole."""
    with suppress(UserError):
        return read_json(folder / MADE)
    return {}


def is_made(job: Job) -> bool:
    """True if today's code made the folder, and from what its start would be today."""
    record = made_record(job.folder)
    return all(map(is_made, job.needs)) and (not job.config or bool(record) and unchanged(
        record["files"]) and record["read"] == [made_record(x.folder)["left"] for x in job.needs])


def is_usable(job: Job) -> bool:
    """Can another job read what it has left? (Heavy weights are removed.)"""
    return is_made(job) and (
        not job.config or hash_of_outputs(job.folder) == made_record(job.folder)["left"])


def is_done(job: Job) -> bool:
    if not is_made(job):
        return False
    if job.may_diverge and made_record(job.folder).get("diverged"):
        return True
    if job.eval_spec is None:
        return is_usable(job)
    if not (kept := read_arrays(job.scored)):
        return False
    scored_with = json.loads(str(kept["made"]))
    return unchanged(scored_with["files"]) and scored_with["of"] == hash_of_scored(job)


def hash_of_scored(job: Job) -> str:
    """Hash of what is scored; "" of an initial model, whose hash is in the folder's name."""
    return "".join(made_record(x.folder)["left"] for x in ([job] if job.config else job.needs))


def hash_of_outputs(folder: Path) -> str:
    """Hash of the weights; "" of a run that diverged."""
    weights = folder / "model.safetensors"
    return short_hash([[weights.name, hash_of_file(weights)]]) if weights.exists() else ""


# ---- what is half done ---------------------------------------------------------------------------
def is_abandoned(partial: Path) -> bool:
    """True if the process that made it has ended; of another machine, if a day has passed."""
    if not (maker := re.fullmatch(r".+\.(\w+)-(\d+)\.partial", partial.name)):
        return False                                 # it is not of nanouft.compare
    if maker[1] == HOST and not is_alive(int(maker[2])):
        return True
    times = [0.0]
    for file in [partial, *partial.rglob("*")]:
        with suppress(OSError):                      # gone meanwhile
            times.append(file.stat().st_mtime)
    return time.time() - max(times) > DAY


def is_alive(pid: int) -> bool:
    if os.name == "nt":                 # os.kill would end it; a worker there ends with its parent
        return False
    try:
        os.kill(pid, 0)
    except OSError as e:
        return isinstance(e, PermissionError)                   # it is another user's
    return True


# ---- in a process of its own ---------------------------------------------------------------------
def parts_of(job: Job) -> list[Job]:
    """What is to be done for a job, each in a process of its own: what scores a model has not
    imported the loss that trained it."""
    scoring = job._replace(trains_others=False)
    return [job.training] * (not is_usable(job)) + [scoring] * (
        job.eval_spec is not None and not is_done(job))


def run_part(part: Job, package: Mapping[str, str]) -> None:
    """Train, or score unless it diverged. package: fingerprint.hash_package when the comparison
    began."""
    if part.eval_spec is None:
        train_job(part, package)
    elif not is_done(part):
        write_scores(part, package)


def train_job(job: Job, package: Mapping[str, str]) -> None:
    """The folder of a run, whole or not at all."""
    from nanouft.train import run_from_config  # heavy
    assert job.config
    start = sum(os.times()[:4])             # of this process and of those that it starts
    shared = CachedLogProbs(job.folder.parent / "references", package)
    record: dict[str, Any] = {}             # told: what was said of a loss or reward of your own

    def log_prob_file(run: dict) -> Path:
        record["told"].clear()              # of its rows, which the comparison's plan has said
        return shared(run)
    with removed_unless_whole(unfinished(job.folder)) as partial, own_turn(job):
        partial.mkdir(parents=True)
        try:
            with quiet() as record["told"]:
                config = job.config.with_flags(out=str(partial))
                run_from_config(config, log_prob_file)
        except Diverged as e:
            if not job.may_diverge:
                raise
            record["diverged"] = str(e)
        seconds = sum(os.times()[:4]) - start + shared.seconds_saved()
        write_json(partial / MADE, steps_and_rows(partial) | record | {
            "seconds": seconds, "files": hash_own_code(package),
            "left": hash_of_outputs(partial),
            "read": [made_record(x.folder)["left"] for x in job.needs]})
        for file in (partial / "run.json", partial / "README.md"):      # they name their folder
            if file.exists():
                write_text(file, read_text(file).replace(partial.name, job.folder.name))
        rename(partial, job.folder)


@contextmanager
def own_turn(job: Job) -> Iterator[None]:
    """Two comparisons may train the same models first, in out/.first: one such run at a time."""
    if not job.trains_others:
        yield
        return
    Path("out").mkdir(exist_ok=True)
    with lock_when_free(Path("out"), ".first.lock"):
        yield


def steps_and_rows(folder: Path) -> dict[str, float]:
    """Steps and rows of a run; {} of one that diverged."""
    if not (folder / "metrics.jsonl").exists():
        return {}
    run = read_json(folder / "run.json")
    return {"steps": run["steps"], "rows": run["steps"] * run["config"]["batch_size"]}


def write_scores(job: Job, package: Mapping[str, str]) -> None:
    assert job.eval_spec
    job.folder.mkdir(parents=True, exist_ok=True)
    start = sum(os.times()[:4])
    scores = measure(job.eval_spec, str(job.folder) if job.config else job.init)
    scored_with = {"files": hash_own_code(package), "of": hash_of_scored(job),
                   "seconds": sum(os.times()[:4]) - start}
    arrays: Any = {f"{what}/{part}": x for what, of in scores.items() for part, x in of.items()}
    write_arrays(job.scored, made=np.array(json.dumps(scored_with)), **arrays)


# ---- what came of it -----------------------------------------------------------------------------
def scores_of(job: Job) -> Values | None:
    """The scores of a run; None if it diverged."""
    if made_record(job.folder).get("diverged"):
        return None
    out: Values = {}
    for key, values in read_arrays(job.scored).items():
        what, _, part = key.partition("/")
        if part:
            out.setdefault(what, {})[part] = values
    return out


def cpu_seconds(job: Job) -> float:
    """CPU seconds of its training and scoring, so far as they are done."""
    spent = made_record(job.folder).get("seconds", 0.0)
    if job.eval_spec and (kept := read_arrays(job.scored)):
        spent += json.loads(str(kept["made"])).get("seconds", 0)
    return spent


def delete_heavy_weights(jobs: Iterable[Job]) -> None:
    """Remove the heavy weights of runs that have been scored."""
    for folder in {job.folder for job in jobs if job.config and job.eval_spec}:
        for weights in folder.glob("*.safetensors"):
            if weights.stat().st_size > HEAVY:
                weights.unlink()
