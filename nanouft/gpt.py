"""The whole GPT in one file: configuration, attention, block, forward.

    from nanouft.gpt import GPT, NANO, log_probs
    model = GPT(NANO, seed=0)                   # models/folders.py reads and writes folders
    hidden = model(ids)                         # (B,T,C) final states
    logits = model.head(hidden)                 # (B,T,V)
    nats = log_probs(model, hidden, targets)    # (B,T) log-prob of each target

The architecture is GPT-2's (Radford et al. 2019): learned positions, LayerNorm before each
sublayer, tanh GELU, output head tied to the input embedding. Parameter names are GPT-2's own. So
transformers opens what models/folders.py writes, and the reverse (logits agree to 1e-4 in fp32).
To try another architecture, edit a class here; docs/architecture.md says what else to do.

The output head is costly, so it is a separate call, only for the states that a loss reads:
    SFT       ids -> states -> log-probs of the answer's tokens
    IFT       ids -> states -> greedy tokens; blended embeddings -> states -> log-probs
    NEFTune   noisy embeddings -> states -> log-probs
    SFTMix    ids -> states; mixed states -> logits

Shapes: B rows, T tokens, C width, V vocabulary, nh heads, hs = C / nh.
Not implemented: untied heads; dropout (so the reference is evaluated exactly as the policy).
"""
import math
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from nanouft.plumbing.errors import UserError
from nanouft.plumbing.fast_ops import attend, logp_


@dataclass
class GPTConfig:
    vocab_size: int = 1024
    n_ctx: int = 512            # longest sequence that has a position
    n_layer: int = 4
    n_head: int = 4
    n_embd: int = 128
    eps: float = 1e-5           # LayerNorm's epsilon
    init_std: float = 0.02      # standard deviation of initial weights


NANO = GPTConfig(init_std=0.08)     # 0.99M parameters; at width 128 a std of .02 is too small
BASE = Path(__file__).parent / "assets" / "base"        # the shipped base, fp16
OTHER_ARCHITECTURE = (
    "the shipped base has another architecture than nanouft/gpt.py; train a base of yours: "
    "python -m nanouft.pretrain (about 12 minutes on one CPU core), then give --init out/base")
# GPT-2's folders keep four matrices of each layer as (in, out); nn.Linear has (out, in).
CONV1D = ("attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")


class Cache:
    """Keys and values of all tokens read so far, for sampling token by token.
    kv is (L, 2, B, nh, room, hs), filled up to `n` of `room`, with dtype and device of `like`."""

    def __init__(self, cfg: GPTConfig, batch_size: int, room: int, like: Tensor):
        hs = cfg.n_embd // cfg.n_head
        self.kv = like.new_empty(cfg.n_layer, 2, batch_size, cfg.n_head, room, hs)
        self.n = 0

    def add(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Append k and v, each (B,nh,T,hs). Returns all keys and values."""
        end = self.n + k.shape[2]
        both = self.kv[layer, :, :, :, :end]                                # (2,B,nh,end,hs)
        both[0, :, :, self.n:] = k
        both[1, :, :, self.n:] = v
        return both[0], both[1]

    def take(self, picked: Tensor) -> None:
        """Keep only the picked rows."""
        L, _, _, nh, room, hs = self.kv.shape
        kept = self.kv.new_empty(L, 2, len(picked), nh, room, hs)
        kept[..., :self.n, :] = self.kv[..., :self.n, :].index_select(2, picked)
        self.kv = kept


class Norm(nn.LayerNorm):
    """Before each sublayer, and before the output head."""

    def __init__(self, cfg: GPTConfig):
        super().__init__(cfg.n_embd, cfg.eps)


class Attention(nn.Module):
    """Causal self-attention. pos: (T,) or (B,T) positions of the tokens in x. They are unused here,
    because x has them already (GPT.wpe); rotary positions would turn q and k by them."""

    def __init__(self, cfg: GPTConfig):
        super().__init__()
        self.nh = cfg.n_head
        self.c_attn = nn.Linear(cfg.n_embd, 3 * cfg.n_embd)
        self.c_proj = nn.Linear(cfg.n_embd, cfg.n_embd)

    def forward(self, x: Tensor, pos: Tensor, mask: Tensor | None, cache: Cache | None,
                layer: int) -> Tensor:
        B, T, C = x.shape
        q, k, v = (part.view(B, T, self.nh, C // self.nh).transpose(1, 2)
                   for part in self.c_attn(x).split(C, dim=-1))             # each (B,nh,T,hs)
        if cache is not None:
            k, v = cache.add(layer, k, v)
        causal = mask is None and (cache is None or T > 1)      # one new token attends to all
        y = attend(q, k, v, attn_mask=mask, is_causal=causal)   # softmax(q k / sqrt(hs) + mask) v
        return self.c_proj(y.transpose(1, 2).reshape(B, T, C))


class MLP(nn.Module):
    def __init__(self, cfg: GPTConfig):
        super().__init__()
        self.c_fc = nn.Linear(cfg.n_embd, 4 * cfg.n_embd)
        self.c_proj = nn.Linear(4 * cfg.n_embd, cfg.n_embd)

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(F.gelu(self.c_fc(x), approximate="tanh"))


class Block(nn.Module):
    def __init__(self, cfg: GPTConfig):
        super().__init__()
        self.ln_1 = Norm(cfg)
        self.attn = Attention(cfg)
        self.ln_2 = Norm(cfg)
        self.mlp = MLP(cfg)

    def forward(self, x: Tensor, pos: Tensor, mask: Tensor | None, cache: Cache | None,
                layer: int) -> Tensor:
        x = x + self.attn(self.ln_1(x), pos, mask, cache, layer)
        return x + self.mlp(self.ln_2(x))


class GPT(nn.Module):
    """Token ids or embeddings -> final states; `head` makes logits of them.

        model.wte(ids)          (B,T) ids -> (B,T,C) token embeddings, without positions
        model(ids)              (B,T,C) final states, after the last norm
        model(embeds=embeds)    the same from embeddings
        model.head(hidden)      (...,C) -> (...,V) logits
        model.greedy(hidden)    (...,C) -> (...) the most likely next token"""
    key_width: int | None = None        # numbers in a token's keys of one layer [n_embd]
    cache_copies = 2                    # of all keys and values, while Cache.take drops rows
    recomputes = False                  # activation checkpointing

    def __init__(self, cfg: GPTConfig, seed: int | None = None):
        super().__init__()
        self.cfg = cfg
        self.wte = nn.Embedding(cfg.vocab_size, cfg.n_embd)         # also the output head
        self.wpe = nn.Embedding(cfg.n_ctx, cfg.n_embd)
        self.h = nn.ModuleList(Block(cfg) for _ in range(cfg.n_layer))
        self.ln_f = Norm(cfg)
        if seed is not None:
            self.reset(seed)

    @torch.no_grad()
    def reset(self, seed: int) -> None:
        """Initialise all weights. The 2 L matrices that write to the residual stream start smaller,
        because their outputs add up (GPT-2, section 2.3)."""
        rng = torch.Generator().manual_seed(seed)
        for name, p in self.named_parameters():
            if p.dim() == 2:
                scale = math.sqrt(2 * self.cfg.n_layer) if name.endswith("c_proj.weight") else 1
                p.normal_(0, self.cfg.init_std / scale, generator=rng)
            elif name.endswith("bias"):
                p.zero_()

    def forward(self, ids: Tensor | None = None, *, embeds: Tensor | None = None,
                pos: Tensor | None = None, cache: Cache | None = None,
                attention_mask: Tensor | None = None) -> Tensor:
        """(B,T,C) final states.

        ids: (B,T) token ids, or embeds: (B,T,C) token embeddings without positions.
        pos: (T,) or (B,T) positions; None = counted from the cache's end.
        attention_mask: (B, cache.n + T) bool, False for padding on the left, which only sampled
        answers have; None = no padding on the left."""
        x = self.wte(ids) if embeds is None else embeds
        T = x.shape[1]
        n = cache.n if cache is not None else 0
        if pos is None:
            pos = torch.arange(n, n + T, device=x.device)
        mask = None                                             # plain causal attention needs none
        if attention_mask is not None or (n and T > 1):
            mask = _mask(T, n, attention_mask, x.device, x.dtype)
        x = x + self.wpe(pos)
        recompute = self.recomputes and torch.is_grad_enabled() and cache is None
        for layer, block in enumerate(self.h):
            x = (checkpoint(block, x, pos, mask, cache, layer, use_reentrant=False) if recompute
                 else block(x, pos, mask, cache, layer))
        if cache is not None:
            cache.n += T
        return self.ln_f(x)

    def head(self, hidden: Tensor) -> Tensor:
        """(...,C) final states -> (...,V) logits, by the input embedding's own weights. Under
        autocast they are in half precision; log-probs are in fp32 (plumbing/fast_ops.py)."""
        return F.linear(hidden, self.wte.weight)

    def greedy(self, hidden: Tensor) -> Tensor:
        """(...,C) final states -> (...) the most likely next token of each."""
        return self.head(hidden).argmax(-1)

    def activation_checkpointing_enable(self, **how: object) -> None:
        """A forward pass with gradient keeps only the input of each block, and the backward pass
        recomputes the rest: under a tenth of the activations, for up to a third more time.
        how: arguments of transformers' Trainer, ignored."""
        self.recomputes = True

    def gradient_checkpointing_enable(self, **how: object) -> None:
        """The name that older Trainers use."""
        self.activation_checkpointing_enable(**how)

    def new_cache(self, batch_size: int, room: int) -> Cache:
        return Cache(self.cfg, batch_size, room, self.wte.weight)

    def n_params(self) -> int:
        return sum(p.numel() for p in self.parameters())


def _mask(T: int, n: int, attention_mask: Tensor | None, device: torch.device,
          dtype: torch.dtype) -> Tensor:
    """(B|1, 1, T, n+T) to add to the scores: 0 where query i may attend to key j, else -inf.
    No query attends to later keys or padding. Padding does to itself: an empty softmax is NaN."""
    i = torch.arange(n, n + T, device=device)[:, None]
    j = torch.arange(n + T, device=device)[None]
    allowed = (j <= i)[None, None]
    if attention_mask is not None:
        allowed = (allowed & attention_mask[:, None, None, :]) | (i == j)
    return torch.where(allowed, 0.0, -torch.inf).to(dtype)


def shipped_base() -> GPT:
    """The shipped base, made by pretrain.py: the initial model unless --init names another. Other
    models are read by models/folders.py. UserError if GPT has other weights by now."""
    model, stored = GPT(NANO), load_file(BASE / "model.safetensors")
    named = {name.removeprefix("transformer."): w.float() for name, w in stored.items()}
    weights = {name: w.T if name.endswith(CONV1D) else w for name, w in named.items()}
    if misfit(model, weights):
        raise UserError(OTHER_ARCHITECTURE)
    model.load_state_dict(weights)
    return model


def misfit(model: GPT, weights: dict[str, Tensor]) -> str:
    """The first weight that is missing, unknown or of another shape; "" if all fit."""
    ours, theirs = ({name: w.shape for name, w in named.items()}
                    for named in (model.state_dict(), weights))
    return min({name for name, _ in ours.items() ^ theirs.items()}, default="")


# ---- at some positions only ----------------------------------------------------------------------
def log_probs(model: GPT, hidden: Tensor, targets: Tensor, at: Tensor | None = None) -> Tensor:
    """(B,T,C) final states, (B,T) targets -> (B,T) nats, the log-prob of each target; 0 outside
    `at`. The head runs only at these positions, (N,) indices into the flattened (B,T), such as
    Seqs.positions; None = everywhere."""
    logits = model.head(select_at(hidden, at))                                  # (B,T,V) or (N,V)
    picked = select_at(targets, at)
    nats = logp_(logits.reshape(-1, logits.shape[-1]), picked.reshape(-1))
    return scatter_at(nats.view(picked.shape), at, hidden.shape[:2])


def select_at(x: Tensor, at: Tensor | None) -> Tensor:
    """(B,T,...) -> (N,...): x at these positions of its flattened (B,T); None: all of x."""
    return x if at is None else x.flatten(0, 1).index_select(0, at)


def scatter_at(values: Tensor, at: Tensor | None, shape: tuple[int, ...]) -> Tensor:
    """(N,) values -> (B,T): back to the positions where `select_at` found them, 0 elsewhere."""
    if at is None:
        return values
    return values.new_zeros(math.prod(shape)).index_copy(0, at, values).view(shape)
