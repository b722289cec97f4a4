"""Judges answers in a process of its own: an endless loop, a crash or a print in a student's program hurts nobody.

    verdicts = grade(["07a", "07b"], My("my"), seed="0")    # {"07a": {"state": ..., "mistake": ...}, ...}

The child prints one line of JSON when a task is about to begin, and one when it is judged. Time is counted between the
two, so the import of torch does not count.
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
from lessons.grade.folder import ROOT, My

SECONDS = 5                                 # for one task
START = 120                                 # for the import of torch on a slow machine
PRINTED = 600                               # letters of what a student prints


# ---- the parent ------------------------------------------------------------------------------------------------------

def grade(ids: list[str], my: My, seed: str = "0", seconds: float = SECONDS) -> dict[str, dict]:
    """The verdict on each task. After a time-out a new child goes on with the tasks that are left."""
    found: dict[str, dict] = {}
    while left := [id for id in ids if id not in found]:
        found |= ask(left, my, seed, seconds)
    return {id: found[id] for id in ids}


def ask(ids: list[str], my: My, seed: str, seconds: float) -> dict[str, dict]:
    """The verdicts of one child: on all tasks, or up to the first one that it does not survive."""
    order = json.dumps({"ids": ids, "my": str(my.path.resolve()), "seed": str(seed)})
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    env = os.environ | {"PYTHONPATH": path, "PYTHONIOENCODING": "utf-8", "OMP_NUM_THREADS": "1"}
    found: dict[str, dict] = {}
    running: dict = {}                                      # {"id", "task", "hash"} of the task that is being judged
    with tempfile.TemporaryFile() as errors:
        child = subprocess.Popen([sys.executable, "-m", "lessons.grade.worker", order], env=env, stdin=subprocess.DEVNULL,
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
                    found[running["id"]] = running | {"state": "unknown", "mistake": None, "note": "ended"}
                    break
                if "state" in line:
                    found[running["id"]] = running | line
                running = line if "id" in line else {}
        except queue.Empty:
            id = running.get("id", ids[0])
            found[id] = running | {"state": "unknown", "mistake": None, "note": "time"}
        finally:
            child.kill()
            child.wait()
    return found


def listen(pipe, lines: queue.Queue) -> None:
    """Every line of the child; None at its end."""
    with pipe:
        for line in pipe:
            lines.put(json.loads(line))
    lines.put(None)


# ---- the child -------------------------------------------------------------------------------------------------------

def main() -> None:
    order = json.loads(sys.argv[1])
    results = os.fdopen(os.dup(1), "w", encoding="utf-8")       # the student's print does not reach it
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    my, modules = My(order["my"]), {}

    def say(**line) -> None:
        print(json.dumps(line), file=results, flush=True)

    for id in order["ids"]:
        task = folder.find(id)
        my.begin(folder.tasks_of(id[:2]))
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
            "file": str(my.file(task)), "hints": len(task.hints), "where": f'lessons/{lesson}, "{task.heading}"'}


def prepare(task) -> None:
    """What takes long to import is imported before the clock starts."""
    if hasattr(task, "signature"):
        import torch
        torch.set_num_threads(1)
        import lessons.grade.engine                             # noqa: F401
    if hasattr(task, "program"):
        task.right(*task.cases[0].args)                         # optimizers import much when the first one is made


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
    from lessons.grade.engine import judge, told
    if file not in modules:
        sys.path[:0] = [str(file.parent)]
        try:
            space = {"__name__": file.stem, "__file__": str(file)}
            exec(compile(file.read_bytes(), str(file), "exec"), space)
            modules[file] = space
        except (Exception, SystemExit) as e:
            modules[file] = told(e, str(file))
    space = modules[file]
    name = task.signature.split("(")[0]
    if isinstance(space, str):
        return {"state": "unknown", "mistake": None, "note": "file", "error": space}
    if not callable(space.get(name)):
        return {"state": "unknown", "mistake": None, "note": "no function", "error": name}
    found = judge(task, space[name], seed)
    return task.and_log(found, space, my.name) if hasattr(task, "program") else found


if __name__ == "__main__":
    main()
