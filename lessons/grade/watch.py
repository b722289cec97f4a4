"""Judges a task whenever its file is saved, and goes on to the next one when it is right.

    python -m lessons.grade --watch             # the tasks of the afternoon
    python -m lessons.grade --watch 07          # those of lesson 07
"""
import time
from collections.abc import Callable

from lessons.grade import folder, ui
from lessons.grade.folder import My
from nanouft.errors import UserError

PAUSE = 0.5                                 # seconds between two looks at a file


def watch(ids: list[str], my: My, judge: Callable[[list[str]], int]) -> int:
    """Until all are right, or Ctrl-C. judge: prints a verdict; 0: it is right."""
    ids = ids or list(folder.AFTERNOON)
    for task in map(folder.find, ids):
        my.begin([task])
        if my.states().get(task.id) == "right" and my.hash(task) == my.last_hash(task):
            continue
        before = ""
        while not before or judge([task.id]):
            print(ui.paint(f"Save {my.file(task)}, and it is judged. Ctrl-C ends.", "dim"),
                  flush=True)
            before = changed(my, task, before or my.hash(task))
    print("\n".join(ui.afternoon(my.states()) or [f"All done: {', '.join(ids)}."]))
    return 0


def changed(my: My, task, before: str) -> str:
    """Waits until the file is another one. -> its hash"""
    while (now := my.hash(task)) in ("", before):       # "": an editor is just writing it
        if not my.path.exists():
            raise UserError(f"{my.path} is gone")
        time.sleep(PAUSE)
    return now
