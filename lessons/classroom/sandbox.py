"""A student's program runs in a process of its own, with limits of computing, memory and files.

    code = run_limited(function, words, 20, 300, folder, output)

Nothing comes back but the exit code and what the process writes into files. It ends, with all that
it has started, when its time is over, when it sleeps, or when the program that waits for it ends,
however that ends.
Windows has no limits but the clock, and macOS does not count memory. On Linux a program of a class
is shut in, too (shut_in.py): of its folder one file alone is read afterwards.
"""
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from lessons.classroom.shut_in import shut_in

SECONDS = 20                    # of computing: for an exercise, or for one answer of a part
GIGABYTES = 4                   # of memory, beside what torch has taken
BYTES = 2**26                   # of a file that a process writes
PROCESSES = 200                 # and threads, that it may have beside those of its user now
IDLE = 45                       # seconds for which a process may do nothing (Linux)
ASLEEP, CROWD = -999, -998      # in place of its exit code: it did nothing; it had too many


def run_limited(function: Callable, words: list, seconds: int, waiting: int, folder: Path,
                output: Path | None = None, alone: bool = False) -> int | None:
    """Call function(*words) in a process of its own; its exit code, None if it had not ended after
    `waiting` seconds on the clock, ASLEEP if it did nothing for too long, CROWD if it had too many
    processes.

    function    one of a module's own; what it returns becomes the exit code
    seconds     of computing, from the call of the function on
    folder      where the process works; a whole path, as that of output
    output      a file that takes what it prints, or os.devnull. Then the process is a copy of one
                that has already read the function's module, except on Windows. None: it prints to
                the terminal
    alone       shut it in (shut_in.py): files that it adds to its folder are lost
    """
    os.environ["OMP_NUM_THREADS"] = "1"                 # of the process that begins here
    quick = output and "forkserver" in multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if quick else "spawn")
    if quick:
        context.set_forkserver_preload([function.__module__])
    child = context.Process(target=begin, args=[function, words, seconds, folder, output, alone])
    try:
        child.start()
    except (OSError, EOFError):                         # another program has ended the fork server
        return 255
    try:
        return wait_for(child, waiting)
    finally:
        with suppress(ProcessLookupError, PermissionError, AttributeError):
            os.killpg(child.pid, signal.SIGKILL)        # what it has started, too
        child.kill()
        child.join()


def wait_for(child, waiting: int) -> int | None:
    """As run_limited says. A second at a time, to see whether it does anything: most programs that
    do not end sleep or wait, and need not be waited for until their time is over."""
    started, busy = time.monotonic(), 0.0
    while (passed := time.monotonic() - started) < waiting:
        child.join(1)
        if not child.is_alive():
            return child.exitcode
        found = list(busy_seconds(child.pid))
        busy = max(busy, sum(found))
        if len(found) > PROCESSES:
            return CROWD
        if passed - busy > IDLE and Path("/proc/self/schedstat").exists():
            return ASLEEP
    return None


def busy_seconds(pid: int) -> Iterator[float]:
    """For how long each thread of a process and of its children has computed or waited for a core,
    so that a busy computer makes no program a sleeper."""
    with suppress(OSError, ValueError):                 # it has just ended
        for task in Path(f"/proc/{pid}/task").iterdir():
            computed, queued, _ = (task / "schedstat").read_text().split()
            yield (int(computed) + int(queued)) / 1e9
            for child in (task / "children").read_text().split():
                yield from busy_seconds(int(child))


def run_and_read(function: Callable, words: list, seconds: int, waiting: int
                 ) -> tuple[bytes, int | None]:
    """What function(*words, file) writes into this file, in an empty folder, and its exit code. The
    process may remove the file's name."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        out = Path(scratch, "out")
        out.touch()
        with out.open("rb") as written:
            code = run_limited(function, [*words, str(out)], seconds, waiting, Path(scratch),
                               Path(os.devnull), alone=True)
            return written.read(BYTES), code


def how_it_ended(code: int | None, seconds: int, waiting: int) -> str:
    """A process that did not finish: which limit was it?"""
    if code == CROWD:
        return f"it had more than {PROCESSES} processes and threads,"
    if code == ASLEEP:
        return f"asleep, it had done nothing for {IDLE} seconds,"
    if code is None:
        return f"out of time, it had not ended after {waiting} seconds on the clock,"
    if os.name == "posix" and -code == signal.SIGXCPU:
        return f"out of time, it had not ended after {seconds} seconds of computing,"
    if code < 0:
        return f"the system ended it ({signal.Signals(-code).name}: a crash, or no memory left)"
    return f"it ended Python (exit code {code})"


# ---- in the process -----------------------------------------------------------------------------
def begin(function: Callable, words: list, seconds: int, folder: Path, output: Path | None,
          alone: bool) -> None:
    """Call the function as run_limited says, and end whatever still runs."""
    if hasattr(os, "setsid"):
        os.setsid()
    if output and hasattr(os, "fork"):
        first = os.fork() if alone and shut_in(folder) else None
        if first == 0:                                  # of the processes that are shut in, all of
            end_with_parent()                           # which end with it
        stand_between(first)
    threading.Thread(target=end_with_parent, daemon=True).start()
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    if os.name == "posix":
        close_private_files(nowhere)
    if output:
        printed = os.open(output, os.O_WRONLY | os.O_CREAT)
        os.dup2(printed, 1)
        os.dup2(printed, 2)
    sys.stdout.reconfigure(line_buffering=True)
    sys.dont_write_bytecode = True
    torch.set_num_threads(1)
    hide_cards()
    os.chdir(folder)
    limit(seconds)
    code = function(*words) or 0
    sys.stdout.flush()
    os._exit(code)                                      # no thread is waited for


def stand_between(first: int | None) -> None:
    """Go on in a copy of this process, which waits for it, ends the `first`, and ends as the copy
    does. Else the parent of a student's program would be the process that all others are copies of:
    a program that ends its parent would end the others' too."""
    child = os.fork()
    if child == 0:
        return
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if first:
        os.kill(first, signal.SIGKILL)
        os.waitpid(first, 0)
    if code < 0:                                        # a signal: this process ends by the same
        with suppress(OSError):                         # SIGKILL has no handler
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def hide_cards() -> None:
    """A student's program computes on the CPU. PyTorch looks for a card now, because the first look
    takes more memory than the limit allows, even where the cards are hidden."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    torch.cuda.is_available()


def close_private_files(nowhere: int) -> None:
    """Close the files that Python keeps open for itself: a program that writes there would end the
    process that all others are copies of, and with it the programs of other students."""
    from multiprocessing.forkserver import _forkserver
    from multiprocessing.resource_tracker import _resource_tracker
    for fd in (_forkserver._forkserver_alive_fd, _resource_tracker._fd):
        if fd is not None:
            os.dup2(nowhere, fd)


def end_with_parent() -> None:
    """Wait for the end of the process that waits for this one, then end this one and all that it
    has started. Else a parent that is killed leaves its child behind, which computes on."""
    multiprocessing.parent_process().join()
    if hasattr(os, "killpg"):
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def limit(seconds: int) -> None:
    """Limits of this process: seconds of computing from now on, size of a file, memory, and number
    of processes. The last one does not hold for root, whose processes `wait_for` counts."""
    try:
        import resource
    except ImportError:
        return
    compute = int(time.process_time()) + seconds
    limits = {resource.RLIMIT_CPU: (compute, compute + 2), resource.RLIMIT_FSIZE: (BYTES, BYTES)}
    with suppress(OSError):                             # Linux: in pages, what is mapped already
        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        limits[resource.RLIMIT_AS] = (mapped + GIGABYTES * 2**30,) * 2
        limits[resource.RLIMIT_NPROC] = (tasks_of_user() + PROCESSES,) * 2
    for kind, wanted in limits.items():
        hard = resource.getrlimit(kind)[1]
        soft, most = (x if hard == resource.RLIM_INFINITY else min(x, hard) for x in wanted)
        resource.setrlimit(kind, (soft, most))


def tasks_of_user() -> int:
    """How many processes and threads the system counts for this user."""
    count = 0
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):                         # it has just ended
            count += len(os.listdir(folder / "task")) * (folder.stat().st_uid == os.getuid())
    return count


class TooLong(BaseException):
    """What should have ended still runs."""


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """TooLong after this much computing, at the line that still runs. Windows has no such clock."""
    if not hasattr(signal, "setitimer"):
        yield
        return

    def stop(number, frame):
        raise TooLong(f"it had not ended after {seconds} seconds of computing")
    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
