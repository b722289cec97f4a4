"""The judge of a student's function. Is it right? If not: in which case, and is it a mistake that
many make?

A Subject says what is judged: an exercise (exercise.py) or a part of one's own program
(build_parts.py). The student's function and the right one are called in the same cases.
calling.py keeps what they give as plain values under names. `verdict` compares these values
and may do so in another process than the one that made the calls (grade.py).

A refusal says in how many cases the function is right, and shows the smallest one that is wrong,
with the first value that differs there. If a common mistake gives in every case what was seen
there, or two of them together do, their sentences follow; else what hints.py can compute.
"""
import functools
import inspect
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from random import Random
from statistics import mean

import torch
from torch import Tensor

from lessons.classroom.calling import NO_TENSOR, Seen, as_tensor, show
from lessons.classroom.hints import Answer, hints, how_many, right_by_part
from lessons.classroom.mistakes import Mistake, alone_and_in_pairs, with_mistakes

NOT_STARTED = "not started: there is none, or it still raises NotImplementedError"
ENDLESS = ("KeyboardInterrupt", "TooLong")      # after these errors no other case is tried
QUESTION = " Is something not a constant that should be one (detach), or the other way round?"
LARGE = 12                                      # more numbers than these are not all shown
SMALLEST = "    The smallest case in which it is wrong:\n"


@dataclass(frozen=True)
class Measure:
    """How far a value may be from the right one, and what is said if it is farther."""
    beside: float = 1e-4                        # this share of the right value,
    at_all: float = 1e-4                        # and this much whatever its size
    whole: bool = False                         # of all numbers together, by the length of vectors
    counts: bool = True                         # if not, only common mistakes are known by it
    words: str = ""                             # in place of both values


@dataclass(frozen=True)
class Verdict:
    told: str = ""                              # what is wrong, in words; nothing if all is right
    share: float = 1.0                          # of the cases, or of what is seen there, is right


class Subject:
    """What is judged."""
    noun = "cases"
    divisible = False                           # is a part of what is seen worth something?
    right: Callable
    mistakes: list[Mistake]                     # in the source of the right function
    cases: Callable                             # seed -> list of cases
    attempt: Callable                           # (function, case) -> Seen, what it gives there
    show: Callable                              # case -> lines, with a line break at their end

    def smaller(self, case) -> Iterable:
        """Cases that are tried if this one is wrong."""
        return ()

    def measure(self, what: str) -> Measure:
        return Measure()

    def arguments_of(self, case) -> dict[str, object]:
        """The arguments by name, for hints."""
        return {}

    def attempt_ours(self, function: Callable, case) -> Seen:
        """What the right function gives, or that with mistakes. A subject that gives the same each
        time may keep it."""
        return self.attempt(function, case)

    @property
    def source(self) -> object:
        """Where the mistakes are put in: the right function, or the module that holds it."""
        return self.right

    def with_mistakes(self, some: tuple[Mistake, ...]) -> Callable | None:
        """The right function with these mistakes; None if that is no program."""
        return with_mistakes(self.right, *some)

    def misfit(self, function) -> str:
        """Why the function cannot be called as the right one is, or nothing."""
        return misfit(self.right, function)


# ---- judging ------------------------------------------------------------------------------------
def judge(subject: Subject, function, seed=None) -> str:
    """Nothing if the function is right, else what is wrong, in words."""
    return assess(subject, function, seed).told


def assess(subject: Subject, function, seed=None) -> Verdict:
    """Call the function in all cases."""
    if told := subject.misfit(function):
        return Verdict(told, 0)
    seen: dict[Hashable, Seen] = {}
    for case in subject.cases(Random().random() if seed is None else seed):
        seen[case] = subject.attempt(function, case)
        if seen[case].error == "NotImplementedError":
            return Verdict(NOT_STARTED, 0)
        if seen[case].error in ENDLESS:
            return Verdict(f"{subject.show(case)}    {seen[case].words}", 0)
    return verdict(subject, seen, function)


def verdict(subject: Subject, seen: dict, function=None) -> Verdict:
    """The same for what was seen in each case. The function is called in smaller cases, if the
    subject has any."""
    def is_wrong(case) -> str:
        if case not in seen:
            seen[case] = subject.attempt(function, case)
        right = subject.attempt_ours(subject.right, case)
        faults[case] = seen[case].words or difference(subject, seen[case], right)
        return faults[case]

    faults: dict[Hashable, str] = {}
    order = sorted(seen, key=lambda case: not is_wrong(case))   # those that are wrong first
    if not any(faults.values()):
        return Verdict()
    right, parts = [not faults[case] for case in order], parts_of(subject, seen, order)
    told = f"    {how_many(right, parts, subject.noun)}\n{SMALLEST}"
    least = min(filter(faults.get, order), key=lambda case: len(subject.show(case)))
    while less := next(filter(is_wrong, subject.smaller(least)), None):
        least = less
    told += f"{subject.show(least)}    {faults[least]}"
    share = mean([mean(some) for some in parts.values()] or right)
    if all(seen[case].error for case in faults if faults[case]):    # their line says enough
        return Verdict(told, share)
    named = explain_mistakes(subject, seen, [least, *order])
    if named:                                                   # which answers it
        told = told.replace(QUESTION, "")
    told += "".join(f"\n    {'And: ' * (k > 0)}{sentence}" for k, sentence in enumerate(named))
    if not named:
        told += "".join(f"\n    {sentence}" for sentence in compute_hints(subject, seen, order))
    return Verdict(told, share)


def state(told: str) -> str:
    """What was told, in a word or two."""
    return "not started" if told == NOT_STARTED else "wrong" if told else "right"


def misfit(right: Callable, function) -> str:
    name, wanted = right.__name__, inspect.signature(right).parameters
    if not callable(function):
        return f"    {name} is no function"
    try:
        inspect.signature(function).bind(*wanted)
    except TypeError as error:
        return f"    it is called as {name}({', '.join(wanted)}): {error}"
    except ValueError:                                          # a builtin, which tells nothing
        pass
    return ""


def explain_mistakes(subject: Subject, seen: dict, order: list) -> list[str]:
    """The sentence of the mistake, or of the two, that gives in each of these cases what was seen
    there: the same values, or an error of the same kind."""
    def does(function: Callable, case) -> bool:
        call, other = seen[case], subject.attempt_ours(function, case)
        if call.error or other.error:
            return call.error == other.error
        return not difference(subject, call, other, counting=False)

    for some in alone_and_in_pairs(subject.source, subject.mistakes):
        function = subject.with_mistakes(some)
        if function and all(does(function, case) for case in order):
            return [sentence for *_, sentence in some]
    return []


# ---- hints --------------------------------------------------------------------------------------
def answers(subject: Subject, seen: dict, order: list, what: str) -> list[Answer]:
    """What each case gave under this name, beside what is right."""
    return [Answer(seen[case].values.get(what), subject.attempt_ours(subject.right, case)
                   .values.get(what), subject.arguments_of(case)) for case in order]


def far_for(subject: Subject, what: str) -> Callable[[Tensor, Tensor], Tensor]:
    return functools.partial(far_apart, measure=subject.measure(what))


def parts_of(subject: Subject, seen: dict, order: list) -> dict[str, list[bool]]:
    """What is told by itself: the numbers of an answer, or the values of a call, if several."""
    names = list(subject.attempt_ours(subject.right, order[0]).values)
    if not subject.divisible:
        return {}
    if len(names) == 1:
        return right_by_part(answers(subject, seen, order, names[0]), far_for(subject, names[0]))
    return {in_words(what): [answer.is_right(far_for(subject, what))
                             for answer in answers(subject, seen, order, what)] for what in names}


def in_words(what: str) -> str:
    """"has the gradient by q" -> "the gradient by q", "gives for ..." -> "the result for ..."."""
    return what.removeprefix("has ").replace("gives", "the result").rstrip(",:")


def compute_hints(subject: Subject, seen: dict, order: list) -> list[str]:
    """Sentences about the first value that is wrong in some case."""
    def is_right(what) -> bool:
        return all(x.is_right(far_for(subject, what)) for x in answers(subject, seen, order, what))
    names = [what for what in subject.attempt_ours(subject.right, order[0]).values
             if subject.measure(what).counts]
    what = next(filter(lambda x: not is_right(x), names), None)
    if what is None:
        return []
    found = hints(answers(subject, seen, order, what), far_for(subject, what))
    slopes = [name for name in names if "gradient" in name]
    if slopes and what not in slopes and all(map(is_right, slopes)):
        found.append("The gradient is right, and only the number itself is not.")
    return found


# ---- comparing ----------------------------------------------------------------------------------
def difference(subject: Subject, call: Seen, other: Seen, counting: bool = True) -> str:
    """The first value in which two calls that gave something differ, or nothing. counting: leave
    out those that do not count."""
    for what, right in other.values.items():
        measure = subject.measure(what)
        if what not in call.values:
            return f"{what} nothing"
        told = both_values(what, call.values[what], right, measure)
        if told and (measure.counts or not counting):
            return told
    return ""


def both_values(what: str, got, wanted, measure: Measure) -> str:
    """Both values in words if they differ; of large tensors the first number that does."""
    try:
        x, y = as_tensor(got).double(), as_tensor(wanted).double()
    except NO_TENSOR:                                           # None, a text, uneven lists
        same = isinstance(got, (str, type(None))) and got == wanted
        return "" if same else f"{what} {show(got)}\n    wanted {show(wanted)}"
    if x.shape != y.shape:
        return f"{what} {show(got)}\n    wanted {show(wanted)}, of the shape {tuple(y.shape)}"
    places = far_apart(x, y, measure).nonzero().tolist()
    if not places or measure.words:
        return measure.words if places else ""
    place = places[0]
    if y.numel() > LARGE:
        x, y = x[(*place,)], y[(*place,)]
        return f"{what} {show(x.item())} at {place}\n    wanted {show(y.item())} there"
    where = f", first at {place}" if place else ""
    return f"{what} {show(got)}\n    wanted {show(wanted)}{where}"


def far_apart(x: Tensor, y: Tensor, measure: Measure) -> Tensor:
    """Which numbers are too far apart; one answer for all of them if they are measured as a whole.
    A number that is not finite is far from one that is."""
    if not measure.whole:
        return ~torch.isclose(x, y, measure.beside, measure.at_all, equal_nan=True)
    odd = (x.isfinite() != y.isfinite()).any()
    x, y = x.nan_to_num(), y.nan_to_num()
    return odd | ((x - y).norm() > measure.at_all + measure.beside * y.norm())
