"""Ctrl-C, SIGTERM and SIGHUP: what they do to a command, and what its last line says.

`caught` stands around every command (command.run): a signal raises Interrupted wherever the program is. Inside a
training loop the first signal is only remembered. The loop reads it when the step is done, saves that step and leaves:

    for step in whole_steps(range(start, steps), save):
        ...                                         # data, forward, loss, update, log

A second signal does not wait. Then the step that was saved last is what --resume begins with, as after a kill.
"""
import contextlib
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
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


def whole_steps(numbers: Iterable[int], save: Callable[[int], None] | None, stride: int = 1) -> Iterator[int]:
    """The steps of a training loop. After a signal, save(n) keeps the n steps that are done; None: nothing is kept and
    no signal waits. `stride`: a run can only go on after every so many steps (on-policy: where a rollout starts)."""
    Loop.runs, Loop.asked = save is not None, 0
    try:
        for step in numbers:
            yield step
            if Loop.asked and (step + 1) % stride == 0:
                save(step + 1)
                break
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


# ---- how to go on ----------------------------------------------------------------------------------------------------
@contextlib.contextmanager
def kept_steps(run: Path, command: str) -> Iterator[None]:
    """If a signal ends what is inside, the last line says which step is saved and how to go on."""
    try:
        yield
    except Interrupted as e:
        steps = [int(f.name) for f in (run / "steps").glob("*") if f.name.isdigit()]
        goes_on = f"python -m nanouft.{command} --resume {shlex.quote(str(run))}"
        held = f"step {max(steps)}" if steps else "no step yet"
        e.advice.append((run, f"{run} holds {held}; go on with: {goes_on}"))
        raise


@contextlib.contextmanager
def kept_lines(file: Path) -> Iterator[None]:
    """The same for a command that goes on by itself: what is finished stands in `file`."""
    try:
        yield
    except Interrupted as e:
        again = shlex.join(["python", *sys.orig_argv[1:]])
        e.advice.append((file.parent, f"what is finished is in {file}; go on with: {again}"))
        raise


def last_words(e: KeyboardInterrupt) -> str:
    """The first advice whose folder is still there: a model that is made once has none before it is whole."""
    return next((text for place, text in getattr(e, "advice", ()) if place.is_dir()), "what was saved stays")


# ---- a limit of time -------------------------------------------------------------------------------------------------
@contextlib.contextmanager
def at_most(seconds: float, late: BaseException) -> Iterator[None]:
    """Raises `late` inside, where Python code runs on for longer. Not on Windows, and in the main thread only."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise late
    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
