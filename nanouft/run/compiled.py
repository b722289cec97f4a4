"""train --compile: each block of the network becomes compiled code, for the steps alone.

    net = CompiledBlocks(model)         # called as the model is; it trains the model's own weights

All blocks share their code, so torch.compile has to read one of them, and the first step comes
within seconds. Everything around the blocks stays ordinary Python, as do sampling and scoring, for
which the model itself is called.
"""
from typing import Any

import torch
import torch.nn as nn

from nanouft.plumbing.errors import UserError


class CompiledBlocks:
    """The model, with its blocks replaced by compiled ones while it is called."""

    def __init__(self, model: Any, backend: str = "inductor"):
        self.model = model
        self.fast = [(block, torch.compile(block.forward, dynamic=True, backend=backend))
                     for block in blocks_of(model)]

    def __call__(self, *args: Any, **more: Any) -> torch.Tensor:
        from torch._dynamo.exc import TorchDynamoException
        for block, forward in self.fast:
            block.forward = forward
        try:
            return self.model(*args, **more)
        except TorchDynamoException as e:
            why = " ".join(str(e).split())[:200]
            raise UserError("--compile: PyTorch's compiler fails; leave --compile out (it needs "
                            f"Triton on a GPU, and a C++ compiler on a CPU): {why}") from e
        finally:
            for block, _ in self.fast:
                del block.forward                       # that of its class again

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)                # parameters, cfg, wte ...


def blocks_of(model: Any) -> nn.ModuleList:
    """The blocks of our GPT, or the layers of a model of transformers."""
    return next(part for part in model.modules()
                if isinstance(part, nn.ModuleList) and len(part) == model.cfg.n_layer)
