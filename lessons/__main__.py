"""The course: where you are in it, and its programs.

    python -m lessons                   # your guesses, exercises and parts, and the next step
    python -m lessons check 06a         # one of the programs, with its own words
"""
import sys

from nanouft.plumbing.entry import command, run_program
from nanouft.plumbing.errors import one_of
from nanouft.plumbing.printing import say

PROGRAMS = {
    "check": ("lessons.behind.tasks.check", "are exercises, mine.py, papers and pieces right?"),
    "grade": ("lessons.behind.tasks.grade", "a table for a class, and a file to hand back to each"),
    "arena": ("lessons.behind.classroom.arena", "your own loss beside SFT and IFT"),
    "exam": ("lessons.behind.classroom.exam", "an exam, or a quiz of earlier lessons, and answers"),
    "pages": ("lessons.behind.website.pages", "lessons as pages and notebooks, in a small site"),
    "methods": ("lessons.behind.website.methods_page", "writes the lists of methods and lessons"),
    "evidence": ("lessons.evidence", "what was found, and every verdict"),
    "bench": ("tests.bench", "seconds of a step beside TRL, and checks of a GPU"),
}


def show_programs() -> None:
    say("\nPrograms; each explains itself with --help:")
    for name, (_, does) in PROGRAMS.items():
        say(f"  python -m lessons {name:<10}{does}")


def main(argv: list[str] | None = None) -> int:
    name, *rest = (sys.argv[1:] if argv is None else argv) or [""]
    if not name:
        from lessons.behind.classroom.course_state import show_course  # nothing else reads torch
        show_course()
    if name in ("", "-h", "--help"):
        show_programs()
        return 0
    run_program(PROGRAMS[one_of("program", name, PROGRAMS)][0], rest)
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
