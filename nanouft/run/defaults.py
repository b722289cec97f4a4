"""The defaults of a run: learning rate, batch size, steps and beta if the flags leave them open.

    defaults = choose_defaults(objective, len(data), model)
    rate = learning_rate(objective, model, defaults)    # all that decides it is in there
    batch_size = choose_batch_size(objective, len(data), defaults)
    steps = choose_steps(objective, len(data), defaults, batch_size)
"""
import math
import statistics
from dataclasses import dataclass, replace
from typing import Any

from nanouft.data.batches import Encoded
from nanouft.objective import Objective
from nanouft.plumbing.printing import say

WIDTH = 128                 # of the model for which the default learning rates were chosen
PASSES = 3                  # over the rows; more passes learn a small file by heart (docs/data.md)
SMALL_STEP = 8              # rows of a step: small steps make more steps out of PASSES
FEW_PROMPTS = 4             # prompts of a step, because each has several answers
MIN_STEPS = (20, 20)        # fewer steps change nothing
MIN_STEPS_DEMOS = (200, 400)    # the same for a narrow model and few demonstrations:
STEPS_PER_ROW = 10          # this many for each row, but within these two bounds
MAX_LR_FEEDBACK = 3e-5      # for pairs and grades: a higher rate makes answers worse


@dataclass(frozen=True)
class Defaults:
    """Values for a run whose flags leave them open."""
    batch_size: int                 # rows of a step, or prompts if the model samples
    min_steps: tuple[int, int]      # least number of steps, within these bounds
    lr_factor: float = 1            # factor of the method's learning rate
    max_lr: float = math.inf        # highest learning rate, for a model as wide as the base


DEFAULTS = Defaults(32, (1, 1))     # NanoWorld, or a large file of yours
DEFAULTS_FOR = {                    # (why not DEFAULTS, what the method learns from) -> Defaults
    ("few rows", "demonstrations"): Defaults(SMALL_STEP, MIN_STEPS_DEMOS, lr_factor=4),
    ("few rows", "feedback"): Defaults(SMALL_STEP, MIN_STEPS, max_lr=MAX_LR_FEEDBACK),
    ("wide model", "demonstrations"): Defaults(SMALL_STEP, MIN_STEPS),  # 4 taught SmolLM2 no more
    ("wide model", "feedback"): Defaults(SMALL_STEP, MIN_STEPS, max_lr=MAX_LR_FEEDBACK),
    ("wide model", "prompts"): Defaults(FEW_PROMPTS, MIN_STEPS)}


def choose_defaults(objective: Objective, rows: int, model: Any) -> Defaults:
    """The defaults for your rows. A model wider than the base has its own. So have few rows, which
    means: PASSES over them in batches of DEFAULTS are fewer than their min_steps."""
    learns_from = ("prompts" if objective.on_policy else
                   "demonstrations" if objective.kinds() == ["demos"] else "feedback")
    if model.cfg.n_embd > WIDTH:
        return DEFAULTS_FOR["wide model", learns_from]
    few = DEFAULTS_FOR.get(("few rows", learns_from), DEFAULTS)
    return few if PASSES * rows < few.min_steps[0] * DEFAULTS.batch_size else DEFAULTS


def learning_rate(objective: Objective, model: Any, defaults: Defaults = DEFAULTS,
                  lora: bool = False) -> float:
    """The peak of the learning rate. Four things change the method's own: the model's width, LoRA,
    few demonstrations, and a limit for feedback.
    A value head learns faster (loop.make_optimizer); `warmup_cosine` has the rate of each step."""
    rate = objective.lr * WIDTH / model.cfg.n_embd          # twice as wide, half the rate
    rate *= 10 if lora else defaults.lr_factor              # LoRA's matrices are thin
    return rate * min(1, defaults.max_lr / objective.lr)


def choose_batch_size(objective: Objective, rows: int, defaults: Defaults) -> int:
    """Rows of a step, at most all that there are; or prompts, which may repeat."""
    return defaults.batch_size if objective.on_policy else min(defaults.batch_size, rows)


def choose_steps(objective: Objective, rows: int, defaults: Defaults, batch_size: int,
                 epochs: float | None = None) -> int:
    """Optimizer steps: PASSES over the rows, or more if the defaults demand it."""
    steps = max(1, round((epochs or PASSES) * rows / batch_size))
    if not epochs:
        low, high = defaults.min_steps
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
