"""Parts of the model, computed faster. gpt.py can be read without this file.

`logp_` makes log-probs of given targets from logits: here half precision ends, and fp32 begins. It
is minus cross entropy. Its _ says, as in PyTorch, that the argument is lost: large logits are read
in chunks and overwritten.

`attend` is F.scaled_dot_product_attention, and on a CPU in bf16 faster.
"""
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

LARGE = 2**24                                   # logits: 64 MB in fp32
PART = 2**22                                    # logits of one chunk, sized for a CPU's cache


def logp_(logits: Tensor, targets: Tensor) -> Tensor:
    """(N,V) logits, (N,) targets -> (N,) nats: minus F.cross_entropy, at least in fp32.
    Large logits are overwritten: with V = 50,000 a row takes 200 KB, and F.cross_entropy keeps
    three copies of it (logits, log-softmax, gradient). After that only one backward pass is
    possible."""
    logits = logits if logits.dtype == torch.float64 else logits.float()
    if logits.numel() < LARGE or torch.compiler.is_compiling():     # compiled, it takes as little
        return -F.cross_entropy(logits, targets, reduction="none")
    return InPlace.apply(logits, targets)


class InPlace(torch.autograd.Function):
    """Writes the log-softmax over the logits, and the gradient over the log-softmax."""
    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor) -> Tensor:
        for part in logits.split(rows_at_once(logits)):
            part.copy_(part.log_softmax(-1))
        ctx.log_p, ctx.targets = logits, targets
        return logits.gather(1, targets[:, None])[:, 0]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """grad (N,) -> (N,V): row i is grad_i * (1 at its target - p)."""
        log_p, ctx.log_p = ctx.log_p, None
        if log_p is None:
            raise RuntimeError("a second backward pass through one forward: the first pass has "
                               "overwritten the log-probs, to save memory; call forward again")
        n = rows_at_once(log_p)
        for part, y, g in zip(log_p.split(n), ctx.targets.split(n), grad.split(n)):
            at_target = torch.zeros_like(part).scatter_(1, y[:, None], g[:, None])
            part.copy_(torch.ops.aten._log_softmax_backward_data(at_target, part, 1, part.dtype))
        return log_p, None


def rows_at_once(x: Tensor) -> int:
    """Rows in one chunk. A GPU takes more at once, so launching kernels costs little."""
    return max(1, (PART if x.device.type == "cpu" else 16 * PART) // x.shape[1])


# ---- bf16 on a CPU -------------------------------------------------------------------------------
LONG = 384 * 64         # tokens * width of a head: from here on bf16 attention is as fast as fp32


def attend(q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None,
           **more: Any) -> Tensor:
    """F.scaled_dot_product_attention; under autocast on a CPU that of short rows in fp32. In bf16
    it takes up to 3.6 times as long, mostly in its backward pass (docs/benchmarks.md)."""
    half = q.is_cpu and torch.is_autocast_enabled("cpu")
    if not half or q.shape[-2] * q.shape[-1] >= LONG:
        return F.scaled_dot_product_attention(q, k, v, attn_mask, **more)
    if attn_mask is not None and attn_mask.is_floating_point():
        attn_mask = attn_mask.float()
    with torch.autocast("cpu", enabled=False):
        return F.scaled_dot_product_attention(q.float(), k.float(), v.float(), attn_mask, **more)


def with_our_attention() -> AbstractContextManager:
    """Around a forward of transformers under autocast on a CPU: its attention is `attend`. For any
    other forward, at the same time or later, it is PyTorch's."""
    return Attend() if torch.is_autocast_enabled("cpu") else nullcontext()


class Attend(TorchFunctionMode):
    def __torch_function__(self, op: Any, types: Any, args: Any = (), more: Any = None) -> Any:
        return (attend if op is F.scaled_dot_product_attention else op)(*args, **(more or {}))
