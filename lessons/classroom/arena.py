"""A loss of your own gets a verdict.

    python -m lessons arena                                     # the tasks
    python -m lessons arena my_loss.py --task stop --guess +3   # you expect to lead SFT by 3 points
    python -m lessons arena FOLDER --task stop --test-seed 71       # a line each in arena.csv

my_loss.py holds one subclass of Objective that writes `loss`, and settings if it likes
(docs/python.md shows one). It learns from the same rows, in as many steps and with as many tries of
the learning rate as the methods beside it. The verdict is that of lesson 14 and docs/results.

Your file runs in a process of its own, with limits of time and memory. Only the weights that it
trained are used, and this program scores them. Two entries with the same score, lead and interval
are probably one loss under two names. What a cheat can still do stands in docs/teaching.md.
"""
import argparse
import ast
import csv
import os
import shlex
import sys
import time
from pathlib import Path

import numpy as np

from lessons.classroom.arena_runs import (
    ASKED,
    ITEMS,
    OUT,
    WAITING,
    Task,
    baselines,
    measure,
)
from nanouft.compare.stats import half_width, moments, verdict
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError, one_of
from nanouft.plumbing.files import read_text
from nanouft.plumbing.printing import say
from nanouft.run.flags import number

CSV = Path("arena.csv")                 # a line for each entry
FACTS = {"lr", "reference"}             # which an entry may set; others would change its rows

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
}


# ---- the entry ----------------------------------------------------------------------------------
def check_entry(file: Path) -> None:
    """UserError unless the file has one class that writes its `loss` and changes nothing else. It
    is read, not run."""
    try:
        tree = ast.parse(read_text(file))
    except (SyntaxError, ValueError) as e:
        raise UserError(f"{file}: cannot be read ({e})") from None
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    if len(classes) != 1:
        raise UserError(f"{file}: holds {len(classes)} classes; an entry is one")
    for node in classes[0].body:
        name = getattr(node, "name", "")
        if isinstance(node, ast.Assign):
            name = getattr(node.targets[0], "id", "?")
        if name and name != "loss" and name not in FACTS and name[0] != "_":
            raise UserError(f"{file}, line {node.lineno}: {name} may not be changed here; an entry "
                            "writes loss, its settings, and helpers whose names begin with _")


# ---- the verdict --------------------------------------------------------------------------------
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


def report(entry: str, file: Path, name: str, guess: float | None, split: str, seed: int) -> dict:
    """Train and judge an entry, and print it. Returns its line of csv."""
    check_entry(file)
    task, began = TASKS[name], time.time()
    others = baselines(name, task, split, seed)
    tries = f"{len(task.rates)} rates on two seeds, then " if len(task.rates) > 1 else ""
    say(f"{entry}, {name}: {task.about}.", f"{tries}five seeds and {ITEMS * len(ASKED)} "
        "prompts: half-widths of 1 to 3 points.",
        f"It may take {WAITING} seconds" + (" for the tries, and as many for the verdict."
                                            if len(task.rates) > 1 else "."), sep="\n")
    mine = measure(entry, shlex.quote(str(file.resolve())), task, split, seed)
    leads = {who: lead(mine.scores, x.scores) for who, x in others.items()}
    for who, x in {entry: mine, **others}.items():
        told = f"   you lead by {leads[who][0]:+5.1f} ± {leads[who][1]:.1f}: {leads[who][2]}" \
            if who in leads else ""
        say(f"  {who:16}{100 * x.scores.mean():5.1f}   {100 * x.ended.mean():3.0f} % stop   rate "
            f"{x.rate}{told}")
    first = next(iter(others))
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
    return {"entry": entry, "task": name, "score": round(100 * mine.scores.mean(), 1),
            "lead": round(points, 1), "half": round(half, 1), "verdict": word, "rate": mine.rate,
            "guess": guess}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lessons arena", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("entries", nargs="*", type=Path, metavar="FILE.py",
                        help="files with a loss, or folders of such files")
    parser.add_argument("--task", default="stop", help=" | ".join(TASKS))
    parser.add_argument("--guess", type=number(float), metavar="POINTS",
                        help="by how many points you expect to lead the first method beside yours")
    parser.add_argument("--test-seed", type=int,
                        help="a seed that draws other test prompts; the lecturer keeps it secret")
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
    files = [x for given in cfg.entries
             for x in (sorted(given.glob("**/*.py")) if given.is_dir() else [given])]
    if not files:
        raise UserError(f"{', '.join(map(str, cfg.entries))}: no file ending in .py is there")
    OUT.mkdir(parents=True, exist_ok=True)
    CSV.open("a").close()                   # OSError now, and not after the work
    root = os.path.commonpath([os.path.abspath(x if x.is_dir() else x.parent)
                               for x in cfg.entries])
    lines, failed = [], False
    for file in files:
        entry = Path(os.path.relpath(file, root)).with_suffix("").as_posix()
        try:
            lines.append(report(entry, file, name, cfg.guess, split, seed))
        except UserError as e:
            say(e)
            lines.append({"entry": entry, "task": name, "score": 0, "verdict": str(e)})
            failed = True
        with CSV.open("w", newline="", encoding="utf-8") as out:    # after each: none is lost
            table = csv.DictWriter(out, ["entry", "task", "score", "lead", "half", "verdict",
                                         "rate", "guess"])
            table.writeheader()
            table.writerows(lines)
    return int(failed)


if __name__ == "__main__":
    sys.exit(command(main))
