"""Train a run again: `python -m lessons.evidence --train C4`, or type its commands yourself:

    python -m lessons.evidence --commands C4 --seeds 1

Every command makes one folder in out/evidence. Its name ends with a hash of the command, in which
stand the folders that it reads: where a plan changes, so do the names. A folder that is there is
not made again, so an interrupted run goes on where it was; the line of its seed says so. Its test
prompts are then answered and scored, into a file whose name has a hash of them. Runs share no
folders; R1s asks those of R1.
"""
import hashlib
import os
import re
import shlex
import subprocess
import tempfile
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from lessons.evidence import plan
from lessons.evidence.plan import FOLDERS, MODELS, UNIT, Run
from nanouft.compare import runs
from nanouft.compare.runs import short_hash
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.printing import say

OUT = Path("out/evidence")
REAL_WEIGHTS = "a672150fb4f99d7c8f4168cecdd464069c0ef3a37d8113f22ddb9d48031d03cd"    # sha256
PROGRAMS = {"train": "nanouft.train", "harvest": "lessons.evidence.harvest",
            "keep": "lessons.evidence.keep"}
MORE = "--plain --items 0 --save-every 0 --threads 1 --device cpu".split()
Commands = dict[str, list[str]]         # {the folder that it makes: a program and its words}


def add(todo: Commands, run: Run, name: str, model: int, seed: int) -> str:
    """The folder of a training, or of what is made for several; its command, and those of all that
    it needs, are added to `todo`."""
    flags, start = run.flags(name, model)
    shared = "--seed" in flags                      # one for all models and seeds
    init = (add(todo, run, start, model, seed) if start else
            FOLDERS[run.models[0 if shared else model]])
    flags = re.sub(r"{(\w+)}", lambda found: add(todo, run, found[1], model, seed), flags)
    if name in run.trainings and "--" not in flags:             # not trained
        return flags or init
    kind, *words = flags.split() if name in run.made else ["train", *flags.split()]
    of = "all" if shared else f"{MODELS[run.models[model]]}/{seed}"
    words += [] if shared else ["--seed", str(seed)]
    words += ([] if kind == "keep" else ["--init", init]) + (MORE if kind == "train" else [])
    words = [PROGRAMS[kind], *words]
    plain = re.sub("[^.a-zA-Z0-9]+", "_", name)
    folder = f"{OUT}/{run.scores_of}/{of}/{plain}-{short_hash(words)}"
    todo[folder] = [*words, "--out", folder]
    return folder


def cells(run: Run, seeds: int) -> list[tuple[int, int, Commands, dict[str, str]]]:
    """[(model, number of the seed, commands, {training: its folder})], of the first seeds."""
    out = []
    for model in range(len(run.models)):
        for s in range(seeds or len(run.seeds())):
            todo: Commands = {}
            folders = {name: add(todo, run, name, model, run.seeds(name)[s])
                       for name in run.trainings}
            out.append((model, s, todo, folders))
    return out


def commands(name: str, seeds: int) -> list[str]:
    """As they are typed, each once."""
    every = {folder: words for *_, todo, _ in cells(plan.read(name), seeds)
             for folder, words in todo.items()}
    return [f"python -m {shlex.join(words)}" for words in every.values()]


def make(todo: Commands, *only: str) -> None:
    """All folders that are missing, or some of them."""
    for folder in only or todo:
        program, *words = todo[folder]
        if Path(folder).exists():
            continue
        try:
            runs.make(Path(folder), words[:-2], program=import_module(program).main)
        except (Exception, SystemExit) as e:
            raise UserError(f"{folder}: {e}; its command, to see more: "
                            f"python -m {shlex.join([program, *words])}") from e


def score(run: Run, folder: str) -> None:
    from nanouft.models import folders
    from nanouft.run.evaluation import score_tasks
    model, tok = folders.start_model(folder)
    answers = score_tasks(model, tok, run.split, run.items, run.prompts, run.tasks, run.longest)[1]
    found = {what: np.array([[x[what] for x in answers if x["family"] == task]
                             for task in run.tasks]) for what in ("score", "ended")}
    file = scored(run, folder)
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(f".{os.getpid()}.npz")
    np.savez_compressed(partial, scores=np.rint(UNIT * found["score"]).astype(np.uint8),
                        ended=found["ended"].astype(np.uint8))
    partial.rename(file)


def scored(run: Run, folder: str) -> Path:
    """The scores of these prompts. Of a model that is not trained they lie beside those that are.
    """
    inside = Path(folder).is_relative_to(OUT)
    asked = short_hash([run.split, run.items, run.prompts, run.tasks, run.longest])
    return (Path(folder) if inside else OUT / run.scores_of / Path(folder).name) / (
        f"scores-{asked}.npz")


def cell(name: str, model: int, s: int, todo: Commands, folders: dict[str, str]) -> str:
    """All trainings of one seed on one model. Returns a line."""
    runs.silent()
    run = plan.read(name)
    missing = [x for x in dict.fromkeys(folders.values()) if not scored(run, x).exists()]
    for folder in dict.fromkeys([*todo, *missing]) if missing else ():
        if folder in todo:
            make(todo, folder)
        if folder in missing:               # at once: a run that is cut off keeps its scores
            score(run, folder)
    if run.models == ["smollm2"]:                   # 540 MB each
        for weights in (file for x in folders.values() for file in Path(x).glob("*.safetensors")
                        if Path(x).is_relative_to(OUT / name) and "/all/" not in x):
            weights.unlink()
    return (f"{name}, {MODELS[run.models[model]]}, seed {run.seeds()[s]}: {len(missing)} scored, "
            f"{len({*folders.values()}) - len(missing)} were there")


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


def groups_of(run: Run) -> np.ndarray:
    """(tasks, prompts) one number for all prompts of a task that ask for the same fact."""
    asked = runs.Asked("", run.split, run.prompts, run.items, run.tasks)
    return np.array([*asked.groups().values()], np.uint16)


def train(name: str, seeds: int, workers: int) -> dict[str, np.ndarray]:
    """The scores of the first seeds, as results/ keeps them."""
    run = plan.read(name)
    if "base-1" in run.models and not Path(FOLDERS["base-1"]).exists():
        second_base(Path(FOLDERS["base-1"]))
    if run.models == ["smollm2"]:
        check_real(Path(FOLDERS["smollm2"]))
    every = cells(run, seeds)
    make({x: words for x, words in every[0][2].items() if "/all/" in x})
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        for line in pool.map(cell, [name] * len(every), *zip(*every)):
            say(line)
    found = {(model, s): [np.load(scored(run, x)) for x in folders.values()]
             for model, s, _, folders in every}
    arrays = {what: np.array([[[found[model, s][i][what] for s in range(len(every) //
                                                                        len(run.models))]
                               for model in range(len(run.models))]
                              for i in range(len(run.trainings))]) for what in ("scores", "ended")}
    return arrays | {"groups": groups_of(run)}


def compare(name: str, trained: dict[str, np.ndarray]) -> list[str]:
    """For each training and model: how many of each seed's scores are as kept?"""
    run, kept = plan.read(name), plan.scores(name)["scores"]
    out = [f"{name}: scores that are as kept, in % of each seed's"]
    for i, training in enumerate(run.trainings):
        for model, of in enumerate(run.models):
            mine = trained["scores"][i, model]
            was = kept[i, model, :len(mine)]
            same = " ".join(f"{100 * x:.4g}" for x in (mine == was).mean((1, 2)))
            out.append(f"{training:14}{MODELS[of]:>8}   {same}   "
                       f"mean {100 * mine.mean() / UNIT:.1f}, kept {100 * was.mean() / UNIT:.1f}")
    return out
