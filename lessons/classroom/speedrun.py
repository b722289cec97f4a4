"""78 points in as little computing as possible.

    python -m lessons speedrun lessons/speedrun/quick_sft.py
    python -m lessons speedrun mine.py --test-seed 71       # the check before a row is taken

An entry is one file with train(model, tok, rows, seed). It trains the shipped base in place. The
points are those of the arena: the mean of its four tasks over five seeds. The time is counted in
units of a product of matrices on the same core. docs/speedrun.md has the rules and the board.
"""
import argparse
import platform
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from lessons.classroom.arena import lead
from lessons.classroom.arena_runs import ITEMS, SEEDS, scores
from lessons.classroom.speedrun_runs import check_rules, run_seed
from nanouft.plumbing.entry import command
from nanouft.plumbing.printing import say
from nanouft.plumbing.progress import progress

GOAL = 78.0                             # points


def judge(points: np.ndarray) -> tuple[float, float, str]:
    """(mean, lower end of its 95 % interval, verdict) of scores (seeds, tasks, prompts)."""
    mean, half, _ = lead(points, np.zeros_like(points))
    low = mean - half
    return mean, low, "reached" if low >= GOAL else "undecided" if mean + half >= GOAL else "missed"


def table_row(file: Path, idea: str, units: float, seconds: float,
              found: tuple[float, float, str]) -> str:
    """The line of docs/speedrun.md."""
    mean, low, word = found
    machine = f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}"
    return (f"| {units:.1f} | {seconds:.2f} | {mean:.1f} | {low:.1f} | {word} | "
            f"[{file.stem}](../lessons/speedrun/{file.name}) | {idea} | {machine}, "
            f"PyTorch {torch.__version__.partition('+')[0]} | {time.strftime('%Y-%m-%d')} |")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lessons speedrun", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("entry", type=Path, metavar="FILE.py", help="your entry")
    parser.add_argument("--test-seed", type=int,
                        help="a seed that draws other test prompts, for whoever takes the row")
    cfg = parser.parse_args(argv)
    split, seed = ("val", 7) if cfg.test_seed is None else ("test", cfg.test_seed)
    idea = check_rules(cfg.entry)
    times, points = [], []
    for number in progress(len(SEEDS), "seeds", SEEDS):
        with tempfile.TemporaryDirectory() as room:
            times.append(run_seed(cfg.entry, number, Path(room).resolve()))
            points.append(scores(Path(room) / "model", split, seed, ITEMS)[0])
        seconds, unit = times[-1]
        say(f"  seed {number}   {100 * points[-1].mean():5.1f} points   {seconds:5.2f} s of "
            f"computing   {seconds / unit:5.1f} units of {unit:.3f} s")
    seconds = float(np.median([x for x, _ in times]))
    units = float(np.median([x / unit for x, unit in times]))
    mean, low, word = found = judge(np.array(points))
    say(f"{cfg.entry.stem}: {word}. {mean:.1f} points, and the interval ends at {low:.1f}; "
        f"{units:.1f} units, the median of {len(SEEDS)} seeds.", "The row for docs/speedrun.md:",
        table_row(cfg.entry, idea, units, seconds, found), sep="\n")
    return int(word != "reached")


if __name__ == "__main__":
    sys.exit(command(main))
