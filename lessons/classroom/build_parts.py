"""The twelve parts of one's own program (build.py): whose they are, and what each of them
is tried on.

A part is tried inside the real program, nanouft/simple.py, beside the student's other right parts:
as the loss of a method on some rows (Batch) or as a few steps of training (ShortRun). Both say what
they saw, as numbers, and how they become smaller. judge.py compares.
"""
import copy
import functools
import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from types import ModuleType

import torch
from torch import Tensor

from lessons.classroom.calling import Seen, attempt
from lessons.classroom.judge import QUESTION, Measure, Subject
from lessons.classroom.mistakes import MISTAKES
from lessons.classroom.sandbox import SECONDS, at_most
from nanouft import simple, world
from nanouft.gpt import GPT, GPTConfig, shipped_base
from nanouft.models.tokenizer import nano

PARTS = {   # in the order in which they are written: the lesson, and methods that show a mistake
    "padded": ("02", ["sft"]), "token_logp": ("02", ["sft"]), "sft_loss": ("02", ["sft"]),
    "train": ("00", ["sft", "dpo", "poft"]), "log_ratio": ("07", ["dpo", "una", "poft"]),
    "dpo_loss": ("07", ["dpo"]), "una_loss": ("09", ["uft"]), "poft_loss": ("10", ["poft"]),
    "mix_in_own_guess": ("04", ["ift"]), "ift_loss": ("06", ["ift"]),
    "grpo_loss": ("12b", ["grpo"]), "chord_loss": ("18", ["chord"])}
SAMPLED = ("grpo", "chord")                  # whose loss is no number that means something
OURS = {name: getattr(simple, name) for name in PARTS}
GRADIENT = Measure(1e-3, 1e-6, whole=True, words="the loss is right, but its gradient is not."
                   + QUESTION)
MEASURES = {    # of what a Batch and a ShortRun see, in place of the usual one
    "gradient": GRADIENT,
    "flows": Measure(0, 0, words="the loss is right, but no gradient reaches the model"),
    "into the reference": Measure(
        1e-3, 0, whole=True, words="loss and gradient are right, but gradient reaches the "
        "reference as well, which should be a constant (detach)"),
    "weights": Measure(1e-5, 0, whole=True, words="the losses are right, but the weights at the "
                       "end are not"),
    "plain": Measure(0, 0, words="the numbers are right, but the losses are no plain numbers"),
    # of grpo and chord, where only the gradient counts
    "value": Measure(counts=False),
    "push": replace(GRADIENT, words="the gradient of the loss is not right (its value does not "
                    "count here)." + QUESTION)}


# ---- your functions in the place of ours --------------------------------------------------------
def put(functions: dict[str, Callable], *places: ModuleType) -> None:
    """Put these parts, and ours for all others, into simple.py and into the student's file."""
    for place in (simple, *places):
        vars(place).update(OURS | functions)
    for method, (_, *facts) in simple.METHODS.items():
        simple.METHODS[method] = (getattr(simple, loss_of(method)), *facts)


def loss_of(method: str) -> str:
    """The part that is the loss of this method."""
    return "una_loss" if method == "uft" else f"{method}_loss"


def parts_of(method: str) -> list[str]:
    """The parts that a run of this method uses."""
    before = {"ift": ["mix_in_own_guess"], "dpo": ["log_ratio"], "una": ["log_ratio"],
              "uft": ["log_ratio"], "poft": ["sft_loss", "log_ratio"], "grpo": ["sft_loss"]}
    used = {"padded", "token_logp", "train", loss_of(method), *before.get(method, [])}
    return [name for name in PARTS if name in used]


# ---- what a part is tried on --------------------------------------------------------------------
@dataclass(frozen=True)
class Batch:
    """One loss of the real program, on some rows."""
    method: str
    rows: tuple
    model: GPT
    reference: GPT
    step: int = 0

    def look(self) -> dict:
        model, reference = copy.deepcopy(self.model), copy.deepcopy(self.reference)
        loss = simple.METHODS[self.method][0](model, reference, list(self.rows), nano(), self.step)
        if not isinstance(loss, (Tensor, int, float)):
            raise TypeError(f"the loss is {loss!r:.40}. Is there a `return`?")
        loss = torch.as_tensor(loss)
        if loss.ndim:
            raise TypeError(f"the loss is a tensor of the shape {tuple(loss.shape)} and should be "
                            "one number")
        weights = [*model.parameters(), *reference.parameters()]
        slopes = torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True) \
            if loss.requires_grad else [torch.zeros_like(p) for p in weights]
        half = len(weights) // 2
        value, slope = ("value", "push") if self.method in SAMPLED else ("the loss is", "gradient")
        return {value: loss.item(), "flows": loss.requires_grad, slope: flat(slopes[:half]),
                "into the reference": flat(slopes[half:])}

    def smaller(self) -> Iterator["Batch"]:
        """Each row alone, which is mostly enough; then all rows but one."""
        n = len(self.rows)
        if n > 1:
            yield from (replace(self, rows=(row,)) for row in self.rows)
        if n > 2:
            yield from (replace(self, rows=self.rows[:k] + self.rows[k + 1:]) for k in range(n))

    def __str__(self) -> str:
        lines = [f"    {'; '.join(row_words(row))}" for row in self.rows]
        count = "1 row" if len(lines) == 1 else f"{len(lines)} rows"
        return "\n".join([f"    A batch of {count} ({self.method}):", *lines, ""])


@dataclass(frozen=True)
class ShortRun:
    """A few steps of `train`, by a small model in double precision, at a high rate. The loss is
    made larger from step to step, so that clipping and the number of the step count."""
    method: str
    rows: tuple
    given: bool                                 # is there a reference?
    steps: int

    def look(self) -> dict:
        model, other = small(0), small(1)
        original, began = simple.METHODS[self.method], flat(model.parameters())
        loss = OURS[loss_of(self.method)]

        def larger(model, reference, rows, tok, step):
            return 3 * (1 + step) * loss(model, reference, rows, tok, step)
        simple.METHODS[self.method] = (larger, original[1], 1e-2, original[3])
        try:
            losses = simple.train(model, list(self.rows), nano(), self.method, self.steps,
                                  *([other] if self.given else []))
        finally:
            simple.METHODS[self.method] = original
        if losses is None:
            raise TypeError("it gives None. Is there a `return`?")
        if len(losses) != self.steps:
            raise TypeError(f"it gives {len(losses)} losses for {self.steps} steps")
        plain = not any(isinstance(x, Tensor) and x.requires_grad for x in losses)
        return {"the losses are": [torch.as_tensor(x).item() for x in losses],
                "weights": flat(model.parameters()) - began, "plain": plain}

    def smaller(self) -> Iterator["ShortRun"]:
        if self.steps > 1:
            yield from (replace(self, steps=n) for n in range(1, self.steps))

    def __str__(self) -> str:
        count = "1 step" if self.steps == 1 else f"{self.steps} steps"
        reference = ", with a reference that is given" if self.given else ""
        return f"    A run of {count} of {self.method}{reference}.\n"


def flat(tensors) -> Tensor:
    return torch.cat([x.detach().flatten() for x in tensors])


def row_words(row) -> list[str]:
    """The prompt of a row, and its answers."""
    named = {"answer": row.answer, "chosen": row.chosen, "rejected": row.rejected}
    out = [f'"{row.prompt[0].text}"']
    out += [f'{name} "{turns[0].text}"' for name, turns in named.items() if turns]
    return out if row.score is None else [*out, f"score {row.score:.2f}"]


@functools.cache
def base() -> GPT:
    return shipped_base()


@functools.cache
def noisy_model(noise: float, times: float = 1.0) -> GPT:
    """The base with this noise in its weights: with a little of it a reference near the base; with
    more, a model that guesses worse. Multiplied logits make log-ratios of hundreds of nats."""
    model = copy.deepcopy(base())
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        for p in model.parameters():
            p.add_(noise * torch.randn_like(p))
        model.ln_f.weight.mul_(times)
        model.ln_f.bias.mul_(times)
    return model


def small(seed: int) -> GPT:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return GPT(GPTConfig(nano().n_vocab, 128, 1, 2, 16)).double()


def cases(name: str, seed: int) -> list:
    """What a part is tried on: fresh rows for each method that shows a mistake in it."""
    out: list = []
    for k, method in enumerate(PARTS[name][1]):
        near, worse, far = noisy_model(0.01), noisy_model(0.2), noisy_model(0.01, times=1000)
        if name == "train":
            steps = (15, 4, 2)[k]                   # 15 have a warm-up of two
            rows = fresh_rows(method, steps * simple.ROWS, seed + k)
            out.append(ShortRun(method, rows, method == "poft", steps))
        elif method == "chord":             # w on its way, and at the bottom
            out += [Batch(method, fresh_rows(method, 3, seed + again), base(), near, step)
                    for again, step in enumerate((simple.FALL // 4, 2 * simple.FALL - 3))]
        elif method == "grpo":
            out += [Batch(method, fresh_rows(method, 3, seed + again), base(), near, 3 * again)
                    for again in range(2)]
        else:
            rows = fresh_rows(method, 5, seed + k)
            out += [Batch(method, rows, model, near) for model in (base(), worse)]
            if method == "dpo":                     # h is some hundreds, above 0 and below
                out += [Batch(method, rows, base(), far), Batch(method, rows, far, base())]
            if method == "poft":
                out.append(Batch(method, rows, noisy_model(0.2, times=30), base()))
    return out


def fresh_rows(method: str, many: int, seed: int) -> tuple:
    """Rows of the kinds that the method reads, in turn. Of scored ones two at least, so that a
    score of 0 and one between 0 and 1 are among them."""
    drawn = [world.rows("train", kind, many, seed) for kind in simple.METHODS[method][1]]
    if "scores" in simple.METHODS[method][1]:       # a score of 0 first, then one below 1
        scored = world.rows("train", "scores", 200, seed)
        first = [next(row for row in scored if row.score == 0),
                 next(row for row in scored if 0 < row.score < 1)]
        drawn[-1] = first + [row for row in drawn[-1] if row not in first]
    return tuple(row for together in zip(*drawn) for row in together)[:many]


# ---- a part as a subject of the judge -----------------------------------------------------------
class Part(Subject):
    """One part of a student's file, beside his other right parts."""

    def __init__(self, name: str, others: dict[str, Callable], mine: ModuleType):
        self.name, self.others, self.mine = name, others, mine
        self.right, self.mistakes = OURS[name], MISTAKES[name]

    def cases(self, seed: int) -> list:
        return cases(self.name, seed)

    def attempt(self, function: Callable, case) -> Seen:
        def look() -> dict:
            with at_most(SECONDS), redirect_stdout(io.StringIO()), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return case.look()
        put(self.others | {self.name: function}, self.mine)
        return attempt(look, str(self.mine.__file__))

    def show(self, case) -> str:
        return str(case)

    def smaller(self, case) -> Iterator:
        return case.smaller()

    def measure(self, what: str) -> Measure:
        return MEASURES.get(what, Measure())


@contextmanager
def remember_samples() -> Iterator[None]:
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
