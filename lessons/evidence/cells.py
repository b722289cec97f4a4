"""Train and score the rows of a claim once more: `python -m lessons.evidence --train C4`.

A cell is one row on one base with one seed. Every model, every file of answers and every cell lies
in out/evidence under a hash of the command that made it. So what several rows or claims share is
made once, and an interrupted command goes on where it was. The cells of a claim that is not judged
yet lie in results/cells, so that its runs can be spread over machines and days.

Where a claim has tries, `python -m lessons.evidence --search C13` comes first: it trains each row
once with each setting, scores it on validation prompts, and keeps all in results/tries.csv.
"""
import contextlib
import csv
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from lessons.evidence import measures
from lessons.evidence.claim import REAL, RESULTS, TRIES, UNIT, Claim, read_tries
from lessons.evidence.claims import CLAIMS, is_kept, load_packed
from lessons.evidence.judge import MODELS, place
from lessons.evidence.verdicts import weights
from nanouft import train, world
from nanouft.models import folders
from nanouft.models.tokenizer import nano
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.files import read_json
from nanouft.plumbing.printing import say
from nanouft.plumbing.progress import progress
from nanouft.run.evaluation import score_tasks
from nanouft.world.answers import read_question

OUT = Path("out/evidence")
SEARCH_SEED = 990               # of every try
REAL_WEIGHTS = "a672150fb4f99d7c8f4168cecdd464069c0ef3a37d8113f22ddb9d48031d03cd"    # sha256
ONE_THREAD = ["--threads", "1", "--device", "cpu"]
SCORED_ELSEWHERE = ["--plain", "--items", "0", "--save-every", "0"]


# ---- models and files, each made once ------------------------------------------------------------
def prepare(folder: Path) -> None:
    """The first base is there. The second one is not committed, but the history has it; the real
    model is downloaded, and must be that of the results."""
    weights = folder / "model.safetensors"
    real = folder == Path(*REAL) and weights.exists()
    if real and hashlib.sha256(weights.read_bytes()).hexdigest() != REAL_WEIGHTS:
        raise UserError(f"{weights}: other weights than those of the results, so that their scores "
                        "cannot be compared")
    if folder == Path("base") or (folder / "config.json").exists():
        return
    if folder == Path(*REAL):
        raise UserError(f"{folder}: the real model is missing; first, once: "
                        f"python -m lessons.evidence.smollm2 {folder}")
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


def model_folder(claim: Claim, name: str, base: int, seed: int) -> str:
    """The folder of a row's model or of the files that an entry's `made` describes, with all that
    it needs."""
    flags, start = claim.parts_of(name, base)
    shared = "--seed" in flags                      # one for all bases and seeds
    init = model_folder(claim, start, base, seed) if start else claim.bases[0 if shared else base]
    for folder in re.findall(r"{(\w+)}", flags):
        flags = flags.replace(f"{{{folder}}}", model_folder(claim, folder, base, seed))
    if name in claim.rows and not claim.is_trained(name):
        return flags or init
    kind, *words = flags.split() if name in claim.made else ["train", *flags.split()]
    words += [] if shared else ["--seed", str(seed)]
    return once(kind, words if kind == "keep" else [*words, "--init", init])


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def once(kind: str, words: list[str]) -> str:
    """Run a command into the folder of its hash, unless that is there."""
    from lessons.evidence import harvest, keep
    line = " ".join([kind, *words])
    folder = OUT / f"{kind}-{digest(line)}"
    if not folder.exists():
        partial = folder.with_name(f"{folder.name}.{os.getpid()}")
        shutil.rmtree(partial, ignore_errors=True)
        more = [*SCORED_ELSEWHERE, *ONE_THREAD] if kind == "train" else []
        {"train": train, "harvest": harvest, "keep": keep}[kind].main(
            [*words, *more, "--out", str(partial)])
        (partial / "command.txt").write_text(line + "\n", encoding="utf-8")
        with contextlib.suppress(OSError):          # another process may have been faster
            partial.rename(folder)
    return str(folder)


# ---- cells ---------------------------------------------------------------------------------------
def cell_file(claim: Claim, row: str, base: int, seed: int, split: str = "test") -> Path:
    """Where the scores of a cell lie: under all that they depend on, not under the row's name."""
    if not claim.is_trained(row):
        seed = claim.seeds[0]                   # one model, which answers once
    told = f"{claim.command(row, base)} {claim.prompts} {claim.names[base]} {seed}"
    told += "" if split == "test" else f" {split}"
    open_claim = claim.name and not is_kept(claim.name)
    return (RESULTS if open_claim else OUT) / "cells" / f"{digest(told)}.npz"


def make_cell(name: str, row: str, base: int, seed: int, setting: str = "") -> None:
    """Keep a cell's scores (families, prompts) in 240ths, which answers stop, and what else the
    claim measures. With a setting it is a try, on validation prompts."""
    claim, split = CLAIMS[name], "val" if setting else "test"
    if setting:
        claim = claim.with_setting(row, setting)
    file = cell_file(claim, row, base, seed, split)
    folder = model_folder(claim, row, base, seed)
    model, tok = folders.start_model(folder)
    items = claim.search_items if setting else claim.items
    answers = score_tasks(model, tok, split, items, claim.prompts, claim.families, claim.max_new)[1]
    scores, ended = (np.array([[answer[what] for answer in answers if answer["family"] == family]
                               for family in claim.families]) for what in ("score", "ended"))
    more = {}
    if claim.measured and not setting:
        start = model_folder(claim, claim.moved_from, base, seed) if claim.moved_from else ""
        more = measures.measure(claim, model, tok, start)
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f"{os.getpid()}-{file.name}")
    np.savez_compressed(partial, scores=np.rint(UNIT * scores).astype(np.uint8),
                        ended=ended.astype(np.uint8), **more)
    partial.rename(file)
    if claim.bases == REAL and claim.is_trained(row) and not starts_others(claim, row):
        shutil.rmtree(folder)                   # 540 MB


def starts_others(claim: Claim, row: str) -> bool:
    """Does another row start from this one?"""
    return any(str(line).endswith(f" <- {row}") for line in claim.rows.values())


def quietly() -> None:
    """A worker has one thread, and what its runs print is not shown."""
    torch.set_num_threads(1)
    sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")


def prepare_all(claim: Claim) -> None:
    """The bases, and what all workers need."""
    for base in claim.bases:
        prepare(Path(base))
    for folder, line in claim.made.items():
        if "--seed" in line:
            say(f"{claim.name} once: {line}")
            model_folder(claim, folder, 0, claim.seeds[0])


def make_cells(claim: Claim, title: str, jobs: dict[Path, tuple], workers: int) -> None:
    """All cells whose file is missing, row by row, so that two workers seldom need the same model
    at the same time."""
    missing = [job for file, job in jobs.items() if not file.exists()]
    if not missing:
        return
    prepare_all(claim)
    with ProcessPoolExecutor(workers, get_context("spawn"), quietly) as pool:
        for _ in progress(len(missing), title, pool.map(make_cell, *zip(*missing))):
            pass


def train_claim(name: str, seeds: int, workers: int, rows: list[str]) -> dict[str, np.ndarray]:
    """The scores of the first seeds, as results/NAME.npz keeps them. With some rows only, their
    cells are made and nothing is gathered."""
    claim = CLAIMS[name]
    jobs = {cell_file(claim, row, base, seed): (name, row, base, seed)
            for row in rows or claim.rows
            for seed in claim.seeds_for(row)[:seeds] for base in range(len(claim.bases))}
    make_cells(claim, f"{name}, cells", jobs, workers)
    return {} if rows else gather(claim, seeds)


# ---- tries ---------------------------------------------------------------------------------------
def search(name: str, workers: int, rows: list[str]) -> list[str]:
    """Try all settings of the rows, and keep them in results/tries.csv. Returns what was best."""
    claim = CLAIMS[name]
    bases = range(1 if claim.one_search else len(claim.bases))
    tries = [(row, base, setting) for row in rows or claim.tries
             for setting in claim.tries[row] for base in bases]
    files = {(row, base, setting): cell_file(claim.with_setting(row, setting), row, base,
                                             SEARCH_SEED, "val") for row, base, setting in tries}
    jobs = {file: (name, row, base, SEARCH_SEED, setting)
            for (row, base, setting), file in files.items()}
    kept = {(x["claim"], x["row"], x["base"], x["setting"]) for x in read_tries()}
    untried = {file: job for file, job in jobs.items()
               if (name, job[1], claim.names[job[2]], job[4]) not in kept}
    make_cells(claim, f"{name}, tries", untried, workers)
    keep_tries(claim, {key: file for key, file in files.items() if file in untried})
    return [f"{row:14}{MODELS[claim.names[base]]:>8}   {claim.best_try(row, base)}"
            for row in dict.fromkeys(row for row, _, _ in tries) for base in bases]


def keep_tries(claim: Claim, files: dict[tuple[str, int, str], Path]) -> None:
    """Add the tries to results/tries.csv: a line each, with the mean score and that of each
    family."""
    columns = ["claim", "row", "base", "setting", "score", "stops", *world.TASKS]
    lines = [*read_tries()]
    for (row, base, setting), file in files.items():
        cell = np.load(file)
        means = dict(zip(claim.families, cell["scores"].mean(1) / UNIT))
        score = sum(share * means[family] for family, share in weights(claim.parts).items())
        numbers = {"score": score, "stops": cell["ended"].mean(), **means}
        lines.append({"claim": claim.name, "row": row, "base": claim.names[base],
                      "setting": setting, **{key: f"{x:.4f}" for key, x in numbers.items()}})
    lines.sort(key=lambda x: x["claim"])
    with open(TRIES, "w", encoding="utf-8", newline="") as file_out:
        writer = csv.DictWriter(file_out, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
    read_tries.cache_clear()


def gather(claim: Claim, seeds: int) -> dict[str, np.ndarray]:
    bases = range(len(claim.bases))
    found = [[[np.load(cell_file(claim, row, base, seed)) for seed in claim.seeds_for(row)[:seeds]]
              for base in bases] for row in claim.rows]
    arrays = {what: np.array([[[cell[what] for cell in of_base] for of_base in of_row]
                              for of_row in found])
              for what in ("scores", "ended", *claim.measured)}
    commands = [[claim.command(row, base) for base in bases] for row in claim.rows]
    return arrays | {"commands": np.array(commands), "groups": groups_of(claim),
                     "seeds": np.array(claim.seeds[:seeds])}


def groups_of(claim: Claim) -> np.ndarray:
    """(families, prompts) one number for all prompts of a family that ask for the same fact."""
    rows = world.rows("test", "prompts", claim.items * len(claim.families), claim.prompts,
                      skills=claim.families)
    numbers: dict = {}
    found = [numbers.setdefault(read_question(text) or text, len(numbers))
             for text in (row.prompt[0].text for row in rows)]
    return np.array(found, np.int32).reshape(len(claim.families), -1)


def compare(name: str, trained: dict[str, np.ndarray]) -> list[str]:
    """For each row and model: how many of each seed's scores are as kept?"""
    claim, kept = CLAIMS[name], load_packed(name)
    out = [f"{name}: scores that are as kept, in % of each seed's"]
    for r, row in enumerate(claim.rows):
        for base, base_name in enumerate(claim.names):
            mine = trained["scores"][r, base]
            was = kept["scores"][place(kept, claim, row, base), base, :len(mine)]
            same = " ".join(f"{100 * x:.4g}" for x in (mine == was).mean((1, 2)))
            out.append(f"{row:14}{MODELS[base_name]:>8}   {same}   "
                       f"mean {100 * mine.mean() / UNIT:.1f}, kept {100 * was.mean() / UNIT:.1f}")
    return out
