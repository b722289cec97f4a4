"""The entry point of each program: errors become one line and an exit code.

    sys.exit(command(main))
"""
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from safetensors import SafetensorError

from nanouft.plumbing.errors import UserError
from nanouft.plumbing.printing import say

# what systems report when a disk is full, or a quota or a file's size limit is reached
FULL = re.compile("no space left|not enough space|quota|file too large", re.I)


def make_streams_safe() -> None:
    """From now on a character that the terminal or file cannot encode is printed as ?. A stream
    that is closed, as in a service, is replaced by os.devnull."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))
    for stream in (sys.stdin, sys.stdout):
        with suppress(AttributeError, ValueError):      # no terminal: a notebook, a test
            stream.reconfigure(errors="replace")        # type: ignore[union-attr]


def command(main: Callable, argv: list[str] | None = None,
            needs_less: str = "take a smaller model, or close other programs") -> int:
    """Call an entry point. What a person can cause becomes one line; all else is a traceback.
    needs_less: what makes this program need less memory."""
    make_streams_safe()
    try:
        return main(argv) or 0
    except BrokenPipeError:                         # ... | head: nobody reads on
        return 1
    except KeyboardInterrupt as e:
        code, line = 130, f"interrupted{f': {e}' if str(e) else ''}"
    except UserError as e:
        code, line = 2, f"error: {e}"
    except (OSError, SafetensorError) as e:         # a SafetensorError names no file
        file = getattr(e, "filename", None) or "writing a file"
        why = getattr(e, "strerror", None) or str(e)
        full = "; free some space" if FULL.search(why) else ""
        code, line = 2, f"error: {file}: {why}{full}"
    except (MemoryError, RuntimeError) as e:
        if not isinstance(e, MemoryError) and "out of memory" not in str(e):
            raise
        code, line = 2, f"error: out of memory; {needs_less}"
    say(" ".join(line.split("\n")), file=sys.stderr)
    return code


@contextmanager
def defer_signals(numbers: tuple[int, ...], stop_after: str) -> Iterator[list[int]]:
    """Collect these signals in a list, so that they do not end the program at once; each prints
    that it stops after `stop_after` ("this step"). Python allows this in the main thread alone: in
    another one the list stays empty."""
    received: list[int] = []

    def on_signal(number: int, frame: Any) -> None:
        received.append(number)
        with suppress(OSError):         # os.write, for print may be what was interrupted
            os.write(2, f"\ninterrupted: stops after {stop_after}\n".encode())
    if threading.current_thread() is not threading.main_thread():
        numbers = ()
    before = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
