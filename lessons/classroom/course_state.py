"""Where a student is in the course: guesses, tasks that are begun, and the next step."""
from lessons.course import Question, switches
from lessons.lesson_list import LESSONS, head_of, number_of
from lessons.tasks.parts import PARTS
from lessons.tasks.submission import definition
from lessons.tasks.task import STUBS, tasks
from nanouft.plumbing.files import read_text
from nanouft.plumbing.printing import say

TITLES = {lesson: head_of(lesson)[0].replace(" · ", " ") for lesson in LESSONS}
LINE = f"{{:<{max(map(len, TITLES.values())) + 1}}}{{:>6}}{{:>8}}  {{}}"


def begun(name: str) -> bool:
    """Has this task been begun in the student's file?"""
    file = STUBS / tasks()[name].file
    return file.exists() and definition(read_text(file), tasks()[name].name) is not None


def tasks_of(number: str) -> list[str]:
    """The exercises of a lesson, and the parts of mine.py. Exercise 12b belongs to lesson 12b."""
    exact = [name for name in tasks() if name == number]
    some = [name for name in tasks() if name[:2] == number and name not in ("12b",)]
    return (exact or some) + [part for part, (of, _) in PARTS.items() if of == number]


def show_course() -> None:
    questions = {lesson: Question(lesson) for lesson in LESSONS}
    if not any(x.guess for x in questions.values()) and not any(map(begun, tasks())):
        say(*TITLES.values(), "\nYou guess, run a lesson, and compare. Begin with "
            f"python lessons/{next(iter(LESSONS)).name}", sep="\n")
        return
    say(LINE.format("lesson", "guess", "CHANGE", "tasks; done: +"))
    for lesson, question in questions.items():
        second = [Question(lesson, change).guess or "-" for change in switches(lesson)]
        names = (f"{'+' * begun(name)}{name}" for name in tasks_of(number_of(lesson)))
        say(LINE.format(TITLES[lesson], question.guess or "-", " ".join(second), " ".join(names)))
    say("CHANGE: your guess for each switch of the lesson. A dash: not guessed yet.")
    todo = next((lesson for lesson, question in questions.items() if not question.guess), None)
    say(f"\nNext: {f'python lessons/{todo.name}' if todo else 'python -m lessons arena'}")
