"""What an exercise is: a right function, arguments that are drawn for it, and common mistakes.

The keys (lessons/exercises/key06.py) say so of each. check.py asks for one student and
grade.py for a class whether a function is right. judge.py answers: it calls the
student's function and the right one with each draw of arguments.
"""
import ast
import copy
import functools
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import torch

from lessons.classroom.calling import Seen, as_call, attempt, attempt_call, function_in, result
from lessons.classroom.judge import Measure, Subject, judge
from lessons.classroom.mistakes import Mistake, with_mistakes
from lessons.classroom.sandbox import SECONDS
from lessons.classroom.submissions import parse
from nanouft.plumbing.files import read_text
from nanouft.plumbing.printing import say
from nanouft.plumbing.user_code import load

HERE = Path(__file__).parents[1] / "exercises"
PIECES = Path(__file__).parents[1] / "pieces"
ROUNDS = 60                                     # draws of inputs for each exercise


@dataclass(eq=False)
class Exercise(Subject):
    right: Callable
    draw: Callable                              # Draw -> the arguments, a tuple
    mistakes: list[Mistake]
    look: Callable = result                     # (function, *arguments) -> what is kept of a call
    properties: Callable | None = None          # (what it gives, *arguments) -> what is compared,
    #                                             where many results are right
    tolerance: float = 1e-4
    rounds: int = ROUNDS
    always: list[tuple] = field(default_factory=list)   # the first calls: examples, and edges
    shown: str = ""                             # in place of the call
    seconds: int = SECONDS                      # of computing, for all calls in a class's table
    noun = "calls"
    divisible = True

    @property
    def name(self) -> str:
        return self.right.__name__

    def cases(self, seed) -> list[str]:
        return [f"{seed} {k}" for k in range(self.rounds)]

    def arguments(self, case: str) -> tuple:
        k = int(case.split()[-1])
        return copy.deepcopy(self.always[k]) if k < len(self.always) else self.draw(Draw(case))

    def attempt(self, function: Callable, case: str) -> Seen:
        call = attempt_call(self.name, self.look, function, self.arguments(case))
        return self.compared(call, case)

    def attempt_ours(self, function: Callable, case: str) -> Seen:
        return attempt_once(self, function, case)

    def with_mistakes(self, some: tuple[Mistake, ...]) -> Callable | None:
        return program_with(self, some)

    def compared(self, call: Seen, case: str) -> Seen:
        """What is compared of a call."""
        if self.properties is None or call.error:
            return call
        return attempt(lambda: self.properties(call.values["gives"], *self.arguments(case)))

    def show(self, case: str) -> str:
        return self.shown or as_call(self.name, self.arguments(case))

    def arguments_of(self, case: str) -> dict[str, object]:
        return dict(zip(inspect.signature(self.right).parameters, self.arguments(case)))

    def measure(self, what: str) -> Measure:
        return Measure(self.tolerance, self.tolerance)


# A class is asked the same cases of each student, so what is ours is computed once.
@functools.cache
def attempt_once(exercise: Exercise, function: Callable, case: str) -> Seen:
    return exercise.attempt(function, case)


@functools.cache
def program_with(exercise: Exercise, some: tuple[Mistake, ...]) -> Callable | None:
    return with_mistakes(exercise.right, *some)


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


# ---- how hard it is ---
DIFFICULTY = re.compile(r"^Difficulty: (easy|medium|hard)$", re.M)


def difficulty_of(stub: ast.FunctionDef) -> str:
    """"easy", "medium" or "hard", from the docstring of an exercise; nothing if it is gone."""
    found = DIFFICULTY.search(ast.get_docstring(stub) or "")
    return found[1] if found else ""


@functools.cache
def difficulties() -> dict[str, str]:
    """function -> how hard it is."""
    return {stub.name: difficulty_of(stub) for file in sorted(HERE.glob("ex*.py"))
            for stub in parse(read_text(file)).body if isinstance(stub, ast.FunctionDef)}


# ---- files --------------------------------------------------------------------------------------
@functools.cache
def exercises() -> dict[str, Exercise]:
    return {name: exercise for file in sorted(HERE.glob("key*.py"))
            for name, exercise in load(file).EXERCISES.items()}


@functools.cache
def pieces() -> dict[str, Exercise]:
    """"piece ift: loss" -> what is asked of a longer piece, in its own order."""
    return {f"piece {file.stem[4:]}: {name}": exercise for file in sorted(PIECES.glob("key_*.py"))
            for name, exercise in load(file).EXERCISES.items()}


def known(name: str) -> Exercise:
    return (pieces() if name.startswith("piece") else exercises())[name]


def file_of(name: str) -> str:
    """Where a student writes it: "ex06.py", or "ift.py" for "piece ift: loss"."""
    return f"{name.split()[1][:-1]}.py" if name.startswith("piece") else f"ex{name[:2]}.py"


def key_of(name: str) -> tuple[Path, str]:
    """The folder of its key, and the key's file."""
    return (PIECES, f"key_{file_of(name)}") if name.startswith("piece") else (
        HERE, f"key{name[:2]}.py")


def show_pages(kind: str, pages: Path) -> None:
    """The papers, or the pieces."""
    for page in sorted(pages.glob("*.md")):
        say(f"{page.stem:<10}{read_text(page).splitlines()[0].removeprefix('# ')}")
    say(f"\nRead lessons/{pages.name}/NAME.md, then: python -m lessons {kind} NAME NAME.py")


def judge_file(exercise: Exercise, file: Path) -> str:
    """The same as judge, for the function of this name in a file."""
    function, missing = function_in(file, exercise.name)
    return missing or judge(exercise, function)
