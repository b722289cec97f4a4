"""Decoding on a card: one step over a cache of constant length, recorded once and replayed.

    step = recorded_step(model, cache, attention_mask, pos)    # None: go on without it
    hidden = step(tokens, n)            # the n-th column; as model(tokens, want="hidden", ...)

A step of one token launches hundreds of small kernels, and a card waits for them. A recording
launches them all at once, but no shape in it may grow. So keys and values keep their whole length,
and a mask says how much of them may be read. generate.py can be read without this file.
"""
from typing import Any

import torch
from torch import Tensor


class ConstantCache:
    """gpt.Cache with all its room in use. The place of the new token is a tensor on the device."""

    def __init__(self, kv: Tensor, n: Tensor):
        self.kv, self.n = kv, n                         # (L,2,B,nh,room,hs), (1,)

    def add(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        keys, values = self.kv[layer]
        return keys.index_copy_(2, self.n, k), values.index_copy_(2, self.n, v)


class ConstantStep:
    def __init__(self, model: Any, cache: Any, attention_mask: Tensor, pos: Tensor):
        self.model, self.growing, self.attention_mask, self.pos = model, cache, attention_mask, pos
        self.n = torch.tensor([cache.n], device=pos.device)
        self.tokens = torch.zeros_like(pos[:, :1])
        cache.kv[..., cache.n:, :] = 0                  # 0 times what stood there could be NaN
        self.cache = ConstantCache(cache.kv, self.n)
        self.graph: Any = None                          # the recording
        self.columns = torch.arange(pos.shape[1], device=pos.device)

    def compute(self) -> Tensor:
        """(b,C) final states of the tokens."""
        x = self.model.wte(self.tokens) + self.model.wpe(self.pos.index_select(1, self.n))
        mask = (self.attention_mask & (self.columns <= self.n))[:, None, None]     # (b,1,1,room)
        for layer, block in enumerate(self.model.h):
            x = block(x, mask, self.cache, layer)
        return self.model.ln_f(x)[:, -1]

    def record(self) -> None:
        """As PyTorch's documentation does it: once beside the recording, then recorded."""
        side, now = torch.cuda.Stream(), torch.cuda.current_stream()
        side.wait_stream(now)
        with torch.cuda.stream(side):
            self.compute()
        now.wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.out = self.compute()
        self.graph = graph

    def __call__(self, tokens: Tensor, n: int) -> Tensor:
        self.tokens.copy_(tokens)
        self.n.fill_(n)
        self.growing.n = n + 1
        if self.graph is None:
            return self.compute()
        self.graph.replay()
        return self.out


def is_recorded(model: Any) -> bool:
    """Our own GPT on a card. transformers' models keep their own keys and values."""
    return model.wte.weight.device.type == "cuda" and hasattr(model, "h")


def recorded_step(model: Any, cache: Any, attention_mask: Tensor,
                  pos: Tensor) -> ConstantStep | None:
    """A recorded step. None if it cannot be recorded, or says something else than the plain one."""
    n, step = cache.n, ConstantStep(model, cache, attention_mask, pos)
    plain = model(step.tokens, want="hidden", pos=pos[:, n:n + 1], cache=cache,
                  attention_mask=attention_mask[:, :n + 1])[:, -1]
    try:
        if pos.device.type == "cuda":
            step.record()
        near = torch.allclose(step(step.tokens.clone(), n), plain, 0.05, 0.05 * plain.abs().max())
    except RuntimeError:
        near = False
    cache.n = n                         # the first token overwrites what this trial has written
    return step if near else None
