"""Ctrl-C, SIGTERM and SIGHUP: what they do to a command, and what its last line says.

`caught` stands around every command (command.run): a signal raises Interrupted wherever the program is. Inside a
training loop (`after_the_step`) the first signal is only remembered until the step is done and saved. A second one does
not wait. Then the step that was saved last is what --resume begins with, as after a kill.
"""
import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Interrupted(KeyboardInterrupt):
    def __init__(self, number: int = signal.SIGINT):
        super().__init__(signal.Signals(number).name)
        self.number = number
        self.advice: list[tuple[Path, str]] = []    # (a folder, how to go on with it), the innermost first


class Loop:
    """The training loop of this process."""
    runs = False                                    # can it save the step that it is in?
    asked = 0                                       # the signal that waits for the end of that step


@contextlib.contextmanager
def after_the_step(saves: bool) -> Iterator[type[Loop]]:
    """Around a training loop: the first signal waits in `asked` until the loop has saved a step and ended. Where nothing
    is saved, no signal waits."""
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
    """{signal: what handled it before}. A signal that is ignored (nohup, a job in the background) stays ignored. Only
    the main thread may; elsewhere nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    before = {number: signal.getsignal(number) for number in SIGNALS}
    before = {number: old for number, old in before.items() if old not in (None, signal.SIG_IGN)}
    for number in before:
        signal.signal(number, handler)
    return before


def last_words(e: KeyboardInterrupt) -> str:
    """The first advice whose folder is still there: a model that is made once has none before it is whole."""
    return next((text for place, text in getattr(e, "advice", ()) if place.is_dir()), "what was saved stays")
