"""Is your program right? If not: which test fails, and is it a common mistake?

    python -m lessons check                     # what you have begun, and what comes next
    python -m lessons check 12a                 # an exercise; 12: all those of ex12.py
    python -m lessons check mine                # the twelve parts of mine.py; dpo_loss: one of them
    python -m lessons check luffy               # a paper of 2025, or a longer piece: ift
    python -m lessons check 06a --folder .      # your files of the folder in which you are
    python -m lessons check mine --run ift      # the whole program with your parts
    python -m lessons check mine --run          # lesson 19: one model, all stages, by your parts

Write into lessons/exercises: ex06.py, mine.py, luffy.py. Each run draws new test cases and compares
your program with the reference solution in behind/keys. You see the smallest failing case and, if
one or two common mistakes explain all your results, a sentence about each. Any style will do: only
results are compared, and gradients only where the task says that they flow. A part of mine.py
replaces ours in nanouft/simple.py. The exit code is 0 if everything you asked for is right.

Each file runs in a process of its own with limits of time and memory, and its output is shown.
"""
import argparse
import subprocess
import sys
from itertools import groupby
from pathlib import Path

from lessons.behind.lesson_list import NUMBERS
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import one_of
from nanouft.plumbing.printing import say


def check(function) -> None:
    """In a notebook: judge a function that has the name of an exercise."""
    from lessons.behind.tasks.task import Judge, tasks
    from nanouft.plumbing.errors import UserError
    asked = [task for task in tasks().values() if task.name == function.__name__]
    if not asked:
        raise UserError(f"no exercise is called {function.__name__}")
    say(Judge(asked[0]).of(function).told or "right")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lessons check", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", nargs="*", help="06a, 06, mine, dpo_loss, luffy, ift [all]")
    parser.add_argument("--folder", type=Path, help="where your files are [lessons/exercises]")
    parser.add_argument("--seed", help="seed of the cases, to repeat them [another in each run]")
    parser.add_argument("--run", metavar="METHOD", nargs="?", const="19",
                        help="then train with this method; without a name, run lesson 19")
    flags = parser.parse_args(arguments)
    # Here, so that --help does not wait for torch.
    import torch

    from lessons.behind.tasks import simple_parts
    from lessons.behind.tasks.call import program_in
    from lessons.behind.tasks.child import call_file, verdict_of
    from lessons.behind.tasks.task import NOT_STARTED, STUBS, Judge, chosen, is_begun, tasks
    if flags.run == "19":
        return subprocess.run([sys.executable, NUMBERS["19"]]).returncode
    if flags.run:
        one_of("method", flags.run, simple_parts.simple.METHODS)
    torch.set_num_threads(1)
    folder, names, right = flags.folder or STUBS, chosen(flags.which), []
    asked = [name for name in names if flags.which or is_begun(name, folder)]
    for file, of_file in groupby(asked, lambda name: folder / tasks()[name].file):
        judges = {name: Judge(tasks()[name], flags.seed) for name in of_file}
        called = call_file(file, judges, prints=True)
        for name, judge in judges.items():
            verdict = verdict_of(judge, called[name])
            say(f"{name:<26}{verdict.told if verdict.state == NOT_STARTED else verdict.state}")
            if verdict.state == "right":
                right.append(name)
            elif flags.which and verdict.state == "wrong":
                say(f"{verdict.told}\n")
            if judge.task.opens and name not in right:
                break
    missing = [name for name in names if name not in right]
    say(f"{len(right)} of {len(names)} right." + (
        f" Begin with {missing[0]}, in {folder / tasks()[missing[0]].file}."
        if missing and not flags.which else ""))

    def yours(names) -> dict:
        """Loaded here, after the verdict."""
        programs = (program_in(folder / tasks()[x].file, tasks()[x].name)[0] for x in names)
        return {tasks()[name].name: program for name, program in zip(names, programs)}
    of_file = sys.modules.get(f"lessons.behind.keys.{Path(tasks()[names[0]].file).stem}")
    if not missing and hasattr(of_file, "outcome"):     # of a longer piece: its figures
        say(*of_file.outcome(**yours(names)), sep="\n")
    if flags.run:
        parts = [name for name in simple_parts.PARTS if name in right]
        say(f"Training {flags.run} with {len(parts)} of {len(simple_parts.PARTS)} parts from your "
            "files")
        simple_parts.run(flags.run, yours(parts))
    return int(bool(missing))


if __name__ == "__main__":
    sys.exit(command(main))
