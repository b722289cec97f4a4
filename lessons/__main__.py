"""The course: where you are in it, and its programs.

    python -m lessons                   # the lessons and the programs
    python -m lessons check 06a         # one of the programs, with its own words
    python -m lessons --help all        # every program
"""
import sys

from lessons.behind.lesson_list import LESSONS, lesson_head
from nanouft.plumbing.entry import command, run_program
from nanouft.plumbing.errors import one_of
from nanouft.plumbing.printing import say

PROGRAMS = {            # its module, and what it leaves behind
    "check": ("lessons.behind.tasks.check", "your smallest failing case, printed; no file"),
    "grade": ("lessons.behind.tasks.grade", "points of a class, a file for each: out/class"),
    "exam": ("lessons.behind.exam", "questions, and their answers: out/exam"),
    "pages": ("lessons.behind.website.pages", "a website of lessons, results, docs: out/pages"),
    "evidence": ("lessons.evidence", "what we found, and every verdict; no file"),
    "bench": ("tests.bench", "seconds per step, compared with TRL"),
}
MORE = ("bench",)                               # what `--help all` lists too


def show_programs(everything: bool) -> None:
    say("What each command writes; add --help to a command for more:\n",
        "  python lessons/00_whole_game.py  a lesson: your guess, out/lessons/00.png", sep="\n")
    for name, (_, leaves) in PROGRAMS.items():
        if everything or name not in MORE:
            say(f"  python -m lessons {name:<15}{leaves}")
    say("\nAdd `--change SWITCH` to a lesson to change one thing in it.")
    if not everything:
        say(f"{len(MORE)} more programs: python -m lessons --help all")


def main(argv: list[str] | None = None) -> int:
    name, *rest = (sys.argv[1:] if argv is None else argv) or [""]
    if not name:
        say(*(lesson_head(lesson)[0].replace(" · ", " ") for lesson in LESSONS),
            "\nYou guess, run a lesson, and compare. "
            f"Begin with python lessons/{LESSONS[0].name}\n", sep="\n")
    if name in ("", "-h", "--help"):
        show_programs(rest == ["all"])
        return 0
    run_program(PROGRAMS[one_of("program", name, PROGRAMS)][0], rest)
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
