"""Limits for a program of a student: of computing, and of the memory of its process.

    with at_most(10):                   # seconds; TooLong at the line that still runs then
        program(case)
"""
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import current_thread, main_thread
from typing import Any

PATIENCE = 6            # times as long as a limit of computing may take on the clock
GIGABYTES = 4           # of memory


class TooLong(BaseException):
    """What should have ended still runs."""


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """TooLong at the line that still runs after this much computing, or six times as long on the
    clock: a busy computer harms nobody. Windows has no such clocks, nor any thread but the main
    one."""
    waiting = PATIENCE * seconds

    def stop(number: int, frame: Any) -> None:
        raise TooLong("it had not finished after " + (f"{waiting} seconds on the clock" if number ==
                      signal.SIGALRM else f"{seconds} seconds of computing"))
    clocks = [] if sys.platform == "win32" or current_thread() is not main_thread() else [
        (signal.SIGPROF, signal.ITIMER_PROF, seconds),
        (signal.SIGALRM, signal.ITIMER_REAL, waiting)]
    with ExitStack() as at_end:
        for number, clock, limit in clocks:
            at_end.callback(signal.signal, number, signal.signal(number, stop))
            at_end.callback(signal.setitimer, clock, 0)
            signal.setitimer(clock, limit)
        yield


def limit_memory() -> None:
    """Of this process, on Linux: so much more than it has now."""
    if sys.platform == "linux":
        import resource
        mapped = int(Path("/proc/self/statm").read_bytes().split()[0]) * resource.getpagesize()
        most = mapped + GIGABYTES * 2**30
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
