"""Is a part of one's own program (lessons/build.py) right? If not: what is wrong, and is it a
mistake that many make?

The program with the student's part and the program with ours are tried on the same rows, and what
both gave is compared. Where they differ the rows become fewer, as long as they still differ. Then
our part is tried with each mistake of lessons/mistakes.py, and with each two of them, beside the
student's other right parts: if it gives in every case what the student's part gave, it is told.
"""
import functools
import inspect
import io
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from types import ModuleType

import torch
from torch import Tensor

from lessons.calling import Seen, attempt
from lessons.limits import SECONDS
from lessons.mistakes import MISTAKES, named_mistakes, with_mistakes
from lessons.parts import CALLS, OURS, cases, put
from nanouft import simple

NOT_YET = "not yet"


class TooLong(BaseException):
    """A part has not ended."""


# ---- judging ------------------------------------------------------------------------------------
COMPARED = {    # what is compared: how far apart it may be, beside its size and at all; the words
    "loss": (1e-4, 1e-4, "the loss is {seen:.4f} and should be {right:.4f}"),
    "losses": (1e-4, 1e-4, "the loss of step {at} is {seen:.4f} and should be {right:.4f}"),
    "plain": (0, 0, "the numbers are right, but the losses are no plain numbers"),
    "weights": (1e-5, 0, "the losses are right, but the weights at the end are not"),
    "flows": (0, 0, "the loss is right, but no gradient reaches the model"),
    "gradient": (1e-3, 1e-6, "the loss is right, but its gradient is not. Is something not a "
                 "constant that should be one (detach), or the other way round?"),
    "push": (1e-3, 1e-6, "the gradient of the loss is not right (its value does not count here). "
             "Is something not a constant that should be one (detach)?"),
    "into the reference": (1e-3, 0, "loss and gradient are right, but gradient reaches the "
                           "reference as well, which should be a constant (detach)")}


def attempt_case(case, file: str = "") -> Seen:
    """What the program gives with the parts that are in place, or its error."""
    def look() -> dict[str, Tensor]:
        with at_most(SECONDS), redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return case.look()
    return attempt(look, file)


@functools.cache
def as_it_should_be(case) -> Seen:
    put({})
    return attempt_case(case)


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


def differs(seen: Seen, right: Seen) -> str:
    """The first thing that is not as it should be, in words."""
    if seen.error or right.error:
        return "" if seen.error == right.error else "an error"
    for what, (beside, at_all, words) in COMPARED.items():
        if what not in right.values:
            continue
        if what not in seen.values:                             # grpo: a loss of another shape
            return "the loss should be one number"
        x, y = seen.values[what], right.values[what]
        if x.shape != y.shape:
            return (f"the loss is a tensor of the shape {tuple(x.shape)} and should be one number"
                    if what == "loss" else f"it gives {len(x)} losses for {len(y)} steps")
        if far_apart(x, y, beside, at_all):
            if what != "losses":
                return words.format(seen=x.flatten()[0], right=y.flatten()[0])
            at = next(k for k in range(len(y)) if far_apart(x[k], y[k], beside, at_all))
            return words.format(at=at, seen=x[at], right=y[at])
    return ""


def does_the_same(ours: Seen, seen: Seen) -> bool:
    """Also in the value of a loss of which only the gradient counts."""
    if differs(ours, seen):
        return False
    x, y = ours.values.get("value"), seen.values.get("value")
    return x is None or y is None or not far_apart(x, y, 1e-4, 1e-4)


def far_apart(x: Tensor, y: Tensor, beside: float, at_all: float) -> bool:
    """Is the difference longer than `at_all` and this share of y, or is x not finite where y is?"""
    if not torch.equal(x.isfinite(), y.isfinite()):
        return True
    x, y = x.nan_to_num(), y.nan_to_num()
    return bool((x - y).norm() > at_all + beside * y.norm())


def judge_part(name: str, function, others: dict[str, Callable], mine: ModuleType, seed: int
               ) -> str:
    """Nothing if this part is right, beside the student's other right parts; else what is wrong."""
    if not callable(function):
        return f"{name} is no function"
    try:
        inspect.signature(function).bind(*CALLS[name])
    except TypeError as error:
        return f"the program calls {name}({', '.join(CALLS[name])}): {error}"
    except ValueError:                                          # a builtin, which tells nothing
        pass
    tried, seen = cases(name, seed), {}

    def wrong_in(case) -> str:
        """What is wrong in this case."""
        right = as_it_should_be(case)
        if case not in seen:
            put(others | {name: function}, mine)
            seen[case] = attempt_case(case, str(mine.__file__))
        return seen[case].words or differs(seen[case], right)

    wrong = {}
    for case in tried:
        wrong[case] = wrong_in(case)
        if seen[case].error == "NotImplementedError":
            return NOT_YET
        if seen[case].error == TooLong.__name__:
            return wrong[case]
    if not any(wrong.values()):
        return ""
    least = smallest(next(case for case in tried if wrong[case]), wrong_in)
    words = f"{wrong_in(least)}\n{least}"
    if seen[least].error:                                       # which says enough
        return words
    found = named_mistakes(
        OURS[name], MISTAKES[name],
        lambda some: with_mistakes(OURS[name], some, vars(simple) | OURS | others),
        lambda ours, case: does_the_same(with_part(name, ours, case, others), seen[case]),
        [least, *tried])
    return words + "\n    " * bool(found) + "\n    And: ".join(found)


def smallest(case, wrong_in: Callable):
    """The smallest case in which it is still wrong."""
    for less in case.smaller():
        if wrong_in(less):
            return smallest(less, wrong_in)
    return case


def with_part(name: str, function: Callable, case, others: dict) -> Seen:
    """What the program gives with this function, among the others."""
    put(others | {name: function})
    return attempt_case(case)


@contextmanager
def samples_remembered() -> Iterator[None]:
    """Answers are sampled once for each model, rows and step: each mistake is tried on them."""
    sample, kept = simple.sample_answers, {}

    @functools.wraps(sample)
    def sample_answers(model, rows, tok, step):
        key = (model.wpe.weight.sum().item(), *(row.prompt for row in rows), step)
        if key not in kept:
            kept[key] = sample(model, rows, tok, step)
        return tuple(x.clone() for x in kept[key])
    simple.sample_answers = sample_answers
    try:
        yield
    finally:
        simple.sample_answers = sample
