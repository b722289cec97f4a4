"""The runner of every study: makes what is missing side by side, keeps each finished piece at once.

    with open_store(file, read) as store:           # read(file) -> {key: result}; one process
        run_missing(jobs, store, workers=2)         # kill it and start it again: nothing is lost
    results_of(jobs, store.done, "Run it first")    # in their order; Missing where one is missing

A job has a `key`, or `keys` if it makes several lines, and is a line of a JSON-lines file once it
is finished. Workers are processes that end with the one that started them.
"""
import contextlib
import multiprocessing
import os
import secrets
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from nanouft.errors import UserError
from nanouft.run import command, runs
from nanouft.run.storage import LOCK, Lines, beside, locked
from nanouft.run.words import one_line


# ---- what is kept --------------------------------------------------------------------------------
class Missing(UserError):
    """A piece is not there yet: no verdict is made from a part of them."""


@dataclass
class Store:
    file: Path
    done: dict

    def add(self, *results: dict) -> None:
        Lines(self.file).add(*results)
        self.done.update({r["key"]: r for r in results})

    def lacks(self, job) -> bool:
        return any(key not in self.done for key in keys_of(job))


def keys_of(job) -> list:
    return job.keys if hasattr(job, "keys") else [job.key]


def read_lines(file: Path) -> dict:
    """{key: line} of a file; UserError with its number for a line without a key."""
    return {x["key"]: x for x in Lines(file)
            .read(lambda x: "" if "key" in x else "is not a whole piece")}


@contextlib.contextmanager
def open_store(file: Path, read: Callable[[Path], dict] = read_lines) -> Iterator[Store]:
    """The results in `file`, to which nobody else may add meanwhile. Ctrl-C says that they are
    kept."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with locked(beside(file)), runs.kept_lines(file):
        yield Store(file, read(file))


def results_of(jobs: list, done: dict, advice: str) -> list[dict]:
    """The result of each job, in their order."""
    if missing := [j for j in jobs if j.key not in done]:
        names = "; ".join(map(str,
                              missing[:5])) + f"; and {len(missing) - 5} more" * (len(missing) > 5)
        raise Missing(f"{len(missing)} of {len(jobs)} cells are missing, so nothing is said: "
                      f"{names}. {advice}")
    return [done[j.key] for j in jobs]


def kept(done: dict, advice: str) -> Callable[[list], dict]:
    """Stands for running where nothing is to be made: what is missing is an error."""
    def run(jobs: list) -> dict:
        results_of(jobs, done, advice)
        return done
    return run


# ---- many jobs -----------------------------------------------------------------------------------
def run_missing(jobs: Iterable, store: Store, workers: int, run: Callable) -> None:
    """Each result goes into the store, each failure to stderr. run: a job -> its line, or its
    lines."""
    jobs = [j for j in {tuple(keys_of(j)): j for j in jobs}.values() if store.lacks(j)]
    if not jobs:
        return
    with contextlib.closing(finished_jobs(attempt, [(j, run) for j in jobs], workers)) as results:
        bar = tqdm(results, total=len(jobs), desc=store.file.stem, mininterval=5)
        try:
            for job, result, why in bar:
                if result:
                    store.add(*([result] if isinstance(result, dict) else result))
                else:
                    bar.write(f"not finished: {job}: {one_line(why)}", file=sys.stderr)
        except UserError as e:
            bar.write(f"not finished: {e}", file=sys.stderr)


def attempt(job, run: Callable) -> tuple:
    """(job, its result, ""), or (job, None, why there is none)."""
    try:
        return job, run(job), ""
    except UserError as e:
        return job, None, str(e)
    except Exception as e:
        return job, None, f"{type(e).__name__}: {e}"


def finished_jobs(work: Callable, jobs: Iterable[tuple], workers: int) -> Iterator:
    """work(*job) of every job in `workers` processes, each result as it ends. Ctrl-C and SIGTERM:
    what has ended is handed out, then the workers are killed and Interrupted is raised. To be
    closed (contextlib.closing)."""
    asked, others = [], multiprocessing.active_children()
    before = command.set_handlers(lambda number, frame: asked.append(number))
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), leave_with_parent)
    try:
        with blocked():
            waiting = {pool.submit(work, *job) for job in jobs}
        while waiting:
            done, waiting = wait(waiting, 0.2, FIRST_COMPLETED)
            # the good ones first
            for future in sorted(done, key=lambda f: f.exception() is not None):
                yield future.result()
            if asked:
                raise command.Interrupted(asked[0])
    except BaseException as e:
        for process in multiprocessing.active_children():
            if process not in others:
                process.kill()
        if isinstance(e, BrokenProcessPool):
            raise UserError("a worker was killed from outside (for lack of memory?): fewer "
                            "--workers need less; what is finished is kept") from None
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        for number, old in before.items():
            signal.signal(number, old)


def leave_with_parent() -> None:
    """For workers: Ctrl-C is for the process that started them, which ends them; and where that was
    killed, they end too, instead of going on alone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tqdm.set_lock(threading.RLock())  # its own lock, between processes, would outlive a kill

    def end_with_parent() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)
    threading.Thread(target=end_with_parent, daemon=True).start()


@contextlib.contextmanager
def blocked() -> Iterator[None]:
    """Ctrl-C waits until the end of the block; processes that are started inside never see it (not
    on Windows)."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def scratch(prefix: str) -> Iterator[Path]:
    """A temporary folder. What killed processes left of such folders goes first: their locks are
    free."""
    place = Path(tempfile.gettempdir())
    for lock in place.glob(f"{prefix}*{LOCK}"):
        with contextlib.suppress(OSError, UserError), locked(lock):
            shutil.rmtree(lock.with_name(lock.name.removesuffix(LOCK)), ignore_errors=True)
    folder = place / f"{prefix}{secrets.token_hex(6)}"
    with locked(beside(folder), wait=True):
        folder.mkdir(0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
