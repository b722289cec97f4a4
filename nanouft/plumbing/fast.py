"""Log-probs of given targets from logits: here half precision ends, and fp32 begins.

`logp` is minus cross entropy. Large logits are read in chunks and overwritten, so gpt.py can be
read without this file.
"""
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

LARGE = 2**24                                   # logits: 64 MB in fp32
PART = 2**22                                    # logits of one chunk, sized for a CPU's cache


def logp(logits: Tensor, targets: Tensor) -> Tensor:
    """(N,V) logits, (N,) targets -> (N,) nats: minus F.cross_entropy, at least in fp32.
    Large logits are overwritten: with V = 50,000 a row takes 200 KB, and F.cross_entropy keeps
    three copies of it (logits, log-softmax, gradient). After that only one backward pass is
    possible."""
    if logits.numel() < LARGE or torch.compiler.is_compiling():     # compiled, it takes as little
        logits = logits if logits.dtype == torch.float64 else logits.float()
        return -F.cross_entropy(logits, targets, reduction="none")
    return InPlace.apply(logits, targets)


class InPlace(torch.autograd.Function):
    """Writes the log-softmax over the logits, and the gradient over the log-softmax. Logits of half
    precision stay until the backward pass, which computes their log-softmax again: in fp32, a chunk
    at a time, so it is never whole in memory."""
    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor) -> Tensor:
        n, nats = rows_at_once(logits), []
        for part, y in zip(logits.split(n), targets.split(n)):
            log_p = in_fp32(part)
            nats.append(log_p.gather(1, y[:, None])[:, 0])
            if log_p.dtype == part.dtype:
                part.copy_(log_p)
        ctx.logits, ctx.targets = logits, targets
        return torch.cat(nats)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """grad (N,) -> (N,V): row i is grad_i * (1 at its target - p)."""
        logits, ctx.logits = ctx.logits, None
        if logits is None:
            raise RuntimeError("a second backward pass through one forward: the log-probs of so "
                               "large a batch are overwritten in the first; call forward again")
        n = rows_at_once(logits)
        for part, y, g in zip(logits.split(n), ctx.targets.split(n), grad.split(n)):
            log_p = part if part.dtype == grad.dtype else in_fp32(part)
            at_target = torch.zeros_like(log_p).scatter_(1, y[:, None], g[:, None])
            part.copy_(torch.ops.aten._log_softmax_backward_data(at_target, log_p, 1, log_p.dtype))
        return logits, None


def in_fp32(logits: Tensor) -> Tensor:
    """Their log-softmax, at least in fp32. On a card one kernel reads half precision and writes
    fp32."""
    wide = logits.dtype if logits.dtype == torch.float64 else torch.float32
    return logits.log_softmax(-1, dtype=wide)


def rows_at_once(x: Tensor) -> int:
    """Rows in one chunk. A GPU takes more at once, so launching kernels costs little."""
    return max(1, (PART if x.device.type == "cpu" else 16 * PART) // x.shape[1])
