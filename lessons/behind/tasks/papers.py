"""The papers: a student's class beside the right one, in a few steps of a tiny random model, whole
or in micro-batches, with each of some settings in turn.

The model moves by noise between the steps and not by the gradient, so a mistake in one step does
not change the next. Demonstrations have different lengths, so there is padding.
"""
import copy
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
from nanouft.data.rows import Row
from nanouft.gpt import GPT, GPTConfig
from nanouft.models.tokenizer import nano
from nanouft.objective import Objective
from nanouft.plumbing.printing import quantity
from nanouft.plumbing.seeds import step_seed
from nanouft.rollout import Rollouts, Sampler
from nanouft.run.reference import FrozenModels

CONSTANT = "Gradient flows through the weights, which should be constants."
SIGN = "The sign is wrong: the demonstrations become less likely."
OF_PART = ('n = batch.seqs["answer"], batch.tokens["answer"]',
           'n = batch.seqs["answer"], batch.seqs["answer"].mask.sum()', "The tokens are those of "
           "the micro-batch. Divide by those of the whole step: batch.tokens.")
BY_ROW = ("The mean is that over the rows. Take that over all response tokens of the step: "
          "batch.tokens.")


class Paper(Task):
    """A class of a paper. A case is a Case and settings."""
    name = ""                                           # the class may have any

    def __init__(self, right: type, settings: dict[str, list], mistakes: list[Mistake],
                 steps: int = 1):
        super().__init__(right, lambda draw: (), mistakes, losses_of, seconds=120)
        self.settings, self.steps = settings, steps

    def cases(self, seed) -> list[tuple]:
        """The edges of the settings, which stand first, in small and large cases; others too."""
        few, all_steps = [(1, 1, 1), (2, 1, 1), (2, 2, 1)], [(4, n, self.steps) for n in (1, 2, 3)]
        edge, *others = itertools.product(*self.settings.values())
        Random(f"{seed}").shuffle(others)
        turns = itertools.cycle([edge, *others[:3]])            # nine cases: the edge three times
        drawn = [(Case(f"{seed} {k}", *size), dict(zip(self.settings, next(turns))))
                 for k, size in enumerate([*few, *all_steps, *all_steps])]
        return [*drawn, (None, self.settings)]                  # the class's own settings

    def show(self, case: tuple) -> str:
        one, settings = case
        if one is None:
            return "    The settings without flags\n"
        noun = "prompts" if "samples" in settings else "rows"
        parts = [f"in {one.parts} micro-batches"] if one.parts > 1 else []
        return "    " + ", ".join([f"{quantity(one.steps, 'steps')} of {quantity(one.rows, noun)}",
                                   *parts, *(f"{x} {y:g}" for x, y in settings.items())]) + "\n"

    def measure(self, what: str) -> Measure:
        return replace(GRADIENT, beside=2e-4) if what == "gradient" else Measure(1e-5, 1e-5)


def losses_of(cls: type, case: "Case | None", settings: dict) -> dict:
    if case is None:
        return {f"{x} is": getattr(cls(), x) for x in settings}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return losses_and_gradients(cls(**settings), case)


# ---- a few steps ---------------------------------------------------------------------------------
SKILLS, CONTEXT, LONGEST = "rules,list,sum,truth", 115, 8
Score = Callable[[list[Row], list[str]], list[float]]


@dataclass(frozen=True)
class Case:
    seed: str
    rows: int                   # demonstrations of a step; of a method that samples: prompts
    parts: int                  # micro-batches of a step
    steps: int
    noise: float = 0.08         # by which each weight moves before a step
    spread: float = 0.3         # of the weights at the start; 0: all tokens are equally likely


def any_score(rows: list[Row], texts: list[str]) -> list[float]:
    """Of a random model's answers: some right, some more than right, some half, some wrong."""
    return [Random(text).choice([0, 0.5, 1, 2]) for text in texts]


def losses_and_gradients(objective: Objective, case: Case, score: Score = any_score) -> dict:
    """The loss of each step, and all gradients."""
    model = tiny_model(case)
    source = source_of(objective, model, case, score)
    losses, slopes = [], []
    for k in range(case.steps):
        batch = source(k)
        add_noise(model, case.noise, Random(f"{case.seed} {k}").randrange(10**6))
        forward_held_out(objective, model, batch)
        model.zero_grad()
        losses.append(0.0)
        for part in batch.micro_batches():
            objective.forward(model, part)
            loss, _ = objective.loss(part)
            loss.backward()
            losses[-1] += loss.item()
        slopes += [torch.zeros_like(p) if p.grad is None else p.grad.clone()
                   for p in model.parameters()]
    return {"the losses are": losses, "gradient": projected(slopes)}


@torch.no_grad()
def forward_held_out(objective: Objective, model: GPT, batch: Batch) -> None:
    """As train.py looks at held-out rows between the steps; a method that samples has none."""
    if not objective.on_policy:
        objective.forward(model, replace(batch, seqs=copy.deepcopy(batch.seqs)))


# ---- models and rows -----------------------------------------------------------------------------
def tiny_model(case: Case) -> GPT:
    shape = GPTConfig(nano().n_vocab, CONTEXT + LONGEST, 1, 2, 16, init_std=case.spread)
    return GPT(shape, seed=Random(case.seed).randrange(10**6))


@functools.cache
def rows_of(case: Case) -> tuple[Row, ...]:
    """Half of the prompts of a method that samples have a demonstration, at least one."""
    number, many = Random(case.seed).randrange(10**6), case.rows * case.steps
    return tuple(world.mixed_rows("train", ["demos", "prompts"], 2 * many, number, skills=SKILLS,
                                  mix=f"{many}:{many}"))


def source_of(objective: Objective, model: GPT, case: Case, score: Score
              ) -> Callable[[int], Batch]:
    """The batch of each step: demonstrations, or answers that the model has just sampled."""
    rows = [row for row in rows_of(case) if objective.on_policy or row.answer]
    data, _ = encode(objective.choose(rows), nano(), CONTEXT)
    if objective.on_policy:
        sampler = Sampler(model, tiny_model(case), nano(), LONGEST)
        return Rollouts(data, objective, sampler, score,
                        Batching(case.rows, case.steps, accumulate=case.parts))
    objective.setup(model, seed=0)
    data = FrozenModels(model, nano().pad).prepare(data, objective)

    def step(k: int) -> Batch:
        batch = collate(data, range(case.rows * k, case.rows * (k + 1)), nano().pad)
        return replace(batch, seed=step_seed(0, k), progress=k / case.steps, accumulate=case.parts)
    return step
