"""Exercises and their grader. Answers are written in my/, which is made at the first use.

    python -m lessons.grade                  # all tasks, and how far you are
    python -m lessons.grade 07a              # judge one task
    python -m lessons.grade 07a --watch      # ... again whenever the file is saved
    python -m lessons.grade 07a --hint       # a question; then where to look; then an example
    python -m lessons.grade 07a --solution   # after success, or after five tries and 20 minutes
    python -m lessons.grade 07a --in-lesson  # your loss trains the lesson's model
    python -m lessons.grade 07p --reveal     # runs the experiment of a prediction
"""
import inspect
import json
import sys
import time
from pathlib import Path

from lessons.grade import folder, ui, worker
from lessons.grade.folder import ROOT, My
from nanouft.shell.config import Parser, UserError, run

TRIES, WAIT = 5, 20 * 60                    # before a solution is shown without success


def parser() -> Parser:
    flags = Parser(prog="python -m lessons.grade", description=__doc__)
    flags.add_argument("tasks", nargs="*", metavar="TASK", help="07a ...; none: the list, with --json and --check all")
    flags.add_argument("--my", default="my", metavar="DIR", help="the folder with your answers [my]")
    flags.add_argument("--seed", metavar="WORD", help="draws the hidden cases [your name]")
    for name, words in {"watch": "judge again whenever the file is saved", "hint": "the next of three hints",
                        "solution": "after success, or five tries and 20 minutes",
                        "in-lesson": "run the lesson with your function in place of the project's",
                        "reveal": "run the experiment of a prediction that is sealed",
                        "json": "print states as JSON and nothing else",
                        "check": "are the tasks themselves in order?"}.items():
        flags.add_argument(f"--{name}", action="store_true", help=words)
    return flags


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    my = My(args.my)
    if args.check:
        from lessons.grade import check
        return check.main(args.tasks)
    if args.json:
        return print_json(args.tasks or [task.id for task in folder.all_tasks()], my, args.seed)
    if not args.tasks:
        return print_list(my)
    for id in args.tasks:
        task = folder.find(id) if args.hint or args.solution or args.in_lesson or args.reveal else None
        if args.hint:
            hint(task, my)
        elif args.solution:
            solution(task, my)
        elif args.reveal:
            reveal(task, my)
        elif args.in_lesson:
            from lessons.grade.used import in_lesson
            in_lesson(task, my)
        elif args.watch:
            watch(id, my, args.seed)
        else:
            judge(id, my, args.seed)
    return 0


# ---- the list --------------------------------------------------------------------------------------------------------

def print_list(my: My) -> int:
    """The list; at the first use also the folder, and the question for a name."""
    tasks = folder.all_tasks()
    if not my.path.exists():
        my.call_me(ask_name())
        my.begin(tasks)
        print(f"{my.path} is made: write there. Files in it are never overwritten.\n")
    states = {task.id: last_state(my, task.id) for task in tasks}
    print("\n".join(ui.progress(tasks, states, str(my.path))))
    return 0


def ask_name() -> str:
    """Without a terminal nobody is asked."""
    if not sys.stdin or not sys.stdin.isatty():
        return "student"
    return input("Your name (it draws your planted bugs, nothing else): ").strip() or "student"


def last_state(my: My, id: str) -> str:
    tries = my.entries(id, "try")
    return tries[-1].get("state", "not begun") if tries else "not begun"


def print_json(ids: list[str], my: My, seed: str | None) -> int:
    for id in ids:
        folder.find(id)
    found = worker.grade(ids, my, seed or my.name)
    print(json.dumps({id: {"state": v["state"], "mistake": v["mistake"]} for id, v in found.items()}))
    return 0


# ---- one task --------------------------------------------------------------------------------------------------------

def judge(id: str, my: My, seed: str | None) -> None:
    """Judged in another process, which alone imports torch; so this one starts at once."""
    check_id(id)
    if not my.path.exists():
        my.call_me(ask_name())
    found = worker.grade([id], my, seed or my.name)[id]
    task = found["task"]
    if found["state"] != "not begun":
        used = len(my.entries(id, "hint"))
        task["hints"] = max(0, task["hints"] - used)
        unknown = found["state"] == "unknown" and "cases" in found
        more = {"values": [case["yours"] for case in found["cases"]]} if unknown else {}
        my.log(id, "try", state=found["state"], mistake=found["mistake"], hash=found["hash"], **more)
    print("\n".join(ui.report(task, found)), flush=True)


def check_id(id: str) -> None:
    """A wrong number is told before another process is started."""
    if id[:2] not in folder.lessons() or not id[2:].isalpha():
        raise UserError(f"there is no task {id!r}; python -m lessons.grade lists all")


def watch(id: str, my: My, seed: str | None) -> None:
    """Judge, wait until the file changes, judge again. Ctrl-C ends it."""
    file = my.file(folder.find(id))
    while True:
        judge(id, my, seed)
        before = file.read_bytes()
        print(ui.paint(f"  waiting for {file} to be saved; Ctrl-C ends", "dim"), flush=True)
        while file.read_bytes() == before:
            time.sleep(0.3)


def hint(task, my: My) -> None:
    """The next hint; after the last one, all of them again."""
    if not task.hints:
        raise UserError(f"{task.id} has no hints; the text of the task says all")
    used = len(my.entries(task.id, "hint"))
    my.log(task.id, "hint", number=min(used + 1, len(task.hints)))
    for number, text in enumerate(task.hints[:used + 1], 1):
        print(f"{number}. {text}")


def solution(task, my: My) -> None:
    """The reference solution, after success, or after five tries and 20 minutes."""
    tries = my.entries(task.id, "try")
    solved = any(entry.get("state") == "right" for entry in tries)
    minutes = (time.time() - tries[0]["time"]) / 60 if tries else 0
    if not solved and (len(tries) < TRIES or 60 * minutes < WAIT):
        raise UserError(f"the solution of {task.id} is shown after success, or after {TRIES} tries and {WAIT // 60} "
                        f"minutes; so far: {len(tries)} tries, {minutes:.0f} minutes (--hint helps, too)")
    my.log(task.id, "solution")
    print(text_of_solution(task))


def text_of_solution(task) -> str:
    if hasattr(task, "answer_text"):
        return task.answer_text()
    file = Path(inspect.getsourcefile(task.right)).relative_to(ROOT).as_posix()
    return f"# {file}\n{inspect.getsource(task.right)}"


def reveal(task, my: My) -> None:
    if task.kind != "predict":
        raise UserError(f"{task.id} is no prediction; --reveal is for tasks such as 07p")
    from lessons.grade import cards
    print("\n".join(cards.reveal(task, my)))


if __name__ == "__main__":
    raise SystemExit(run(main))
