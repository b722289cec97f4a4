"""An entry point as a command: what a person can cause becomes one line and an exit code.

    code = run(main)                # 0: it went well; 2: a mistake; 128 + the signal: interrupted

Ctrl-C, SIGTERM and SIGHUP: anywhere in a command a signal raises Interrupted. Around a training
loop (`after_the_step`) the first one only waits until the step is done and saved. A second one does
not wait. Then the step that was saved last is what --resume begins with, as after a kill.
"""
import contextlib
import errno
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

from nanouft.errors import UserError, say
from nanouft.run.words import shorter

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP")
           if hasattr(signal, name)]
REMEDY = dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
                       "; make room: what was saved before is still whole")
REMEDY |= dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS),
                        "; check the permissions, or choose another place")
NO_MEMORY = re.compile("out of memory|not enough memory|allocate memory")


def run(main: Callable, argv: list[str] | None = None) -> int:
    """Call an entry point; returns the exit code."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:              # closed by whoever started us
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))
        if hasattr(getattr(sys, name), "reconfigure"):      # no UTF-8: '?' instead of a crash
            getattr(sys, name).reconfigure(errors="replace")
    try:
        with caught():
            return main(argv) or 0
    except BrokenPipeError:                         # ... | head: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except (UserError, OSError, MemoryError, RuntimeError, KeyboardInterrupt) as e:
        code, line = explain(e)
    # Here and not inside `except`: a progress bar lives as long as the exception that holds its
    # frame, and would leave its line open. Under torchrun all processes make the same mistake; the
    # first of each machine tells it.
    if os.environ.get("LOCAL_RANK", "0") == "0":
        with contextlib.suppress(OSError):          # SIGHUP: the terminal is gone
            say(shorter(" ".join(line.split("\n"))), file=sys.stderr)
    return code


def explain(e: BaseException) -> tuple[int, str]:
    """(exit code, line) for a mistake of the user's or the machine's. Others are raised again."""
    if isinstance(e, UserError):
        return 2, f"error: {e}"
    if isinstance(e, OSError) and e.errno is not None:
        place = e.filename or "writing a file"
        return 2, f"error: {place}: {e.strerror}{REMEDY.get(e.errno, '')}"
    if isinstance(e, MemoryError) or isinstance(e, RuntimeError) and NO_MEMORY.search(str(e)):
        return 2, ("error: out of memory; split a file that is too large; train's --accumulate N "
                   "cuts a step into N pieces with the same result")
    if isinstance(e, KeyboardInterrupt):
        number = getattr(e, "number", signal.SIGINT)
        return 128 + number, f"interrupted ({signal.Signals(number).name}): {last_words(e)}"
    raise e


# ---- signals -------------------------------------------------------------------------------------
class Interrupted(KeyboardInterrupt):
    def __init__(self, number: int = signal.SIGINT):
        super().__init__(signal.Signals(number).name)
        self.number = number
        self.advice: list[tuple[Path, str]] = []    # (a folder, how to go on), the innermost first


class Loop:
    """The training loop of this process."""
    runs = False                                    # can it save the step that it is in?
    asked = 0                                       # the signal that waits for the end of that step


@contextlib.contextmanager
def after_the_step(saves: bool) -> Iterator[type[Loop]]:
    """Around a training loop: the first signal waits in `asked` until the loop has saved a step and
    ended. Where nothing is saved, no signal waits."""
    Loop.runs, Loop.asked = saves, 0
    try:
        yield Loop
        if Loop.asked:
            raise Interrupted(Loop.asked)
    finally:
        Loop.runs = False


def handle(number: int, frame: FrameType | None) -> None:
    if Loop.runs and not Loop.asked:
        Loop.asked = number
    else:
        raise Interrupted(number)


@contextlib.contextmanager
def caught() -> Iterator[None]:
    """Signals raise Interrupted inside."""
    before = set_handlers(handle)
    try:
        yield
    finally:
        Loop.runs = False
        for number, old in before.items():
            signal.signal(number, old)


def set_handlers(handler: Callable) -> dict:
    """{signal: what handled it before}. One that is ignored (nohup, a job in the background) stays
    ignored. Only the main thread can do this; elsewhere nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    before = {number: signal.getsignal(number) for number in SIGNALS}
    before = {n: old for n, old in before.items() if old not in (None, signal.SIG_IGN)}
    for number in before:
        signal.signal(number, handler)
    return before


def last_words(e: KeyboardInterrupt) -> str:
    """The first advice whose folder is still there: a model that is made once has none before it is
    whole."""
    advice = getattr(e, "advice", ())
    return next((text for place, text in advice if place.is_dir()), "what was saved stays")
