"""Defaults for what the flags leave open: learning rate, batch size, steps, and a beta.

    lr, batch_size, steps = choose_hyperparameters(cfg, objective, rows, model)
    objective = with_beta(objective, data)      # for scores: from the length of the answers

And the optimizer of a run, with the schedule of its learning rate.
"""
import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn as nn

from nanouft.data.batches import Encoded
from nanouft.objective import Objective
from nanouft.plumbing.errors import UserError, flag
from nanouft.plumbing.printing import quantity, say
from nanouft.run.config import RunConfig

WIDTH = 128                 # of the model for which the default learning rates were chosen
DEFAULT_EPOCHS = 3          # over the rows; more passes learn a small file by heart (docs/data.md)
SMALL_STEP = 8              # rows of a step: small steps make more steps out of DEFAULT_EPOCHS
FEW_PROMPTS = 4             # prompts of a step, because each has several answers
MIN_STEPS = (20, 20)        # fewer steps change nothing
MIN_STEPS_DEMOS = (200, 400)    # the same for a narrow model and few demonstrations:
STEPS_PER_ROW = 10          # this many for each row, but within these two bounds
MAX_LR_FEEDBACK = 3e-5      # for pairs and grades: a higher rate makes answers worse
VALUE_TIMES = 30            # PPO's value head learns at this many times the learning rate

Schedule = Callable[[int], float]       # number of a step -> its learning rate


@dataclass(frozen=True)
class Defaults:
    """Values for a run whose flags leave them open."""
    batch_size: int                 # rows of a step, or prompts if the model samples
    min_steps: tuple[int, int]      # least number of steps, within these bounds
    lr_factor: float = 1            # factor of the method's learning rate
    max_lr: float = math.inf        # highest learning rate, for a model as wide as the base


DEFAULTS = Defaults(32, (1, 1))     # NanoWorld, or a large file of yours
DEFAULTS_FOR = {                    # (rows or model, what the method learns from) -> Defaults
    ("few rows", "demonstrations"): Defaults(SMALL_STEP, MIN_STEPS_DEMOS, lr_factor=4),
    ("few rows", "feedback"): Defaults(SMALL_STEP, MIN_STEPS, max_lr=MAX_LR_FEEDBACK),
    ("wide model", "demonstrations"): Defaults(SMALL_STEP, MIN_STEPS),  # 4 taught SmolLM2 no more
    ("wide model", "feedback"): Defaults(SMALL_STEP, MIN_STEPS, max_lr=MAX_LR_FEEDBACK),
    ("wide model", "prompts"): Defaults(FEW_PROMPTS, MIN_STEPS)}


def choose_hyperparameters(cfg: RunConfig, objective: Objective, rows: int,
                           model: Any) -> tuple[float, int, int]:
    """(learning rate, batch size, steps): what the flags say, or else the defaults. UserError if a
    step would have more rows than there are, or be cut into more micro-batches than it has rows."""
    defaults = choose_defaults(objective, rows, model) if cfg.data else DEFAULTS
    most = math.inf if objective.on_policy else rows        # prompts may repeat in a step
    batch_size = cfg.batch_size or int(min(defaults.batch_size, most))
    if batch_size > most:
        raise UserError(flag("batch_size"), f" {batch_size}: the data has only "
                        f"{quantity(rows, 'rows')} to train on; give at most {rows:,}")
    if cfg.accumulate > (of_step := batch_size * objective.samples):
        raise UserError(flag("accumulate"), f" {cfg.accumulate}: a step has only "
                        f"{quantity(of_step, 'rows')}; give at most {of_step:,}, or a larger ",
                        flag("batch_size"))
    steps = cfg.steps or choose_steps(objective, rows, defaults, batch_size, cfg.epochs)
    return cfg.lr or learning_rate(objective, model, defaults, cfg.lora > 0), batch_size, steps


def choose_defaults(objective: Objective, rows: int, model: Any) -> Defaults:
    """The defaults for your rows. A model wider than the base has its own. So have few rows, which
    means: DEFAULT_EPOCHS over them in batches of DEFAULTS are fewer than their min_steps."""
    learns_from = ("prompts" if objective.on_policy else
                   "demonstrations" if objective.kinds() == ["demos"] else "feedback")
    if model.cfg.n_embd > WIDTH:
        return DEFAULTS_FOR["wide model", learns_from]
    few = DEFAULTS_FOR.get(("few rows", learns_from), DEFAULTS)
    return few if DEFAULT_EPOCHS * rows < few.min_steps[0] * DEFAULTS.batch_size else DEFAULTS


def learning_rate(objective: Objective, model: Any, defaults: Defaults = DEFAULTS,
                  lora: bool = False) -> float:
    """The peak of the learning rate if --lr is not given: Objective.lr of the method, changed by
    the model's width, LoRA, few demonstrations, and a limit for feedback. warmup_cosine makes
    the rate of each step from it; a value head learns faster (make_optimizer)."""
    lr = objective.lr * WIDTH / model.cfg.n_embd            # twice as wide, half the rate
    lr *= 10 if lora else defaults.lr_factor                # LoRA's matrices are thin
    return lr * min(1, defaults.max_lr / objective.lr)


def choose_steps(objective: Objective, rows: int, defaults: Defaults, batch_size: int,
                 epochs: float | None) -> int:
    """Optimizer steps: DEFAULT_EPOCHS over the rows, or more if the defaults demand it."""
    steps = max(1, round((epochs or DEFAULT_EPOCHS) * rows / batch_size))
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
    say(f"beta {beta:g}, chosen for responses of {median:g} tokens, the median (--beta changes it)")
    return replace(objective, **{"beta": beta})


# ---- the optimizer and its learning-rate schedule ------------------------------------------------
def make_optimizer(model: nn.Module, lr: float, fused: bool | None = None) -> torch.optim.Optimizer:
    """AdamW without weight decay. A value head is new on a trained model, so it learns faster.
    fused: one kernel for a step, or not; None is PyTorch's choice."""
    named = [(name.startswith("value_head."), p) for name, p in model.named_parameters()
             if p.requires_grad]
    groups: list[dict] = [{"params": [p for is_head, p in named if not is_head]}]
    if head := [p for is_head, p in named if is_head]:
        groups.append({"params": head, "lr": lr * VALUE_TIMES, "times": VALUE_TIMES})
    return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.95), weight_decay=0.0, fused=fused)


def warmup_cosine(peak: float, steps: int, share: float) -> Schedule:
    """Linear up to `peak` over this share of the steps, then half a cosine down to 0. For a run."""
    up = max(1, round(share * steps))
    down = max(1, steps - up)

    def schedule(number: int) -> float:
        if number < up:
            return peak * ((number + 1) / up)
        return peak * (0.5 * (1 + math.cos(math.pi * (number - up) / down)))
    return schedule
