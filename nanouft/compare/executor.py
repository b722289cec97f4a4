"""Runs on other machines: any executor of concurrent.futures carries their parts to its workers.

    nanouft.compare.run([...], executor=client.get_executor())      # of a dask.distributed Client

All machines see one folder under one path, and have the same nanouft and versions. Results come
through the folder alone. A worker does a part in a fresh process, which ends when the worker does,
or when the file `wanted` goes that stands there while the comparison goes on.
"""
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Executor, Future
from pathlib import Path

from tqdm import tqdm

from nanouft.compare.fingerprint import (
    LIBRARIES,
    file_named,
    hash_of_file,
    library_versions,
    own_code_files,
)
from nanouft.compare.progress import POLL_SECONDS
from nanouft.compare.runs import Job, is_done, is_made
from nanouft.compare.workers import PACKAGE_AT_START, kill_worker, run_and_report_error
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.files import HOST, remove, unfinished
from nanouft.plumbing.printing import BRIEF, say

PATIENCE = 60       # seconds: until the first worker begins, or a network drive shows a new file


# ---- in the parent -------------------------------------------------------------------------------
class ExecutorPool:
    """A pool of workers.run_jobs. The executor decides how many parts go at once, and on which
    machine. A part whose worker was lost is handed over once more."""

    def __init__(self, executor: Executor):
        self.executor = executor
        self.by_future: dict[Future, Job] = {}
        self.resubmitted: set[tuple] = set()    # keys of parts that were handed over twice
        self.wanted: Path | None = None         # until a part is handed over
        self.last_activity = 0.0                # when a worker was last seen at work, or told of

    def running(self) -> list[Job]:
        return [*self.by_future.values()]

    def free_slots(self) -> None:
        return None

    def start(self, part: Job) -> None:
        if not self.by_future:
            self.wanted = unfinished(part.folder.with_name("wanted"))
            self.last_activity = time.monotonic()
            self.wanted.parent.mkdir(parents=True, exist_ok=True)
            self.wanted.touch()
        payload = pickle.dumps(code_fingerprint()) + pickle.dumps((part, PACKAGE_AT_START))
        try:
            future = self.executor.submit(run_on_worker, payload, str(Path.cwd()), str(self.wanted))
        except RuntimeError as e:               # it is broken or shut down
            raise UserError(f"the executor accepts no more work ({e})") from None
        self.by_future[future] = part

    def finished_parts(self, any_started: bool) -> list[tuple[Job, str]]:
        until = time.monotonic() + POLL_SECONDS
        while not (done := [x for x in self.by_future if x.done()]) and time.monotonic() < until:
            time.sleep(0.1)                     # concurrent.futures.wait takes no other futures
        self.warn_if_none_started(any_started)
        return [(part, error) for future in done for part in [self.by_future.pop(future)]
                if (error := self.error_of(part, future)) is not None]

    def error_of(self, part: Job, future: Future) -> str | None:
        """None if it is handed over once more."""
        try:
            return future.result() or wait_for_results(part)
        except Exception as e:                  # its worker was lost; what fails there is a text
            if part.key in self.resubmitted:
                return f"the executor lost its worker twice ({type(e).__name__}: {e})"
        self.resubmitted.add(part.key)
        self.start(part)
        return None

    def warn_if_none_started(self, any_started: bool) -> None:
        if any_started:
            self.last_activity = time.monotonic()
        elif time.monotonic() - self.last_activity > PATIENCE:
            say(f"no worker of {type(self.executor).__name__} has started a run for {PATIENCE} s; "
                "still waiting", write=tqdm.write, at=BRIEF)
            self.last_activity = time.monotonic()

    def stop(self) -> None:
        if self.wanted:
            remove(self.wanted)
        for future in self.by_future:
            future.cancel()
        self.by_future.clear()


def wait_for_results(part: Job) -> str:
    """"" if a worker has made what this machine would have made. A network drive may show it
    late."""
    is_there, until = is_done if part.eval_spec else is_made, time.monotonic() + PATIENCE
    while not is_there(part):
        if time.monotonic() > until:
            return "a worker has finished it, but its files are not here: all machines need the " \
                   "same folder, and code that does not change meanwhile"
        time.sleep(0.5)
    return ""


def code_fingerprint() -> dict[str, str]:
    """{library: version}, and {file: hash} of nanouft's files and of those in this folder that are
    imported now."""
    script = getattr(sys.modules["__main__"], "__file__", None) or ""       # no worker imports it
    files = {name: hash_of_file(file) for name, file in own_code_files().items()
             if not Path(name).is_absolute() and file != Path(script).absolute()}
    return dict.fromkeys(LIBRARIES, "none") | library_versions() | files


# ---- on the other machine ------------------------------------------------------------------------
def run_on_worker(payload: bytes, folder: str, wanted: str) -> str:
    """In a worker of the executor: do a part in a process of its own. What went wrong, or ""."""
    if not Path(folder, wanted).exists():
        return f"{HOST} does not see {Path(folder, wanted)}: all machines need the same folder"
    program = f"from {__name__} import part_process_main as main; main()"
    with subprocess.Popen([sys.executable, "-c", program],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=folder,
                          start_new_session=True) as process:
        assert process.stdin and process.stdout
        process.stdin.write(payload)
        process.stdin.flush()
        while process.poll() is None and Path(folder, wanted).exists():
            time.sleep(0.3)
        kill_worker(process.pid)        # and what it has started
        error = process.stdout.read().decode()
    for left in Path(folder, wanted).parent.glob(f"*.{HOST}-{process.pid}.partial"):
        remove(left)
    return error.removesuffix(".") if error else (
        f"its process on {HOST} was killed (exit code {process.returncode}): from outside, by your "
        "own loss, or because memory ran out")


def part_process_main() -> None:
    """The process of a part. It writes what went wrong, and a point."""
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    error = code_mismatch(pickle.load(sys.stdin.buffer))
    if not error:
        part, package = pickle.load(sys.stdin.buffer)
        threading.Thread(target=exit_with_worker, daemon=True).start()
        error = run_and_report_error(part, package)
    output.write(f"{error}.")
    output.flush()
    os._exit(0)


def exit_with_worker() -> None:
    sys.stdin.buffer.read()             # until the worker is gone
    kill_worker(os.getpid())


def code_mismatch(code: Mapping[str, str]) -> str:
    """What this machine has of another version than the comparison's, or ""."""
    here = library_versions()
    for name, was in code.items():
        if name in LIBRARIES:
            if (now := here.get(name, "none")) != was:
                return f"{HOST} has {name} {now}, and the comparison {was}: install the same"
        elif hash_of_file(file_named(name)) != was:
            return f"{HOST} has another {name.replace(':', '/')}: all machines need the same files"
    return ""
