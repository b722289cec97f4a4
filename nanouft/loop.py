"""The training loop of every objective: data, forward, loss, update.

    for step in steps(model, objective, source, Update(optimizer), range(100)):
        print(step.done, float(step.sums["loss"]))

It knows nothing about files. The log, checkpoints, evaluation and signals belong to the body of the
caller's `for`. train.py, pretrain.py, reward.py and frozen_lake/train.py all use it. simple.py has
the same loop in 20 lines; read that first.
"""
import contextlib
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from nanouft.batch import Batch
from nanouft.objective import Objective

Schedule = Callable[[int], float]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass
class Step:
    """The results of one optimizer step. The numbers are still on the device."""
    done: int                   # number of steps done, this one included
    sums: dict[str, Tensor]     # the loss and the metrics, summed over the step's micro-batches
    norm: Tensor                # of the gradient, before clipping
    lr: float                   # the learning rate
    tokens: int                 # response tokens of all roles
    tokens_read: int            # all tokens, those of prompts too


@dataclass(frozen=True)
class Device:
    """Where a run computes, and how precisely. run/device.py chooses it."""
    name: str = "cpu"           # cpu | cuda | cuda:1 | mps
    dtype: str = "fp32"         # fp32 | bf16 | fp16: precision of the forward

    @property
    def kind(self) -> str:
        return self.name.split(":")[0]

    def exact(self) -> "Device":
        """The same device without autocast, for held-out rows. On CUDA a bf16 or fp16 run still
        multiplies in TF32 here (choose_device), so its figures are not those of fp32."""
        return Device(self.name)

    def autocast(self) -> contextlib.AbstractContextManager:
        """The context of the forwards of training and of frozen models: products in `dtype`,
        parameters, log-probs, loss and optimizer in fp32. A weight's gradient is such a product,
        rounded once for each micro-batch. (run/device.py lists who else computes in `dtype`.)"""
        if self.dtype == "fp32":
            return contextlib.nullcontext()
        # No weight cache: IFT's forward without gradient would leave copies there, and later
        # forwards would get no gradient through them.
        return torch.autocast(self.kind, DTYPES[self.dtype], cache_enabled=False)


def grad_scaler(device: Device) -> torch.amp.GradScaler:
    """fp16 gradients underflow without a scale; for bf16 and fp32 this does nothing. A step whose
    gradients overflow is skipped. The scale starts at 2^10: there no method loses one of its first
    steps on the shipped base, while SPPO, whose loss squares large numbers, loses one at 2^12. The
    scale doubles after 2,000 steps without an overflow."""
    return torch.amp.GradScaler(device.kind, init_scale=2.0**10, enabled=device.dtype == "fp16")


@dataclass(frozen=True)
class Update:
    """How a gradient changes the weights."""
    optimizer: torch.optim.Optimizer
    schedule: Schedule | None = None    # number of a step -> learning rate [the optimizer's]
    clip: float = math.inf              # largest norm of the gradient
    scaler: torch.amp.GradScaler | None = None  # that of a resumed run [a new one]


def steps(model: nn.Module, objective: Objective, source: Callable[[int], Batch], update: Update,
          numbers: Iterable[int], device: Device = Device()) -> Iterator[Step]:
    """Train `model` in place, one step for each of `numbers` (from 0; a resumed run begins later).

    source(number) is the batch of that step, on the CPU. It is a batches.RowSource (rows of a file)
    or a rollout.Rollouts (answers that the model has just sampled)."""
    optimizer, schedule, autocast = update.optimizer, update.schedule, device.autocast()
    scaler = grad_scaler(device) if update.scaler is None else update.scaler
    for number in numbers:
        # ---- data: the rows of this step, or answers that the model has just sampled
        batch = source(number)
        sums: dict[str, Any] = {}
        for micro_batch in batch.micro_batches():
            micro_batch = micro_batch.to(device.name)
            # ---- forward: writes the log-probs
            with autocast:
                objective.forward(model, micro_batch)
            # ---- loss: divided by the totals of the whole step, so micro-batches add up
            loss, metrics = objective.loss(micro_batch)
            scaler.scale(loss).backward()
            for name, value in {"loss": loss.detach(), **metrics}.items():
                sums[name] = sums.get(name, 0) + value
        # ---- update
        scaler.unscale_(optimizer)
        norm = nn.utils.clip_grad_norm_(model.parameters(), update.clip)
        lr = optimizer.defaults["lr"]
        if schedule is not None:
            lr = schedule(number)
            for group in optimizer.param_groups:
                group["lr"] = lr * group.get("times", 1)        # a group may learn faster
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
        tokens_read = sum(int(s.not_padding.sum()) for s in batch.seqs.values())
        yield Step(number + 1, sums, norm, lr, sum(batch.tokens.values()), tokens_read)


# ---- the optimizer and its learning-rate schedule ------------------------------------------------
VALUE_TIMES = 30        # PPO's value head learns at this many times the learning rate


def make_optimizer(model: nn.Module, lr: float, fused: bool | None = None) -> torch.optim.Optimizer:
    """AdamW without weight decay. A value head is new on a trained model, so it learns faster.
    fused: one kernel for a step, or not; None is PyTorch's choice."""
    named = [(name.startswith("value_head."), p) for name, p in model.named_parameters()
             if p.requires_grad]
    groups: list[dict] = [{"params": [p for is_head, p in named if not is_head]}]
    if head := [p for is_head, p in named if is_head]:
        groups.append({"params": head, "times": VALUE_TIMES})
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


def schedule_of_reward_model(peak: float, steps: int) -> Schedule:
    """Linear up over a tenth of the steps, times a cosine down to 0. For a reward model."""
    def schedule(number: int) -> float:
        up = min(1, 10 * (number + 1) / steps)
        return peak * up * (0.5 * (1 + math.cos(math.pi * number / steps)))
    return schedule


def warmup_linear(peak: float, steps: int) -> Schedule:
    """Up over 60 steps, then constant, then linear down to 0 over the last 60 % of all steps. For
    a base."""
    def schedule(number: int) -> float:
        up = min(1.0, (number + 1) / 60)
        return peak * up * min(1, (steps - number) / (0.6 * steps))
    return schedule
