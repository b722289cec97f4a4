"""Judges answers in a process of its own: there an endless loop, a crash or a print hurts nobody.

    verdicts = grade(["07a", "07b"], My("my"), seed="0")
    # {"07a": {"state": ..., "mistake": ..., ...}, ...}

The order goes to the child through its stdin: no argument of a program holds the seed. The child
draws all hidden cases and forgets the seed before a line of a student's runs. It prints two lines
of JSON for each task, when it begins and when it is judged; the time between them is limited. Each
line bears the key of the order: what a student's program prints has none, and is not read.
"""
import contextlib
import json
import math
import os
import queue
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

from lessons.grade import folder
from lessons.grade.folder import My
from nanouft.errors import UserError

SECONDS = 20                                # for one task
START = 120                                 # for the import of torch on a slow machine
STOP = 5                                    # for a child to end what it has started
COMMAND = [sys.executable, "-m", "lessons.grade.worker"]
LOST = ("time", "ended", "forged")          # notes on a task that the child did not survive
TIMEOUTS, ALL_TIMEOUTS = 2, 8               # after so many the rest of a file, of all, is left
PRINTED = 600                               # letters of what a student prints
LINE, WAITING = 4_000_000, 500              # bytes of a line of the child, lines that wait
MEMORY, FILE = 3 << 30, 64 << 20            # bytes that a program may take, and may write
STATES = ("right", "amber", "wrong", "unknown", "not begun")


# ---- the parent ----------------------------------------------------------------------------------

def grade(ids: list[str], my: My, seed: str = "0", seconds: float = SECONDS,
          total: float = math.inf, command: list[str] = COMMAND) -> dict[str, dict]:
    """The verdict on each task. After a task that it does not survive, a new child goes on with the
    others; a file in which that happens again and again is left, and at some point all is. total:
    seconds for all tasks; command: what runs the child, such as a cage."""
    found: dict[str, dict] = {}
    lost: Counter = Counter()                           # by file
    end = time.monotonic() + total
    while left := [id for id in ids if id not in found]:
        task, late = folder.find(left[0]), time.monotonic() > end
        if late or lost[my.file(task)] >= TIMEOUTS or lost.total() >= ALL_TIMEOUTS:
            note = "too late" if late else "not reached"
            found[task.id] = failed(note, task=about(task, my), hash=my.hash(task))
            continue
        some = ask(left, my, seed, seconds, end, command)
        found |= some
        last = left[len(some) - 1]
        lost[my.file(folder.find(last))] += found[last].get("note") in LOST
    return {id: found[id] for id in ids}


def ask(ids: list[str], my: My, seed: str, seconds: float, end: float = math.inf,
        command: list[str] = COMMAND) -> dict[str, dict]:
    """The verdicts of one child: on all tasks, or up to the first one that it does not survive, or
    to the end of its time."""
    key, mark = secrets.token_hex(), secrets.token_hex()
    order = {"ids": ids, "my": str(my.path.resolve()), "seed": str(seed), "key": key}
    env = folder.environment(OMP_NUM_THREADS="1", NANOUFT_GRADED=mark)
    found: dict[str, dict] = {}
    with tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(command, env=env,
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                                 start_new_session=True)
        lines: queue.Queue = queue.Queue()
        threading.Thread(target=listen, args=(child.stdout, key, lines), daemon=True).start()
        try:
            with child.stdin:
                child.stdin.write(json.dumps(order).encode())
            for id in ids:
                begun = receive(lines, START)               # {"task", "hash"}, or "error"
                if found and begun.get("note") in LOST:     # the next child begins with this task
                    break
                if begun.get("note") in LOST or "error" in begun:
                    errors.seek(0)
                    said = errors.read().decode("utf-8", "replace").strip() or f"{START} s"
                    last = said.splitlines()[-1]
                    raise UserError(begun.get("error") or f"the grader did not begin: {last}")
                judged = receive(lines, max(1, min(seconds, end - time.monotonic())))
                if not well_formed(judged) or not isinstance(begun.get("task"), dict):
                    judged = failed("forged")
                found[id] = begun | judged
                if judged.get("note") in LOST or time.monotonic() > end:
                    break
        finally:
            stop(child, mark)
    return found


def stop(child, mark: str) -> None:
    """The child, which ends what it has started (cage.py); its group; and on Linux every program
    that has inherited its mark."""
    child.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(STOP)
    child.kill()
    with contextlib.suppress(OSError, AttributeError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    for place in [*Path("/proc").glob("[0-9]*/environ")] * 2:       # some may just be starting
        with contextlib.suppress(OSError):
            if mark.encode() in place.read_bytes():
                os.kill(int(place.parent.name), signal.SIGKILL)


def well_formed(verdict: dict) -> bool:
    """A verdict as the grader gives it. Others come from a student's program that has the key."""
    texts = [verdict.get(name) or "" for name in ("mistake", "note", "error", "question", "fact")]
    lists = [verdict.get(name) or [] for name in ("readings", "cases", "lines")]
    return (verdict.get("state") in STATES and "note" in verdict
            and all(isinstance(text, str) for text in texts)
            and all(isinstance(some, list) for some in lists)
            and all(isinstance(case, dict) and "yours" in case for case in lists[1])
            and all(isinstance(x, str) for reading in lists[0] for x in reading))


def receive(lines: queue.Queue, seconds: float) -> dict:
    """The next line of the child, or what is the matter."""
    try:
        return lines.get(timeout=seconds)
    except queue.Empty:
        return failed("time")


def failed(note: str, **more) -> dict:
    """A verdict on an answer that could not be judged."""
    return {"state": "unknown", "mistake": None, "note": note, **more}


def listen(pipe, key: str, lines: queue.Queue) -> None:
    """Every line of the child that has the key; at its end, that it ended."""
    with pipe:
        while text := pipe.readline(LINE):
            with contextlib.suppress(ValueError, RecursionError):
                line = json.loads(text)
                known = isinstance(line, dict) and line.pop("key", "") == key
                if known and lines.qsize() < WAITING:
                    lines.put(line)
    lines.put(failed("ended"))


# ---- the child -----------------------------------------------------------------------------------

def main() -> None:
    order = json.loads(sys.stdin.read())                        # a later input() finds its end
    results = os.fdopen(os.dup(1), "w", encoding="utf-8")       # no student's print reaches it
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    my, key, modules = My(order["my"]), order["key"], {}

    def say(**line) -> None:
        print(json.dumps(line | {"key": key}), file=results, flush=True)

    try:
        tasks = [folder.find(id) for id in order["ids"]]
    except UserError as e:
        return say(error=str(e))
    judges = [judge_of(task, order["seed"]) for task in tasks]
    order.clear()                                   # before any line of a student's runs
    limit()
    for task, judge in zip(tasks, judges):
        my.begin(folder.tasks_of(task.id[:2]))
        say(task=about(task, my), hash=my.hash(task))
        printed = Head()
        with contextlib.redirect_stdout(printed):
            found = judge_file(task, judge, my, modules)
        say(**{"note": "", "printed": printed.text} | found)


def about(task, my: My) -> dict:
    """What the report needs to know of the task."""
    lesson = folder.lesson_file(task.id).name
    signature = getattr(task, "signature", "")
    return {"id": task.id, "name": signature.split("(")[0] or task.kind, "signature": signature,
            "file": str(my.file(task)), "hints": len(task.hints),
            "where": f'lessons/{lesson}, "{task.heading}"'}


def judge_of(task, seed: str = "0") -> Callable[..., dict]:
    """What judges this task. It takes long to import, so this is done before the clock starts."""
    if not hasattr(task, "signature"):
        from lessons.grade.cards import judge_card
        return partial(judge_card, task)
    import torch

    from lessons.grade.engine import Exam, careful
    torch.set_num_threads(1)
    if hasattr(task, "program"):
        task.right(*task.cases[0].args)             # the first optimizer of torch imports much
    return partial(careful, Exam(task, seed))


def limit() -> None:
    """From here on a program gets so much memory and so large files. Not on Windows."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (FILE, FILE))
        data = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_DATA, (data + MEMORY, data + MEMORY))


class Head:
    """A file that keeps the first letters only."""
    text = ""

    def write(self, text: str) -> int:
        self.text = (self.text + text)[:PRINTED]
        return len(text)

    def flush(self) -> None:
        pass


def judge_file(task, judge: Callable[..., dict], my: My, modules: dict) -> dict:
    """The verdict on what stands in the student's file."""
    file = my.file(task)
    if not hasattr(task, "signature"):
        return judge(file, my)
    if file not in modules:
        modules[file] = load(file)
    space = modules[file]
    name = task.function
    if isinstance(space, str):
        return failed("file", error=space)
    if not callable(space.get(name)):
        return {"state": "not begun", "mistake": None, "note": "no function", "error": name}
    if not hasattr(task, "program"):
        return judge(space[name])
    if file.read_text(encoding="utf-8") == task.starter(my.name):
        return {"state": "not begun", "mistake": None}
    return task.and_log(judge(space[name]), space.get("LOG"), my.name)


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
