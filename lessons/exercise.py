"""What an exercise is, and whether a function is right.

The keys (lessons/exercises/key06.py) say what each exercise is. lessons/check.py asks for one
student and lessons/grade.py for a class.

Inputs are drawn anew and given to the student's function and to the right one. lessons/calling.py
calls a function and keeps what it gives as plain data: numbers, texts, tensors and lists of them.
`verdict` compares such data with what the right function gives, and may do so in another process. A
refusal shows the smallest call that is wrong. If a common mistake of the key gives in every call
what was seen there, or two of them together do, their sentences follow.
"""
import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch

from lessons.calling import (
    Seen,
    as_call,
    as_tensor,
    attempt_call,
    function_in,
    result,
    show,
)
from lessons.mistakes import Mistake, named_mistakes, with_mistakes
from nanouft.plumbing.own_code import error_line, load

HERE = Path(__file__).parent / "exercises"
ROUNDS = 60                                     # draws of inputs for each exercise
LARGE = 12                                      # more numbers than these are not all shown
NOT_STARTED = "not started: it still raises NotImplementedError"


# ---- what an exercise is ------------------------------------------------------------------------
@dataclass(eq=False)
class Exercise:
    """A right function, the arguments that are drawn for it, and common mistakes: a part of the
    right function, what stands there instead, and how the mistake is told."""
    right: Callable
    draw: Callable                              # Draw -> the arguments, a tuple
    mistakes: list[Mistake]
    look: Callable = result                     # (function, *arguments) -> what is kept of a call
    properties: Callable | None = None          # (what it gives, *arguments) -> what is compared,
    #                                             where many results are right
    tolerance: float = 1e-4

    @property
    def name(self) -> str:
        return self.right.__name__

    def wrong(self, *mistakes: Mistake) -> Callable | None:
        """The right function with these mistakes; None if they do not go together."""
        return with_mistakes(self.right, mistakes, dict(self.right.__globals__))


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

    def ids(self, rows: int, T: int, V: int = 99) -> torch.Tensor:
        return torch.tensor([[self.randrange(V) for _ in range(T)] for _ in range(rows)])

    def numbers(self, low: float, high: float, *shape: int) -> torch.Tensor:
        count = torch.Size(shape).numel()
        return torch.tensor([self.uniform(low, high) for _ in range(count)]).view(shape)


# ---- what a call gives --------------------------------------------------------------------------
def attempt_draw(exercise: Exercise, function: Callable, k: str) -> Seen:
    """Call the function with the inputs of draw k."""
    return attempt_call(exercise.name, exercise.look, function, exercise.draw(Draw(k)))


@functools.cache
def attempt_ours(exercise: Exercise, function: Callable, k: str) -> Seen:
    """The same for the right function, or for that with mistakes."""
    return attempt_draw(exercise, function, k)


def draws(seed) -> list[str]:
    return [f"{seed} {k}" for k in range(ROUNDS)]


# ---- judging ------------------------------------------------------------------------------------
def judge(exercise: Exercise, function, seed=None) -> str:
    """Nothing if the function is right. Else the smallest call in which it is not, what it gives
    there, and the common mistakes that do the same."""
    seen = {}
    for k in draws(Random().random() if seed is None else seed):
        seen[k] = attempt_draw(exercise, function, k)
        if seen[k].error == "NotImplementedError":
            return NOT_STARTED
        if seen[k].error == "KeyboardInterrupt":
            return as_call(exercise.name, exercise.draw(Draw(k))) + seen[k].words
    return verdict(exercise, seen)


def verdict(exercise: Exercise, seen: dict[str, Seen]) -> str:
    """The same, for what was seen in each draw."""
    if any(call.error == "NotImplementedError" for call in seen.values()):
        return NOT_STARTED
    wrong = {}
    for k, call in seen.items():
        right = attempt_ours(exercise, exercise.right, k)
        if what := call.words or difference(exercise, call, right, k):
            shown = as_call(exercise.name, exercise.draw(Draw(k)))
            wrong[k] = (len(shown), shown + what)
    if not wrong:
        return ""
    return min(wrong.values())[1] + mistake_words(exercise, seen, list(wrong))


def compared(exercise: Exercise, call: Seen, k: str) -> dict:
    if exercise.properties is None:
        return call.values
    return exercise.properties(call.values["gives"], *exercise.draw(Draw(k)))


def difference(exercise: Exercise, call: Seen, other: Seen, k: str) -> str:
    """The first thing in which two calls that gave something differ, or nothing."""
    try:
        seen, wanted = (compared(exercise, x, k) for x in (call, other))
    except Exception as error:                  # no result of the right kind
        return error_line(error, "")
    for what, value in wanted.items():
        if what not in seen:
            return f"    {what} nothing"
        if where := apart(seen[what], value, exercise.tolerance):
            return both_values(what, seen[what], value, where)
    return ""


def both_values(what: str, got, wanted, where: str) -> str:
    """Both values; of large tensors the first number that differs."""
    hint = ". Is there a `return`?" if got is None else ""
    if "first at" in where and as_tensor(wanted).numel() > LARGE:
        place = tuple(int(i) for i in where.split("[")[1].strip("]").split(","))
        return (f"    {what} {show(as_tensor(got)[place].item())} at {[*place]}\n"
                f"    wanted {show(as_tensor(wanted)[place].item())} there")
    return f"    {what} {show(got)}{hint}\n    wanted {show(wanted)}{where}".rstrip()


def apart(got, wanted, tolerance: float) -> str:
    """How two values differ, or nothing."""
    try:
        x, y = as_tensor(got).double(), as_tensor(wanted).double()
    except (TypeError, ValueError, RuntimeError, OverflowError):    # None, a text, uneven lists
        return "" if isinstance(got, (str, type(None))) and got == wanted else " "
    if x.shape != y.shape:
        return f", of the shape {tuple(y.shape)}"
    places = (~torch.isclose(x, y, tolerance, tolerance, equal_nan=True)).nonzero().tolist()
    if not places:
        return ""
    return f", first at {places[0]}" if y.ndim else " "


# ---- common mistakes ----------------------------------------------------------------------------
@functools.cache
def program_with(exercise: Exercise, mistakes: tuple) -> Callable | None:
    return exercise.wrong(*mistakes)


def mistake_words(exercise: Exercise, seen: dict[str, Seen], wrong: list[str]) -> str:
    """The sentence of the mistake, or of the two, that gives in every call what was seen there: a
    result, or an error of the same kind. Calls that were wrong are looked at first."""
    def does(function: Callable, k: str) -> bool:
        call, other = seen[k], attempt_ours(exercise, function, k)
        if call.error or other.error:
            return call.error == other.error
        return not difference(exercise, call, other, k)

    order = sorted(seen, key=lambda k: k not in wrong)
    found = named_mistakes(exercise.right, exercise.mistakes,
                           lambda some: program_with(exercise, some), does, order)
    return "\n" * bool(found) + "\nAnd: ".join(found)


# ---- files --------------------------------------------------------------------------------------
@functools.cache
def exercises() -> dict[str, Exercise]:
    return {name: exercise for file in sorted(HERE.glob("key*.py"))
            for name, exercise in load(file).EXERCISES.items()}


def judge_file(exercise: Exercise, file: Path) -> str:
    """The same as judge, for the function of this name in a file."""
    function, missing = function_in(file, exercise.name)
    return missing or judge(exercise, function)
