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

from nanouft.compare.fingerprint import LIBRARIES, hash_at, named, own_code, versions
from nanouft.compare.progress import LOOK, share_done
from nanouft.compare.runs import Job, is_done, is_made
from nanouft.compare.workers import BEGAN, end, said_of
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.files import HOST, remove, unfinished
from nanouft.plumbing.printing import BRIEF, say

PATIENCE = 60       # seconds: until the first worker begins, or a network drive shows a new file


# ---- in the parent -------------------------------------------------------------------------------
class ExecutorPool:
    """A pool of workers.carry_out. The executor decides how many parts go at once, and on which
    machine. A part whose worker was lost is handed over once more."""

    def __init__(self, executor: Executor):
        self.executor = executor
        self.by_future: dict[Future, Job] = {}
        self.again: set[tuple] = set()          # keys of parts that were handed over twice
        self.wanted = Path()
        self.heard = 0.0                        # when a worker was last seen at work, or told of

    def running(self) -> list[Job]:
        return [*self.by_future.values()]

    def room(self) -> None:
        return None

    def start(self, part: Job) -> None:
        if not self.by_future:
            self.wanted, self.heard = unfinished(part.folder.with_name("wanted")), time.monotonic()
            self.wanted.parent.mkdir(parents=True, exist_ok=True)
            self.wanted.touch()
        payload = pickle.dumps(code_here()) + pickle.dumps((part, BEGAN))
        try:
            future = self.executor.submit(there, payload, str(Path.cwd()), str(self.wanted))
        except RuntimeError as e:               # it is broken or shut down
            raise UserError(f"the executor accepts no more work ({e})") from None
        self.by_future[future] = part

    def ended(self) -> list[tuple[Job, str]]:
        until = time.monotonic() + LOOK
        while not (done := [x for x in self.by_future if x.done()]) and time.monotonic() < until:
            time.sleep(0.1)                     # concurrent.futures.wait takes no other futures
        self.tell_of_waiting()
        return [(part, said) for future in done for part in [self.by_future.pop(future)]
                if (said := self.said(part, future)) is not None]

    def said(self, part: Job, future: Future) -> str | None:
        """None if it is handed over once more."""
        try:
            return future.result() or not_here(part)
        except Exception as e:                  # its worker was lost; what fails there is a text
            if part.key in self.again:
                return f"the executor lost its worker twice ({type(e).__name__}: {e})"
        self.again.add(part.key)
        self.start(part)
        return None

    def tell_of_waiting(self) -> None:
        if any(share_done(part) is not None for part in self.running()):
            self.heard = time.monotonic()
        elif time.monotonic() - self.heard > PATIENCE:
            say(f"no worker of {type(self.executor).__name__} has started a run for {PATIENCE} s; "
                "still waiting", write=tqdm.write, at=BRIEF)
            self.heard = time.monotonic()

    def stop(self) -> None:
        remove(self.wanted)
        for future in self.by_future:
            future.cancel()
        self.by_future.clear()


def not_here(part: Job) -> str:
    """"" if a worker has made what this machine would have made. A network drive may show it
    late."""
    is_there, until = is_done if part.eval_spec else is_made, time.monotonic() + PATIENCE
    while not is_there(part):
        if time.monotonic() > until:
            return "a worker has finished it, but its files are not here: all machines need the " \
                   "same folder, and code that does not change meanwhile"
        time.sleep(0.5)
    return ""


def code_here() -> dict[str, str]:
    """{library: version}, and {file: hash} of nanouft's files and of those in this folder that are
    imported now."""
    script = getattr(sys.modules["__main__"], "__file__", None) or ""       # no worker imports it
    files = {name: hash_at(file) for name, file in own_code().items()
             if not Path(name).is_absolute() and file != Path(script).absolute()}
    return dict.fromkeys(LIBRARIES, "none") | versions() | files


# ---- on the other machine ------------------------------------------------------------------------
def there(told: bytes, folder: str, wanted: str) -> str:
    """In a worker of the executor: do a part in a process of its own. What went wrong, or ""."""
    if not Path(folder, wanted).exists():
        return f"{HOST} does not see {Path(folder, wanted)}: all machines need the same folder"
    with subprocess.Popen([sys.executable, "-c", f"from {__name__} import inside; inside()"],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=folder,
                          start_new_session=True) as process:
        assert process.stdin and process.stdout
        process.stdin.write(told)
        process.stdin.flush()
        while process.poll() is None and Path(folder, wanted).exists():
            time.sleep(0.3)
        end(process.pid)                # and what it has started
        said = process.stdout.read().decode()
    for left in Path(folder, wanted).parent.glob(f"*.{HOST}-{process.pid}.partial"):
        remove(left)
    return said.removesuffix(".") if said else (
        f"its process on {HOST} was killed (exit code {process.returncode}): from outside, by your "
        "own loss, or because memory ran out")


def inside() -> None:
    """The process of a part. It writes what went wrong, and a point."""
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    said = differs(pickle.load(sys.stdin.buffer))
    if not said:
        part, since = pickle.load(sys.stdin.buffer)
        threading.Thread(target=end_with_worker, daemon=True).start()
        said = said_of(part, since)
    answer.write(f"{said}.")
    answer.flush()
    os._exit(0)


def end_with_worker() -> None:
    sys.stdin.buffer.read()             # until the worker is gone
    end(os.getpid())


def differs(code: Mapping[str, str]) -> str:
    """What this machine has of another version than the comparison's, or ""."""
    here = versions()
    for name, was in code.items():
        if name in LIBRARIES:
            if (now := here.get(name, "none")) != was:
                return f"{HOST} has {name} {now}, and the comparison {was}: install the same"
        elif hash_at(named(name)) != was:
            return f"{HOST} has another {name.replace(':', '/')}: all machines need the same files"
    return ""
