"""Two parts of the model, computed faster. gpt.py can be read without this file.

`logp_` makes log-probs of given targets from logits: here half precision ends, and fp32 begins. It
is minus cross entropy. Its _ says, as in PyTorch, that the argument is lost: large logits are read
in chunks and overwritten.

`Products` is autocast on a CPU: PyTorch 2.13's bf16 attention is slow there for short rows.
"""
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

LARGE = 2**24                                   # logits: 64 MB in fp32
PART = 2**22                                    # logits of one chunk, sized for a CPU's cache
SHORT = 512             # tokens: shorter rows compute their attention in fp32 on a CPU


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
class Products(TorchFunctionMode):
    """torch.autocast on a CPU, with the attention of short rows in fp32. In bf16 the backward pass
    of attention took 9 times as long for 32 rows of 40 tokens with the shipped base's heads, nearly
    twice as long for rows of 128 with SmolLM2's, and less from 512 on (AMD EPYC, PyTorch 2.13)."""

    def __init__(self, dtype: torch.dtype):
        super().__init__()
        self.autocast = torch.autocast("cpu", dtype, cache_enabled=False)
        self.exact = torch.autocast("cpu", enabled=False)

    def __enter__(self) -> "Products":
        self.autocast.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self.autocast.__exit__(*error)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not F.scaled_dot_product_attention or args[0].shape[-2] >= SHORT:
            return func(*args, **(kwargs or {}))

        def exact(x: Any) -> Any:
            return x.float() if isinstance(x, Tensor) and x.is_floating_point() else x
        how = {name: exact(x) for name, x in (kwargs or {}).items()}
        with self.exact:
            return func(*map(exact, args), **how)
