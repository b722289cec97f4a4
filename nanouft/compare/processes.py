"""Each training in a process of its own: it imports what its loss needs and nothing of another's,
and it may end without harm to the rest. A process that has imported no loss scores it.

    alone_in(folder)                    # waits while another comparison works there
    carry_out(jobs, 2, bar)             # two at once; those that are done are not made again

Whoever starts it may be stopped or killed at any moment. A worker ends when its parent does, so
what is half done in a folder that nobody else works in belongs to nobody.
"""
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import connection, get_context, parent_process
from pathlib import Path
from typing import Any

from tqdm import tqdm

from nanouft.compare.runs import Job, do, drop_heavy, is_done, is_usable, parts_of
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.files import remove
from nanouft.plumbing.printing import BRIEF, shows
from nanouft.run.checkpoint import handle_signals
from nanouft.run.folder import waiting

BEGAN = time.time()
AGAIN = "what is done is kept, and the same command goes on"


# ---- in the worker -------------------------------------------------------------------------------
def work(job: Job, since: float, answer: connection.Connection) -> None:
    """Do a part of a job and send what went wrong, or ""."""
    end_with_parent()
    tqdm.set_lock(threading.RLock())    # tqdm's own is the system's, which misses it after a kill
    sys.stdout = sys.stderr = nowhere = open(os.devnull, "w", encoding="utf-8")
    for descriptor in (1, 2):           # what a library writes there is not for the bar
        os.dup2(nowhere.fileno(), descriptor)
    import torch
    torch.set_num_threads(1)
    try:
        do(job, since)
        said = ""
    except SystemExit as e:
        said = f"it ended Python ({e})"
    except Exception as e:
        said = str(e) if isinstance(e, (UserError, OSError)) else f"{type(e).__name__}: {e}"
    answer.send(" ".join(said.split()))


def end_with_parent() -> None:
    """A group of its own, so Ctrl-C in a terminal is for the parent alone. When the parent is gone,
    the whole group ends."""
    with suppress(AttributeError, OSError):                     # Windows
        os.setsid()
    parent = parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            end(os.getpid())
    threading.Thread(target=watch, daemon=True).start()


def end(pid: int) -> None:
    """End a worker, and what it has started."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (AttributeError, OSError):       # Windows; or it has no group yet, or is gone
        with suppress(OSError):
            os.kill(pid, getattr(signal, "SIGKILL", signal.SIGTERM))


# ---- in the parent -------------------------------------------------------------------------------
@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """One comparison at a time works in a folder; the next one waits for its end. SIGTERM does what
    Ctrl-C does."""
    def stop(number: int, frame: Any) -> None:
        raise KeyboardInterrupt(AGAIN)
    folder.mkdir(parents=True, exist_ok=True)
    told = f"{folder}: another comparison works there; this one waits for its end"
    with handle_signals(("SIGTERM", "SIGINT"), stop), waiting(folder, "lock", told):
        yield


def sweep(places: Iterable[Path]) -> None:
    """Remove what a killed process has left of a folder or of scores."""
    for place in places:
        for left in [*place.glob("*.partial"), *place.glob("*/*.partial")]:
            remove(left)


def missing(jobs: Iterable[Job]) -> list[Job]:
    """What is to be done, each job behind those that it needs."""
    todo: dict[tuple, Job] = {}

    def add(job: Job, there: bool) -> None:
        if job.key not in todo and not there:
            for other in job.needs:
                add(other, is_usable(other))
            todo[job.key] = job
    for job in jobs:
        add(job, is_done(job))
    return [*todo.values()]


def bar_of(total: int) -> tqdm:
    return tqdm(total=total, unit="run", disable=not shows(BRIEF), leave=False, smoothing=0,
                mininterval=0.5 if sys.stderr.isatty() else 30)


def carry_out(jobs: Iterable[Job], workers: int, bar: tqdm, drop: bool = False) -> None:
    """All jobs. UserError of the first that fails, in one line. Whatever happens, no worker goes
    on after it, and what they have begun is removed. drop: remove heavy weights of which nothing
    needs more here."""
    jobs = [*jobs]
    due = missing(jobs)
    todo = [part for job in due for part in parts_of(job)]
    running: dict[Any, tuple[Job, Any, connection.Connection]] = {}    # by what wakes us
    bar.total += len(due) - len({job.key for job in jobs})         # those that are there
    bar.refresh()
    places = {job.folder.parent for job in todo}
    sweep(places)
    try:
        while todo or running:
            for job in ready(todo, [job for job, *_ in running.values()])[:workers - len(running)]:
                todo.remove(job)
                process, answer = start(job)
                running[process.sentinel] = job, process, answer
            names = [job.name[:24] for job, *_ in running.values()]
            bar.set_postfix_str(f"{names[0]} +{len(names) - 1}".removesuffix(" +0"),
                                refresh=sys.stderr.isatty())
            for sentinel in connection.wait([*running]):
                job, process, answer = running.pop(sentinel)
                check(job, process, answer)
                left = [*todo, *(job for job, *_ in running.values())]
                bar.update(job.folder not in {x.folder for x in left})
                if drop:
                    drop_heavy(x for x in (job, *job.needs)
                               if x.key not in {need.key for y in left for need in y.needs})
    finally:
        for _, process, _ in running.values():
            end(process.pid)
            process.join()
        sweep(places)


def ready(todo: list[Job], running: list[Job]) -> list[Job]:
    """Those that read nothing which is still to be made: the start model, and to be scored the own.
    Of jobs that train other models first one goes at a time: they may train the same."""
    missing = {job.key for job in [*todo, *running]}
    found: list[Job] = []
    for job in todo:
        first = job.alone and any(x.alone for x in [*running, *found])
        needs = {y.key for x in (job, *job.needs) for y in (x, x.training)} - {job.key}
        if not first and not missing & needs:
            found.append(job)
    return found


def start(job: Job) -> tuple[Any, connection.Connection]:
    """A process that has begun with a job, and where it will say how that went. On Linux it comes
    from a server that has imported torch once (and torch._dynamo, as AdamW does), transformers and
    peft as far as this process has for its plan, and nothing of yours."""
    context: Any = get_context("forkserver" if sys.platform == "linux" else "spawn")
    if sys.platform == "linux":
        planned = [name for name in sys.modules if re.match(r"(transformers|peft)\b", name)]
        context.set_forkserver_preload(["nanouft.compare.processes", "nanouft.train",
                                        "nanouft.evaluate", "torch._dynamo", *planned])
    answer, theirs = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(job, BEGAN, theirs), daemon=True)
    process.start()
    theirs.close()
    return process, answer


def check(job: Job, process: Any, answer: connection.Connection) -> None:
    """UserError if a job failed."""
    process.join()
    try:
        said = answer.recv()
    except EOFError:
        said = (f"its process was ended (exit code {process.exitcode}), from outside, by a loss of "
                "your own or for want of memory; --workers 1 needs the least")
    finally:
        answer.close()
    if said:
        more = f" (to see more: {job.command})" if job.config else ""
        raise UserError(f"{job.name or job.folder.name}: {said}{more}; {AGAIN}")
