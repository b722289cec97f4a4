"""What an exercise is. Each file of tasks/ has a list TASKS; engine.py judges answers.

    Task("07a", "implement", level=2, minutes=15, core=True, heading="From pairs to a loss",
         signature="dpo_loss(pi_w, ref_w, pi_l, ref_l, beta)", text="...",
         right=dpo_loss, model=dpo_with_mistakes, cases=(...), random=..., mistakes=(...),
         gradients=(0, 2))

Programs with a planted bug are in debug.py; ledger cards and plans in cards.py, predictions in
predictions.py.
"""
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any


@dataclass(frozen=True)
class Case:
    args: tuple
    words: str = ""                     # shown beside the numbers: "beta = 0.1"


@dataclass(frozen=True)
class Mistake:
    name: str                           # ends "This is what happens if ...": "beta is forgotten"
    flags: dict[str, Any]               # arguments of Task.model that make this mistake
    question: str                       # to the student: leads to the idea, does not tell it
    say: str                            # to the teacher: the sentence to say on Monday


@dataclass(frozen=True)
class Law:
    words: str                          # "exchanging chosen and rejected must change the loss"
    holds: Callable[[Callable, tuple], bool]        # (the student's function, arguments of a case)


@dataclass(frozen=True)
class Task:
    """An exercise in which a function is written. Tensors are float32 unless they are ids."""
    id: str                             # "07a"
    kind: str                           # implement | debug | ledger
    level: int                          # 1 to 3
    minutes: int
    core: bool
    signature: str                      # "dpo_loss(pi_w, ref_w, pi_l, ref_l, beta)"
    text: str                           # the starter's docstring: what to write, shapes, one case
    heading: str                        # where the lesson speaks of it
    right: Callable                     # the reference: the project's own loss where there is one
    model: Callable                     # (*args, **flags): equals `right`; a flag makes a mistake
    cases: tuple[Case, ...]             # small, by hand, shown to the student, the simplest first
    random: Callable[[Random], tuple]   # arguments of a hidden case
    mistakes: tuple[Mistake, ...]
    gradients: tuple[int, ...] = ()     # arguments whose gradient is compared, too
    laws: tuple[Law, ...] = ()
    hints: tuple[str, ...] = field(default=())      # a question, where to look, an example
    as_set: bool = False                # what is returned may be in any order
    by_hand: Callable | None = None     # shown as the solution, where `right` calls the project

    @property
    def function(self) -> str:
        """The name of the function that is asked for."""
        return self.signature.split("(")[0]
