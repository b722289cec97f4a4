"""Is your program right? If not: which test fails, and is it a common mistake?

    python -m lessons check                     # your progress, and what comes next
    python -m lessons check 12a                 # an exercise; 12: all those of ex12.py
    python -m lessons check mine                # the twelve parts of mine.py; dpo_loss: one of them
    python -m lessons check psft                # a paper of 2025 or 2026, or a longer piece: ift
    python -m lessons check 06a --folder .      # your files of the folder in which you are
    python -m lessons check mine --run ift      # the whole program with your parts
    python -m lessons check mine --run          # lesson 19: one model, all stages, by your parts

Write into lessons/exercises: ex06.py, mine.py, psft.py. Each run draws new test cases and compares
your program with the reference solution in behind/keys. You see the smallest failing case and, if
one or two common mistakes explain all your results, a sentence about each. Any style will do: only
results are compared, and gradients only where the task says that they flow. A part of mine.py
replaces ours in nanouft/simple.py. The exit code is 0 if everything you asked for is right.

Your files run in this process, and their output is shown. So files in another folder are refused:
`python -m lessons grade` runs other people's programs, in processes with limits.
"""
import argparse
import subprocess
import sys
from pathlib import Path

from lessons.behind.lesson_list import NUMBERS
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError, one_of
from nanouft.plumbing.printing import say


def check(function) -> None:
    """In a notebook: judge a function that has the name of an exercise."""
    from lessons.behind.tasks.task import Judge, tasks
    asked = [task for task in tasks().values() if task.name == function.__name__]
    if not asked:
        raise UserError(f"no exercise is called {function.__name__}")
    say(Judge(asked[0]).of(function).told or "right")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lessons check", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", nargs="*", help="06a, 06, mine, dpo_loss, psft, ift [all]")
    parser.add_argument("--folder", type=Path, help="., if your files are here [lessons/exercises]")
    parser.add_argument("--seed", help="seed of the cases, to repeat them [another in each run]")
    parser.add_argument("--run", metavar="METHOD", nargs="?", const="19",
                        help="then train with this method; without a name, run lesson 19")
    flags = parser.parse_args(arguments)
    # Here, so that --help does not wait for torch.
    import torch

    from lessons.behind.tasks import simple_parts
    from lessons.behind.tasks.call import NOT_STARTED, STOPPED, UNTOUCHED
    from lessons.behind.tasks.task import STUBS, chosen, tasks
    if flags.run == "19":
        return subprocess.run([sys.executable, NUMBERS["19"]]).returncode
    if flags.run:
        one_of("method", flags.run, simple_parts.simple.METHODS)
    torch.set_num_threads(1)
    folder, right, names = flags.folder or STUBS, {}, chosen(flags.which)
    if folder.resolve() not in (STUBS, Path.cwd()):
        raise UserError(f"--folder {folder}: its programs would run in this process. If they "
                        "are yours, change to that folder and use --folder . (python -m lessons "
                        "grade runs other people's)")
    sys.path.insert(0, str(folder))                             # a file may import its neighbour
    unopened = set()
    for name in names:
        file = folder / tasks()[name].file
        if file in unopened:
            continue
        program, told = judge_file(tasks()[name], file, flags.seed)
        if STOPPED in told.told and not flags.which:
            raise KeyboardInterrupt
        if flags.which or file.exists() and told.told != UNTOUCHED:
            say(f"{name:<26}{told.told if told.state == NOT_STARTED else told.state}")
        if told.state == "right":
            right[name] = program
        elif flags.which and told.state == "wrong":
            say(f"{told.told}\n")
        if tasks()[name].opens and name not in right:
            unopened.add(file)
    missing = [name for name in names if name not in right]
    say(f"{len(right)} of {len(names)} right." + (
        f" Begin with {missing[0]}, in {folder / tasks()[missing[0]].file}."
        if missing and not flags.which else ""))
    of_file = sys.modules.get(f"lessons.behind.keys.{Path(tasks()[names[0]].file).stem}")
    if not missing and hasattr(of_file, "outcome"):     # of a longer piece: its figures
        say(*of_file.outcome(**{x.__name__: x for x in right.values()}), sep="\n")
    if flags.run:
        names = simple_parts.PARTS
        mine = {name: right[name] for name in names if name in right}
        say(f"Training {flags.run} with {len(mine)} of {len(names)} parts from your files")
        simple_parts.run(flags.run, mine)
    return int(bool(missing))


def judge_file(task, file: Path, seed: str | None = None):
    """The program for a task in a file, and the verdict."""
    from lessons.behind.tasks.call import program_in
    from lessons.behind.tasks.task import Judge, Verdict
    program, missing = program_in(file, task.name)
    return program, Verdict(missing, 0) if missing else Judge(task, seed).of(program, str(file))


if __name__ == "__main__":
    sys.exit(command(main))
