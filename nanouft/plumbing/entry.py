"""The entry point of each program. Errors become one line and an exit code.

    sys.exit(command(main))
"""
import gc
import os
import re
import runpy
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from safetensors import SafetensorError

from nanouft.plumbing.errors import UserError, notes, out_of_memory
from nanouft.plumbing.printing import say

# messages of systems for a full disk, a quota, or a limit on the size of a file
FULL = re.compile("no space left|not enough space|quota|file too large", re.I)
LONGEST = 1000          # characters of an error; it may quote whole data


def make_streams_safe() -> None:
    """Print ? for a character that the terminal or file cannot encode. Replace a closed stream, as
    in a service, by os.devnull."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))
    for stream in (sys.stdin, sys.stdout):
        with suppress(AttributeError, ValueError):      # no terminal: a notebook, a test
            stream.reconfigure(errors="replace")        # type: ignore[union-attr]


def command(main: Callable, argv: list[str] | None = None,
            needs_less: str = "take a smaller model, or close other programs") -> int:
    """Call an entry point. An error that a person can cause becomes one line; any other one is a
    traceback. needs_less: advice if memory runs out."""
    make_streams_safe()
    wake_collector()
    try:
        return main(argv) or 0
    except BrokenPipeError:                         # ... | head: nobody reads on
        return 1
    except (KeyboardInterrupt, UserError, OSError, SafetensorError, MemoryError, RuntimeError) as e:
        line = line_of(e, needs_less)
        if not line:
            raise
        with suppress(OSError):                     # the terminal has closed
            say(line, file=sys.stderr)
        return 130 if isinstance(e, KeyboardInterrupt) else 2


def wake_collector() -> None:
    """Python collects garbage again (nanouft/__init__.py). What the imports have left is kept."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


@contextmanager
def no_collection() -> Iterator[None]:
    """No garbage is collected in this block. For one that imports large libraries: it saves a fifth
    of their time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def run_program(module: str, words: list[str]) -> None:
    """Run a module as `python -m` does, with these words behind it. It ends Python."""
    sys.argv = [module, *words]
    gc.disable()                            # until its command() is called
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def line_of(e: BaseException, needs_less: str) -> str:
    """The one line for an error, with its notes; "" for a bug in nanouft."""
    if isinstance(e, KeyboardInterrupt):
        line = ": ".join(filter(None, ["interrupted", str(e)]))
    elif isinstance(e, UserError):
        line = f"error: {e}"
    elif out_of_memory(e):
        line = f"error: out of memory; {needs_less}"
    elif isinstance(e, (OSError, SafetensorError)):         # a SafetensorError names no file
        file = getattr(e, "filename", None) or "writing a file"
        why = getattr(e, "strerror", None) or str(e)
        full = "; free some space" if FULL.search(why) else ""
        line = f"error: {file}: {why}{full}"
    else:
        return ""
    return " ".join("; ".join([shorten_line(line), *notes(e)]).split("\n"))


def shorten_line(line: str) -> str:
    """The line; if it is too long, only its beginning and its end."""
    if len(line) <= LONGEST:
        return line
    return f"{line[:LONGEST - 200]} ... ({len(line):,} characters) ... {line[-200:]}"


def stop_signals() -> tuple[int, ...]:
    """The signals that ask a run to stop: Ctrl-C, kill, a terminal that closes, and the signal that
    clusters send before their time limit. Windows has the first two. Under nohup a closing terminal
    stays ignored."""
    names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")
    found = [getattr(signal, name) for name in names if hasattr(signal, name)]
    return tuple(number for number in found if number in (signal.SIGINT, signal.SIGTERM)
                 or signal.getsignal(number) != signal.SIG_IGN)


@contextmanager
def handle_signals(numbers: tuple[int, ...],
                   on_signal: Callable[[int, Any], None]) -> Iterator[None]:
    """Let these signals call a function. Python allows this only in the main thread; in another
    thread nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        numbers = ()
    before = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def interrupted_by(numbers: tuple[int, ...]) -> Iterator[None]:
    """Let each of these signals do what Ctrl-C does: raise KeyboardInterrupt."""
    def on_signal(number: int, frame: Any) -> None:
        raise KeyboardInterrupt
    with handle_signals(numbers, on_signal):
        yield


@contextmanager
def defer_signals(numbers: tuple[int, ...], stop_after: str) -> Iterator[list[int]]:
    """Collect these signals in a list, so they do not end the program at once. Each signal prints
    that the program stops after `stop_after` ("this step")."""
    received: list[int] = []

    def on_signal(number: int, frame: Any) -> None:
        received.append(number)
        with suppress(OSError):         # os.write, for print may be what was interrupted
            os.write(2, f"\ninterrupted: stops after {stop_after}\n".encode())
    with handle_signals(numbers, on_signal):
        yield received
