"""A loss of your own gets a verdict.

    python -m lessons.arena                                     # the tasks
    python -m lessons.arena mine.py --task stop --guess +3      # you expect to lead SFT by 3 points
    python -m lessons.arena mine.py --task uft --guess 0        # una_loss of your own program
    python -m lessons.arena FOLDER --task stop --test-seed 71       # a line each in arena.csv

mine.py holds one subclass of Objective that writes `loss`, and settings if it likes (docs/python.md
shows one). It learns from the same rows, in as many steps and with as many tries of
the learning rate as the methods beside it. The verdict is that of lesson 14 and docs/claims.md.
In the task uft mine.py is the program of lessons.build, and its una_loss trains in place of ours.

Your file runs in a process of its own, with limits of time and memory, and leaves weights. The
scores come from this program. Entries that leave equal weights are marked, because they are the
same loss under two names. What a cheat can still do stands in docs/teaching.md.
"""
import argparse
import ast
import contextlib
import csv
import hashlib
import io
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lessons import grade, own_program
from lessons.evidence.stats import half_width, moments, verdict
from lessons.parts import loss_of
from nanouft.gpt import BASE
from nanouft.models.folders import read_gpt
from nanouft.models.tokenizer import nano
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError, one_of
from nanouft.plumbing.printing import say
from nanouft.run.evaluation import families

ROOT = Path(__file__).parents[1]
OUT = Path("out/arena")
ASKED = ("list", "sum", "sort", "reverse")
SEEDS, TRIES = range(5), (100, 101)             # of the verdict; of the choice of a rate
ITEMS, FEW = 240, 60                    # prompts of each family: of the verdict, of a choice
SECONDS = 240                   # of computing, for the tries of a rate and again for the verdict
WAITING = 3 * SECONDS                           # on the clock
FACTS = {"lr", "reference"}             # which an entry may set; others would change its rows


@dataclass(frozen=True)
class Task:
    about: str
    flags: str                          # rows and steps of nanouft.train, for everybody
    rates: tuple[str, ...]              # which everybody tries
    beside: dict[str, str]              # name: flags. The first is the one to beat
    doubt: str = ""                     # what must be known of those beside
    program: str = ""                   # the method that one's own program of lessons.build trains


TASKS = {
    "stop": Task(
        "24 steps at a low rate: say what was asked, and stop",
        "--skills rules,list,sum,sort,reverse --rows 384 --steps 24 --batch-size 8", ("2e-5",),
        {"SFT": "sft --reduction sequence", "IFT": "ift", "IFT, gamma .5": "ift --gamma 0.5"}),
    "wrong": Task(
        "40 % of the demonstrations are wrong, and nobody says which",
        "--skills list,sum,sort,reverse --rows 256 --noise 0.4 --steps 96 --batch-size 8",
        ("3e-5", "6e-5", "1.25e-4", "2.5e-4"),
        {"SFT": "sft --reduction sequence", "IFT": "ift", "PoFT": "poft"},
        "PoFT asks a model that has read 4,080 right answers"),
    "uft": Task(
        "your own program: una_loss on demonstrations and scored answers",
        "--skills list,sum,sort,reverse --rows 256 --steps 48 --batch-size 16", ("2.5e-4",),
        {"UFT": "uft"}, program="uft"),
}


# ---- the entry ----------------------------------------------------------------------------------
def check_entry(file: Path, task: Task) -> None:
    """UserError unless the file has one class that writes its `loss` and changes nothing else, or
    is a program with the loss of the task. It is read, not run."""
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError) as e:
        raise UserError(f"{file}: cannot be read ({e})") from None
    parts = own_program.written(tree)
    if task.program:
        if (loss := loss_of(task.program)) not in parts:
            raise UserError(f"{file}: has no {loss} yet; this task judges a program of "
                            "lessons.build")
        return
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    if len(classes) != 1:
        hint = " (--task uft judges a program of lessons.build)" if parts else ""
        raise UserError(f"{file}: holds {len(classes)} classes; an entry is one{hint}")
    for node in classes[0].body:
        name = getattr(node, "name", "")
        if isinstance(node, ast.Assign):
            name = getattr(node.targets[0], "id", "?")
        if name and name != "loss" and name not in FACTS and name[0] != "_":
            raise UserError(f"{file}, line {node.lineno}: {name} may not be changed here; an entry "
                            "writes loss, its settings, and helpers whose names begin with _")


# ---- training, in a process that leaves weights --------------------------------------------------
def train(name: str, flags: str, task: Task, jobs: list[tuple[int, str]], room: Path,
          program: str = "") -> None:
    """One run for each (seed, rate) in `room`, a process for all of them; UserError if one is
    missing. What it prints is never believed. program: the file of one's own program, whose loss
    takes the place of ours."""
    shutil.rmtree(room, ignore_errors=True)
    room.mkdir(parents=True)
    say(f"  training {name}: {len(jobs)} runs")
    words = [f"{folder_of(job)} --objective {flags} {task.flags} --lr {job[1]} --seed {job[0]}"
             for job in jobs]
    child = subprocess.Popen(
        [sys.executable, "-B", "-c", "from lessons import arena; arena.run_all()", program, *words],
        cwd=room, text=True, errors="replace", stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, start_new_session=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"})
    pipe, child.stdin = child.stdin, None           # communicate() would close it
    try:
        said, _ = child.communicate(timeout=WAITING)
    except subprocess.TimeoutExpired:
        said = ""
    finally:
        grade.end(child)
        if pipe:
            pipe.close()
    missing = [job for job in jobs if not (room / folder_of(job) / "model.safetensors").is_file()]
    if missing:
        last = (said.strip().splitlines() or ["no word"])[-1][:300]
        raise UserError(f"{name}: {len(missing)} of {len(jobs)} runs left no weights; "
                        f"{limit_of(child.returncode)}the last line was: {last}")


def limit_of(code: int) -> str:
    """Which limit of time has ended a process, if one did."""
    if os.name == "posix" and code == -signal.SIGXCPU:
        return f"out of time, after {SECONDS} seconds of computing; "
    if os.name == "posix" and code == -signal.SIGKILL:      # by this program, or by the system
        return f"it had not ended after {WAITING} seconds, or the system had no memory left; "
    return ""


def folder_of(job: tuple[int, str]) -> str:
    return f"{job[0]}-{job[1]}"


def run_all() -> None:
    """In the child: a student's program or nothing, and in each further word a folder and the flags
    of a run of nanouft.train."""
    grade.end_with_parent(grade.input_closes())
    from nanouft import train as nanouft_train
    grade.limit(SECONDS)
    program, *words = sys.argv[1:]
    for word in words:
        folder, *flags = shlex.split(word)
        flags += ["--warmup", "0.1", "--plain", "--device", "cpu", "--threads", "1",
                  "--save-every", "0", "--out", folder]
        if program:
            own_program.train(Path(program), flags)
        else:
            nanouft_train.main(flags)


# ---- judging, by this program's own code ---------------------------------------------------------
def scores(folder: Path, split: str, seed: int, items: int) -> tuple[np.ndarray, np.ndarray]:
    """(families, prompts) scores of a run's weights, and which answers stop. Only the numbers are
    taken from the folder: model and tokenizer are the shipped ones."""
    model = read_gpt(folder, json.loads((BASE / "config.json").read_text(encoding="utf-8")))
    with contextlib.redirect_stderr(io.StringIO()):
        answers = families(model, nano(), split, items, seed, ASKED)[1]
    return tuple(np.array([[x[what] for x in answers if x["family"] == f] for f in ASKED], float)
                 for what in ("score", "ended"))


def fingerprint(folders: list[Path]) -> str:
    """Equal for runs that left equal weights, whatever their files say beside them."""
    config = json.loads((BASE / "config.json").read_text(encoding="utf-8"))
    found = hashlib.sha256()
    for folder in folders:
        for weight in read_gpt(folder, config).parameters():
            found.update(weight.detach().float().contiguous().numpy().tobytes())
    return found.hexdigest()


@dataclass
class Result:
    rate: str                           # and whether it is the lowest or the highest tried
    weights: str                        # a hash of those of all seeds
    scores: np.ndarray                  # (seeds, families, prompts)
    ended: np.ndarray


KEPT = ("rate", "weights", "scores", "ended")


def measure(name: str, flags: str, task: Task, split: str, seed: int,
            program: str = "") -> Result:
    """Choose the rate on validation prompts, then train and score the five seeds."""
    room = OUT / "runs" / "".join(c if c.isalnum() else "-" for c in name)
    rate = task.rates[0]
    if len(task.rates) > 1:
        jobs = [(s, rate) for rate in task.rates for s in TRIES]
        train(name, flags, task, jobs, room, program)
        tried = {rate: np.mean([scores(room / folder_of((s, rate)), "val", 3, FEW)[0].mean()
                                for s in TRIES]) for rate in task.rates}
        rate = max(tried, key=tried.get)
        say(f"  {name}: " + ", ".join(f"{100 * x:.1f} at {r}" for r, x in tried.items()))
    jobs = [(s, rate) for s in SEEDS]
    train(name, flags, task, jobs, room, program)
    folders = [room / folder_of(job) for job in jobs]
    found = [scores(folder, split, seed, ITEMS) for folder in folders]
    weights = fingerprint(folders)
    shutil.rmtree(room)
    edge = len(task.rates) > 1 and rate in (task.rates[0], task.rates[-1])
    told = f"{rate} (at the edge)" if edge else rate
    return Result(told, weights, *(np.array(x) for x in zip(*found)))


def lead(mine: np.ndarray, other: np.ndarray) -> tuple[float, float, str]:
    """(points, half of the 95 % interval, verdict) of mine - other, over seeds and prompts. Better
    or worse: the interval lies on one side of 0. Equal: it lies within two points of 0."""
    gap = (mine - other) / len(ASKED)
    groups = [np.arange(gap.shape[2])] * len(ASKED)
    mean, variance, freedom = moments([gap[:, i] for i in range(len(ASKED))], groups)
    half = half_width(variance, freedom)
    if (word := verdict(mean, half, "better")) != "undecided":
        word = "better" if word == "holds" else "worse"
    elif verdict(mean, half, "as good") == "holds":
        word = "equal"
    return 100 * mean, 100 * half, word


def baselines(name: str, split: str, seed: int) -> dict[str, Result]:
    """The methods beside an entry, trained once on this machine and kept in out/arena."""
    file, task, out = OUT / f"{name}-{split}-{seed}.npz", TASKS[name], {}
    if not file.exists():
        say(f"first, once: {'; '.join(TASKS[name].beside)}")
        out = {who: measure(who, flags, task, split, seed) for who, flags in task.beside.items()}
        np.savez_compressed(file, **{f"{who}/{key}": getattr(x, key) for who, x in out.items()
                                     for key in KEPT})
    kept = np.load(file)
    if not all(f"{who}/weights" in kept for who in task.beside):     # of an older version
        file.unlink()
        return baselines(name, split, seed)
    return {who: Result(str(kept[f"{who}/rate"]), str(kept[f"{who}/weights"]),
                        kept[f"{who}/scores"], kept[f"{who}/ended"]) for who in task.beside}


# ---- the verdict --------------------------------------------------------------------------------
def report(entry: str, file: Path, name: str, guess: float | None, split: str, seed: int) -> dict:
    """Train and judge an entry, print it, draw out/arena/ENTRY.png. Returns its line of csv."""
    check_entry(file, TASKS[name])
    task, began = TASKS[name], time.time()
    others = baselines(name, split, seed)
    tries = f"{len(task.rates)} rates on two seeds, then " if len(task.rates) > 1 else ""
    say(f"{entry}, {name}: {task.about}.", f"{tries}five seeds and {ITEMS * len(ASKED)} "
        "prompts: half-widths of 1 to 3 points.",
        f"It may take {SECONDS} seconds of computing" + (" for the tries, and as many for the "
        "verdict" if len(task.rates) > 1 else "") + f", and {WAITING} on the clock.", sep="\n")
    path = str(file.resolve())
    mine = (measure(entry, task.program, task, split, seed, path) if task.program
            else measure(entry, shlex.quote(path), task, split, seed))
    leads = {who: lead(mine.scores, x.scores) for who, x in others.items()}
    for who, x in {entry: mine, **others}.items():
        told = f"   you lead by {leads[who][0]:+5.1f} ± {leads[who][1]:.1f}: {leads[who][2]}" \
            if who in leads else ""
        say(f"  {who:16}{100 * x.scores.mean():5.1f}   {100 * x.ended.mean():3.0f} % stop   rate "
            f"{x.rate}{told}")
    first = next(iter(others))
    if task.program:                        # a right program leaves our weights, as it should
        mine.weights = ""
    same = [who for who, x in others.items() if x.weights == mine.weights]
    if same:
        say(f"{entry} leaves the same weights as {same[0]}: it is the same loss.")
    by_family = 100 * (mine.scores - others[first].scores).mean((0, 2))
    say(f"Against {first} by family: "
        + ", ".join(f"{f} {x:+.1f}" for f, x in zip(ASKED, by_family)))
    if task.doubt:
        say(f"({task.doubt}.)")
    points, half, word = leads[first]
    if guess is not None:
        say(f"Your guess: {guess:+.1f} points. It is {points:+.1f} ± {half:.1f}, "
            f"{abs(points - guess):.1f} away.")
    say(f"{entry} is {word} than {first}." if word in ("better", "worse") else
        f"{entry} against {first}: {word}.", f"{time.time() - began:.0f} s")
    from lessons import draw
    fig, ax = draw.panels()
    gaps = {who: 100 * (mine.scores - x.scores).mean((1, 2)) for who, x in others.items()}
    draw.intervals(ax, {who: (gaps[who], *leads[who][:2]) for who in leads}, 0.0,
                   f"{entry} is {word} (task {name}): its lead over", "points, five seeds")
    picture = OUT / f"{entry.replace('/', '-')}.png"
    fig.savefig(picture)
    say(picture)
    return {"entry": entry, "task": name, "score": round(100 * mine.scores.mean(), 1),
            "lead": round(points, 1), "half": round(half, 1), "verdict": word, "rate": mine.rate,
            "guess": guess, "same weights as": ", ".join(same), "weights": mine.weights}


def mark_same(lines: list[dict]) -> list[str]:
    """Write into each line of arena.csv which entries left equal weights; a sentence for each."""
    told = []
    for i, line in enumerate(lines):
        same = [x["entry"] for x in lines if x is not line and line.get("weights")
                and x.get("weights") == line["weights"]]
        beside = [x for x in line.get("same weights as", "").split(", ") if x and x not in same]
        line["same weights as"] = ", ".join([*beside, *same])
        if same and same[0] not in [x["entry"] for x in lines[:i]]:
            told.append(f"{line['entry']} has the same weights as {', '.join(same)}: one loss "
                        "under several names.")
    return told


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lessons.arena", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("entries", nargs="*", type=Path, metavar="FILE.py",
                        help="files with a loss, or folders of such files")
    parser.add_argument("--task", default="stop", help=" | ".join(TASKS))
    parser.add_argument("--guess", type=float, metavar="POINTS",
                        help="your guess of your lead over the first one beside you")
    parser.add_argument("--csv", type=Path, default=Path("arena.csv"),
                        help="a file that is written anew, a line for each entry [arena.csv]")
    parser.add_argument("--test-seed", type=int,
                        help="draws other prompts, which the lecturer keeps secret")
    cfg = parser.parse_args(argv)
    name = one_of("task", cfg.task, TASKS)
    split, seed = ("val", 7) if cfg.test_seed is None else ("test", cfg.test_seed)
    if not cfg.entries:
        for name, task in TASKS.items():
            say(f"{name:8}{task.about}", f"        beside you: {'; '.join(task.beside)}", sep="\n")
        return 0
    if split == "val" and cfg.guess is None:
        raise UserError("first your guess: --guess POINTS, by how many you expect to lead "
                        f"{next(iter(TASKS[name].beside))} (0: equal, -3: worse)")
    OUT.mkdir(parents=True, exist_ok=True)
    files = [x for given in cfg.entries
             for x in (sorted(given.glob("**/*.py")) if given.is_dir() else [given])]
    root = os.path.commonpath([os.path.abspath(x if x.is_dir() else x.parent)
                               for x in cfg.entries])
    lines, told, failed = [], [], False
    for file in files:
        entry = Path(os.path.relpath(file, root)).with_suffix("").as_posix()
        try:
            lines.append(report(entry, file, name, cfg.guess, split, seed))
        except UserError as e:
            say(e)
            lines.append({"entry": entry, "task": name, "score": 0, "verdict": str(e)})
            failed = True
        told = mark_same(lines)
        with cfg.csv.open("w", newline="", encoding="utf-8") as out:    # after each: none is lost
            table = csv.DictWriter(out, ["entry", "task", "score", "lead", "half", "verdict",
                                         "rate", "guess", "same weights as"],
                                   extrasaction="ignore")
            table.writeheader()
            table.writerows(lines)
    for sentence in told:
        say(sentence)
    return int(failed)


if __name__ == "__main__":
    sys.exit(command(main))
