"""Is your exercise right? If it is not: what does it do, and in which call?

    python -m lessons.check                         # the list of all exercises: which are done?
    python -m lessons.check 04a                     # one exercise
    python -m lessons.check 04                      # the exercises of a lesson
    python -m lessons.check 04a --folder ada        # the same, for the files in the folder ada
    python -m lessons.check 04 --class all --csv points.csv     # points for each folder in `all`

    from lessons.check import check                 # in a notebook
    check(own_guess)

Write your functions in lessons/exercises/ex04.py. The file check04.py beside it says what each of
them must do, one property after another, and you may read it. The inputs are drawn anew in each
run. The last line counts what is right, and the exit code is 0 if everything that was asked for is.
"""
import argparse
import ctypes
import importlib.util
import os
import signal
import sys
import threading
import time
import traceback
from contextlib import contextmanager
from pathlib import Path
from random import Random

import torch

from nanouft.errors import command

HERE = Path(__file__).parent / "exercises"
ROUNDS = 40                                     # draws of inputs for each exercise
SECONDS = 20                                    # of computing, for all rounds; they need one
WAITING = 300                                   # seconds on the clock: a busy machine is no mistake
NOT_STARTED = "not started: it still raises NotImplementedError"


class Slip(AssertionError):
    """What a function does wrong, as a sentence."""


class Late(BaseException):
    """The time is over. No `except Exception` in a student's program catches it."""


def expect(holds, sentence: str) -> None:
    if not bool(holds):
        raise Slip(sentence)


def same(got, wanted, sentence: str, tolerance: float = 1e-4) -> None:
    """Are both equal, up to rounding?"""
    wanted = torch.as_tensor(wanted)
    shaped(got, wanted.shape, sentence)
    close = torch.isclose(got.double(), wanted.double(), tolerance, tolerance)
    expect(close.all(), f"{sentence}\n    wanted {show(wanted)}")


def shaped(got, shape, sentence: str) -> None:
    expect(got is not None, "It returns None. Is there a `return`?")
    expect(isinstance(got, torch.Tensor), f"{sentence} Yours is a text: {got!r}.")
    expect(got.shape == torch.Size(shape), f"{sentence}\n    wanted the shape {tuple(shape)}, "
           f"not {tuple(got.shape)}")


class Attempt:
    """A function that is being checked. It remembers its last call, and returns tensors."""

    def __init__(self, function):
        self.function, self.call, self.returned, self.done = function, [], None, False

    def __call__(self, *args):
        self.call, self.done = [show(x) for x in args], False
        got = self.returned = self.function(*args)
        self.done = True
        expect([show(x) for x in args] == self.call, "It changes its arguments. Make a new tensor "
               "or list instead, because the caller still needs the old one.")
        return got if got is None or isinstance(got, str) else as_tensor(got)

    def told(self) -> str:
        """The last call, to be copied to a Python prompt, and its result."""
        if not self.call:
            return ""
        lines = [f"        {x}," for x in self.call]
        result = f"    gives  {show(self.returned)}\n" if self.done else ""
        return "\n".join([f"    {self.function.__name__}(", *lines, "    )", result])


def as_tensor(x) -> torch.Tensor:
    """Numbers, lists, tuples, arrays of numpy, and lists of tensors become tensors."""
    if not isinstance(x, (list, tuple)):
        return torch.as_tensor(x)
    parts = [as_tensor(part).float() for part in x]
    shapes = {tuple(part.shape) for part in parts}
    expect(len(shapes) < 2, f"Its parts have different shapes: {sorted(shapes)}.")
    return torch.stack(parts) if parts else torch.zeros(0)


def show(x) -> str:
    """As Python code, with four decimals."""
    if isinstance(x, (list, tuple)):
        return "[" + ", ".join(show(part) for part in x) + "]"
    if isinstance(x, float):
        return repr(round(x, 4))
    if not isinstance(x, torch.Tensor):
        return repr(x)
    x = x.detach()
    x = (x.double() * 1e4).round() / 1e4 if x.is_floating_point() else x
    return f"torch.tensor({x.tolist()})"


class Draw(Random):
    """Fresh inputs."""

    def mask(self, rows: int, T: int) -> torch.Tensor:
        """(rows,T): a prompt, an answer of one or more turns, padding. Each of them may be missing
        or cut off, but at least one token of each row counts."""
        return torch.tensor([self.one_mask(T) for _ in range(rows)])

    def one_mask(self, T: int) -> list[int]:
        row, counts = [], self.random() < 0.3
        while len(row) < T:
            row, counts = row + [int(counts)] * self.randint(1, T), not counts
        return row[:T] if 1 in row[:T] else self.one_mask(T)

    def ids(self, rows: int, T: int) -> torch.Tensor:
        return torch.tensor([[self.randint(1, 99) for _ in range(T)] for _ in range(rows)])

    def numbers(self, low: float, high: float, *shape: int) -> torch.Tensor:
        count = torch.Size(shape).numel()
        return torch.tensor([self.uniform(low, high) for _ in range(count)]).view(shape)


def slopes(function, *args) -> list[torch.Tensor]:
    """The derivative of the sum of function(*args) by each tensor of floats; 0 if there is none."""
    args = [x.clone().requires_grad_() if isinstance(x, torch.Tensor) and x.is_floating_point()
            else x for x in args]
    inputs = [x for x in args if isinstance(x, torch.Tensor) and x.requires_grad]
    total = function(*args).sum()
    if not total.requires_grad:
        return [torch.zeros_like(x) for x in inputs]
    return torch.autograd.grad(total, inputs, allow_unused=True, materialize_grads=True)


def margin(loss: torch.Tensor) -> torch.Tensor:
    """The z of a loss -log sigmoid(z)."""
    return -loss.double().expm1().log()


# ---- running ------------------------------------------------------------------------------------
def load(file: Path):
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def exercises() -> dict:
    """The id of each exercise -> its properties, a function with the name of the exercise."""
    files = sorted(HERE.glob("check*.py"))
    return {name: properties for file in files
            for name, properties in load(file).EXERCISES.items()}


def judge(properties, function, seed=None) -> str:
    """Nothing if the function is right. Else the property that stands first among those that it
    breaks, in the smallest call in which it breaks this one."""
    attempt, found = Attempt(function), []
    seed = Random().random() if seed is None else seed
    try:
        with time_limit():
            for k in range(ROUNDS):
                try:
                    properties(attempt, Draw(f"{seed} {k}"))
                except NotImplementedError:
                    return NOT_STARTED
                except (Exception, SystemExit) as error:
                    line = error.__traceback__.tb_next.tb_lineno    # where `properties` stopped
                    size = sum(len(x) for x in attempt.call)
                    found.append((line, size, attempt.told() + words(error, function)))
    except Late as late:
        return attempt.told() + str(late)
    return min(found)[2] if found else ""


@contextmanager
def time_limit():
    """Late is raised here after SECONDS of computing on one thread, or after WAITING seconds. Where
    the system has signals, this also ends input() and sleep()."""
    computed, began, finished, why = time.process_time(), time.monotonic(), threading.Event(), []
    threads, here = torch.get_num_threads(), threading.get_ident()
    by_signal = hasattr(signal, "SIGALRM") and threading.current_thread() is threading.main_thread()

    def late(*_):
        raise Late(why[0])

    def watch():
        while not finished.wait(0.05):
            if time.process_time() - computed > SECONDS:
                why.append(f"No result after {SECONDS} seconds of computing. Is there a loop "
                           "without an end?")
            elif time.monotonic() - began > WAITING:
                why.append(f"No result after {WAITING} seconds. Does it wait for something, as "
                           "input() and sleep() do?")
            else:
                continue
            if by_signal:
                signal.pthread_kill(here, signal.SIGALRM)
            else:
                raised = ctypes.py_object(Late)
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(here), raised)
            return

    before = signal.signal(signal.SIGALRM, late) if by_signal else None
    really_exit, os._exit = os._exit, sys.exit      # of which no verdict would tell
    torch.set_num_threads(1)
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    except Late:
        raise Late(why[0]) from None
    finally:
        finished.set()
        watcher.join()
        torch.set_num_threads(threads)
        os._exit = really_exit
        if by_signal:
            signal.signal(signal.SIGALRM, before)


def words(error: BaseException, function=None) -> str:
    """The sentence of a property; or the error of the function, and its line in the function."""
    if isinstance(error, (Slip, Late)):
        return str(error)
    if isinstance(error, SystemExit):
        return "It ends Python with exit(), sys.exit() or os._exit(). Return a result instead."
    said = f"{type(error).__name__}: {error}".splitlines()[0]
    file = getattr(getattr(function, "__code__", None), "co_filename", None)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == file]
    return said + (f"\n    line {frames[-1].lineno}: {frames[-1].line}" if frames else "")


def judge_file(properties, file: Path) -> str:
    """The same as judge, for the function of this name in a file."""
    if not file.exists():
        return f"There is no file {file}."
    try:
        with time_limit():
            function = getattr(load(file), properties.__name__, None)
    except (Exception, SystemExit, Late) as error:              # a typing mistake, for example
        return f"{file.name} cannot be read. {words(error)}"
    if function is None:
        return f"{file.name} has no function {properties.__name__}."
    return judge(properties, function)


def check(function) -> None:
    """In a notebook: judge a function that has the name of an exercise."""
    by_name = {properties.__name__: properties for properties in exercises().values()}
    if function.__name__ in by_name:
        print(judge(by_name[function.__name__], function) or "right")
    else:
        print(f"No exercise is called {function.__name__}. There are: {', '.join(by_name)}.")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lessons.check", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", nargs="*", help="04a, or 04; none: the list of all")
    parser.add_argument("--folder", type=Path, default=HERE, help="where the files ex04.py are")
    parser.add_argument("--class", type=Path, dest="students", help="a folder for each student")
    parser.add_argument("--csv", type=Path, default="points.csv", help="their points [points.csv]")
    flags = parser.parse_args(arguments)
    known = exercises()
    for which in flags.which:
        if not any(name.startswith(which) for name in known):
            parser.error(f"there is no exercise {which}; python -m lessons.check lists them")
    asked = [name for name in known if name.startswith(tuple(flags.which) or "")]
    if flags.students:
        from lessons.grade import grade_class
        grade_class(flags.students, asked, flags.csv)
        return 0
    judged = []
    sys.path.insert(0, str(flags.folder))                       # a file may import its neighbour
    for name in asked:
        properties = known[name]
        wrong = judge_file(properties, flags.folder / f"ex{name[:2]}.py")
        state = "not started" if wrong == NOT_STARTED else "not yet" if wrong else "right"
        judged.append((name, not wrong))
        print(f"{name} {properties.__name__:<22} {state}")
        if flags.which and state == "not yet":
            print(wrong)
    missing = [name for name, right in judged if not right]
    print(f"{len(judged) - len(missing)} of {len(judged)} right."
          + (f" Begin with {missing[0]}, in {flags.folder / f'ex{missing[0][:2]}.py'}."
             if missing and not flags.which else ""))
    return int(bool(missing))


if __name__ == "__main__":
    from lessons import check as module  # not a second copy of Slip
    code = command(module.main)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)              # sys.exit would wait for a thread that a student has left running
