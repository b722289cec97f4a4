"""The papers: a student's class beside the right one, in a step of a tiny random model, whole or in
micro-batches, with each of some settings in turn.

Before the step noise moves the model away from its reference. Demonstrations have different
lengths, so there is padding.
"""
import functools
import itertools
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

import torch

from lessons.behind.tasks.simple_parts import GRADIENT, add_noise, projected
from lessons.behind.tasks.task import Measure, Mistake, Task
from nanouft import world
from nanouft.batch import Batch
from nanouft.data.batches import Batching, collate, encode
from nanouft.data.row import Row
from nanouft.gpt import GPT, GPTConfig
from nanouft.models.tokenizer import nano
from nanouft.objective import Objective
from nanouft.plumbing.printing import quantity
from nanouft.plumbing.seeds import step_seed
from nanouft.rollout import Rollouts, Sampler
from nanouft.run.reference import FrozenModels
from nanouft.train import sampled_batch

SIGN = "The sign is wrong: the demonstrations become less likely."


class Paper(Task):
    """A class of a paper. A case is a Case and settings."""
    name = ""                                           # the class may have any

    def __init__(self, right: type, settings: dict[str, list], mistakes: list[Mistake]):
        super().__init__(right, lambda draw: (), mistakes, losses_of, seconds=120)
        self.settings = settings

    def cases(self, seed) -> list[tuple]:
        """The edges of the settings, which stand first, in small and large cases; others too."""
        few, many = [(1, 1), (2, 1), (2, 2)], [(4, 1), (4, 2), (4, 3)]
        edge, *others = itertools.product(*self.settings.values())
        Random(f"{seed}").shuffle(others)
        turns = itertools.cycle([edge, *others[:3]])            # nine cases: the edge three times
        drawn = [(Case(f"{seed} {k}", *size), dict(zip(self.settings, next(turns))))
                 for k, size in enumerate([*few, *many, *many])]
        return [*drawn, (None, self.settings)]                  # the class's own settings

    def show(self, case: tuple) -> str:
        one, settings = case
        if one is None:
            return "    The settings without flags\n"
        noun = "prompts" if "samples" in settings else "rows"
        parts = [f"in {one.parts} micro-batches"] if one.parts > 1 else []
        return "    " + ", ".join([f"a step of {quantity(one.rows, noun)}", *parts,
                                   *(f"{x} {y:g}" for x, y in settings.items())]) + "\n"

    def measure(self, what: str) -> Measure:
        return replace(GRADIENT, beside=2e-4) if what == "gradient" else Measure(1e-5, 1e-5)


def losses_of(cls: type, case: "Case | None", settings: dict) -> dict:
    if case is None:
        return {f"{x} is": getattr(cls(), x) for x in settings}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return loss_and_gradient(cls(**settings), case)


# ---- a step ------------------------------------------------------------------------------------
SKILLS, CONTEXT, LONGEST = "rules,list,sum,truth", 115, 8
Score = Callable[[list[Row], list[str]], list[float]]


@dataclass(frozen=True)
class Case:
    seed: str
    rows: int                   # demonstrations; of a method that samples: prompts
    parts: int                  # micro-batches
    noise: float = 0.08         # by which each weight moves before the step


def any_score(rows: list[Row], texts: list[str]) -> list[float]:
    """Of a random model's answers: some right, some more than right, some half, some wrong."""
    return [Random(text).choice([0, 0.5, 1, 2]) for text in texts]


def loss_and_gradient(objective: Objective, case: Case, score: Score = any_score) -> dict:
    """Of all micro-batches together."""
    model = tiny_model(case)
    batch = batch_of(objective, model, case, score)
    add_noise(model, case.noise, Random(f"{case.seed} 0").randrange(10**6))
    total = 0.0
    for part in batch.micro_batches():
        objective.forward(model, part)
        loss, _ = objective.loss(part)
        loss.backward()
        total += loss.item()
    slopes = [torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters()]
    return {"the loss is": total, "gradient": projected(slopes)}


# ---- models and rows -----------------------------------------------------------------------------
def tiny_model(case: Case) -> GPT:
    shape = GPTConfig(nano().n_vocab, CONTEXT + LONGEST, 1, 2, 16, init_std=0.3)
    return GPT(shape, seed=Random(case.seed).randrange(10**6))


@functools.cache
def rows_of(case: Case) -> tuple[Row, ...]:
    """Half of the prompts of a method that samples have a demonstration, at least one."""
    number, many = Random(case.seed).randrange(10**6), case.rows
    return tuple(world.mixed_rows("train", ["demos", "prompts"], 2 * many, number, skills=SKILLS,
                                  mix=f"{many}:{many}"))


def batch_of(objective: Objective, model: GPT, case: Case, score: Score) -> Batch:
    """Demonstrations, or answers that the model has just sampled."""
    rows = [row for row in rows_of(case) if objective.on_policy or row.answer]
    data, _ = encode(objective.choose(rows), nano(), CONTEXT)
    if objective.on_policy:
        sampler = Sampler(model, tiny_model(case), nano(), LONGEST)
        source = Rollouts(data, objective, sampler, score,
                          Batching(case.rows, 1, accumulate=case.parts))
        return sampled_batch(source, 0)
    objective.setup(model, seed=0)
    data = FrozenModels(model, nano().pad).prepare(data, objective)
    batch = collate(data, range(case.rows), nano().pad)
    return replace(batch, seed=step_seed(0, 0), accumulate=case.parts)
