"""Train a run again: `python -m lessons.evidence --train C4`, or type its commands yourself:

    python -m lessons.evidence --commands C4 --seeds 1

nanouft.compare trains and scores: each command makes one folder in out/evidence, whose name ends
with a hash of all that it depends on, and what is there is not made again. So an interrupted run
goes on where it was. Runs share no folders; R1s asks those of R1.
"""
import hashlib
import re
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lessons.evidence import plan
from lessons.evidence.plan import ALSO, FOLDERS, MODELS, UNIT, Run
from nanouft.compare import runs
from nanouft.compare.asked import Asked, Values
from nanouft.compare.processes import alone_in, bar_of, carry_out, missing
from nanouft.compare.runs import Job
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.files import own_file
from nanouft.plumbing.printing import say
from nanouft.run.flags import as_flags

OUT = Path("out/evidence")
REAL_WEIGHTS = "a672150fb4f99d7c8f4168cecdd464069c0ef3a37d8113f22ddb9d48031d03cd"    # sha256
PROGRAMS = {"train": "nanouft.train:main", "harvest": "lessons.evidence.harvest:main",
            "keep": "lessons.evidence.keep:main"}
MORE = as_flags(runs.ONLY_TRAIN | {"device": "cpu", "dtype": "fp32"})
KEPT_AS = {"scores": ("score", UNIT), "ended": ("stops", 1)}    # array: measure, its largest number


class Words(tuple):
    """The command line of a job, as a comparison has its RunConfig."""

    def argv(self) -> list[str]:
        return [*self]

    def reads(self) -> list[str]:
        """What else a plan names is made before it."""
        return [*filter(None, [own_file(named_objective(self))])]

    def but(self, out: str) -> list[str]:
        return [*self, "--out", out]


def named_objective(words: Sequence[str]) -> str:
    return words[words.index("--objective") + 1] if "--objective" in words else ""


def asked_of(run: Run) -> Asked:
    said = {"split": "test", "items": 100, "longest": 44} | run.run
    return Asked("", said["split"], int(said["prompts"]), int(said["items"]), run.tasks,
                 int(said["longest"]), also=tuple(ALSO[name] for name in run.also))


def job_of(run: Run, name: str, model: int, seed: int) -> Job:
    """A training, or what is made for several, with all that it needs."""
    flags, start = run.flags(name, model)
    flags = flags.replace("lessons/extras/", "lessons/papers/extras/")      # as C13 has it
    place = OUT / Path(run.scores_of).stem
    made, shared = name in run.made, "--seed" in flags          # one for all models and seeds
    of_model = run.models[0 if shared else model]
    read = {x: job_of(run, x, model, seed) for x in re.findall(r"{(\w+)}", flags)}
    needs = [*read.values(), *([job_of(run, start, model, seed)] if start else [])]
    init = str(needs[-1].folder) if start and needs[-1].config else FOLDERS.get(of_model, of_model)
    flags = re.sub(r"{(\w+)}", lambda x: str(read[x[1]].folder), flags)
    needs = [x for x in needs if x.config]
    if not made and "--" not in flags:                          # not trained
        return Job(place / Path(flags or init).name, None, asked_of(run), flags or init,
                   tuple(needs), name)
    kind, *words = flags.split() if made else ["train", *flags.split()]
    of = "all" if shared else f"{MODELS.get(of_model, Path(of_model).name)}/{seed}"
    init = "" if kind == "keep" else init
    words += [] if shared else ["--seed", str(seed)]
    words += (["--init", init] if init else []) + (MORE if kind == "train" else [])
    return runs.job_for(place / of, name, Words(words), init, needs,
                        asked=None if made else asked_of(run), name=f"{name}, {of}",
                        program=PROGRAMS[kind])


def jobs_of(run: Run, seeds: int) -> dict[tuple[str, int, int], Job]:
    """{(training, model, number of the seed): its job}, of the first seeds."""
    return {(name, model, s): job_of(run, name, model, run.seeds(name)[s])
            for model in range(len(run.models)) for s in range(seeds or len(run.seeds()))
            for name in run.trainings}


def commands(name: str, seeds: int) -> list[str]:
    """As they are typed, each once."""
    every = {x.folder: x for job in jobs_of(plan.read(name), seeds).values()
             for x in runs.with_needs(job) if x.config}
    return [f"{x.command} --out {shlex.quote(str(x.folder))}" for x in every.values()]


def second_base(folder: Path) -> None:
    """It is not committed, but the history has it."""
    from nanouft.models import folders
    from nanouft.models.tokenizer import nano
    from nanouft.plumbing.files import read_json
    with tempfile.TemporaryDirectory() as raw:
        for name in ("config.json", "model.safetensors"):
            show = subprocess.run(["git", "show", f"3c61a24f:docs/results/base-1/{name}"],
                                  capture_output=True)
            if show.returncode:
                raise UserError(f"{folder}: the second base comes from the history of a full clone "
                                "(git fetch --unshallow)")
            Path(raw, name).write_bytes(show.stdout)
        model = folders.read_gpt(Path(raw), read_json(Path(raw, "config.json")))
    folders.save_model(folder, model, nano())


def check_real(folder: Path) -> None:
    weights = folder / "model.safetensors"
    if not weights.exists():
        raise UserError(f"{folder}: the real model is missing; first, once: "
                        f"python -m lessons.evidence.smollm2 {folder}")
    if hashlib.sha256(weights.read_bytes()).hexdigest() != REAL_WEIGHTS:
        raise UserError(f"{weights}: not the weights of the kept scores, so nothing can be "
                        "compared; make them again with other versions of gguf and transformers")


def train(name: str, seeds: int, workers: int) -> dict[str, np.ndarray]:
    """The scores of the first seeds, as results/ keeps them."""
    run = plan.read(name)
    if "base-1" in run.models and not Path(FOLDERS["base-1"]).exists():
        second_base(Path(FOLDERS["base-1"]))
    if run.models == ["smollm2"]:
        check_real(Path(FOLDERS["smollm2"]))
    every = jobs_of(run, seeds)
    with alone_in(OUT / Path(run.scores_of).stem):
        there = len({x.key for x in every.values()})
        new = len({x.key for x in missing(every.values()) if x.asked})
        with bar_of(there) as bar:
            carry_out(every.values(), workers, bar, drop=True)
    say(f"{name}: {new} scored, {there - new} were there")
    found = {place: runs.values(job) or {} for place, job in every.items()}
    arrays = {what: np.array([[[kept_as(run, found[training, model, s], what)
                                for s in range(seeds or len(run.seeds()))]
                               for model in range(len(run.models))] for training in run.trainings])
              for what in (*KEPT_AS, *run.also)}
    return arrays | {"groups": groups_of(run)}


def kept_as(run: Run, found: Values, what: str) -> np.ndarray:
    """(tasks, prompts) as results/ keeps them."""
    measure, largest = KEPT_AS.get(what, (what, 1))
    return np.rint(largest * np.array([found[measure][x] for x in run.tasks])).astype(np.uint8)


def groups_of(run: Run) -> np.ndarray:
    """(tasks, prompts) one number for all prompts of a task that ask for the same fact."""
    return np.array([*asked_of(run).groups().values()], np.uint16)


def compare(name: str, trained: dict[str, np.ndarray]) -> list[str]:
    """For each training and model: how many of each seed's scores are as kept?"""
    run, kept = plan.read(name), plan.scores(name)["scores"]
    out = [f"{name}: scores that are as kept, in % of each seed's"]
    for i, training in enumerate(run.trainings):
        for model, of in enumerate(run.models):
            mine = trained["scores"][i, model]
            was = kept[i, model, :len(mine)]
            same = " ".join(f"{100 * x:.4g}" for x in (mine == was).mean((1, 2)))
            out.append(f"{training:14}{MODELS.get(of, of):>8}   {same}   "
                       f"mean {100 * mine.mean() / UNIT:.1f}, kept {100 * was.mean() / UNIT:.1f}")
    return out
