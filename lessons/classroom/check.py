"""Is your exercise right? If it is not: in which call, and is it a mistake that many make?

    python -m lessons check                         # the list of all exercises: which are done?
    python -m lessons check 06a                     # one exercise
    python -m lessons check 06                      # the exercises of a lesson
    python -m lessons check 06a --folder ada        # the same, for the files in the folder ada

    from lessons.classroom.check import check                 # in a notebook
    check(balance)

Write your functions in lessons/exercises/ex06.py. Inputs are drawn anew in each run and given to
your function and to the right one of key06.py. Numbers are equal if they differ by less than the
`tolerance` of the key, usually a ten-thousandth. You see the smallest call in which they differ,
and, if your results are those of a common mistake in all calls, or of two together, their names.
Any style will do: nothing but results is compared, and a gradient only where the exercise says that
one flows. Read the key when you are done. A loop without an end is tried until you press Ctrl-C,
which shows its line. The last line counts what is right, and the exit code is 0 if everything asked
for is.
"""
import argparse
import sys
from pathlib import Path

from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.printing import say


def check(function) -> None:
    """In a notebook: judge a function that has the name of an exercise."""
    from lessons.classroom.exercise import exercises
    from lessons.classroom.judge import judge
    by_name = {exercise.name: exercise for exercise in exercises().values()}
    if function.__name__ in by_name:
        say(judge(by_name[function.__name__], function) or "right")
    else:
        print(f"No exercise is called {function.__name__}. There are: {', '.join(by_name)}.")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lessons check", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", nargs="*", help="an exercise as 06a, a lesson as 06 [all]")
    parser.add_argument("--folder", type=Path, help="where the files ex06.py are")
    flags = parser.parse_args(arguments)
    # Here, so that --help does not wait for torch.
    import torch

    from lessons.classroom.exercise import HERE, difficulties, exercises, judge_file
    from lessons.classroom.judge import state
    by_name, folder = exercises(), flags.folder or HERE
    for which in flags.which:
        if not any(name.startswith(which) for name in by_name):
            raise UserError(f"there is no exercise {which}; python -m lessons check lists them")
    names = [name for name in by_name if name.startswith(tuple(flags.which) or "")]
    torch.set_num_threads(1)
    missing = []
    sys.path.insert(0, str(folder))                             # a file may import its neighbour
    for name in names:
        file = folder / f"ex{name[:2]}.py"
        wrong = judge_file(by_name[name], file)
        hard = difficulties().get(by_name[name].name, "")
        say(f"{name} {by_name[name].name:<22} {hard:<8}{state(wrong)}")
        if flags.which and state(wrong) == "wrong":
            say(f"{wrong}\n")
        missing += [f"Begin with {name}, in {file}."] if wrong else []
    print(f"{len(names) - len(missing)} of {len(names)} right.",
          *(missing[:1] if not flags.which else ()))
    return int(bool(missing))


if __name__ == "__main__":
    sys.exit(command(main))
