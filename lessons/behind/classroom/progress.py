"""Where a student is in the course: guesses beside what happened, tasks that are begun, and the
next step."""
from lessons.behind.lesson_list import LESSONS, lesson_head, lesson_of, number_of
from lessons.behind.tasks.simple_parts import PARTS
from lessons.behind.tasks.submission import is_begun
from lessons.behind.tasks.task import tasks
from lessons.course import Question, switches
from nanouft.plumbing.printing import say

TITLES = {lesson: lesson_head(lesson)[0].replace(" · ", " ") for lesson in LESSONS}
LINE = f"{{:<{max(map(len, TITLES.values())) + 1}}}{{:<16}}{{:<14}}{{}}"      # 80 columns


def tasks_of(number: str) -> str:
    """"+02a mine 1/3": the exercises of a lesson, + if begun, and how many parts of mine.py are."""
    exercises = [name for name in tasks() if lesson_of(name) == number]
    parts = [is_begun(name) for name, (lesson, *_) in PARTS.items() if lesson == number]
    mine = f"mine {sum(parts)}/{len(parts)}" if len(parts) > 1 else "+" * sum(parts) + "mine"
    return " ".join([*("+" * is_begun(name) + name for name in exercises),
                     *([mine] if parts else [])])


def guess_text(question: Question) -> str:
    """A guess and, after its run, what happened: "60: 12.5 %"."""
    return ": ".join(filter(None, [question.guess, question.happened])) or "-"


def show_course() -> None:
    """Print a line for each lesson, or where to begin."""
    questions = {lesson: [Question(lesson, change) for change in ("", *switches(lesson))]
                 for lesson in LESSONS}
    guessed = any(question.guess for asked in questions.values() for question in asked)
    if not guessed and not any(map(is_begun, tasks())):
        say(*TITLES.values(), "\nYou guess, run a lesson, and compare. Begin with "
            f"python lessons/{LESSONS[0].name}", sep="\n")
        return
    say(LINE.format("lesson", "guess: result", "its switch", "started: +"))
    for lesson, asked in questions.items():
        say(LINE.format(TITLES[lesson], guess_text(asked[0]), "; ".join(map(guess_text, asked[1:])),
                        tasks_of(number_of(lesson))))
    todo = next((lesson for lesson, asked in questions.items() if not asked[0].guess), None)
    say(f"\nNext: {f'python lessons/{todo.name}' if todo else 'python -m lessons arena'}")
