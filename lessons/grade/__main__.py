"""Exercises and their grader. Answers are written in my/, which is made at the first use.

    python -m lessons.grade                  # all tasks, and how far you are
    python -m lessons.grade 07a              # judge one task
    python -m lessons.grade 07               # ... all tasks of lesson 07
    python -m lessons.grade 07a --hint       # or --solution, --in-lesson, --reveal
    python -m lessons.grade --watch          # judges whenever you save, then the next task

For teachers (docs/teaching/): --class FOLDER --out class.csv. For hand-in: --pack.
"""
import sys
from pathlib import Path

from lessons.grade import folder, solution, ui, worker
from lessons.grade.folder import My
from lessons.grade.tasks import used
from nanouft.errors import UserError
from nanouft.run.config import Parser, run
from nanouft.run.storage import write_json


def parser() -> Parser:
    flags = Parser(prog="python -m lessons.grade", description=__doc__)
    flags.add_argument("tasks", nargs="*", metavar="TASK",
                       help="07a, or 07 for all of lesson 07; none: the list, or all with "
                            "--check, --class")
    flags.add_argument("--my", default="my", help="the folder with your answers [my]")
    flags.add_argument("--seed", help="draws the hidden cases [your name]; with --class a file")
    flags.add_argument("--class", dest="klass", metavar="FOLDER",
                       help="grade all submissions in a folder: all tasks, or those named")
    flags.add_argument("--results", help="also write results.json, as Gradescope reads it")
    flags.add_argument("--out", help="the table of --class [class.csv], the zip of --pack")
    flags.add_argument("--mutants", metavar="SEED", help="plant mistakes in right solutions: what "
                       "does the grader say? (some minutes)")
    for name, words in {"hint": "the next of three: a question, where to look, an example",
                        "solution": "after success, or five tries and 20 minutes",
                        "in-lesson": "run the lesson with your function in place of the project's",
                        "reveal": "run the experiment of a prediction",
                        "watch": "judge on saving, then go on: the afternoon, or those named",
                        "pack": "put my/ into a zip, to be handed in",
                        "no-cage": "with --class: run students' programs without a cage",
                        "check": "are the tasks themselves in order?"}.items():
        flags.add_argument(f"--{name}", action="store_true", help=words)
    return flags


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    my = My(args.my)
    if args.check:
        from lessons.grade.tasks import check
        return check.main(args.tasks)
    if args.mutants:
        from lessons.grade.tasks import factory
        return factory.main(args.mutants, args.tasks)
    ids = folder.ids_of(args.tasks)
    asked = [action for name, action in ACTIONS.items() if getattr(args, name)]
    if args.klass:
        from lessons.grade import klass
        klass.main(args.klass, args.out, args.seed, args.tasks, args.no_cage)
    elif args.pack:
        from lessons.grade import submissions
        submissions.pack(my, args.out)
    elif args.watch:
        from lessons.grade.watch import watch
        my.call_me(my.name or ask_name())
        return watch(ids, my, lambda some: judge(some, my, args.seed))
    elif not ids:
        print_list(my)
    elif not asked:
        return judge(ids, my, args.seed, args.results)
    else:
        for task in map(folder.find, ids):
            asked[0](task, my)
    return 0


# ---- the list ------------------------------------------------------------------------------------

def print_list(my: My) -> None:
    """The list; at the first use also the folder, and the question for a name."""
    if not my.name:                                     # a lesson may have made the folder
        my.call_me(ask_name())
        my.begin(folder.all_tasks())
        print(f"{my.path} is made: write there. Files in it are never overwritten.\n")
    print("\n".join(ui.progress(folder.outline(), my.states(), str(my.path))))


def ask_name() -> str:
    """Without a terminal nobody is asked."""
    if not sys.stdin or not sys.stdin.isatty():
        return "student"
    return input("Your name (it draws your planted bugs, nothing else): ").strip() or "student"


# ---- one task ------------------------------------------------------------------------------------

def judge(ids: list[str], my: My, seed: str | None, results: str | None = None) -> int:
    """Judged in another process, which alone imports torch; so this one starts at once. 0: all is
    right, 1: not all is. A prediction with all its numbers is as right as it can be."""
    if not my.name:
        my.call_me(ask_name())
    print(ui.paint("judging ...", "dim"), flush=True)
    verdicts = worker.grade(ids, my, seed or my.name)
    for id, found in verdicts.items():
        task = found["task"]
        if found["state"] != "not begun":
            my.log(id, "try", **{name: found[name] for name in ("state", "mistake", "hash")})
        task["hints"] = max(0, task["hints"] - len(my.entries(id, "hint")))
        print("\n".join(ui.report(task, found)), flush=True)
    if set(ids) & set(folder.AFTERNOON):
        print("".join(f"{line}\n" for line in ui.afternoon(my.states())), end="")
    if results:
        from lessons.grade.results import gradescope
        write_json(Path(results), gradescope(verdicts))
    done = [found["state"] == "right" or found.get("complete") for found in verdicts.values()]
    return 0 if all(done) else 1


def hint(task, my: My) -> None:
    """The next hint; after the last one, all of them again."""
    if not task.hints:
        raise UserError(f"{task.id} has no hints; the text of the task says all")
    used = len(my.entries(task.id, "hint"))
    my.log(task.id, "hint", number=min(used + 1, len(task.hints)))
    for number, text in enumerate(task.hints[:used + 1], 1):
        print(f"{number}. {text}")


def reveal(task, my: My) -> None:
    if task.kind != "predict":
        raise UserError(f"{task.id} is no prediction; --reveal is for tasks such as 07p")
    from lessons.grade import predictions
    print("\n".join(predictions.reveal(task, my)))
    print(f"  Now judge it: python -m lessons.grade {task.id}")


ACTIONS = {"hint": hint, "solution": solution.show, "in_lesson": used.in_lesson, "reveal": reveal}

if __name__ == "__main__":
    raise SystemExit(run(main))
