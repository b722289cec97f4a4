"""One training and its scores: a function of its command and of what that reads.

    run = run_of(out, "sft, lr 3e-4, seed 0", config, spec, "base")
    train(run)                              # run.folder, whole or not at all
    score(run)                              # run.scores, in another process (jobs.py)
    scores_of(run).values["score"]["sort"]  # (questions,) of NanoWorld's task

A folder's name has a hash of the run's flags and of all its inputs by content (inputs.py). So a run
whose folder is there needs not be made again, and nothing else is remembered. It is made under
another name, and renamed.
"""
import os
import re
import shlex
import shutil
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from nanouft.compare.inputs import Inputs, inputs_of, short_hash
from nanouft.compare.scoring import EvalSpec, Values, measure
from nanouft.plumbing.errors import Diverged, UserError
from nanouft.plumbing.files import (
    hash_of_file,
    read_arrays,
    read_json,
    read_text,
    remove,
    removed_unless_whole,
    rename,
    unfinished,
    write_arrays,
    write_json,
    write_text,
)
from nanouft.plumbing.printing import quiet
from nanouft.run.config import RunConfig

MADE = "made.json"              # how a training went
ONLY_TRAIN = {"plain": True, "items": 0, "save_every": 0, "threads": 1}
HEAVY = 40_000_000              # bytes: heavier weights are removed when they have been scored
OF_CODE = re.compile(r".*\.py: |metric ")      # a note on a loss or reward, not on rows
PARTIAL = re.compile(r".+-[0-9a-f]{10}\.\w+-\d+\.partial")     # what a killed training leaves


class Run(NamedTuple):
    folder: Path
    scores: Path                        # its file, in the folder
    name: str                           # as an error names it
    config: RunConfig | None            # None: the initial model is only scored
    spec: EvalSpec                      # what it is asked
    init: str                           # the initial model
    inputs: Inputs                      # of training and scoring
    after: "Run | None" = None          # it starts from that run's model
    starts_others: bool = False         # so its weights are kept
    may_diverge: bool = False           # a try of a learning rate

    @property
    def command(self) -> str:
        """What to type for this training; "" if there is none."""
        return f"python -m nanouft.train {shlex.join(self.config.argv())}" if self.config else ""


def run_of(out: Path, name: str, config: RunConfig | None, spec: EvalSpec, init: str,
           after: Run | None = None, **more: Any) -> Run:
    """config: None for the initial model. after: the run that makes `init`."""
    own = [*(config.reads() if config else ()), *([] if after else [init])]
    trained_from, scored_by = inputs_of(own, config), inputs_of(spec.reads())
    flags = [config.argv() if config else [], after.folder.name if after else ""]
    plain = re.sub("[^.a-zA-Z0-9]+", "_", name)[:60].strip("_")
    folder = out / "runs" / f"{plain}-{short_hash([*flags, *trained_from])}"
    scores = folder / f"scores-{short_hash([*spec, *scored_by])}.npz"
    inputs = dict(trained_from) | dict(scored_by)
    return Run(folder, scores, name, config, spec, init, (*inputs.items(),), after, **more)


# ---- is it there? --------------------------------------------------------------------------------
def made_record(run: Run) -> dict[str, Any]:
    """How the training went: steps, CPU and wall seconds, notes, hash of the weights; {} if it is
    not there."""
    with suppress(UserError):
        return read_json(run.folder / MADE)
    return {}


def is_trained(run: Run) -> bool:
    """With its weights?"""
    return not run.config or (run.folder / "model.safetensors").exists() and bool(made_record(run))


def is_done(run: Run) -> bool:
    """Trained and scored, or found to diverge?"""
    return scores_of(run) is not None or run.may_diverge and "diverged" in made_record(run)


def scores_of(run: Run) -> Values | None:
    """{measure: {task: (questions,)}}; None if it diverged, or if there are none yet."""
    values: Values = {}
    for key, array in read_arrays(run.scores).items():
        what, _, part = key.partition("/")
        if part:
            values.setdefault(what, {})[part] = array
    return values or None


def cpu_seconds(run: Run) -> float:
    """Of its training and scoring."""
    return total_over_train_and_score(run, "seconds")


def wall_seconds(run: Run) -> float:
    return total_over_train_and_score(run, "wall")


def total_over_train_and_score(run: Run, name: str) -> float:
    return float(made_record(run).get(name, 0.0)) + float(read_arrays(run.scores).get(name, 0.0))


# ---- in a process of its own ---------------------------------------------------------------------
def train(run: Run) -> None:
    """The folder, whole or not at all. Scores that it had stay."""
    from nanouft.train import train as train_model  # heavy
    assert run.config
    record: dict[str, Any] = {}
    start, began = cpu_time(), time.monotonic()
    with removed_unless_whole(unfinished(run.folder)) as partial:
        partial.mkdir(parents=True)
        try:
            with quiet() as noted:
                train_model(run.config.with_flags(out=str(partial)))
            record["steps"] = read_json(partial / "run.json")["steps"]
        except Diverged as e:
            if not run.may_diverge:
                raise
            record["diverged"] = str(e)
        weights = partial / "model.safetensors"
        record["weights"] = hash_of_file(weights) if weights.exists() else ""
        write_json(partial / MADE, record | {"seconds": cpu_time() - start,
                                             "notes": [*filter(OF_CODE.match, noted)],
                                             "wall": time.monotonic() - began})
        for file in (partial / "run.json", partial / "README.md"):      # they name their folder
            if file.exists():
                write_text(file, read_text(file).replace(partial.name, run.folder.name))
        for file in run.folder.glob("scores-*.npz"):        # of weights that have been removed
            shutil.copy(file, partial)
        rename(partial, run.folder)


def cpu_time() -> float:
    """CPU seconds of this process and of those that it has started."""
    return sum(os.times()[:4])


def score(run: Run) -> None:
    """The scores; heavy weights that no other run starts from are removed."""
    start, began = cpu_time(), time.monotonic()
    values = measure(run.spec, str(run.folder) if run.config else run.init)
    arrays: Any = {f"{what}/{part}": x for what, of in values.items() for part, x in of.items()}
    run.folder.mkdir(parents=True, exist_ok=True)
    write_arrays(run.scores, seconds=cpu_time() - start, wall=time.monotonic() - began, **arrays)
    if not run.starts_others:
        remove_heavy_weights([run])


def remove_heavy_weights(runs: Iterable[Run]) -> None:
    """Of those that are scored."""
    for run in runs:
        for weights in run.folder.glob("*.safetensors") if run.config and scores_of(run) else ():
            if weights.stat().st_size > HEAVY:
                weights.unlink()


def remove_unfinished(out: Path) -> None:
    """What killed trainings have left."""
    for left in (out / "runs").glob("*.partial"):
        if PARTIAL.fullmatch(left.name):
            remove(left)
