"""A student's file in a process of its own, with limits of time and memory.

    called = call_file(Path("mine.py"), judges)     # by task: what its calls gave, or why nothing
    verdict = verdict_of(judges["dpo_loss"], called["dpo_loss"])

The process gets the arguments of the calls and answers with plain data. Whoever compares them and
writes the marks never imports the file. So nothing that the file changes in Python, prints or
writes is a mark. A process that ends loses the task that it was at, and another one goes on with
the next. It is not shut in: docs/teaching.md says what it may do, and names a container.

It reads a pickle, and writes READY and then a line for each task.
"""
import os
import pickle
import queue
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from threading import Thread

from lessons.behind.tasks.call import NOT_STARTED, Seen, calls_in_file, from_line, to_line
from lessons.behind.tasks.limits import GIGABYTES, PATIENCE, limit_memory
from lessons.behind.tasks.task import Judge, Verdict
from nanouft.plumbing.errors import UserError

ROOT = Path(__file__).resolve().parents[3]
READY = b"ready\n"
START = 900                         # seconds on the clock until it is ready, on a busy computer
LARGEST = 2**25                     # bytes of a line
ENDED = ("its process ended before it gave a result. Does it call os._exit, or need more than "
         f"{GIGABYTES} GB of memory?")
Called = dict[str, list[Seen] | str]


def verdict_of(judge: Judge, called: list[Seen] | str) -> Verdict:
    """Whatever has come back: one result must not end the table of a class."""
    if isinstance(called, str):
        return Verdict(called, 0)
    try:
        return judge.verdict(called)
    except Exception as error:
        return Verdict(f"its result cannot be compared ({type(error).__name__})", 0)


def call_file(file: Path, judges: dict[str, Judge], prints: bool = False) -> Called:
    """What the calls of each task gave, or why there is nothing. prints: show what the file prints,
    in stderr."""
    if not file.is_file():
        nothing = Seen({}, "Missing", f"{NOT_STARTED}: there is no file {file}")
        return dict.fromkeys(judges, [nothing])
    called: Called = {}
    while left := {name: judge for name, judge in judges.items() if name not in called}:
        some, ended = call_until_it_ends(file, left, prints)
        called |= some
        lost = [name for name in left if name not in some]
        called |= dict.fromkeys(lost[:1], f"no result: {ended}")
    return called


def call_until_it_ends(file: Path, judges: dict[str, Judge], prints: bool) -> tuple[Called, str]:
    """The tasks that one process has come to the end of, the first ones; and how it ended."""
    child = subprocess.Popen(
        [sys.executable, "-c", f"from {__name__} import main; main()"], cwd=ROOT,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""})
    assert child.stdin and child.stdout
    called: Called = {}
    lines: queue.Queue[bytes] = queue.Queue()
    Thread(target=read, args=(child.stdout, 1 + len(judges), lines), daemon=True).start()
    try:
        with suppress(OSError), child.stdin:                # OSError: it has ended
            child.stdin.write(pickle.dumps((file.resolve(), prints, {
                name: (x.task.name, x.task.look, x.cases, x.task.seconds)
                for name, x in judges.items()})))
        if next_line(lines, START) != READY:
            raise UserError("a process of the judge ended before it ran a program; is the disk or "
                            "the memory full? Free some, and run the same command again")
        for name, judge in judges.items():
            # half as long again as the limits within the process: it may catch their error
            line = next_line(lines, 1.5 * PATIENCE * judge.task.seconds)
            if not line:
                return called, ENDED
            called[name] = from_line(line, name)
        return called, ""
    except ValueError as error:
        return called, str(error)
    finally:
        with suppress(ProcessLookupError, PermissionError, AttributeError):
            os.killpg(child.pid, 9)                         # AttributeError: Windows has none
        child.kill()
        child.wait()


def read(stream, most: int, lines: queue.Queue) -> None:
    """No more lines than are asked for, however much it writes."""
    for _ in range(most):
        lines.put(stream.readline(LARGEST))


def next_line(lines: queue.Queue, seconds: float) -> bytes:
    """b"" at the end. ValueError if there is none for so long on the clock."""
    try:
        return lines.get(timeout=seconds)
    except queue.Empty:
        raise ValueError(f"timed out after {seconds:.0f} seconds on the clock") from None


# ---- in the process ------------------------------------------------------------------------------
def main() -> None:
    import torch
    torch.set_num_threads(1)
    file, prints, tasks = pickle.load(sys.stdin.buffer)
    out, nowhere = os.fdopen(os.dup(1), "wb"), os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(2 if prints else nowhere, 1)
    if not prints:
        os.dup2(nowhere, 2)
    limit_memory()
    os.chdir(file.parent)
    sys.path[:1] = [str(file.parent), str(ROOT)]            # a file may import its neighbour
    broken: list[Seen] = []
    out.write(READY)
    for name, task in tasks.items():
        out.flush()
        seen = broken or calls_in_file(file, *task)
        if seen[0].error == "Missing" and NOT_STARTED not in seen[0].words:
            broken = seen                                   # it cannot be loaded for the others
        out.write(to_line(name, seen))
    out.flush()
    os._exit(0)                                             # no thread is waited for
