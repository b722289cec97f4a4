"""The project's own losses as reference solutions: numbers of a task as the Seqs that a loss
reads."""
import torch
from torch import Tensor

from nanouft.objective import Seqs


def seqs(logp: Tensor, mask: Tensor | None = None, **columns: Tensor) -> Seqs:
    """logp (B,T) -> Seqs. Without a mask all places are response tokens. `columns`:
    ref_logp=, sampled_logp= ..., (B,T)."""
    mask = torch.ones_like(logp) if mask is None else mask
    return Seqs(mask, mask, mask, mask, logp=logp, **columns)
