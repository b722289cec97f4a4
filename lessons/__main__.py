"""The course: where you are in it, and its programs.

    python -m lessons                   # your guesses, exercises and parts, and the next step
    python -m lessons check 06a         # one of the programs, with its own words
"""
import ast
import runpy
import sys
from pathlib import Path

from lessons.classroom.build_parts import PARTS
from lessons.classroom.submissions import is_stub, parse
from lessons.course import HERE, Question, switches
from lessons.lesson_list import LESSONS, head_of
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import one_of
from nanouft.plumbing.files import read_text
from nanouft.plumbing.printing import say

PROGRAMS = {
    "check": ("classroom.check", "are your exercises right?"),
    "build": ("classroom.build", "your own program, mine.py, in eleven parts"),
    "arena": ("classroom.arena", "your own loss beside SFT and IFT"),
    "guesses": ("classroom.guesses", "all your guesses beside what happened"),
    "exam": ("classroom.exam", "eight questions with answers, for the lecturer"),
    "slides": ("classroom.slides", "all pictures of the course in one PDF"),
    "pages": ("website.pages", "all lessons as pages and notebooks, in a small site"),
    "methods": ("website.methods_page", "writes the tables of methods, for who adds one"),
    "evidence": ("evidence", "all verdicts, from scores that come with the project"),
    "bench": ("bench", "seconds of a step beside TRL, and checks of a card"),
}
LINE = "{:<36}{:>7}{:>8}{:>12}  {}"


def functions_begun(file: Path) -> dict[str, bool]:
    """{each function of a file: is it more than a stub?}"""
    tree = parse(read_text(file)) if file.exists() else ast.Module([], [])
    return {f.name: not is_stub(f) for f in tree.body if isinstance(f, ast.FunctionDef)}


def of_all(begun: list[bool]) -> str:
    return f"{sum(begun)} of {len(begun)}" if begun else ""


def lesson_line(lesson: Path, mine: dict[str, bool]) -> str:
    """A lesson: your guess, that for its switch, exercises and parts that you have begun."""
    second = [Question(lesson, change).guess or "-" for change in switches(lesson)]
    exercises = functions_begun(HERE / "exercises" / f"ex{lesson.name[:2]}.py")
    parts = [mine.get(part, False) for part, (number, _) in PARTS.items()
             if number == lesson.name[:2]]
    return LINE.format(head_of(lesson)[0].replace(" · ", " "), Question(lesson).guess or "-",
                       " ".join(second), of_all([*exercises.values()]), of_all(parts)).rstrip()


def show_course() -> None:
    mine = functions_begun(Path("mine.py"))
    say(LINE.format("lesson", "guess", "switch", "exercises", "parts of mine.py"))
    for lesson in LESSONS:
        say(lesson_line(lesson, mine))
    todo = next((lesson for lesson in LESSONS if not Question(lesson).guess), None)
    say(f"\nNext: {f'python lessons/{todo.name}' if todo else 'python -m lessons arena'}\n\n"
        "Programs; each explains itself with --help:")
    for name, (_, does) in PROGRAMS.items():
        say(f"  python -m lessons {name:<10}{does}")


def main(argv: list[str] | None = None) -> int:
    name, *rest = (sys.argv[1:] if argv is None else argv) or [""]
    if name in ("", "-h", "--help"):
        show_course()
        return 0
    module = f"lessons.{PROGRAMS[one_of('program', name, PROGRAMS)][0]}"
    sys.argv = [module, *rest]
    runpy.run_module(module, run_name="__main__", alter_sys=True)   # it ends Python, as with -m
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
