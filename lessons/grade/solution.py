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
    by_name = hasattr(task, "solution")
    text = task.solution(my.name) if by_name else source(task.by_hand or task.right)
    my.log(task.id, "solution")
    print(text)


def source(function) -> str:
    """The text of a function, and of the project's functions that it calls."""
    names, space = function.__code__.co_names, function.__globals__
    modules = [space[name] for name in names if inspect.ismodule(space.get(name))]
    called = [space.get(name) for name in names]
    called += [getattr(module, name, None) for module in modules for name in names]
    own = [f for f in called if inspect.isfunction(f) and f.__module__.startswith("nanouft")]
    parts = []
    for f in [function, *dict.fromkeys(own)]:
        file = Path(inspect.getsourcefile(f)).relative_to(ROOT).as_posix()
        parts.append(f"# {file}\n{inspect.getsource(f)}")
    return "\n\n".join(parts)
