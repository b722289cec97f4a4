"""Parts of the model, computed faster. gpt.py can be read without this file.

`logp_` makes log-probs of given targets from logits: here half precision ends, and fp32 begins. It
is minus cross entropy. Its _ says, as in PyTorch, that the argument is lost: large logits are read
in chunks and overwritten.

`attend` and `layer_norm` replace rules of autocast on a CPU, where bf16 is slow or too coarse.
"""
import warnings
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

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
            raise RuntimeError("a second backward pass through one forward: the log-probs of so "
                               "large a batch are overwritten in the first; call forward again")
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


def attend(*args: Any, **more: Any) -> Tensor:
    """F.scaled_dot_product_attention under autocast on a CPU: of short rows in fp32. In bf16 it
    takes, with its backward pass, 3.5 times as long for 40 tokens with heads of 64 numbers, 1.8
    times for 128, 1.1 times for 256, and from 384 on no longer more (AMD EPYC, PyTorch 2.13)."""
    tokens, width = args[0].shape[-2:]
    dtype = torch.float32 if tokens * width < LONG else torch.get_autocast_dtype("cpu")
    return compute(F.scaled_dot_product_attention, dtype, args, more)


def layer_norm(*args: Any, **more: Any) -> Tensor:
    """torch.layer_norm under autocast on a CPU: in fp32, as on a card."""
    return compute(torch.layer_norm, torch.float32, args, more)


def compute(op: Any, dtype: torch.dtype, args: Any, more: Any) -> Tensor:
    """The operation with all floats in this precision; fp64 stays, as in PyTorch's own rules."""
    def cast(x: Any) -> Any:
        floats = isinstance(x, Tensor) and x.is_floating_point() and x.dtype != torch.float64
        return x.to(dtype) if floats else x
    with torch.autocast("cpu", enabled=False):
        return op(*map(cast, args), **{name: cast(x) for name, x in more.items()})


# They take the places of PyTorch's own rules for autocast on CPUs, and no others. So they also hold
# in models of transformers, and where a block is computed again for its gradient.
RULES = torch.library.Library("aten", "IMPL")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")                     # PyTorch says that a rule is replaced
    RULES.impl("scaled_dot_product_attention", attend, "AutocastCPU")
    RULES.impl("layer_norm", layer_norm, "AutocastCPU")
