"""Where a student is in the course: guesses, exercises, parts of mine.py, and the next step."""
import ast
from pathlib import Path

from lessons.classroom.build_parts import PARTS
from lessons.classroom.exercise import difficulty_of
from lessons.classroom.submissions import is_stub, parse
from lessons.course import HERE, Question, switches
from lessons.lesson_list import LESSONS, exercises_of, head_of, number_of
from nanouft.plumbing.files import read_text
from nanouft.plumbing.printing import say

TITLES = {lesson: head_of(lesson)[0].replace(" · ", " ") for lesson in LESSONS}
LINE = f"{{:<{max(map(len, TITLES.values())) + 1}}}{{:>6}}{{:>8}}  {{:<20}} {{}}"


def tree_of(file: Path) -> ast.Module:
    """A student's file, read and not run. Empty if there is none."""
    return parse(read_text(file)) if file.exists() else ast.Module([], [])


def written_parts(tree: ast.Module) -> set[str]:
    """The parts that a file has: all that it defines, without those that still end with
    `raise NotImplementedError`."""
    found = {name.id for name in ast.walk(tree)
             if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):           # the last one of a name counts
            found = found - {node.name} if is_stub(node) else found | {node.name}
    return found & set(PARTS)


def of_all(begun: list[bool]) -> str:
    return f"{sum(begun)} of {len(begun)}" if begun else ""


def lesson_line(lesson: Path, question: Question, mine: set[str]) -> str:
    """A lesson: your guess, that for its switch, exercises and parts that you have begun."""
    number = number_of(lesson)
    second = [Question(lesson, change).guess or "-" for change in switches(lesson)]
    exercises = exercises_of(lesson, tree_of(HERE / "exercises" / f"ex{number[:2]}.py"))
    begun = [not is_stub(x) for x in exercises]
    hard = ", ".join(filter(None, map(difficulty_of, exercises)))
    parts = [part in mine for part, (of_lesson, _) in PARTS.items() if of_lesson == number]
    return LINE.format(TITLES[lesson], question.guess or "-", " ".join(second),
                       f"{of_all(begun)} {hard}", of_all(parts)).rstrip()


def show_course() -> None:
    mine = written_parts(tree_of(Path("mine.py")))
    questions = {lesson: Question(lesson) for lesson in LESSONS}
    say(LINE.format("lesson", "guess", "CHANGE", "exercises", "mine.py"))
    for lesson, question in questions.items():
        say(lesson_line(lesson, question, mine))
    say("CHANGE: your guess for each switch of the lesson. A dash: not guessed yet.")
    todo = next((lesson for lesson, question in questions.items() if not question.guess), None)
    say(f"\nNext: {f'python lessons/{todo.name}' if todo else 'python -m lessons arena'}")
