"""Who makes the runs: one door, a concurrent.futures.Executor.

    with local_workers(2, ["0", "1"]) as submit:        # processes of this machine, a GPU for each
        make_runs(runs, submit, bar)
    make_runs(runs, workers_of(executor), bar)          # yours: Dask, MPI, submitit ...

A training and its scoring are each a job in a process of its own: it imports what its loss needs
and nothing of another's, and what scores a model has not imported the loss that trained it. Results
come through the folder alone, so the workers of your executor must see it under the same path.
"""
import contextlib
import os
import pickle
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from multiprocessing import connection, current_process, get_context, parent_process
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import torch
from tqdm import tqdm

from nanouft.compare.inputs import changed_input
from nanouft.compare.runs import (
    Run,
    is_done,
    is_trained,
    made_record,
    score,
    scores_of,
    train,
    wall_seconds,
)
from nanouft.plumbing.errors import UserError, out_of_memory
from nanouft.plumbing.printing import BRIEF, progress, quantity, say

PRELOADED = ["nanouft.compare.jobs", "nanouft.train", "nanouft.evaluate",
             "torch._dynamo"]       # AdamW imports it
PATIENCE = 60           # seconds: until a network drive shows a new file
LONGEST_ERROR = 2000    # characters: a pipe holds them until the worker has ended
LONG_TIME = 120         # seconds: what takes longer is told before it is spent
RESUME_HINT = "finished runs are kept, and the same command continues"


class Job(NamedTuple):
    run: Run
    scores: bool            # does it score, or train?


Submit = Callable[[Job], Future]


class Lost(Exception):
    """A worker has ended without an answer."""


# ---- in a worker ---------------------------------------------------------------------------------
def do(job: Job) -> str:
    """Train or score, in this process, what is not there. What went wrong, in one line, or ""."""
    if is_done(job.run) or not job.scores and is_trained(job.run):
        return ""           # an executor repeats what a lost worker had finished
    if name := changed_input(job.run.inputs):
        return f"{name} has changed since the comparison began, or is another one for this worker"
    torch.set_num_threads(1)
    tqdm.set_lock(threading.RLock())    # tqdm's own is the system's, which misses it after a kill
    error = ""
    try:
        score(job.run) if job.scores else train(job.run)
    except SystemExit as e:
        error = f"it exited ({e})"
    except Exception as e:
        error = str(e) if isinstance(e, (UserError, OSError)) else f"{type(e).__name__}: {e}"
        if out_of_memory(e):
            error = "out of memory; fewer --workers, --lora 16 or a larger --accumulate need less"
    return " ".join(error.split())[:LONGEST_ERROR]


def remote_main() -> None:
    """The process of a job on a worker of another's executor: a pickled job from stdin, its error
    to stdout."""
    job = pickle.load(sys.stdin.buffer)
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answer:
        silence()
        end_with_parent()
        answer.write(do(job))
    os._exit(0)                         # whatever threads a loss has left


def local_main(job: Job, gpu: str, answer: connection.Connection) -> None:
    """The process of a job on this machine."""
    silence()
    end_with_parent()
    if gpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu        # PyTorch has not looked for GPUs yet
    answer.send(do(job))
    os._exit(0)


def silence() -> None:
    """What a library or a loss prints is not for the terminal of the comparison."""
    sys.stdout = sys.stderr = nowhere = open(os.devnull, "w", encoding="utf-8")
    for descriptor in (1, 2):
        os.dup2(nowhere.fileno(), descriptor)


def end_with_parent() -> None:
    """When its parent is gone, a worker ends with all that it has started. It has a group of its
    own, so Ctrl-C in a terminal is for the parent alone."""
    with contextlib.suppress(AttributeError, OSError):                      # Windows
        os.setsid()
    parent, number = parent_process(), os.getppid()

    def watch() -> None:
        if parent:
            parent.join()
        while not parent and os.getppid() == number:
            time.sleep(1)
        kill(os.getpid())
    threading.Thread(target=watch, daemon=True).start()


def kill(pid: int) -> None:
    """End a worker, and what it has started."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (AttributeError, OSError):       # Windows; or it has no group yet, or is gone
        with contextlib.suppress(OSError):
            os.kill(pid, getattr(signal, "SIGKILL", signal.SIGTERM))


# ---- two kinds of workers ------------------------------------------------------------------------
def workers_of(executor: Executor) -> Submit:
    """Those of an executor. A worker needs nothing but Python's standard library to start a
    process, whose own error tells what else it lacks."""
    def submit(job: Job) -> Future:
        words = [sys.executable, "-c", "from nanouft.compare import jobs; jobs.remote_main()"]
        try:
            return executor.submit(subprocess.run, words, input=pickle.dumps(job),
                                   capture_output=True, cwd=os.getcwd())
        except RuntimeError as e:               # it is broken or shut down
            raise UserError(f"the executor accepts no more work ({e}); {RESUME_HINT}") from None
    return submit


@contextlib.contextmanager
def local_workers(n: int, gpus: Sequence[str] = ()) -> Iterator[Submit]:
    """n processes of this machine at a time. gpus: each process sees one of them alone. However the
    block ends, no process goes on after it."""
    threads, processes = ThreadPoolExecutor(n), Processes(n, gpus)
    if current_process().daemon:        # of Celery or a Pool: multiprocessing may start no process
        with threads:
            yield workers_of(threads)
        return
    try:
        yield lambda job: threads.submit(processes.do, job)
    finally:
        processes.kill()
        threads.shutdown(cancel_futures=True)


class Processes:
    """Each job has a process of its own, for which a thread waits. On Linux it comes from a server
    that has imported PRELOADED, and nothing of yours. That server asks for no GPU, or all would
    have the same."""

    def __init__(self, n: int, gpus: Sequence[str]):
        self.context: Any = get_context("forkserver" if sys.platform == "linux" else "spawn")
        self.lock, self.at_work, self.closed = threading.Lock(), set[Any](), False
        self.free: queue.SimpleQueue[str] = queue.SimpleQueue()     # a GPU or "" for each at work
        for i in range(n):
            self.free.put(gpus[i % len(gpus)] if gpus else "")
        if sys.platform == "linux":
            planned = [x for x in sys.modules if re.match(r"(transformers|peft)\b", x)]
            self.context.set_forkserver_preload([*PRELOADED, *([] if gpus else planned)])

    def do(self, job: Job) -> str:
        """What went wrong, or ""."""
        answer, theirs = self.context.Pipe(duplex=False)
        gpu = self.free.get()
        process = self.context.Process(target=local_main, args=(job, gpu, theirs), daemon=True)
        with self.lock, without_script():
            if self.closed:
                raise Lost("the comparison has ended")
            process.start()
            self.at_work.add(process)
        theirs.close()
        try:
            return answer.recv()
        except EOFError:
            process.join()
            raise Lost(f"its process was killed (exit code {process.exitcode}): from outside, by "
                       "your own loss, or because memory ran out; --workers 1 needs the least"
                       ) from None
        finally:
            process.join()
            self.at_work.discard(process)
            self.free.put(gpu)

    def kill(self) -> None:
        """Those that are at work; no other begins."""
        with self.lock:
            self.closed = True
            for process in [*self.at_work]:
                kill(process.pid)


@contextlib.contextmanager
def without_script() -> Iterator[None]:
    """Meanwhile a new process is not told of the script that called, so it does not run it: what a
    run gives depends on its command and on files that it reads."""
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    count, named = torch.cuda.device_count(), os.environ.get("CUDA_VISIBLE_DEVICES")
    return [x.strip() for x in named.split(",")][:count] if named else [*map(str, range(count))]


# ---- in the parent -------------------------------------------------------------------------------
class RunsBar:
    """It counts runs that are made. After the first ones it tells how long all will take."""

    def __init__(self, total: int, workers: int | None):
        self.bar, self.workers = progress(total, "runs", unit="run"), workers
        self.known = set[Path]()            # scores that are counted, or were there
        self.n_made, self.longest, self.told = 0, 0.0, 0.0     # seconds of a run

    def __enter__(self) -> "RunsBar":
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.close()

    def clear(self) -> None:
        """Something else is printed now."""
        self.bar.clear()

    def expect_only(self, runs: Iterable[Run]) -> None:
        """These are the last."""
        self.bar.total = self.bar.n + len({run.scores for run in runs} - self.known)

    def leave_out(self, runs: Iterable[Run]) -> None:
        """They are there."""
        new = {run.scores for run in runs} - self.known
        self.known |= new
        self.bar.total -= len(new)

    def count(self, run: Run) -> None:
        self.known.add(run.scores)
        self.bar.update()
        self.n_made += 1
        self.longest = max(self.longest, wall_seconds(run))
        if self.n_made > (self.workers or 1) and self.longest > 2 * self.told:
            self.tell_costs()           # one may be of the initial model

    def tell_costs(self) -> None:
        """And again when others take more than twice as long."""
        left, self.told = self.bar.total - self.bar.n, self.longest
        seconds = left * self.longest / (self.workers or 1)
        if seconds > LONG_TIME:
            by = quantity(self.workers, "workers") if self.workers else "one worker"
            self.clear()
            say(f"About {left} more trainings, the longest so far {time_text(self.longest)}: "
                f"{time_text(seconds)} with {by}", at=BRIEF)


def time_text(seconds: float) -> str:
    """"40 seconds", "3 minutes", "2.5 hours"."""
    if seconds < 100:
        return quantity(max(1, round(seconds)), "seconds")
    return quantity(round(seconds / 60), "minutes") if seconds < 7200 else (
        f"{seconds / 3600:.1f} hours")


def make_runs(runs: Iterable[Run], submit: Submit, bar: RunsBar) -> None:
    """All that are not there. UserError of the first that fails, in one line. The job of a worker
    that was lost is repeated once."""
    runs = [*runs]
    bar.leave_out(filter(is_done, runs))
    waiting, at_work, lost = missing_jobs(runs), dict[Future, Job](), set[Job]()
    try:
        while waiting or at_work:
            for job in [x for x in waiting if is_ready(x)]:
                waiting.remove(job)
                at_work[submit(job)] = job
            for future in [x for x in at_work if x.done()]:
                job = at_work.pop(future)
                error, may_repeat = outcome(future, job)
                if error and may_repeat and job not in lost:
                    lost.add(job)
                    waiting.insert(0, job)
                elif error:
                    more = f" (to see more: {job.run.command})" if job.run.command else ""
                    raise UserError(f"{job.run.name}: {error}{more}; {RESUME_HINT}")
                elif job.scores:
                    bar.count(job.run)
                elif is_done(job.run):          # it diverged, so nothing is scored
                    waiting = [x for x in waiting if x.run != job.run]
                    bar.count(job.run)
            time.sleep(0.05)
    finally:
        for future in at_work:
            future.cancel()


def missing_jobs(runs: Iterable[Run]) -> list[Job]:
    """What is to be done, a training behind the one that it starts from, a scoring behind its
    training."""
    jobs: dict[Job, None] = {}

    def add_training(run: Run) -> None:
        if not is_trained(run):
            if run.after:
                add_training(run.after)
            jobs[Job(run, False)] = None
    for run in runs:
        if not is_done(run):
            add_training(run)
            jobs[Job(run, True)] = None
    return [*jobs]


def is_ready(job: Job) -> bool:
    before = job.run if job.scores else job.run.after
    return before is None or is_trained(before)


def outcome(future: Future, job: Job) -> tuple[str, bool]:
    """(what went wrong or "", may another worker do it?)"""
    try:
        result = future.result()
    except Lost as e:
        return str(e), True
    except Exception as e:              # what fails in a job is a text; this is of the executor
        return f"its worker was lost ({type(e).__name__}: {e})", True
    if not isinstance(result, str):
        if result.returncode:
            last = [*result.stderr.decode("utf-8", "replace").split("\n"), ""]
            why = next((x for x in reversed(last) if x.strip()), f"exit code {result.returncode}")
            return f"its process ended without an answer ({why})", True
        result = result.stdout.decode("utf-8", "replace")
    return result or missing_file(job), False


def missing_file(job: Job) -> str:
    """"" if what the job has made is here. A network drive may show it later."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if scores_of(job.run) if job.scores else made_record(job.run):
            return ""
        time.sleep(0.5)
    return "a worker has made it, but its files are not here; all machines need the same folder"
