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
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from tqdm import tqdm

from lessons.evidence.claim import BASES, REAL, Claim, command, parts_of
from lessons.evidence.claims import CLAIMS
from lessons.evidence.judge import UNIT, place
from lessons.evidence.verdicts import RESULTS, packed, scores_file
from nanouft import world
from nanouft.errors import UserError, say
from nanouft.world.answers import read_question

OUT = Path("out/evidence")
REAL_WEIGHTS = "a672150fb4f99d7c8f4168cecdd464069c0ef3a37d8113f22ddb9d48031d03cd"    # sha256
ONE_THREAD = ["--threads", "1", "--device", "cpu"]
SCORED_ELSEWHERE = ["--plain", "--items", "0", "--save-every", "0"]


# ---- models and files, each made once ------------------------------------------------------------
def second_base() -> None:
    """Put the second base into out/base-1. It is not committed, but the history has it."""
    folder = Path(BASES["base-1"])
    if (folder / "config.json").exists() and (folder / "tokenizer.json").exists():
        return
    from nanouft.disk import read_json
    from nanouft.models import folders
    from nanouft.models.tokenizer import nano
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
        model = folders.read_gpt(Path(raw), read_json(Path(raw, "config.json")))
    folders.save_model(folder, model, nano())


def real_base() -> None:
    """UserError unless the folder of the real model is there, with the weights of the results."""
    file = Path(REAL["smollm2"], "model.safetensors")
    if not file.exists():
        raise UserError(f"{file.parent}: the real model is missing; first, once: "
                        f"python -m lessons.evidence.smollm2 {file.parent}")
    if hashlib.sha256(file.read_bytes()).hexdigest() != REAL_WEIGHTS:
        raise UserError(f"{file}: other weights than those of the results (sha256 "
                        f"{REAL_WEIGHTS[:16]}...), so their figures cannot be compared")


def made(claim: Claim, name: str, base: str, seed: int) -> str:
    """The folder of a row's model or of the files that an entry's `made` describes, with all that
    it needs."""
    flags, start = parts_of(claim, name, list(claim.bases).index(base))
    shared = "--seed" in flags                      # one for all bases and seeds
    of = next(iter(claim.bases)) if shared else base
    init = made(claim, start, base, seed) if start else claim.bases[of]
    for folder in re.findall(r"{(\w+)}", flags):
        flags = flags.replace(f"{{{folder}}}", made(claim, folder, base, seed))
    if name in claim.rows and not claim.is_trained(name):
        return flags or claim.bases[base]
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
    claim = CLAIMS[name]
    told = f"{command(claim, row, list(claim.bases).index(base))} {claim.prompts}"
    if not claim.is_trained(row):
        seed = claim.seeds[0]                   # one model, which answers once
    return OUT / "cells" / f"{digest(f'{told} {base} {seed}')}.npz"


def score(file: Path, model_folder: str, claim: Claim, base: str) -> None:
    """Keep the scores (families, prompts) in 240ths, which answers stop, and what the end of a
    right answer costs in nats."""
    from nanouft.models.folders import start_model
    model, tok = start_model(model_folder)
    answers = answers_of(model, tok, "test", claim, claim.items, claim.prompts)
    kept = {"scores": np.rint(UNIT * by_family(claim, answers, "score")).astype(np.uint8),
            "ended": by_family(claim, answers, "ended").astype(np.uint8),
            "end_nll": nats_of_the_end(model, tok, claim)}
    partial = file.with_name(f"{os.getpid()}-{file.name}")
    np.savez_compressed(partial, **kept)
    partial.rename(file)


def nats_of_the_end(model, tok, claim: Claim) -> np.ndarray:
    """(families, prompts) nats of the end token after the right answer to each test prompt."""
    from nanouft.data.batches import encode
    from nanouft.loop import Device
    from nanouft.run.reference import logps
    asked = world.rows("test", "prompts", claim.items * len(claim.families), claim.prompts,
                       skills=claim.families)
    right = [row.with_roles({"answer": (row.prompt, row.answer)}) for row in asked]
    encoded, _ = encode(right, tok, model.cfg.n_ctx)
    ends = [np.flatnonzero(e.seqs["answer"].mask[1:])[-1] for e in encoded]
    nats = [-x["answer"][end] for x, end in zip(logps(encoded, model, tok.pad, Device()), ends)]
    return np.array(nats, np.float16).reshape(len(claim.families), claim.items)


def answers_of(model, tok, split: str, claim: Claim, items: int, seed: int) -> list[dict]:
    from nanouft.run.evaluation import families
    return families(model, tok, split, items, seed, claim.families, claim.max_new)[1]


def by_family(claim: Claim, answers: list[dict], what: str) -> np.ndarray:
    """(families, prompts)"""
    return np.array([[answer[what] for answer in answers if answer["family"] == family]
                     for family in claim.families])


def train_rows(name: str, base: str, seed: int) -> None:
    """All rows of a claim on one base with one seed, one after the other."""
    claim = CLAIMS[name]
    for row in claim.rows:
        if row in claim.seeds_of:                   # another claim's runs, which are kept
            continue
        file = cell_file(name, row, base, seed)
        if not file.exists():
            folder = made(claim, row, base, seed)
            score(file, folder, claim, base)
            if claim.bases == REAL and claim.is_trained(row):
                shutil.rmtree(folder)               # 540 MB, and no other row starts from it


def unpack_known(name: str) -> None:
    """The rows that another claim has trained: its kept scores as cells of this one."""
    claim = CLAIMS[name]
    if not (claim.known and scores_file(claim.known).exists()):
        return
    kept = packed(claim.known)
    arrays = {what: kept[what] for what in ("scores", "ended", "end_nll") if what in kept}
    for row in claim.rows:
        for b, base in enumerate(claim.bases):
            line = command(claim, row, b)
            if not claim.is_trained(row) or line not in kept["commands"][:, b]:
                continue
            i = list(kept["commands"][:, b]).index(line)
            for s, seed in enumerate(kept["seeds"]):
                file = cell_file(name, row, base, int(seed))
                if seed in claim.seeds_for(row) and not file.exists():
                    np.savez_compressed(file, **{what: x[i, b, s] for what, x in arrays.items()})


def train_claim(name: str, seeds: int, workers: int) -> None:
    """Make the missing cells of a claim. What all processes need is made before they start."""
    (OUT / "cells").mkdir(parents=True, exist_ok=True)
    for file in (RESULTS / "cells").glob("*.npz"):      # of claims whose runs have not all ended
        shutil.copy(file, OUT / "cells" / file.name)
    claim = CLAIMS[name]
    if claim.bases == REAL:
        real_base()
    else:
        second_base()
    unpack_known(name)
    chosen, bases = claim.seeds[:seeds], list(claim.bases)
    rows = [row for row in claim.rows if row not in claim.seeds_of]
    jobs = [(train_rows, name, base, seed) for seed in chosen for base in bases]
    for folder, line in claim.made.items():
        if "--seed" in line:
            say(f"{name}, once: {line}")
            made(claim, folder, bases[0], chosen[0])
    files = [cell_file(name, row, base, seed) for seed in chosen for base in bases for row in rows]
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


# ---- the kept scores -----------------------------------------------------------------------------
def pack(name: str) -> Path:
    """results/NAME.npz, from the cells of all rows, bases and seeds of a claim."""
    claim = CLAIMS[name]
    commands = [[command(claim, row, base) for base in range(len(claim.bases))]
                for row in claim.rows]
    file = scores_file(name)
    np.savez_compressed(
        file, **gather(name, {row: claim.seeds_for(row) for row in claim.rows}, list(claim.bases)),
        commands=commands, groups=groups_of(claim), seeds=list(claim.seeds))
    return file


def groups_of(claim: Claim) -> np.ndarray:
    """(families, prompts) one number for all prompts of a family that ask for the same fact."""
    asked = world.rows("test", "prompts", claim.items * len(claim.families), claim.prompts,
                       skills=claim.families)
    facts = [read_question(row.prompt[0].text) or row.prompt[0].text for row in asked]
    numbers: dict = {}
    for fact in facts:
        numbers.setdefault(fact, len(numbers))
    return np.array([numbers[fact] for fact in facts], np.int32).reshape(len(claim.families), -1)


def gather(name: str, rows: dict[str, Sequence[int]],
           bases: list[str]) -> dict[str, np.ndarray]:
    """All that the cells of {row: its seeds} keep, each as one array (rows, bases, seeds, ...).
    What older cells lack is NaN."""
    cells = [[[dict(np.load(cell_file(name, row, base, seed))) for seed in seeds]
              for base in bases] for row, seeds in rows.items()]
    shapes = {what: x for of_row in cells for of_base in of_row for cell in of_base
              for what, x in cell.items()}
    return {what: np.array([[[cell[what] if what in cell else np.full(like.shape, np.nan)
                              for cell in of_base] for of_base in of_row] for of_row in cells])
            for what, like in shapes.items()}


# ---- against the kept scores ---------------------------------------------------------------------
def compare(name: str, seeds: int) -> tuple[list[str], dict]:
    """(lines on which cells have the kept scores, all scores in the form of a packed file)."""
    claim, kept = CLAIMS[name], packed(name)
    out, equal, total = [], 0, 0
    trained = {key: value.copy() for key, value in kept.items()}
    for row in claim.rows:
        for b, base in enumerate(claim.bases):
            i = place(kept, claim, row, b)
            for s, seed in enumerate(claim.seeds_for(row)[:seeds]):
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
