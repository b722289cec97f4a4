"""Random numbers of a step of training, the same however the step is cut into pieces."""
import torch
from torch import Tensor

from nanouft.shell.streams import TORCH_SEEDS, row_seed


def normal_draw(batch) -> float:
    """One N(0,1) draw, the same for the whole step."""
    return torch.randn((), generator=generator(batch.seed)).item()


def uniform_rows(batch, B: int, T: int) -> Tensor:
    """(B,T) draws in [0,1). They depend on a row's place in the step, not on the piece that holds it."""
    seeds = [row_seed(batch.seed, batch.offset + i) for i in range(B)]
    return torch.stack([torch.rand(T, generator=generator(seed)) for seed in seeds])


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed % TORCH_SEEDS)
