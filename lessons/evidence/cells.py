"""Train and score the rows of a claim once more: `python -m lessons.evidence --train C4`.

A cell is one row on one base with one seed. Every model and every file of answers lies in
out/evidence under a hash of the command that made it. So what several rows or claims share is made
once, and an interrupted command goes on where it was.
"""
import contextlib
import hashlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, wait
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from tqdm import tqdm

from lessons.evidence import estimates
from lessons.evidence.claims import BASES, CLAIMS, FAMILIES, Claim, command, parts_of
from lessons.evidence.judge import UNIT, packed, place
from nanouft.errors import UserError, say

OUT = Path("out/evidence")
PROMPTS = 100                           # test prompts of each family
ONE_THREAD = ["--threads", "1", "--device", "cpu"]
SCORED_ELSEWHERE = ["--plain", "--items", "0", "--save-every", "0"]


# ---- models and files, each made once ------------------------------------------------------------
def second_base() -> None:
    """Put the second base into out/base-1. It is not committed, but the history has it."""
    folder = Path(BASES["base-1"])
    if (folder / "config.json").exists() and (folder / "tokenizer.json").exists():
        return
    from nanouft import models
    from nanouft.run.folder import read_json
    from nanouft.tokenizer import nano
    with tempfile.TemporaryDirectory() as raw:
        for name in ("config.json", "model.safetensors"):
            show = subprocess.run(["git", "show", f"3c61a24f:docs/results/base-1/{name}"],
                                  capture_output=True)
            if show.returncode:
                raise UserError(f"{folder}: the second base is missing. It comes from the history "
                                "of a full clone, or from python -m nanouft.pretrain --seed 1 "
                                f"--out {folder} (6 minutes; on another processor its last digits "
                                "may differ)")
            Path(raw, name).write_bytes(show.stdout)
        model = models.read_gpt(Path(raw), read_json(Path(raw, "config.json")))
    models.save_model(folder, model, nano())


def made(claim: Claim, name: str, base: str, seed: int) -> str:
    """The folder of a row's model or of the files that an entry's `made` describes, with all that
    it needs."""
    flags, start = parts_of(claim, name, list(BASES).index(base))
    shared = "--seed" in flags                      # one for all bases and seeds
    init = made(claim, start, base, seed) if start else "base" if shared else BASES[base]
    for folder in re.findall(r"{(\w+)}", flags):
        flags = flags.replace(f"{{{folder}}}", made(claim, folder, base, seed))
    kind, words = "train", flags.split()
    if name in claim.made:
        kind, words = words[0], words[1:]
    words += [] if shared else ["--seed", str(seed)]
    return once(kind, words if kind == "keep" else [*words, "--init", init])


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def once(kind: str, words: list[str]) -> str:
    """Run a command into the folder of its hash, unless that is there."""
    from lessons.evidence import harvest, keep
    from nanouft import train
    line = shlex.join([kind, *words])
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
def cell_file(name: str, row: str, base: str, seed: int) -> Path:
    """Where the scores of a cell lie: under all that they depend on, not under the row's name."""
    if name == "C7":
        told = f"{estimates.FLAGS} {row}"
    else:
        told = f"{command(CLAIMS[name], row, list(BASES).index(base))} {CLAIMS[name].prompts}"
    return OUT / "cells" / f"{digest(f'{told} {base} {seed}')}.npz"


def score(file: Path, model_folder: str, prompts: int) -> None:
    """Keep the scores (families, prompts) in 240ths, and the share of list answers that stop."""
    from nanouft.evaluate import families
    from nanouft.models import start_model
    figures, answers = families(*start_model(model_folder), "test", PROMPTS, prompts)
    each = [[answer["score"] for answer in answers if answer["family"] == family]
            for family in FAMILIES]
    partial = file.with_name(f"{os.getpid()}-{file.name}")
    np.savez(partial, scores=np.rint(UNIT * np.array(each)).astype(np.uint8),
             stops=figures["list"]["ends"])
    partial.rename(file)


def train_rows(name: str, base: str, seed: int) -> None:
    """All rows of a claim on one base with one seed, one after the other."""
    for row in CLAIMS[name].rows:
        file = cell_file(name, row, base, seed)
        if not file.exists():
            score(file, made(CLAIMS[name], row, base, seed), CLAIMS[name].prompts)


def train_estimates(base: str, seed: int) -> None:
    """C7: the SFT models of all sizes of data on one base with one seed."""
    for rows, passes in estimates.PASSES.items():
        file = cell_file("C7", str(rows), base, seed)
        if not file.exists():
            words = estimates.FLAGS.format(rows=rows, passes=passes).split()
            folder = once("train", [*words, "--seed", str(seed), "--init", BASES[base]])
            estimates.measure(folder, seed, file)


def train_claim(name: str, seeds: int, workers: int) -> None:
    """Make the missing cells of a claim. What all processes need is made before they start."""
    second_base()
    (OUT / "cells").mkdir(parents=True, exist_ok=True)
    if name == "C7":
        chosen, rows = estimates.SEEDS[:seeds], [str(rows) for rows in estimates.PASSES]
        jobs = [(train_estimates, base, seed) for seed in chosen for base in BASES]
    else:
        claim = CLAIMS[name]
        chosen, rows = claim.seeds[:seeds], list(claim.rows)
        jobs = [(train_rows, name, base, seed) for seed in chosen for base in BASES]
        for folder, line in claim.made.items():
            if "--seed" in line:
                say(f"{name}, once: {line}")
                made(claim, folder, "base", chosen[0])
    files = [cell_file(name, row, base, seed) for seed in chosen for base in BASES for row in rows]
    run(jobs, files, f"{name}, cells", workers)


def run(jobs: list[tuple], files: list[Path], title: str, workers: int) -> None:
    """All jobs in `workers` processes; the bar counts the files that are on the disk."""
    bar = tqdm(total=len(files), initial=sum(file.exists() for file in files), desc=title,
               smoothing=0, mininterval=1 if sys.stderr.isatty() else 30)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        running = [pool.submit(quietly, *job) for job in jobs]
        while running:
            done, not_done = wait(running, timeout=1)
            bar.update(sum(file.exists() for file in files) - bar.n)
            if any(job.exception() for job in done):
                pool.shutdown(cancel_futures=True)
            for job in done:
                job.result()
            running = list(not_done)
    bar.close()


def quietly(work: Callable, *arguments) -> None:
    """In a process of its own: one thread, and what the runs print is not shown."""
    import torch
    torch.set_num_threads(1)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        work(*arguments)


# ---- against the kept scores ---------------------------------------------------------------------
def compare(name: str, seeds: int) -> tuple[list[str], dict]:
    """(lines on which cells have the kept scores, all scores in the form of a packed file)."""
    claim, kept = CLAIMS[name], packed(name)
    out, equal, total = [], 0, 0
    trained = {key: value.copy() for key, value in kept.items()}
    for row in claim.rows:
        for b, base in enumerate(BASES):
            i = place(kept, claim, row, b)
            for s, seed in enumerate(claim.seeds[:seeds]):
                mine = np.load(cell_file(name, row, base, seed))["scores"]
                trained["scores"][i, b, s] = mine
                same = (mine == kept["scores"][i, b, s]).sum()
                equal, total = equal + (same == mine.size), total + 1
                if same < mine.size:
                    was = kept["scores"][i, b, s].mean() / UNIT
                    out.append(f"{row}, {base}, seed {seed}: {same} of {mine.size} scores as kept; "
                               f"mean {100 * mine.mean() / UNIT:.1f}, kept {100 * was:.1f}")
    out.append(f"{name}: {equal} of {total} cells have all {mine.size} kept scores")
    return out, trained


def compare_estimates(seeds: int) -> list[str]:
    """The same for C7. Log-probs are kept in 16 bits, so they are compared as such."""
    kept, out, equal, total = estimates.packed(), [], 0, 0
    for size, rows in enumerate(estimates.PASSES):
        for b, base in enumerate(BASES):
            for s, seed in enumerate(estimates.SEEDS[:seeds]):
                mine = np.load(cell_file("C7", str(rows), base, seed))
                same = all(np.array_equal(mine[name], kept[name][b, size, s])
                           for name in ("right", "greedy"))
                apart = abs(mine["logp"].astype(float) - kept["logp"][:, b, size, s]).max()
                equal, total = equal + (same and apart == 0), total + 1
                if not same or apart:
                    out.append(f"{rows} rows, {base}, seed {seed}: answers equal: {same}; "
                               f"log-probs at most {apart:.1e} apart")
    return [*out, f"C7: {equal} of {total} cells are equal to the kept ones"]
