"""Processes that work side by side, end with the one that started them, and hand out each result as it is made.

    with contextlib.closing(finished_jobs(work, [(1,), (2,)], workers=2)) as results:
        for result in results: ...
"""
import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

from tqdm import tqdm

from nanouft.shell import signals
from nanouft.shell.errors import UserError


def leave_with_parent() -> None:
    """For workers: Ctrl-C is for the process that started them, which ends them; and where that was killed, they end
    too, instead of going on alone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tqdm.set_lock(threading.RLock())            # its own lock, between processes, would outlive a kill

    def end_with_parent() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)
    threading.Thread(target=end_with_parent, daemon=True).start()


@contextlib.contextmanager
def blocked() -> Iterator[None]:
    """Ctrl-C waits until the end of the block; processes that are started inside never see it (not on Windows)."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def finished_jobs(work: Callable, jobs: Iterable[tuple], workers: int) -> Iterator:
    """work(*job) of every job in `workers` processes, each result as it ends. Ctrl-C and SIGTERM: what has ended is
    handed out, then the workers are killed and Interrupted is raised. To be closed (contextlib.closing)."""
    asked, others = [], multiprocessing.active_children()
    before = signals.set_handlers(lambda number, frame: asked.append(number))
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), leave_with_parent)
    try:
        with blocked():
            waiting = {pool.submit(work, *job) for job in jobs}
        while waiting:
            done, waiting = wait(waiting, 0.2, FIRST_COMPLETED)
            for future in sorted(done, key=lambda f: f.exception() is not None):        # the good ones first
                yield future.result()
            if asked:
                raise signals.Interrupted(asked[0])
    except BaseException as e:
        for process in multiprocessing.active_children():
            if process not in others:
                process.kill()
        if isinstance(e, BrokenProcessPool):
            raise UserError("a worker was killed from outside (for lack of memory?): fewer --workers need less; what "
                            "is finished is kept") from None
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        for number, old in before.items():
            signal.signal(number, old)
