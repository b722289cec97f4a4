"""The defaults of a run: learning rate, batch size, steps and beta if the flags leave them open.

    fit = choose_fit(objective, len(data), model)
    rate = learning_rate(objective, model, fit)     # all that decides it is in this one function
    batch_size = choose_batch_size(objective, len(data), fit)
    steps = choose_steps(objective, len(data), fit, batch_size)
"""
import math
import statistics
from dataclasses import dataclass, replace
from typing import Any

from nanouft.data.fit import Encoded
from nanouft.objective import Objective
from nanouft.plumbing.printing import say

WIDTH = 128             # of the model for which the default learning rates were chosen
PASSES = 3              # over the rows; more passes learn a small file by heart (docs/data.md)
SMALL_STEP = 8          # rows of a step: small steps make more steps out of PASSES
FEW_PROMPTS = 4         # prompts of a step, because each has several answers
SOME = (20, 20)         # least number of steps: fewer change nothing
MANY = (200, 400)       # least number of steps for a narrow model and few demonstrations:
STEPS_PER_ROW = 10      # this many for each row, but within the two bounds of MANY
LOW = 3e-5              # highest rate for pairs and grades: a higher one makes answers worse


@dataclass(frozen=True)
class Fit:
    """Values for a run whose flags leave them open."""
    batch_size: int                 # rows of a step, or prompts if the model samples
    least: tuple[int, int]          # least number of steps, within these bounds
    times: float = 1                # factor of the method's learning rate
    highest: float = math.inf       # highest learning rate, for a model as wide as the base


USUAL = Fit(32, (1, 1))             # NanoWorld, or a large file of yours
FITS = {                            # (why not USUAL, what the method learns from) -> Fit
    ("few rows", "demonstrations"): Fit(SMALL_STEP, MANY, times=4),
    ("few rows", "feedback"): Fit(SMALL_STEP, SOME, highest=LOW),
    ("wide model", "demonstrations"): Fit(SMALL_STEP, SOME),    # times=4 taught SmolLM2 no more
    ("wide model", "feedback"): Fit(SMALL_STEP, SOME, highest=LOW),
    ("wide model", "prompts"): Fit(FEW_PROMPTS, SOME)}


def choose_fit(objective: Objective, rows: int, model: Any) -> Fit:
    """The Fit of your rows. It is not USUAL for a model wider than the base, and for few rows: so
    few that PASSES in usual batches are fewer steps than their Fit demands."""
    learns_from = ("prompts" if objective.on_policy else
                   "demonstrations" if objective.kinds() == ["demos"] else "feedback")
    if model.cfg.n_embd > WIDTH:
        return FITS["wide model", learns_from]
    few = FITS.get(("few rows", learns_from), USUAL)
    return few if PASSES * rows < few.least[0] * USUAL.batch_size else USUAL


def learning_rate(objective: Objective, model: Any, fit: Fit = USUAL, lora: bool = False) -> float:
    """The peak of the learning rate. Three things change the method's own: the model's width, LoRA
    or few demonstrations, and a limit for feedback.
    A value head learns faster (loop.make_optimizer); `warmup_cosine` has the rate of each step."""
    rate = objective.lr * WIDTH / model.cfg.n_embd          # twice as wide, half the rate
    rate *= 10 if lora else fit.times                       # LoRA's matrices are thin
    return rate * min(1, fit.highest / objective.lr)


def choose_batch_size(objective: Objective, rows: int, fit: Fit) -> int:
    """Rows of a step, at most all that there are; or prompts, which may repeat."""
    return fit.batch_size if objective.on_policy else min(fit.batch_size, rows)


def choose_steps(objective: Objective, rows: int, fit: Fit, batch_size: int,
                 epochs: float | None = None) -> int:
    """Optimizer steps: PASSES over the rows, or more if the Fit demands it."""
    steps = max(1, round((epochs or PASSES) * rows / batch_size))
    if not epochs:
        low, high = fit.least
        steps = max(steps, min(high, max(low, STEPS_PER_ROW * rows)))
    return steps * objective.passes             # a rollout is used that often


def with_beta(objective: Objective, data: list[Encoded]) -> Objective:
    """UNA or UFT from scores, with the beta that suits the length of the answers: 1 / median, from
    .01 to .1. A score is reached after some 1 / beta nats of the whole answer (una.py)."""
    if getattr(objective, "feedback", "") != "score":
        return objective
    median = statistics.median(t.mask.sum() for e in data for t in e.seqs.values())
    beta = float(f"{min(0.1, max(0.01, 1 / median)):.2g}")
    say(f"beta {beta:g} suits answers of {median:g} tokens, the median (--beta changes it)")
    return replace(objective, **{"beta": beta})
