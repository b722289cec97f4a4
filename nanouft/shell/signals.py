"""Ctrl-C, SIGTERM and SIGHUP: a command ends within two seconds, and training keeps its last whole step.

config.run puts `caught` around every command: a signal raises Interrupted wherever the program is. A training loop says
where weights, optimizer and log belong together:

    whole = WholeSteps(save, stride)
    for step in whole.steps(range(start, steps)):   # from here on all three are those of `step` finished steps
        ...                                         # data, forward, backward change none of them
        whole.hold()                                # from here to the end of the step a signal waits
        ...                                         # update, log

So no copy of the weights is needed, and a signal may interrupt a long forward pass.
"""
import contextlib
import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import FrameType

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
GRACE = 1.5             # seconds that a held signal waits; after them the step saved last has to do


class Interrupted(KeyboardInterrupt):
    def __init__(self, number: int = signal.SIGINT):
        super().__init__(signal.Signals(number).name)
        self.number = number


class WholeSteps:
    """When a training loop may be left. save(n) keeps the n steps that are done; None: nothing is kept.
    `stride`: only every so many steps can be gone on from (on-policy: where a rollout starts)."""
    current: "WholeSteps | None" = None             # the loop that runs, or the one whose model is now looked at

    def __init__(self, save: Callable[[int], None] | None, stride: int = 1):
        self.save, self.stride = save, stride
        self.held, self.asked, self.since = True, 0, 0.0
        self.first: int | None = None

    def steps(self, numbers: Iterable[int]) -> Iterator[int]:
        WholeSteps.current = self
        for step in numbers:
            if self.first is None:
                self.first = step
            self.reach(step, step % self.stride == 0)
            yield step
        if self.first is not None:
            self.reach(step + 1, True)              # done: what follows only looks

    def reach(self, step: int, whole: bool) -> None:
        self.step, self.held = step, not whole
        if whole and self.asked:
            self.leave()

    def hold(self) -> None:
        self.held = True

    def ask(self, number: int) -> None:
        """A signal has come. One that comes twice is one; but who asks again later does not want to wait."""
        now = time.monotonic()
        if self.asked and now - self.since >= GRACE:
            raise Interrupted(number)
        if self.asked:
            return
        self.asked, self.since = number, now
        if not self.held:
            self.leave()
        timer = threading.Timer(GRACE, self.give_up)
        timer.daemon = True
        timer.start()

    def give_up(self) -> None:
        if self.held:
            poke(self.asked)                        # handled in the main thread, by `ask`

    def leave(self) -> None:
        self.held = False
        if self.save and self.step > self.first:
            self.save(self.step)
        raise Interrupted(self.asked)


def poke(number: int) -> None:
    """The signal once more, to the main thread, so that a call which waits there ends."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident, number)
    else:
        signal.raise_signal(number)


# ---- what is left, in words ------------------------------------------------------------------------------------------
to_the_end = contextlib.ExitStack()                 # locks that a command holds until it ends (runs.hold)
left: tuple[Path, str] | str | None = None          # (run folder, command that goes on with it), or all of it


def begun(folder: Path, module: str) -> None:
    """From now on an interruption tells how to go on with this run."""
    global left
    left = folder, f"python -m {module} --resume {shlex.quote(str(folder))}"


def kept(file: Path) -> None:
    """The same for a command that goes on by itself: what is finished stands in `file`."""
    global left
    left = f"what is finished is in {file}; go on with: {shlex.join(['python', *sys.orig_argv[1:]])}"


def last_words() -> str:
    if isinstance(left, str):
        return left
    if left is None or not left[0].is_dir():
        return "what was saved stays"
    folder, command = left
    steps = [int(f.name) for f in (folder / "steps").glob("*") if f.name.isdigit()]
    return f"{folder} holds {f'step {max(steps)}' if steps else 'no step yet'}; go on with: {command}"


# ---- catching them ---------------------------------------------------------------------------------------------------
def handle(number: int, frame: FrameType | None) -> None:
    if WholeSteps.current is None:
        raise Interrupted(number)
    WholeSteps.current.ask(number)


@contextlib.contextmanager
def caught() -> Iterator[None]:
    """Signals raise Interrupted inside. One that is ignored (nohup, a job in the background) stays ignored."""
    global left
    WholeSteps.current, left = None, None
    before = set_handlers(handle)
    try:
        yield
    finally:
        to_the_end.close()
        for number, old in before.items():
            signal.signal(number, old)
        WholeSteps.current = None


def set_handlers(handler: Callable) -> dict:
    """{signal: what handled it before}. Only the main thread may; elsewhere nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    before = {number: signal.getsignal(number) for number in SIGNALS}
    before = {number: old for number, old in before.items() if old not in (None, signal.SIG_IGN)}
    for number in before:
        signal.signal(number, handler)
    return before


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


@contextlib.contextmanager
def blocked() -> Iterator[None]:
    """Ctrl-C waits until the end of the block; processes that are started inside never see it (not on Windows)."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def quiet_import() -> None:
    """While a command is still being imported there is nothing to keep: leave without a traceback."""
    def leave(number: int, frame: FrameType | None) -> None:
        os.write(2, b"\ninterrupted before anything was done\n")
        os._exit(128 + number)
    set_handlers(leave)
