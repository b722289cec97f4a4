"""The longest step of a run, rehearsed on a card before anything long begins.

    rehearse(plan, net, lambda: longest_step(plan, plan.train, tok.pad), device)

It is a forward and a backward pass beside the memory that AdamW will hold. Weights stay as they
are, nothing is logged, and random numbers go on as before. UserError if the card has too little
memory. A run that reads rows has its rehearsal before the start model reads them all.
"""
import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from nanouft.batch import Batch
from nanouft.data.batches import Encoded, RowSource
from nanouft.data.rows import Row
from nanouft.generate import Answer
from nanouft.loop import Device
from nanouft.objective import Objective
from nanouft.plumbing.errors import UserError, out_of_memory
from nanouft.rollout import Rollouts, Sampler
from nanouft.run.plan import Plan


def is_rehearsed(device: Device) -> bool:
    """Only a card. On a CPU a step takes long, and Linux ends a process without an error; there
    memory.py refuses what it estimates to be too much."""
    return device.kind == "cuda"


def rehearse(plan: Plan, net: Any, step: Callable[[], Batch], device: Device) -> None:
    """Forward and backward of the largest micro-batch of `step()`, in the memory of a later step.
    `net` is the model, or the same with compiled blocks."""
    objective = copy.copy(plan.objective)           # what a method counts in itself is not counted
    trained = [p for p in net.parameters() if p.requires_grad]
    try:
        with torch.random.fork_rng([device.name] if device.kind == "cuda" else []):
            moments = [torch.zeros_like(p) for p in trained for _ in range(2)]
            if plan.cfg.accumulate > 1:             # the gradients of micro-batches before it
                for p in trained:
                    p.grad = torch.zeros_like(p)
            largest = max(step().micro_batches(), key=cells).to(device.name)
            with device.autocast():
                objective.forward(net, largest)
            objective.loss(largest)[0].backward()
            del moments
    except (RuntimeError, MemoryError) as e:
        if not out_of_memory(e):
            raise
        raise UserError(f"a rehearsal of the longest step ran out of memory; {remedy(plan, net)}") \
            from None
    finally:
        for p in trained:
            p.grad = None


def remedy(plan: Plan, net: Any) -> str:
    """What takes less memory."""
    less = [] if net.recomputes else ["--activation-checkpointing"]
    less.append(f"--batch-size {max(1, plan.batch_size // 2)}" if plan.objective.coupled else
                f"--accumulate {2 * plan.cfg.accumulate}")
    less += ["--max-new N" if plan.objective.on_policy else "--max-length N" if plan.cfg.data
             else "a smaller model"]
    return f"try {', then '.join(less)}"


def cells(batch: Batch) -> int:
    """Tokens of a micro-batch, padding included."""
    return sum(s.inputs.numel() for s in batch.seqs.values())


# ---- which step is the longest -------------------------------------------------------------------
def knows_its_rows(objective: Objective) -> bool:
    """False if the method writes numbers into its rows first (poft, rpo, sftmix, tis_dpo). Its
    steps are rehearsed after that."""
    return type(objective).prepare is Objective.prepare


def longest_step(plan: Plan, data: list[Encoded], pad: int) -> Batch:
    """The step with the longest row. The start model's log-probs are 0 where they are missing."""
    source, lengths = RowSource(data, plan.batching, pad), np.array([e.length for e in data])
    batch = source(int(lengths[source.order].max(1).argmax()))
    for s in batch.seqs.values():
        s.ref_logp = torch.zeros_like(s.mask) if s.ref_logp is None else s.ref_logp
    return batch


class Longest(Sampler):
    """Nobody samples its answers; all have the greatest length."""

    def sample(self, prompts: list[Encoded], seed: int, rollout: int) -> list[Answer]:
        n = self.max_new
        return [Answer([self.tok.pad] * n, False, [0.0] * n) for _ in prompts]


def longest_rollout(plan: Plan, sampler: Sampler) -> Batch:
    """A step on answers to the longest prompts. Every second answer is good, so no group ties."""
    objective, prompts = copy.copy(plan.objective), [e for e in plan.train if "prompt" in e.seqs]
    prompts.sort(key=lambda e: -len(e.seqs["prompt"].ids))
    asked = prompts[:plan.batch_size * objective.minibatches * objective.oversample]
    demos = [Encoded({"demo": e.seqs["demo"]}, e.row) for e in plan.train if "demo" in e.seqs]

    def score(rows: list[Row], texts: list[str]) -> np.ndarray:
        return np.arange(len(texts)) % 2
    return Rollouts(asked + demos, objective, Longest(**vars(sampler)), score, plan.batching)(0)
