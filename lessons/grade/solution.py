"""The reference solution, shown after success, or after five tries and 20 minutes."""
import inspect
import time
from pathlib import Path

from lessons.grade.folder import ROOT, My
from nanouft.errors import UserError

TRIES, WAIT = 5, 20 * 60


def show(task, my: My) -> None:
    tries = my.entries(task.id, "try")
    solved = any(entry.get("state") == "right" for entry in tries)
    minutes = (time.time() - tries[0]["time"]) / 60 if tries else 0
    if not solved and (len(tries) < TRIES or 60 * minutes < WAIT):
        raise UserError(f"the solution of {task.id} is shown after success, or after {TRIES} tries "
                        f"and {WAIT // 60} minutes; so far: {len(tries)} tries, {minutes:.0f} "
                        "minutes (--hint helps, too)")
    my_own = hasattr(task, "solution")                  # drawn by the student's name
    text = task.solution(my.name) if my_own else of_function(task)
    my.log(task.id, "solution")
    print(text)


def of_function(task) -> str:
    """The solution in the terms of the task, and where the project has its own."""
    if not task.by_hand:
        return source(task.right)
    files = sorted({place(f) for f in called(task.right)})
    own = [f"# the project's own: {', '.join(files)}"] if files else []
    return "\n".join([source(task.by_hand), *own])


def source(function) -> str:
    """The text of a function, and of the project's functions that it calls."""
    return "\n\n".join(f"# {place(f)}\n{inspect.getsource(f)}"
                       for f in [function, *called(function)])


def called(function) -> list:
    """The project's functions that a function calls."""
    names, space = function.__code__.co_names, function.__globals__
    modules = [space[name] for name in names if inspect.ismodule(space.get(name))]
    found = [space.get(name) for name in names]
    found += [getattr(module, name, None) for module in modules for name in names]
    return [f for f in dict.fromkeys(f for f in found if inspect.isfunction(f))
            if f.__module__.startswith("nanouft")]


def place(function) -> str:
    """The file of a function."""
    return Path(inspect.getsourcefile(function)).relative_to(ROOT).as_posix()
