"""Is your program right? If not: which test fails, and is it a common mistake?

    python -m lessons check                     # what you have begun, and what comes next
    python -m lessons check 05                  # the parts of mine.py that lesson 05 asks for
    python -m lessons check mine                # all parts of mine.py; dpo_loss: one of them
    python -m lessons check luffy               # a paper of 2025, or a longer piece: ift
    python -m lessons check mine --folder .     # your files of the folder in which you are
    python -m lessons check mine --run ift      # then train by simple.py with your parts

Write into lessons/mine.py; for papers and pieces into a file of their name, such as luffy.py. Each
run draws new test cases and compares your program with the reference solution in behind/keys. You
see the smallest failing case and, if one or two common mistakes explain all your results, a
sentence about each. Any style will do: only results are compared, and gradients only where the
task says that they flow. The exit code is 0 if everything you asked for is right.

Each file runs in a process of its own with limits of time and memory, and its output is shown.
"""
import argparse
import sys
from itertools import groupby
from pathlib import Path

from lessons.behind.lesson_list import FOLDER, PARTS
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import one_of
from nanouft.plumbing.printing import say


def check(function) -> None:
    """In a notebook: judge a function that has the name of a part of mine.py."""
    from lessons.behind.tasks.task import Judge, tasks
    say(Judge(tasks()[one_of("part", function.__name__, PARTS)]).of(function).told or "right")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lessons check", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", nargs="*", help="05, mine, dpo_loss, luffy, ift [all]")
    parser.add_argument("--folder", type=Path, default=FOLDER,
                        help="where your files are [lessons]")
    parser.add_argument("--seed", help="seed of the cases, to repeat them [another in each run]")
    parser.add_argument("--run", metavar="METHOD", help="then train with this method")
    flags = parser.parse_args(arguments)
    # Here, so that --help does not wait for torch.
    import torch

    from lessons.behind.tasks import simple_parts
    from lessons.behind.tasks.call import program_in
    from lessons.behind.tasks.child import call_file, verdict_of
    from lessons.behind.tasks.task import NOT_STARTED, Judge, chosen, tasks
    if flags.run:
        one_of("method", flags.run, simple_parts.simple.METHODS)
    torch.set_num_threads(1)
    names, right = chosen(flags.which), []
    for file, of_file in groupby(names, lambda name: flags.folder / tasks()[name].file):
        judges = {name: Judge(tasks()[name], flags.seed) for name in of_file}
        called = call_file(file, judges, prints=True)
        verdicts = {name: verdict_of(judge, called[name]) for name, judge in judges.items()}
        same = {verdict.told for verdict in verdicts.values()}
        if len(verdicts) > 1 and len(same) == 1 and "wrong" in {x.state for x in verdicts.values()}:
            say(*same)                                      # the file cannot be read
            continue
        for name, verdict in verdicts.items():
            begun = verdict.state != NOT_STARTED
            if begun or flags.which:
                say(f"{name:<26}{verdict.state if begun else verdict.told}")
            if verdict.state == "right":
                right.append(name)
            elif begun and flags.which:
                say(f"{verdict.told}\n")
            if judges[name].task.opens and name not in right:
                break
    missing = [name for name in names if name not in right]
    say(f"{len(right)} of {len(names)} right." + (
        f" Begin with {missing[0]}, in {flags.folder / tasks()[missing[0]].file}."
        if missing and not flags.which else ""))

    def yours(names) -> dict:
        """Loaded here, after the verdict."""
        programs = (program_in(flags.folder / tasks()[x].file, tasks()[x].name)[0] for x in names)
        return {tasks()[name].name: program for name, program in zip(names, programs)}
    of_file = sys.modules.get(f"lessons.behind.keys.{Path(tasks()[names[0]].file).stem}")
    if not missing and hasattr(of_file, "outcome"):     # of a longer piece: its figures
        say(*of_file.outcome(**yours(names)), sep="\n")
    if flags.run:
        parts = [name for name in simple_parts.OURS if name in right]
        say(f"Training {flags.run} with {len(parts)} parts of your mine.py, and ours for the "
            "others")
        simple_parts.run(flags.run, yours(parts))
    return int(bool(missing))


if __name__ == "__main__":
    sys.exit(command(main))
