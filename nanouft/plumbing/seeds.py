"""Seeds of the steps, rows and rollouts of a run. Others, as of new weights, stand in their files.

A seed depends on --seed and on the number of a step, a row or a rollout, never on earlier draws. So
a resumed run draws what it would have drawn without the break. A single number seeds torch, a list
seeds numpy. A changed formula moves every committed figure.
"""
import random
from typing import Any

import numpy as np
import torch
from torch import Tensor

TORCH_SEEDS = 2**63         # torch takes 63 bits; a seed such as 20261120 is multiplied twice
STEPS = 1_000_003           # a prime above the steps of most runs, and above the rows of a step
CHUNKS = 1_009              # a prime above the chunks in which answers are sampled


# ---- training ------------------------------------------------------------------------------------
def step_seed(seed: int, step: int) -> int:
    """Batch.seed; all micro-batches of a step share it."""
    return seed * STEPS + step


def row_seed(batch_seed: int, row: int) -> int:
    return batch_seed * STEPS + row + 1


def order_seed(seed: int) -> list[int]:
    """Which rows are in which step."""
    return [seed, 7]


def demo_seed(seed: int) -> list[int]:
    """Which demonstrations stand beside the answers of which rollout."""
    return [seed, 17]


def minibatch_seed(seed: int, rollout: int, turn: int) -> list[int]:
    """Which answers of a rollout are in which step."""
    return [seed, rollout, turn]


def window_seed(seed: int) -> list[int]:
    """Pretraining: at which position of the context a row begins."""
    return [seed, 11]


def half_seed(seed: int) -> list[int]:
    """Half Fine-Tuning: which matrices are frozen."""
    return [seed, 13]


# ---- sampled answers: each chunk has random numbers of its own -----------------------------------
def chunk_seed(seed: int, chunk: int) -> int:
    return (seed * CHUNKS + chunk) % TORCH_SEEDS


def rollout_seed(seed: int, rollout: int, chunk: int) -> int:
    return chunk_seed(step_seed(seed, rollout), chunk)


# ---- NanoWorld: another seed gives other prompts -------------------------------------------------
def kind_seed(seed: int, kind: int) -> int:
    """Rows of the second kind that a method learns from (kind 1), of the third, and so on. The
    first kind has --seed itself."""
    return seed + 10_000_000 * kind


def document_seed(seed: int) -> int:
    return seed + 1


def held_document_seed(seed: int) -> int:
    return seed + 2_000_000


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
