"""The tangent space: any objective, in the model that is linearised at its start.

    model = TangentGPT(start)                   # a GPT to every objective

Ortiz-Jimenez et al. 2023, arXiv:2305.12827 (the tangent model, adding directions); Erdogan 2026,
arXiv:2602.01128 (TS-DPO: DPO in it, one direction an objective). Of the second we read the abstract
only: which output is linearised is our choice, the logits.

A network f is not linear in its weights. Its first-order Taylor polynomial at the start theta0 is:
    f_lin(x) = f(x; theta0) + J(x) delta    J = d f(x; theta0) / d theta, delta = theta - theta0
delta is trained, from 0 on, and theta0 never moves. So the first gradient is that of the ordinary
network, and each logit is linear in delta: directions of two runs can be added, and so can what
they do to the logits. J(x) delta is a Jacobian-vector product: forward-mode differentiation takes
every weight as a dual number (theta0, delta), and carries value and change through the network
together. J itself is never built.

Between two calls of `forward`, embeddings and hidden states are such pairs, too. They are kept as
complex numbers, value + i change: objectives only add, mix and pick them, which treats both parts
alike. The ordinary network at theta0 + delta says nearly the same while delta is small: its logits
differ by O(|delta|^2), so the KL between the two is O(|delta|^4). `ordinary_kl` measures it.
Simplified: the value head of PPO is an ordinary head on value + change. Weight decay pulls towards
theta0.
"""
from copy import deepcopy

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from nanouft.gpt import GPT
from nanouft.loop import Device
from nanouft.objective import Batch


def dual(pair: Tensor) -> Tensor:
    """value + i change -> the dual number that forward-mode differentiation knows. The value hangs
    on theta0 alone, so it needs no gradient."""
    return forward_ad.make_dual(pair.real.detach().clone(), pair.imag.clone())


def pair(x: Tensor) -> Tensor:
    """The reverse. (Complex numbers of bf16 do not exist.)"""
    value, change = (part if part.dtype == torch.float64 else part.float()
                     for part in forward_ad.unpack_dual(x))
    return torch.complex(value, change)


class PairCache:
    """Keys and values of everything read so far, as pairs; the interface of gpt.Cache."""
    in_parts = False                                # all prompts are read at once

    def __init__(self, layers: int):
        self.kv: list[Tensor | None] = [None] * layers          # each (2,B,nh,n,hs)
        self.n = 0

    def add(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        both = torch.stack([k, v])
        if self.kv[layer] is not None:
            both = torch.cat([dual(self.kv[layer]), both], 3)
        self.kv[layer] = pair(both)
        return both[0], both[1]

    def take(self, rows: Tensor, n: int) -> None:
        self.kv = [x[..., :n, :].index_select(1, rows) for x in self.kv]


class TangentGPT(GPT):
    """A GPT to every objective. `start` holds theta0, frozen; `delta` has its shapes and is
    trained."""

    def __init__(self, start: GPT):
        torch.nn.Module.__init__(self)
        self.cfg, self.value = start.cfg, None
        self.start = start.requires_grad_(False)
        self.delta = deepcopy(start).requires_grad_(True)
        with torch.no_grad():
            for p in self.delta.parameters():
                p.zero_()

    @property
    def wte(self) -> torch.nn.Embedding:
        return self.start.wte           # where the model is and how precise: nothing else is read

    def linear(self, *x, **kw) -> Tensor:
        """start.forward with its weights as dual numbers: a pair comes out."""
        changes, learns = dict(self.delta.named_parameters()), torch.is_grad_enabled()
        # fused attention has no forward mode; neither has inference mode, where answers are sampled
        with forward_ad.dual_level(), sdpa_kernel(SDPBackend.MATH), torch.inference_mode(False), \
                torch.set_grad_enabled(learns):
            weights = {n: forward_ad.make_dual(p, changes[n])
                       for n, p in self.start.named_parameters()}
            kw = {n: dual(v) if n in ("embeds", "hidden") and v is not None else v
                  for n, v in kw.items()}
            return pair(functional_call(self.start, weights, x, kw))

    def forward(self, ids: Tensor | None = None, *, embeds: Tensor | None = None,
                hidden: Tensor | None = None, want: str = "logits", targets: Tensor | None = None,
                at: Tensor | None = None, pos: Tensor | None = None,
                cache: PairCache | None = None, keep: Tensor | None = None) -> Tensor:
        """As GPT.forward; embeds and hidden are pairs (complex numbers), going in and out."""
        if want == "embeds":
            return self.linear(ids, want="embeds")
        if hidden is None:
            hidden = self.linear(ids, embeds=embeds, want="hidden", pos=pos, cache=cache, keep=keep)
        if want == "hidden":
            return hidden
        if want == "value":
            hidden = hidden.real + hidden.imag
        return super().forward(hidden=hidden, want=want, targets=targets, at=at)

    def head(self, hidden: Tensor) -> Tensor:
        """(...,C) pairs -> (...,V) logits, f(x; theta0) + J(x) delta."""
        logits = self.linear(hidden=hidden)
        return logits.real + logits.imag

    def new_cache(self, rows: int) -> PairCache:
        return PairCache(self.cfg.n_layer)

    @torch.no_grad()
    def ordinary(self) -> GPT:
        """The ordinary network at theta0 + delta."""
        model = deepcopy(self.start)
        weights = zip(self.start.named_parameters(), self.delta.parameters())
        model.load_state_dict({name: p + d for (name, p), d in weights})
        return model


@torch.no_grad()
def add_directions(models: list[TangentGPT], shares: list[float]) -> TangentGPT:
    """start + sum of share * delta, without training. All models have one start."""
    total = TangentGPT(models[0].start)
    for model, share in zip(models, shares, strict=True):
        for sum_, d in zip(total.delta.parameters(), model.delta.parameters()):
            sum_ += share * d
    return total


@torch.no_grad()
def ordinary_kl(model: TangentGPT, batch: Batch, device: Device) -> float:
    """Nats on average per response token: KL(tangent || ordinary network at the same weights)."""
    ordinary, total = model.ordinary(), 0.0
    for first in range(0, batch.rows, 64):
        for s in batch.take(slice(first, first + 64)).to(device.name).seqs.values():
            with device.autocast():
                p, q = (m(s.inputs, at=s.mask.bool()).float().log_softmax(-1)
                        for m in (model, ordinary))                                     # (N,V)
            total += float((p.exp() * (p - q)).sum())
    return max(0.0, total / sum(batch.tokens.values()))     # rounding may make a tiny one negative
