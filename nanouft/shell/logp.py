"""Log-probs of given targets: F.cross_entropy with another sign, and less memory where the logits are large.

    nats = logp(logits, targets)                # (N,V), (N,) -> (N,); large logits are overwritten

With V = 50,000 a row of logits takes 200 KB. F.cross_entropy keeps three such rows: logits, log-softmax and gradient.
`InPlace` writes the second over the first and the third over the second. The numbers are the same, bit for bit; but
there can be one backward pass only. `python -m lab.bench --only memory` measures both.
"""
import math

import torch
import torch.nn.functional as F
from torch import Tensor

LARGE = 2**24                                   # logits: 64 MB in fp32
PART = 2**22                                    # that many are worked on at once


def logp(logits: Tensor, targets: Tensor) -> Tensor:
    if logits.dtype != torch.float64:
        logits = logits.float()                 # losses are never below fp32
    if logits.numel() < LARGE or torch.compiler.is_compiling():     # a compiled one takes as little by itself
        return -F.cross_entropy(logits, targets, reduction="none")
    return InPlace.apply(logits, targets)


class InPlace(torch.autograd.Function):
    @staticmethod
    def forward(ctx, logits: Tensor, targets: Tensor) -> Tensor:
        for part in logits.split(rows_at_once(logits)):
            part.copy_(part.log_softmax(-1))
        ctx.log_p, ctx.targets = logits, targets
        return logits.gather(1, targets[:, None])[:, 0]

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        """grad (N,) -> (N,V): row i is grad_i * (1 at its target - p)."""
        log_p, ctx.log_p = ctx.log_p, None
        if log_p is None:
            raise RuntimeError("a second backward pass through one forward: the log-probs of so large a batch are "
                               "overwritten in the first; call forward again")
        n = rows_at_once(log_p)
        for part, y, g in zip(log_p.split(n), ctx.targets.split(n), grad.split(n)):
            at_target = torch.zeros_like(part).scatter_(1, y[:, None], g[:, None])
            part.copy_(torch.ops.aten._log_softmax_backward_data(at_target, part, 1, part.dtype))
        return log_p, None


def rows_at_once(x: Tensor) -> int:
    return max(1, PART // x.shape[1])


# ---- the places that are paid for ------------------------------------------------------------------------------------
def pick(x: Tensor, at: Tensor | None) -> Tensor:
    """(B,T,...) -> (N,...): x at these places of its flattened (B,T); at None: all of x."""
    return x if at is None else x.flatten(0, 1).index_select(0, at)


def put_back(values: Tensor, at: Tensor | None, shape: tuple[int, ...]) -> Tensor:
    """(N,) values -> (B,T): back to the places where `pick` found them, 0 elsewhere."""
    if at is None:
        return values
    return values.new_zeros(math.prod(shape)).index_copy(0, at, values).view(shape)
