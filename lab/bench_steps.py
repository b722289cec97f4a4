"""Steps of any objective on rows of any length: what bench.py and bench_gpu.py measure.

    learner = Learner("dpo", GPT(GPT2, seed=0), device)
    learner.step(collate(random_rows("dpo", 16, 512, 512, 50_000), range(16), pad))
"""
import itertools
import time

import numpy as np
import torch
from torch import Tensor

from nanouft import train
from nanouft.data.batches import Encoded, Tokens
from nanouft.data.rows import Row
from nanouft.gpt import GPT
from nanouft.loop import Device, steps
from nanouft.objective import REF, Batch
from nanouft.objectives import OBJECTIVES
from nanouft.run.flags import Train


def settings(name: str):
    """Hyper-parameters of an objective; where it asks other models, the shipped base stands for
    each."""
    wanted = OBJECTIVES[name].prerequisite
    return OBJECTIVES[name].hp(**({wanted.setting: ["base"] * len(wanted.commands)}
                                  if wanted else {}))


class Learner:
    """A model, and the steps that train.fit makes: one for each batch that it is given."""

    def __init__(self, name: str, model: GPT, device: Device, hp=None):
        objective, self.model = OBJECTIVES[name], model
        optimizer = train.make_optimizer(model, Train(lr=objective.lr), device)
        self.batches: list[Batch] = []
        self.loop = steps(model, objective, hp or settings(name), lambda number: self.batches.pop(),
                          optimizer, itertools.count(), clip=1.0, device=device)

    def step(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """(loss, norm of the gradient); both wait on the device."""
        self.batches.append(batch)
        made = next(self.loop)
        return made.sums["loss"], made.norm


def random_rows(name: str, n: int, prompt: int, answer: int, vocab: int) -> list[Encoded]:
    """n rows of random ids as objective `name` wants them: demonstrations, pairs or prompts. The
    reference finds every token as likely as any other."""
    objective, rng = OBJECTIVES[name], np.random.default_rng(0)
    roles = (("prompt",) if objective.on_policy
             else ("chosen", "rejected") if objective.data == "pairs" else ("answer",))

    def tokens(role: str) -> Tokens:
        paid = 0 if role == "prompt" else answer
        mask = np.array([0] * prompt + [1] * paid, np.int8)
        ref = (np.full(len(mask) - 1, -np.log(vocab)) * mask[1:]
               if REF in objective.columns else None)
        return Tokens(rng.integers(0, vocab, len(mask), np.int32), mask, ref)
    return [Encoded({role: tokens(role) for role in roles}, Row()) for _ in range(n)]


class Clock:
    """seconds() since the last call; waits for the device first. Of CPU time, where one thread does
    all the work."""

    def __init__(self, device: Device):
        self.device, self.last = device, 0.0
        alone = device.kind == "cpu" and torch.get_num_threads() == 1
        self.now = time.process_time if alone else time.perf_counter
        self.seconds()

    def seconds(self) -> float:
        if self.device.kind == "cuda":
            torch.cuda.synchronize()
        before, self.last = self.last, self.now()
        return self.last - before
