"""One training and its scores: what a run depends on, is it there, and how it is made.

    job = Job(folder, words, Asked("", "test", 900, 100, tasks), init="base")
    is_done(job)                        # made and scored, by the code and from the files of today
    do(job, since)                      # both, in a process of its own (processes.py)
    values(job)["score"]["sort"]        # (questions,) of NanoWorld's task

A folder's name has a hash of all that is known before a run: flags, rows, start model, device,
precision, versions, the file of a loss of one's own. What such a file imports is known only when it
has run. So made.json in the folder lists every Python file that the process had imported outside of
the installed libraries, nanouft's own too, with its hash. If one has changed, the run is made anew.
"""
import contextlib
import hashlib
import json
import os
import re
import shlex
import site
import sys
import sysconfig
import time
from collections.abc import Iterable, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from nanouft import __version__, world
from nanouft.compare.locks import held
from nanouft.data.holdout import question_key
from nanouft.data.rows import Row, read
from nanouft.models.folders import OF_HUB
from nanouft.plumbing.errors import Diverged, UserError
from nanouft.plumbing.files import own_file, read_json, removed_unless_whole, rename, write_json
from nanouft.run.folder import hash_of
from nanouft.world.answers import read_question

PACKAGE = Path(__file__).resolve().parents[1]           # nanouft
ALSO: set[Path] = set()         # files of code that a program has run elsewhere, as in a container
MADE = "made.json"
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
    longest: int = 44           # tokens of an answer
    reward: str = ""            # with rows, what scores answers to them
    device: str = "cpu"
    dtype: str = "fp32"

    @property
    def key(self) -> str:
        files = [hash_of_input(x) for x in (self.data, own_file(self.reward) or self.reward) if x]
        return short_hash([*self, *files])

    def groups(self) -> dict[str, np.ndarray]:
        """{task: (questions,)}: one number for all questions of NanoWorld about the same fact."""
        numbers: dict = {}
        found = [numbers.setdefault(read_question(text) or text, len(numbers))
                 for text in (row.prompt[0].text for row in world_rows(self))]
        return dict(zip(self.tasks, np.array(found).reshape(len(self.tasks), -1)))


def world_rows(asked: Asked) -> list[Row]:
    return world.rows(asked.split, "prompts", asked.items * len(asked.tasks), asked.seed,
                      skills=asked.tasks)


class Job(NamedTuple):
    """One training and its scores. Two jobs are the same if folder and questions are."""
    folder: Path
    words: tuple[str, ...]      # of the program; none: the start model is only scored
    asked: Asked | None         # None: it is read by other jobs alone
    init: str = ""              # the start model
    needs: tuple["Job", ...] = ()   # what it reads, made before it
    name: str = ""              # as an error names it
    program: str = "nanouft.train"  # the module whose main makes the folder, or module:function
    alone: bool = False         # it trains other models first, so no other such job runs meanwhile
    try_out: bool = False       # a try may diverge

    @property
    def key(self) -> tuple[Path, Asked | None]:
        return self.folder, self.asked

    @property
    def scored(self) -> Path:
        assert self.asked
        return self.folder / f"scores-{self.asked.key}.npz"

    @property
    def command(self) -> str:
        return f"python -m {self.program.split(':')[0]} {shlex.join(self.words)}"


# ---- what a run depends on -----------------------------------------------------------------------
def short_hash(told: Iterable) -> str:
    return hashlib.sha256(json.dumps([*told]).encode()).hexdigest()[:8]


def folder_for(place: Path, name: str, words: Sequence[str], reads: Iterable[str]) -> Path:
    """The folder of a run: a plain name, and a hash of its command and of all that it reads."""
    told = [__version__, torch.__version__, *words, *map(hash_of_input, reads)]
    return place / f"{re.sub('[^.a-zA-Z0-9]+', '_', name)[:60].strip('_')}-{short_hash(told)}"


def hash_of_input(path: str) -> str:
    """Hash of a file, or of all files of a model folder that are read."""
    files = sorted({x for pattern in OF_HUB for x in Path(path).glob(pattern)}) if Path(
        path).is_dir() else []
    return short_hash([x.name, hash_at(x)] for x in files) if files else hash_at(Path(path))


def hash_at(file: Path) -> str:
    """"" if there is no such file."""
    with contextlib.suppress(OSError):
        state = file.stat()
        return hash_of_state(file, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
    return ""


@cache
def hash_of_state(file: Path, *state: int) -> str:
    """Weights may be large, so a file that has not changed is read once."""
    return hash_of(str(file))


@cache
def libraries() -> tuple[Path, ...]:
    paths = sysconfig.get_paths()
    found = [paths[x] for x in ("stdlib", "platstdlib", "purelib", "platlib")]
    return tuple(Path(x).resolve() for x in (*found, site.getusersitepackages()))


def own_code() -> dict[str, Path]:
    """{its name in made.json: the file} of each module that is imported now and of no installed
    library. Files of nanouft and of this folder have names that move with them."""
    found, here = {}, Path.cwd().resolve()
    imported = {Path(getattr(x, "__file__", None) or "") for x in [*sys.modules.values()]}
    for file in (x.resolve() for x in sorted(imported | ALSO) if x.is_file()):
        of_library = any(map(file.is_relative_to, libraries())) or (
            {"site-packages", "dist-packages"} & {*file.parts})
        if file.is_relative_to(PACKAGE):
            found[f"nanouft:{file.relative_to(PACKAGE).as_posix()}"] = file
        elif not of_library:
            inside = file.is_relative_to(here)
            found[(file.relative_to(here) if inside else file).as_posix()] = file
    return found


def named(name: str) -> Path:
    of_package = name.startswith("nanouft:")
    return PACKAGE / name.removeprefix("nanouft:") if of_package else Path.cwd() / name


def hashes(since: float, began: float) -> dict[str, str]:
    """{name: hash} of own_code. UserError if a file has changed after it was imported: nanouft's
    after the comparison began, any other after this process did."""
    found = own_code()
    for name, file in found.items():
        state = file.stat()
        if max(state.st_mtime, state.st_ctime) > (since if name[:8] == "nanouft:" else began):
            raise UserError(f"{file}: was changed while it ran; type the same command again")
    return {name: hash_at(file) for name, file in found.items()}


def unchanged(files: dict[str, str]) -> bool:
    return all(hash_at(named(name)) == was for name, was in files.items())


# ---- is it there? --------------------------------------------------------------------------------
def made(folder: Path) -> dict[str, Any]:
    """What made.json says; {} if the folder is not whole."""
    return read_json(folder / MADE) if (folder / MADE).is_file() else {}


def is_made(job: Job) -> bool:
    """True if today's code made the folder, and from what its start would be today."""
    record = made(job.folder)
    return all(map(is_made, job.needs)) and (not job.words or bool(record) and unchanged(
        record["files"]) and record["read"] == [made(x.folder)["left"] for x in job.needs])


def is_usable(job: Job) -> bool:
    """Can another job read what it has left? (Heavy weights are removed.)"""
    return is_made(job) and (
        not job.words or what_is_left(job.folder) == made(job.folder)["left"])


def is_done(job: Job) -> bool:
    if not is_made(job):
        return False
    if job.try_out and made(job.folder).get("diverged"):
        return True
    if job.asked is None:
        return is_usable(job)
    if not job.scored.is_file():
        return False
    with np.load(job.scored) as kept:
        said = json.loads(str(kept["made"]))
    return unchanged(said["files"]) and said["of"] == weights_of(job)


def weights_of(job: Job) -> str:
    """Hash of what is scored; "" of a start model, whose hash is in the folder's name."""
    return "".join(made(x.folder)["left"] for x in ([job] if job.words else job.needs))


def what_is_left(folder: Path) -> str:
    """Hash of the weights, or of the rows that a program has written."""
    weights = folder / "model.safetensors"
    files = [weights] if weights.exists() else [
        x for x in sorted(folder.glob("*.jsonl")) if x.name != "metrics.jsonl"]
    return short_hash([x.name, hash_at(x)] for x in files) if files else ""


# ---- in a process of its own ---------------------------------------------------------------------
def do(job: Job, since: float) -> None:
    """Train, if the folder is missing or stale; score, if the scores are. Another comparison that
    does the same now is waited for. since: when the comparison began."""
    began = time.time()
    job.folder.parent.mkdir(parents=True, exist_ok=True)
    with held(job.folder.parent, job.folder.name):
        usable = is_usable(job)
        if is_done(job) and usable:
            return
        if not usable:
            with held(job.folder.parent, "alone") if job.alone else contextlib.nullcontext():
                make(job, since, began)
        if job.asked is not None and not made(job.folder).get("diverged"):
            job.folder.mkdir(exist_ok=True)
            write_scores(job, since, began)


def make(job: Job, since: float, began: float) -> None:
    """The folder of a run, whole or not at all."""
    module, _, function = job.program.partition(":")
    start, record = sum(os.times()[:4]), {}         # of this process and of those that it starts
    with removed_unless_whole(job.folder.with_name(f"{job.folder.name}.partial")) as partial:
        partial.mkdir(parents=True)
        try:
            getattr(import_module(module), function or "main")([*job.words, "--out", str(partial)])
        except Diverged as e:
            if not job.try_out:
                raise
            record = {"diverged": str(e)}
        seconds = sum(os.times()[:4]) - start
        write_json(partial / MADE, cost(partial) | record | {
            "seconds": seconds, "files": hashes(since, began), "left": what_is_left(partial),
            "read": [made(x.folder)["left"] for x in job.needs]})
        rename(partial, job.folder)


def cost(folder: Path) -> dict[str, float]:
    """Steps and rows of a run of nanouft.train; {} for any other program."""
    if not (folder / "metrics.jsonl").exists():
        return {}
    run = read_json(folder / "run.json")
    return {"steps": run["steps"], "rows": run["steps"] * run["config"]["batch_size"]}


def write_scores(job: Job, since: float, began: float) -> None:
    found = measure(job)
    said = {"files": hashes(since, began), "of": weights_of(job)}
    arrays: Any = {f"{what}/{part}": x for what, of in found.items() for part, x in of.items()}
    with removed_unless_whole(job.scored.with_suffix(".partial")) as partial:
        with partial.open("wb") as file:
            np.savez_compressed(file, made=np.array(json.dumps(said)), **arrays)
        rename(partial, job.scored)


def measure(job: Job) -> Values:
    """What evaluate measures, row by row."""
    from nanouft import evaluate
    from nanouft.run.evaluation import score_tasks
    from nanouft.run.load import open_to_ask
    asked = job.asked
    assert asked
    model, tok, on = open_to_ask(str(job.folder) if job.words else job.init, asked.device,
                                 asked.dtype)
    if not asked.data:
        answers = score_tasks(model, tok, asked.split, asked.items, asked.seed, asked.tasks,
                              asked.longest)[1]
        return {what: {task: np.array([x[key] for x in answers if x["family"] == task], float)
                       for task in asked.tasks} for what, key in
                (("score", "score"), ("stops", "ended"))}
    rows, _ = read([asked.data], ["demos", "pairs", "labels"])
    found, *_ = evaluate.measure_kinds("", model, tok, rows, on.exact())
    if asked.reward:
        flags = evaluate.EvaluateFlags(data=[asked.data], reward=asked.reward)
        found |= evaluate.measure_answers("", model, tok, rows, flags, on, temperature=1.0)[0]
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


# ---- what came of it -----------------------------------------------------------------------------
def values(job: Job) -> Values | None:
    """The scores of a run; None if it diverged."""
    if made(job.folder).get("diverged"):
        return None
    out: Values = {}
    with np.load(job.scored) as kept:
        for key in kept.files:
            what, _, part = key.partition("/")
            if part:
                out.setdefault(what, {})[part] = kept[key]
    return out


def drop_heavy(jobs: Iterable[Job]) -> None:
    """Remove the heavy weights of runs that have been scored."""
    for folder in {job.folder for job in jobs if job.words and job.asked}:
        for weights in folder.glob("*.safetensors"):
            if weights.stat().st_size > KEPT:
                weights.unlink()
