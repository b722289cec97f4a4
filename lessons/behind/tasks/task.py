"""What a task is: a text for the student, and here a right program, cases that are drawn for it,
and common mistakes. And what is said of a student's program.

A program is right if it gives what the right one gives in every case. If not, you see the smallest
failing case, and the sentence of the common mistake, or of two of them, that gives the same in all
cases. A mistake is a part of the right source, what stands there instead, and its sentence. Where
none fits, `relation` says how the results are related to the right ones. Nothing but results is
compared, so any style will do.
"""
import functools
import inspect
import io
import itertools
import re
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from random import Random

import torch

from lessons.behind.lesson_list import NUMBERS, PARTS
from lessons.behind.tasks.call import (
    NO_TENSOR,
    NOT_STARTED,
    SECONDS,
    UNTOUCHED,
    Seen,
    as_tensor,
    call_in_all_cases,
    call_program,
    result,
    shown,
)
from nanouft.plumbing.errors import UserError

KEYS = Path(__file__).resolve().parents[1] / "keys"
Mistake = tuple[str, str, str]
LARGE = 12                                      # more numbers than these are not all shown


@dataclass(frozen=True)
class Measure:
    """How far a value may be from the right one, and what is said if it is farther."""
    beside: float = 1e-4                        # this share of the right value,
    at_all: float = 1e-4                        # and this much whatever its size
    whole: bool = False                         # of all numbers together, by the length of vectors
    words: str = ""                             # in place of both values


@dataclass(eq=False)
class Task:
    right: Callable
    draw: Callable                              # Draw -> a case, the arguments
    mistakes: list[Mistake]
    look: Callable = result                     # (program, *arguments) -> what is kept of a call
    properties: Callable | None = None          # (what it gives, *arguments) -> what is compared,
    #                                             where many results are right
    tolerance: float = 1e-4
    always: list[tuple] = field(default_factory=list)   # examples, and edges
    rounds: int = 20                            # cases
    seconds: int = SECONDS                      # of computing, for all of them
    text: str = ""                              # in place of the call
    file: str = ""                              # the student's
    opens: bool = False                         # until it is right, no other of its file is shown

    @property
    def name(self) -> str:
        """The function that is asked for; "" for a class, which may have any name."""
        return self.right.__name__

    @property
    def source(self) -> str:
        return inspect.getsource(self.right)

    def cases(self, seed) -> list[tuple]:
        """The smallest first."""
        drawn = (self.draw(Draw(f"{seed} {k}")) for k in range(len(self.always), self.rounds))
        return sorted([*self.always, *drawn], key=lambda case: len(self.show(case)))

    def show(self, case: tuple) -> str:
        """The call, to be copied to a Python prompt."""
        return self.text or "\n".join([f"    {self.name}(", *(f"        {shown(x)}," for x in case),
                                       "    )\n"])

    def measure(self, what: str) -> Measure:
        return Measure(self.tolerance, self.tolerance)


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


@functools.cache
def tasks() -> dict[str, Task]:
    """All of them by name: the parts of mine.py in the order of the lessons, then papers and
    pieces. lessons/behind/keys/luffy.py is the key of the student's luffy.py."""
    found = {}
    for key in sorted(KEYS.glob("[a-z]*.py")):
        module = import_module(f"lessons.behind.keys.{key.stem}")
        for name, task in module.TASKS.items():
            task.file = getattr(module, "FILE", key.name)
            found[name] = task
    order = [*PARTS, *found]
    return dict(sorted(found.items(), key=lambda x: (x[1].file != "mine.py", order.index(x[0]))))


def chosen(which: list[str]) -> list[str]:
    """The tasks that are meant by 05 or 5, a lesson; by mine or luffy, a file; or by a name. All
    for none."""
    meant = {name: {name, task.file.removesuffix(".py"), PARTS.get(name)}
             for name, task in tasks().items()}
    which = [re.sub(r"^\d(?!\d)", r"0\g<0>", word) for word in which]
    for word in which:
        if not any(word in words for words in meant.values()):
            raise UserError(f"lesson {word} asks for no part of mine.py" if word in NUMBERS else
                            f"there is no task {word}; names are such as 05, mine, dpo_loss, luffy")
    return [name for name, words in meant.items() if not which or words & {*which}]


# ---- common mistakes -----------------------------------------------------------------------------
def source_with(task: Task, mistakes: tuple[Mistake, ...]) -> str:
    """The right source with these mistakes; "" if they do not go together."""
    source = task.source
    for part, instead, _ in mistakes:
        if part not in source:
            return ""
        source = source.replace(part, instead)
    return source


def program_of(task: Task, source: str) -> Callable | None:
    """None if it is no program."""
    space = dict(vars(inspect.getmodule(task.right)))
    try:
        exec(source, space)
    except SyntaxError:
        return None
    return space[task.right.__name__]


# ---- the judge -----------------------------------------------------------------------------------
@dataclass(frozen=True)
class Verdict:
    told: str = ""                              # what is wrong, in words; nothing if all is right
    share: float = 1.0                          # of the cases in which it is right

    @property
    def state(self) -> str:
        return (NOT_STARTED if self.told.startswith(NOT_STARTED) else "wrong" if self.told
                else "right")


class Judge:
    """A task with its cases. What the right program gives, and those with mistakes, is computed
    once, for all students."""

    def __init__(self, task: Task, seed: object = None):
        self.task = task
        self.cases = task.cases(Random().random() if seed is None else seed)
        self.ours = functools.cache(self.ours)                  # type: ignore[method-assign]
        self.mistaken = functools.cache(functools.partial(program_of, task))

    def ours(self, program: Callable, k: int) -> Seen:
        """What one of our programs gives in a case. Only a student's own prints are shown."""
        with redirect_stdout(io.StringIO()):
            return self.compared(call_program(self.task.look, program, self.cases[k]), k)

    def programs(self) -> Iterator[tuple[tuple[Mistake, ...], Callable]]:
        """The right program with each mistake, then with each two."""
        for some in itertools.chain(*(itertools.permutations(self.task.mistakes, n)
                                      for n in (1, 2))):
            source = source_with(self.task, some)
            if source and (program := self.mistaken(source)):
                yield some, program

    def compared(self, seen: Seen, k: int) -> Seen:
        """What is compared of a call."""
        if self.task.properties is None or seen.error:
            return seen
        return call_program(lambda _, *args: self.task.properties(seen.values["gives"], *args),
                            None, self.cases[k])

    def of(self, program: Callable, file: str = "") -> Verdict:
        """Of a program that is called here."""
        look, seconds = self.task.look, self.task.seconds
        return self.verdict([*call_in_all_cases(look, program, self.cases, file, seconds)])

    def verdict(self, seen: list[Seen]) -> Verdict:
        """Of what a program gave in the cases, or in the first of them, if it was ended."""
        if not seen or seen[0].error == "Missing":              # no such function, no such file
            return Verdict(seen[0].words if seen else "no result", 0)
        if all(call.words.partition("\n")[0] == "NotImplementedError: " for call in seen):
            return Verdict(UNTOUCHED, 0)                        # a stub
        if len(seen) > len(self.cases):
            return Verdict("more results than calls", 0)
        seen = [self.compared(call, k) for k, call in enumerate(seen)]
        faults = [call.words or self.difference(call, self.ours(self.task.right, k))
                  for k, call in enumerate(seen)]
        wrong = [k for k, fault in enumerate(faults) if fault]
        if not wrong:
            return Verdict() if len(seen) == len(self.cases) else Verdict("no result", 0)
        right = len(seen) - len(wrong)
        plainest = min(wrong, key=lambda k: (                   # a wrong value, of several numbers
            "this gradient" in faults[k], len(wrong) > 1 and self.is_degenerate(k)))
        message = (f"    Passes {right} of {len(self.cases)} tests. Smallest failing case:\n"
                   f"{self.task.show(self.cases[plainest])}    {faults[plainest]}")
        if not all(seen[k].error for k in wrong):               # else their line says enough
            named = self.named(seen, wrong)
            message += "".join(f"\n    {'And: ' * (k > 0)}{x}" for k, x in enumerate(named))
        return Verdict(message, right / len(self.cases))

    def is_degenerate(self, k: int) -> bool:
        """Of no number, or of a list of one, which shows neither a shift nor a sign?"""
        right = next(iter(self.ours(self.task.right, k).values.values()), None)
        return isinstance(right, (list, torch.Tensor)) and sum(
            as_tensor(part).numel() for part in parts_of(right)) < 2

    def named(self, seen: list[Seen], wrong: list[int]) -> list[str]:
        """The sentence of the mistake, or of the two, that gives in each case what was seen; else
        what all wrong results have in common."""
        order = sorted(range(len(seen)), key=lambda k: k not in wrong)

        def does(program: Callable, k: int) -> bool:
            call, other = seen[k], self.ours(program, k)
            if call.error or other.error:
                return call.error == other.error
            return not self.difference(call, other)
        for mistakes, program in self.programs():
            if all(does(program, k) for k in order):
                return [sentence for *_, sentence in mistakes]
        common = [relation(call.values, self.ours(self.task.right, k).values, self.task.measure)
                  for k, call in enumerate(seen) if k in wrong]
        return [x for x in common[0] if len(wrong) > 2 and all(x in other for other in common)][:1]

    def difference(self, call: Seen, other: Seen) -> str:
        """The first value in which two calls differ, or nothing."""
        for what, right in other.values.items():
            if what not in call.values:
                return f"{what} nothing"
            if words := differ(what, call.values[what], right, self.task.measure(what)):
                return words
        return ""


# ---- two values in words -------------------------------------------------------------------------
def parts_of(x) -> list:
    """The results of a function that returns several tensors; else the one result."""
    several = isinstance(x, list) and any(isinstance(part, torch.Tensor) for part in x)
    return x if several else [x]


def differ(what: str, got, wanted, measure: Measure) -> str:
    """Both values in words if they differ; of several results the first that does, and of a large
    tensor the first number."""
    if len(parts_of(wanted)) > 1 and isinstance(got, list) and len(got) == len(wanted):
        return next(filter(None, (differ(f"{what} as result {k} of {len(wanted)}:", *pair, measure)
                                  for k, pair in enumerate(zip(got, wanted), 1))), "")
    try:
        x, y = as_tensor(got).double(), as_tensor(wanted).double()
    except NO_TENSOR:                                           # None, a text, uneven lists
        same = isinstance(got, (str, type(None))) and got == wanted
        hint = "; is a `return` missing?" if got is None else ""
        return "" if same else f"{what} {shown(got)}{hint}\n    expected {shown(wanted)}"
    if x.shape != y.shape:
        return (f"{what} {shown(got)}, {size(got)}\n    expected {shown(wanted)}, {size(wanted)}")
    places = far_apart(x, y, measure).nonzero().tolist()
    if not places or measure.words:
        return measure.words if places else ""
    place = places[0]
    if y.numel() > LARGE:
        x, y = x[(*place,)], y[(*place,)]
        got, wanted = x.item(), y.item()
    digits = 4 if shown(x) != shown(y) else 8
    words = f"{what} {shown(got, digits)}", f"expected {shown(wanted, digits)}"
    if y.numel() > LARGE:
        return f"{words[0]} at {place}\n    {words[1]} there"
    return "\n    ".join(words) + (f", first mismatch at index {place}" if place else "")


def size(x) -> str:
    """"length 2" of a list of numbers, "shape (2, 3)", or "one number"."""
    shape = tuple(as_tensor(x).shape)
    if isinstance(x, list) and len(shape) == 1:
        return f"length {shape[0]}"
    return f"shape {shape}" if shape else "one number"


def relation(got: dict, right: dict, measure: Callable) -> list[str]:
    """How the values of a call are related to the right ones, in sentences: those that hold for
    each result that differs."""
    for what, wanted in right.items():
        pairs = [*zip(parts_of(got.get(what)), parts_of(wanted))]
        wrong = [pair for pair in pairs if differ(what, *pair, measure(what))]
        if wrong:
            first, *others = (relations(*pair) for pair in wrong)
            return [x for x in first if all(x in other for other in others)]
    return []


def relations(got, wanted) -> list[str]:
    """The same of one result."""
    try:
        x, y = as_tensor(got).double(), as_tensor(wanted).double()
    except NO_TENSOR:
        return []
    pairs = {}                                      # a sentence, and two that are equal if it holds
    if x.shape == y.shape:
        times = ((x * y).sum() / (y * y).sum()).item()
        pairs = {"The sign is wrong: each number is minus the expected one.": (x, -y),
                 f"Each number is {times:.3g} times the expected one.": (x, times * y)}
    if x.ndim and y.ndim:
        pairs |= {"The numbers are in reverse order.": (x, y.flip(-1)),
                  "The first number is one too many.": (x[..., 1:], y),
                  "The last number is one too many.": (x[..., :-1], y),
                  "The first number is missing.": (x, y[..., 1:]),
                  "Numbers are missing at the end. (zip stops at the end of the shorter list.)":
                      (x, y[..., :x.shape[-1]])}
    elif y.ndim:
        pairs = {f"It is one number, the {name} of the expected ones. Give each of them.": (x, one)
                 for name, one in (("mean", y.mean()), ("sum", y.sum()))}
    return [sentence for sentence, (one, other) in pairs.items() if one.shape == other.shape
            and (one.any() or not one.numel()) and not far_apart(one, other, Measure()).any()]


def far_apart(x: torch.Tensor, y: torch.Tensor, measure: Measure) -> torch.Tensor:
    """Which numbers are too far apart; one answer for all of them if they are measured as a whole.
    A number that is not finite is far from one that is."""
    if not measure.whole:
        return ~torch.isclose(x, y, measure.beside, measure.at_all, equal_nan=True)
    odd = (x.isfinite() != y.isfinite()).any()
    x, y = x.nan_to_num(), y.nan_to_num()
    return odd | ((x - y).norm() > measure.at_all + measure.beside * y.norm())
