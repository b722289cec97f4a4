"""A paper of 2025 or 2026 as your own program: is your class right?

    python -m lessons paper                         # the papers, and where their pages are
    python -m lessons paper psft psft.py            # your class beside the right one
    python -m lessons paper psft psft.py --seed 7   # the same batches again

A page in lessons/papers has the formula, its source and what to watch. psft.py holds one subclass
of Objective with the settings that the page names. It is tried on fresh small batches: a tiny
random model takes a few steps, whole or in micro-batches, with settings that are drawn. The loss of
each step may differ by a ten-thousandth, and the gradient by a thousandth of its length. You see
the smallest batch in which yours is wrong and, if what you wrote does what a common mistake does,
its name. Then follows the paper's law. The exit code is 0 if everything is right.

When it is right: python -m nanouft.train --objective psft.py
"""
import argparse
import sys
from pathlib import Path
from random import Random

from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import one_of
from nanouft.plumbing.printing import say


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lessons paper", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", help="the paper, such as psft [lists them]")
    parser.add_argument("file", nargs="?", type=Path, metavar="psft.py", help="your file")
    parser.add_argument("--seed", type=int, default=Random().randrange(10**6),
                        help="of the batches [another one in each run]")
    cfg = parser.parse_args(argv)
    # Here, so that --help does not wait for torch.
    import torch

    from lessons.classroom.exercise import show_pages
    from lessons.classroom.judge import state
    from lessons.classroom.paper_judge import judge_class
    from lessons.classroom.paper_list import PAGES, PAPERS
    if cfg.name:
        one_of("paper", cfg.name, PAPERS)
    if cfg.file is None:
        show_pages("paper", PAGES)
        return 0
    torch.set_num_threads(1)
    found, law = judge_class(PAPERS[cfg.name], str(cfg.file), str(cfg.seed))
    say(f"{cfg.name}: {state(found)}", *filter(None, [found]), law, sep="\n")
    say(f"The same batches again: --seed {cfg.seed}." if found else
        f"Now train it: python -m nanouft.train --objective {cfg.file}")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(command(main))
