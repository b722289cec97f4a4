"""train --record: on CUDA the trunk (embeddings -> final states) is launched as one graph.

    net = RecordedTrunk(model)          # called as the model is; it trains the model's own weights

A small model's step waits for Python to launch thousands of kernels. A graph launches them all at
once, for one shape of its input. Rows are padded to a few lengths, so there are few shapes; head,
log-probs and loss stay ordinary Python. A graph works in memory of its own, so four rules hold:
until the backward pass of a recorded forward all others are plain; no gradient is None, or autograd
would keep the graph's own as p.grad; weights that have moved are recorded anew; and a new graph is
compared with the plain trunk first. Whatever goes wrong, the run goes on without graphs.
"""
import warnings
from collections.abc import Callable
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from nanouft.plumbing.printing import say

WIDTH = 64      # rows are padded to a multiple of this
MOST = 8        # graphs of a run; each keeps gradients of its own. Other shapes stay plain
NEAR = {False: 1e-3, True: 0.1}     # largest gap between a graph and the plain trunk: rounding,
#   in fp32 and in half precision, where attention may use another kernel. A wrong graph is off by 1


class Trunk(nn.Module):
    """A function and the parameters that it reads, as make_graphed_callables wants them."""

    def __init__(self, forward: Callable[[Tensor], Tensor], parameters: list[nn.Parameter]):
        super().__init__()
        self.read, self.plain = nn.ParameterList(parameters), forward

    def forward(self, x: Tensor) -> Tensor:
        return self.plain(x)


class RecordedTrunk:
    """The model, with its trunk replaced by graphs while it is called. `net` calls the model: the
    model itself, or CompiledBlocks."""

    def __init__(self, model: Any, net: Any = None):
        self.model, self.net, self.blocks = model, net or model, model._blocks
        self.trained = [p for p in model.parameters() if p.requires_grad]
        self.graphs, self.most = dict[tuple, Any](), MOST
        self.pool: Any = None           # the memory that all graphs share
        self.waits: object = None       # the recorded forward whose backward has not come yet

    def __call__(self, *args: Any, **more: Any) -> Tensor:
        self.model._blocks = self.trunk
        try:
            return self.net(*args, **more)
        finally:
            del self.model._blocks                      # that of its class again

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)                # parameters, cfg, wte ...

    def plain(self, x: Tensor) -> Tensor:
        return self.blocks(x, None, None, None)

    def trunk(self, x: Tensor, *others: Any) -> Tensor:
        """As GPT._blocks. Padding on the right changes nothing: causal attention never sees it."""
        if any(other is not None for other in others):          # positions, cache, left padding
            return self.blocks(x, *others)
        T = x.shape[1]
        x = F.pad(x, (0, 0, 0, max(0, min(-T % WIDTH, self.model.cfg.n_ctx - T))))
        graph = self.graph_of(x) if torch.is_grad_enabled() and self.waits is None else None
        if graph is None:
            return self.plain(x)[:, :T]
        for p in (without := [p for p in self.trained if p.grad is None]):
            p.grad = torch.empty_like(p)
        if without:
            torch._foreach_zero_([p.grad for p in without])
        hidden = graph(x if x.requires_grad else x.detach().requires_grad_())
        mine = self.waits = object()
        hidden.register_hook(lambda grad: self.end_wait(mine))
        return hidden[:, :T].clone()                    # the graph will write over its own

    def end_wait(self, forward: object) -> None:
        if self.waits is not forward:
            raise RuntimeError("--record: a second backward pass through one forward, which a "
                               "graph cannot make; leave --record out")
        self.waits = None

    def graph_of(self, x: Tensor) -> Any:
        """The graph for this input, recorded now if it is the first of its kind; or None."""
        key = (x.shape, x.dtype, torch.is_autocast_enabled(x.device.type),
               *(p.data_ptr() for p in self.trained))
        if key not in self.graphs and len(self.graphs) < self.most:
            self.graphs[key] = self.record(x)
        return self.graphs.get(key)

    def record(self, x: Tensor) -> Any:
        warnings.filterwarnings("ignore", "The AccumulateGrad node's stream")   # it costs little
        try:
            with torch.cuda.stream(torch.cuda.current_stream()):    # also after a failure
                self.pool = self.pool or torch.cuda.graph_pool_handle()
                graph: Any = torch.cuda.make_graphed_callables(
                    Trunk(self.plain, self.trained), (torch.zeros_like(x, requires_grad=True),),
                    allow_unused_input=True, pool=self.pool)
                off = self.gap(graph, x.detach().requires_grad_())
            near = NEAR[torch.is_autocast_enabled(x.device.type)]
            why = "" if off < near else f"its numbers are off by {off:.0e}"
        except Exception as e:                  # no memory, or a model that cannot be recorded
            why = " ".join(f"{type(e).__name__}: {e}".split())[:200]
        shape, held = f"{x.shape[0]} rows of {x.shape[1]} tokens", torch.cuda.memory_reserved()
        if not why:
            say(f"recorded {shape}; {held / 2**30:.1f} GiB are reserved", write=tqdm.write)
            return graph
        self.graphs.clear()                     # gives their memory back
        self.most = 0
        say(f"--record: goes on without graphs, after {shape}: {why}", write=tqdm.write)
        return None

    def gap(self, graph: Callable[[Tensor], Tensor], x: Tensor) -> float:
        """How far a graph is from the plain trunk: the relative gaps of states and of gradients,
        added."""
        wanted, found = self.plain(x), graph(x)
        slope = wanted.detach().roll(1, -1) / x[..., 0].numel()**0.5
        slopes = [torch.autograd.grad(y, [x, *self.trained], slope, allow_unused=True)
                  for y in (wanted, found)]
        used = [(a, b) for a, b in zip(*slopes) if a is not None]       # not embeddings, head
        return sum(float(norm([a - b for a, b in some]) / norm([a for a, _ in some]))
                   for some in ([(wanted, found)], used))


def norm(tensors: list[Tensor]) -> Tensor:
    return torch.stack([x.detach().float().norm() for x in tensors]).norm()
