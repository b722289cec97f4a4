"""A paper as a subject of the judge (judge.py): a student's class beside the right one, in a few
steps of a tiny model (paper_runs.py), and the paper's law.
"""
import functools
import io
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import fields
from random import Random

from lessons.classroom.build_parts import GRADIENT
from lessons.classroom.calling import Seen, attempt
from lessons.classroom.judge import Measure, Subject, far_apart, judge
from lessons.classroom.mistakes import Mistake, source_with
from lessons.classroom.paper_list import Facts
from lessons.classroom.paper_runs import Case, losses_and_gradients
from lessons.classroom.sandbox import SECONDS, at_most
from nanouft.objective import Objective
from nanouft.objectives.from_file import find
from nanouft.plumbing.printing import quantity

BATCHES = 9
NOTHING = 1e-6                                  # the length of a gradient that is none
MEASURES = {"gradient": GRADIENT}


class Paper(Subject):
    """A class of a paper. Its settings are drawn for each case."""
    noun = "batches"

    def __init__(self, facts: Facts):
        self.facts, self.mistakes = facts, facts.mistakes
        self.right = find(str(facts.key))
        # the same cases are asked of each mistake
        self.attempt_ours = functools.cache(self.attempt)       # type: ignore[method-assign]
        self.with_mistakes = functools.cache(self.program_with) # type: ignore[method-assign]

    @property
    def source(self) -> object:
        return sys.modules[self.right.__module__]

    def program_with(self, some: tuple[Mistake, ...]) -> Callable | None:
        source, space = source_with(self.source, some), {"__name__": self.right.__module__}
        try:
            exec(source or "", space)
        except SyntaxError:
            return None
        return space.get(self.right.__name__)

    def misfit(self, cls) -> str:
        """Settings are given by name, and rows are those of `data`."""
        known = {field.name for field in fields(cls)}
        for name in self.settings("0"):
            if name not in known:
                return f"    it has no setting {name} with a type and a default (see the page)"
        if cls.data != self.right.data:
            return f"    its data is {cls.data!r} and should be {self.right.data!r}"
        return ""

    def settings(self, seed: str) -> dict:
        return self.facts.settings(Random(seed))

    def cases(self, seed) -> list[Case]:
        """Whole and in two or three micro-batches, in turn."""
        return [Case(f"{seed} {k}", 4, 1 + k % 3, self.facts.steps) for k in range(BATCHES)]

    def smaller(self, case: Case) -> Iterator[Case]:
        return case.smaller()

    def attempt(self, function: Callable, case: Case) -> Seen:
        return attempt(lambda: losses_of(function(**self.settings(case.seed)), case),
                       str(sys.modules[function.__module__].__file__))

    def show(self, case: Case) -> str:
        shown = [f"{name} {x:g}" for name, x in self.settings(case.seed).items()]
        noun = "prompts" if "samples" in self.settings(case.seed) else "rows"
        many = [f"{quantity(case.steps, 'steps')} of {quantity(case.rows, noun)}"]
        parts = [f"in {case.parts} micro-batches"] if case.parts > 1 else []
        return f"    {', '.join(many + parts + shown)}\n"

    def arguments_of(self, case: Case) -> dict[str, object]:
        return {"the number of micro-batches": case.parts, **self.settings(case.seed)}

    def measure(self, what: str) -> Measure:
        return MEASURES.get(what, Measure())


def losses_of(objective: Objective, case: Case, **more) -> dict:
    """What a class gives, without what it prints or warns of."""
    with at_most(SECONDS), redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return losses_and_gradients(objective, case, **more)


def judge_class(facts: Facts, file: str, seed: str) -> tuple[str, str]:
    """What is wrong with the class in a file, or nothing; and what becomes of the law."""
    cls, paper = find(file), Paper(facts)
    found = judge(paper, cls, seed)
    if paper.misfit(cls):
        return found, ""
    return found, f"The law: {facts.law.words}. {law_broken(facts, cls) or 'It holds.'}"


def law_broken(facts: Facts, cls: Callable) -> str:
    """How a class breaks its law, or nothing."""
    law = facts.law
    seen = attempt(lambda: losses_of(cls(**law.settings), law.case, score=law.score))
    if seen.error:
        return f"Yours cannot be tried: {seen.words}"
    got = seen.values["gradient"]
    if law.like is None:
        return "Yours pushes all the same." if got.norm() > NOTHING else ""
    name, settings = law.like
    wanted = losses_of(find(name)(**settings), law.case)["gradient"]
    return "Yours breaks it." if far_apart(got, wanted, GRADIENT).any() else ""
