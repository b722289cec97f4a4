"""Faster and smaller versions of two operations of gpt.py, which can be read without this file.

`logp` computes the log-probs of given targets from logits; large logits are read in chunks and
overwritten. `by_onednn` lends faster linear layers to a model that answers many prompts.
"""
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

ROWS = 64               # prompts that are answered together: with fewer oneDNN loses time


@contextmanager
def by_onednn(model: Any, rows: int) -> Iterator[None]:
    """In this block oneDNN computes the layers of a GPT that answers this many prompts together. It
    is used where it pays: from ROWS prompts on, in fp32, on a CPU with AVX-512. It is a private
    operation of PyTorch, equal up to rounding."""
    weight, swapped = model.wte.weight, list[tuple[Any, str, Callable]]()
    other = rows < ROWS or weight.device.type != "cpu" or weight.dtype != torch.float32
    if onednn_is_faster() and not other:
        swapped = [(m, "forward", linear) for m in model.modules() if type(m) is nn.Linear]
        swapped += [(block.mlp, "forward", mlp) for block in model.h]
        swapped += [(model, "head", head)]
    for module, name, fast in swapped:
        setattr(module, name, partial(fast, module))
    try:
        yield
    finally:
        for module, name, _ in swapped:
            delattr(module, name)                       # that of its class again


def linear(layer: nn.Linear, x: Tensor) -> Tensor:
    return product(x, layer.weight, layer.bias)


def mlp(layer: Any, x: Tensor) -> Tensor:
    return linear(layer.c_proj, product(x, layer.c_fc.weight, layer.c_fc.bias, "gelu"))


def head(model: Any, hidden: Tensor) -> Tensor:
    return product(hidden, model.wte.weight)


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None, then: str = "none") -> Tensor:
    """x (...,K), weight (N,K), bias (N,) -> (...,N)"""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, then, [], "tanh")


def onednn_is_faster() -> bool:
    """True if this CPU has AVX-512; with AVX2 MKL is faster."""
    return torch.backends.mkldnn.is_available() and (
        torch.backends.cpu.get_cpu_capability() == "AVX512")


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
