"""Seeds of the steps, rows and rollouts of a run. Others, as of new weights, stand in their files.

A seed depends on --seed and on the number of a step, a row or a rollout, never on earlier draws. So
a resumed run draws what it would have drawn without the break. A single number seeds torch, a list
seeds numpy: [seed, ORDER]. A changed formula moves every committed figure.
"""
import random
from typing import Any

import numpy as np
import torch
from torch import Tensor

TORCH_SEEDS = 2**63         # torch takes 63 bits; a seed such as 20261120 is multiplied twice
STEPS = 1_000_003           # a prime above the steps of most runs, and above the rows of a step
CHUNKS = 1_009              # a prime above the chunks in which answers are sampled
# what numpy draws, as the second number of its seed: the rows of each step, where in the context a
# row begins (pretrain.py), which matrices are frozen (hft.py), demonstrations beside answers
ORDER, WINDOW, HALF, DEMOS = 7, 11, 13, 17


# ---- training ------------------------------------------------------------------------------------
def step_seed(seed: int, step: int) -> int:
    """Batch.seed; all micro-batches of a step share it."""
    return seed * STEPS + step


def row_seed(batch_seed: int, row: int) -> int:
    return batch_seed * STEPS + row + 1


# ---- sampled answers: each chunk has random numbers of its own -----------------------------------
def chunk_seed(seed: int, chunk: int) -> int:
    return (seed * CHUNKS + chunk) % TORCH_SEEDS


def rollout_seed(seed: int, rollout: int, chunk: int) -> int:
    return chunk_seed(step_seed(seed, rollout), chunk)


# ---- draws that do not depend on how a step is cut into micro-batches ----------------------------
def uniform_rows(batch: Any, B: int, T: int, device: Any = "cpu") -> Tensor:
    """(B,T) draws in [0,1). They depend on a row's number in the step, not on its micro-batch. A
    GPU draws other numbers than a CPU."""
    seeds = [row_seed(batch.seed, batch.offset + i) for i in range(B)]
    return torch.stack([torch.rand(T, device=device, generator=generator(seed, device))
                        for seed in seeds])


def seed_globals(seed: int) -> None:
    """Seed what nothing here draws from, but an objective or a reward of your own may: the global
    generators of Python, numpy and torch."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed % TORCH_SEEDS)


def generator(seed: int, device: Any = "cpu") -> torch.Generator:
    return torch.Generator(device).manual_seed(seed % TORCH_SEEDS)
