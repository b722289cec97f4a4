"""Judges answers in a process of its own: there an endless loop, a crash or a print hurts nobody.

    verdicts = grade(["07a", "07b"], My("my"), seed="0")
    # {"07a": {"state": ..., "mistake": ..., ...}, ...}

The child prints one line of JSON when a task is about to begin, and one when it is judged. Time is
counted between the two, so the import of torch does not count.
"""
import contextlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading

from lessons.grade import folder
from lessons.grade.folder import My
from nanouft.shell.config import UserError

SECONDS = 5                                 # for one task
START = 120                                 # for the import of torch on a slow machine
PRINTED = 600                               # letters of what a student prints


# ---- the parent ----------------------------------------------------------------------------------

def grade(ids: list[str], my: My, seed: str = "0", seconds: float = SECONDS) -> dict[str, dict]:
    """The verdict on each task. After a time-out a new child goes on with the other tasks."""
    found: dict[str, dict] = {}
    while left := [id for id in ids if id not in found]:
        found |= ask(left, my, seed, seconds)
    return {id: found[id] for id in ids}


def ask(ids: list[str], my: My, seed: str, seconds: float) -> dict[str, dict]:
    """The verdicts of one child: on all tasks, or up to the first one that it does not survive."""
    order = json.dumps({"ids": ids, "my": str(my.path.resolve()), "seed": str(seed)})
    env = folder.environment(OMP_NUM_THREADS="1")
    found: dict[str, dict] = {}
    running: dict = {}                      # {"id", "task", "hash"} of the task being judged
    with tempfile.TemporaryFile() as errors:
        command = [sys.executable, "-m", "lessons.grade.worker", order]
        child = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=errors)
        lines: queue.Queue = queue.Queue()
        threading.Thread(target=listen, args=(child.stdout, lines), daemon=True).start()
        try:
            while len(found) < len(ids):
                line = lines.get(timeout=seconds if running else START)
                if line is None and not running:
                    errors.seek(0)
                    raise RuntimeError(errors.read().decode("utf-8", "replace")[-3000:])
                if line is None:
                    found[running["id"]] = running | failed("ended")
                    break
                if "error" in line and "state" not in line:
                    raise UserError(line["error"])
                if "state" in line:
                    found[running["id"]] = running | line
                running = line if "id" in line else {}
        except queue.Empty:
            if not running:
                raise UserError(f"Python and torch did not start within {START} s") from None
            found[running["id"]] = running | failed("time")
        finally:
            child.kill()
            child.wait()
    return found


def failed(note: str, **more: str) -> dict:
    """A verdict on an answer that could not be judged."""
    return {"state": "unknown", "mistake": None, "note": note, **more}


def listen(pipe, lines: queue.Queue) -> None:
    """Every line of the child; None at its end."""
    with pipe:
        for line in pipe:
            lines.put(json.loads(line))
    lines.put(None)


# ---- the child -----------------------------------------------------------------------------------

def main() -> None:
    order = json.loads(sys.argv[1])
    results = os.fdopen(os.dup(1), "w", encoding="utf-8")       # no student's print reaches it
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    my, modules = My(order["my"]), {}

    def say(**line) -> None:
        print(json.dumps(line), file=results, flush=True)

    for id in order["ids"]:
        try:
            task = folder.find(id)
            my.begin(folder.tasks_of(id[:2]))
        except UserError as e:
            return say(error=str(e))
        prepare(task)
        say(id=id, task=about(task, my), hash=my.hash(task))
        printed = Head()
        with contextlib.redirect_stdout(printed):
            found = judge_file(task, my, order["seed"], modules)
        say(printed=printed.text, **found)


def about(task, my: My) -> dict:
    """What the report needs to know of the task."""
    lesson = folder.lesson_file(task.id).name
    signature = getattr(task, "signature", "")
    return {"id": task.id, "name": signature.split("(")[0] or task.kind, "signature": signature,
            "file": str(my.file(task)), "hints": len(task.hints),
            "where": f'lessons/{lesson}, "{task.heading}"'}


def prepare(task) -> None:
    """What takes long to import is imported before the clock starts."""
    if hasattr(task, "signature"):
        import torch
        torch.set_num_threads(1)
        import lessons.grade.engine                             # noqa: F401
    if hasattr(task, "program"):
        task.right(*task.cases[0].args)         # the first optimizer of torch imports much


class Head:
    """A file that keeps the first letters only."""
    text = ""

    def write(self, text: str) -> int:
        self.text = (self.text + text)[:PRINTED]
        return len(text)

    def flush(self) -> None:
        pass


def judge_file(task, my: My, seed: str, modules: dict) -> dict:
    """The verdict on what stands in the student's file."""
    file = my.file(task)
    if not hasattr(task, "signature"):
        from lessons.grade.cards import judge_card
        return judge_card(task, file, my)
    from lessons.grade.engine import judge
    if file not in modules:
        modules[file] = load(file)
    space = modules[file]
    name = task.signature.split("(")[0]
    if isinstance(space, str):
        return failed("file", error=space)
    if not callable(space.get(name)):
        return {"state": "not begun", "mistake": None, "note": "no function", "error": name}
    if not hasattr(task, "program"):
        return judge(task, space[name], seed)
    if file.read_text(encoding="utf-8") == task.starter(my.name):
        return {"state": "not begun", "mistake": None}
    return task.and_log(judge(task, space[name], seed), space.get("LOG"), my.name)


def load(file) -> dict | str:
    """The names that a student's file defines, or why it cannot be run."""
    from lessons.grade.outcome import told
    space = {"__name__": file.stem, "__file__": str(file)}
    sys.path[:0] = [str(file.parent)]
    try:
        exec(compile(file.read_bytes(), str(file), "exec"), space)
    except (Exception, SystemExit) as e:
        return told(e, str(file))
    return space


if __name__ == "__main__":
    main()
