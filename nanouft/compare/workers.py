"""Each training in a process of its own: it imports what its loss needs and nothing of another's,
and it may end without harm to the rest. A process that has imported no loss scores it.

    lock_comparisons(folder)                # waits while another comparison works there
    run_jobs(jobs, LocalPool(2), bar)       # two at once; those that are done are not made again

executor.py has another pool, of any machines. Whoever starts it may be stopped or killed at any
moment. A worker ends when its parent does. What is half done has the name of the machine and of the
process that makes it (files.unfinished), so it is known when nobody works on it any more.
"""
import os
import re
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import connection, get_context, parent_process
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from tqdm import tqdm

from nanouft.compare.fingerprint import hash_package, watch_code
from nanouft.compare.progress import (
    POLL_SECONDS,
    TRAINING_SHARE,
    RunsBar,
    progress_file,
    share_done,
    write_progress_of,
)
from nanouft.compare.runs import (
    Job,
    delete_heavy_weights,
    is_abandoned,
    is_done,
    is_usable,
    parts_of,
    run_part,
    unfinished,
)
from nanouft.plumbing.errors import UserError, out_of_memory
from nanouft.plumbing.files import remove
from nanouft.run.checkpoint import handle_signals
from nanouft.run.folder import lock_when_free

PACKAGE_AT_START = hash_package()
PRELOADED = ("nanouft.compare.workers", "nanouft.train", "nanouft.evaluate",
             "torch._dynamo")       # AdamW imports it
NEEDS_LESS = "fewer --workers, --lora 16 or a larger --accumulate need less"
RESUME_HINT = "finished runs are kept, and the same command continues"
LONGEST_ERROR = 2000    # characters: a pipe holds them until the worker has ended
script_lock = threading.Lock()


# ---- in the worker -------------------------------------------------------------------------------
def worker_main(part: Job, package: Mapping[str, str], gpu: str,
                error_pipe: connection.Connection) -> None:
    """Do a part of a job and send what went wrong, or ""."""
    exit_with_parent()
    if gpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu        # PyTorch has not looked for GPUs yet
    error_pipe.send(run_and_report_error(part, package))
    os._exit(0)                                         # whatever threads a loss has left


def run_and_report_error(part: Job, package: Mapping[str, str]) -> str:
    """Do a part of a job, in this process. What went wrong, in one line, or ""."""
    watch_code()
    tqdm.set_lock(threading.RLock())    # tqdm's own is the system's, which misses it after a kill
    sys.stdout = sys.stderr = nowhere = open(os.devnull, "w", encoding="utf-8")
    for descriptor in (1, 2):           # what a library writes there is not for the bar
        os.dup2(nowhere.fileno(), descriptor)
    import torch
    torch.set_num_threads(1)
    try:
        write_progress_of(part)
        run_part(part, package)
        error = ""
    except SystemExit as e:
        error = f"it exited ({e})"
    except Exception as e:
        error = str(e) if isinstance(e, (UserError, OSError)) else f"{type(e).__name__}: {e}"
        if out_of_memory(e):
            error = f"out of memory{on_gpu()}; {NEEDS_LESS}"
    finally:
        remove(unfinished(progress_file(part)))
    return " ".join(error.split())[:LONGEST_ERROR]


def on_gpu() -> str:
    gpu = os.environ.get("CUDA_VISIBLE_DEVICES")
    return f" on GPU {gpu}" if gpu else ""


def exit_with_parent() -> None:
    """A group of its own, so Ctrl-C in a terminal is for the parent alone. When the parent is gone,
    the whole group ends."""
    with suppress(AttributeError, OSError):                     # Windows
        os.setsid()
    parent = parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            kill_worker(os.getpid())
    threading.Thread(target=watch, daemon=True).start()


def kill_worker(pid: int) -> None:
    """End a worker, and what it has started."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (AttributeError, OSError):       # Windows; or it has no group yet, or is gone
        with suppress(OSError):
            os.kill(pid, getattr(signal, "SIGKILL", signal.SIGTERM))


# ---- in the parent -------------------------------------------------------------------------------
@contextmanager
def lock_comparisons(folder: Path) -> Iterator[None]:
    """One comparison at a time works in a folder; the next one waits for its end. SIGTERM does what
    Ctrl-C does."""
    def stop(number: int, frame: Any) -> None:
        raise KeyboardInterrupt(RESUME_HINT)
    folder.mkdir(parents=True, exist_ok=True)
    notice = f"{folder}: in use by another comparison; waiting until it has finished"
    with handle_signals(("SIGTERM", "SIGINT"), stop), lock_when_free(folder, "lock", notice):
        yield


def remove_abandoned(places: Iterable[Path]) -> None:
    """Remove what a killed process has left of a folder or of scores."""
    for place in places:
        for left in [*place.glob("*.partial"), *place.glob("*/*.partial")]:
            if is_abandoned(left):
                remove(left)


def missing_jobs(jobs: Iterable[Job]) -> list[Job]:
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


class Pool(Protocol):
    """Who works on parts of jobs."""
    def running(self) -> list[Job]: ...
    def free_slots(self) -> int | None:
        """So many more may start; None: all that are ready."""
    def start(self, part: Job) -> None: ...
    def finished_parts(self, any_started: bool) -> list[tuple[Job, str]]:
        """Those that end in the next POLL_SECONDS, and what went wrong with each, or "".
        any_started: does a worker work on a part now?"""
    def stop(self) -> None:
        """Whatever still runs."""


def run_jobs(jobs: Iterable[Job], pool: Pool, bar: RunsBar, keep: Iterable[Job] = ()) -> None:
    """All jobs. UserError of the first that fails, in one line. Whatever happens, no worker goes
    on after it, and what they have begun is removed. Heavy weights that have been scored and that
    nothing here reads any more are removed, but not those of `keep`."""
    jobs, kept = [*jobs], {job.key for job in keep}
    missing = missing_jobs(jobs)
    unfinished = {job.key: job for job in missing}
    todo = [part for job in missing for part in parts_of(job)]
    for job in {job.key: job for job in jobs if job.key not in unfinished}.values():
        bar.record_cost(job)
        bar.total -= 1
    bar.total += len({*unfinished} - {job.key for job in jobs})    # which others need
    places = {job.folder.parent for job in todo}
    remove_abandoned(places)
    try:
        while todo or pool.running():
            for part in ready_parts(todo, pool.running())[:pool.free_slots()]:
                todo.remove(part)
                pool.start(part)
            any_started = show_progress([*unfinished.values()], todo, pool, bar)
            for part, error in pool.finished_parts(any_started):
                if error:
                    hint = f" (to see more: {part.command})" if part.command else ""
                    raise UserError(
                        f"{part.name or part.folder.name}: {error}{hint}; {RESUME_HINT}")
                waiting_parts = [*todo, *pool.running()]
                busy = {x.folder for x in waiting_parts}
                for job in [x for x in unfinished.values() if x.folder not in busy]:
                    bar.count_finished(unfinished.pop(job.key))
                still_read = kept | {need.key for x in waiting_parts for need in x.needs}
                delete_heavy_weights(x for x in (part, *part.needs) if x.key not in still_read)
    finally:
        pool.stop()
        remove_abandoned(places)


def show_progress(left: list[Job], todo: list[Job], pool: Pool, bar: RunsBar) -> bool:
    """Move the bar, and name a run that a worker works on. False if there is none."""
    running = pool.running()
    started = {part: share for part in running if (share := share_done(part)) is not None}
    trained = {job.folder for job in left if job.config} - {
        part.folder for part in [*todo, *running] if part.eval_spec is None}
    shares = dict.fromkeys(trained, TRAINING_SHARE) | {
        part.folder: x for part, x in started.items()}
    here = running if pool.free_slots() is not None else ()         # no queue: they begin at once
    names = [part.name[:24] for part in started or here] or ["waiting for a worker"]
    at_work = f"{names[0]} +{len(names) - 1}".removesuffix(" +0")
    bar.set_postfix_str(f"{bar.n_finished} of {bar.total} runs, {at_work}", refresh=False)
    bar.advance({job: shares.get(job.folder, 0.0) for job in left})
    return bool(started)


def ready_parts(todo: list[Job], running: list[Job]) -> list[Job]:
    """Those whose input is there: the initial model, and for scoring the trained one. Of jobs that
    train other models first one goes at a time: they may train the same."""
    unfinished_keys = {job.key for job in [*todo, *running]}
    startable: list[Job] = []
    for job in todo:
        first = job.trains_others and any(x.trains_others for x in [*running, *startable])
        needs = {y.key for x in (job, *job.needs) for y in (x, x.training)} - {job.key}
        if not first and not unfinished_keys & needs:
            startable.append(job)
    return startable


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    import torch
    count, named = torch.cuda.device_count(), os.environ.get("CUDA_VISIBLE_DEVICES")
    return [x.strip() for x in named.split(",")][:count] if named else [*map(str, range(count))]


@contextmanager
def without_script() -> Iterator[None]:
    """Meanwhile a new process is not told of the script that called, so it does not run it: what a
    run gives depends on its command and on files that it reads."""
    with script_lock:
        script = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = script


class LocalPool:
    """Processes of this machine, so many at once. gpus: each process sees one of them, that which
    the fewest work on."""

    def __init__(self, workers: int, gpus: Sequence[str] = ()):
        self.workers, self.gpus = workers, gpus
        self.by_sentinel: dict[Any, tuple[Job, Any, connection.Connection, str]] = {}

    def running(self) -> list[Job]:
        return [part for part, *_ in self.by_sentinel.values()]

    def free_slots(self) -> int:
        return self.workers - len(self.by_sentinel)

    def start(self, part: Job) -> None:
        """A process. On Linux it comes from a server that has imported PRELOADED, and nothing of
        yours. That server asks for no GPU, or all would have the same. Without GPUs it also has
        what the plan has imported of transformers and peft."""
        context: Any = get_context("forkserver" if sys.platform == "linux" else "spawn")
        if sys.platform == "linux":
            planned = [x for x in sys.modules if re.match(r"(transformers|peft)\b", x)]
            context.set_forkserver_preload([*PRELOADED, *([] if self.gpus else planned)])
        busy = [gpu for *_, gpu in self.by_sentinel.values()]
        gpu = min(self.gpus, key=busy.count, default="")
        answer, theirs = context.Pipe(duplex=False)
        process = context.Process(target=worker_main, args=(part, PACKAGE_AT_START, gpu, theirs),
                                  daemon=True)
        with without_script():
            process.start()
        theirs.close()
        self.by_sentinel[process.sentinel] = part, process, answer, gpu

    def finished_parts(self, any_started: bool) -> list[tuple[Job, str]]:
        sentinels = connection.wait([*self.by_sentinel], POLL_SECONDS)
        return [self.error_of(*self.by_sentinel.pop(sentinel)[:3]) for sentinel in sentinels]

    def error_of(self, part: Job, process: Any, answer: connection.Connection) -> tuple[Job, str]:
        process.join()
        with answer:
            try:
                return part, answer.recv()
            except EOFError:
                return part, (f"its process was killed (exit code {process.exitcode}): from "
                              "outside, by your own loss, or because memory ran out; --workers 1 "
                              "needs the least")

    def stop(self) -> None:
        for _, process, *_ in self.by_sentinel.values():
            kill_worker(process.pid)
            process.join()
        self.by_sentinel.clear()
