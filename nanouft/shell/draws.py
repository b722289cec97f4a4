"""Random numbers of a step of training, the same however the step is cut into pieces."""
import torch
from torch import Tensor

from nanouft.shell.streams import TORCH_SEEDS, row_seed


def normal_draw(batch) -> float:
    """One N(0,1) draw, the same for the whole step."""
    return torch.randn((), generator=generator(batch.seed)).item()


def uniform_rows(batch, B: int, T: int, device="cpu") -> Tensor:
    """(B,T) draws in [0,1), by a row's place in the step, whichever piece holds it. A GPU draws others than a CPU."""
    seeds = [row_seed(batch.seed, batch.offset + i) for i in range(B)]
    return torch.stack([torch.rand(T, device=device, generator=generator(seed, device)) for seed in seeds])


def generator(seed: int, device="cpu") -> torch.Generator:
    return torch.Generator(device).manual_seed(seed % TORCH_SEEDS)
