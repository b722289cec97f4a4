"""The course: where you are in it, and its programs.

    python -m lessons                   # the lessons and the programs
    python -m lessons check 05          # one of the programs, with its own words
    python -m lessons --help all        # every program
"""
import re
import sys

from lessons.behind.lesson_list import NUMBERS, ROOT, WEEKEND, contracts, lesson_head
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


def show_lessons() -> None:
    """A line for each lesson, and its questions below it."""
    for heading, of_weekend in (("A weekend, in this order:", True), ("\nThe rest:", False)):
        say(heading)
        for file in [file for number, file in NUMBERS.items() if (number <= WEEKEND) == of_weekend]:
            head = lesson_head(file)
            say(f"  {head.title.replace(' · ', '  '):<44}{head.minutes} minutes   "
                f"{', '.join(contracts(file))}".rstrip())
            asked = re.split(r"(?<=[.?!]) (?=[A-Z])", head.question)
            say("      " + " ".join(x for x in asked if x.endswith("?")))
    say("\nYou guess, run a lesson, and compare. What you write, the names on the right, goes into "
        f"mine.py.\nBegin with python {min(NUMBERS.values()).relative_to(ROOT)}\n")


def show_programs(everything: bool) -> None:
    say("What each command writes; add --help to a command for more:\n")
    for name, (_, leaves) in PROGRAMS.items():
        if everything or name not in MORE:
            say(f"  python -m lessons {name:<15}{leaves}")
    if not everything:
        say("More: python -m lessons --help all")


def main(argv: list[str] | None = None) -> int:
    name, *rest = (sys.argv[1:] if argv is None else argv) or [""]
    if not name:
        show_lessons()
    if name in ("", "-h", "--help"):
        show_programs(rest == ["all"])
        return 0
    run_program(PROGRAMS[one_of("program", name, PROGRAMS)][0], rest)
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
