"""Batched sampling with the key/value cache: prompts of different length in one batch.

    answers = generate(model, [tok.prompt_ids(turns) ...], stop=tok.stops, pad=tok.pad)
    answers = answer_rows(model, tok, rows)                 # rows of data, in their order

Prompts are padded on the left, so that every row's next token stands in the same column; padding is never looked at
and takes no position. `prior` forces the first tokens of every answer, `priors` those of each answer (PreTTY,
arXiv:2404.16766, asks how far that alone gets); forced tokens belong to the answer that is returned.
Fast, because answers that have ended leave the batch, prompts are read beside others of like length, and products are
oneDNN's (`quick_products`): 2 to 4 times as fast as transformers.generate (docs/BENCHMARKS.md).
"""
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from nanouft.data.rows import Row
from nanouft.data.tokenizer import Tokenizer
from nanouft.gpt import GPT, Cache
from nanouft.shell.errors import UserError
from nanouft.shell.streams import chunk_seed

MAX_NEW = 44            # NanoWorld's longest right answer has 36 tokens


@dataclass
class Answer:
    ids: list[int]                                      # without the stop token, prior tokens included
    ended: bool                                         # did it say the stop token, or did we run out of room?
    logp: list[float] = field(default_factory=list)     # nats of each sampled token (stop token included) under the
    #                                                     model at temperature 1, whatever was sampled from
    stop: int | None = None                             # which stop token it said


@torch.inference_mode()
def generate(model: GPT, prompts: list[list[int]], *, stop: int | set[int], pad: int, max_new: int = 64,
             temperature: float = 0.0, top_k: int = 0, top_p: float = 1.0, seed: int = 0,
             prior: list[int] | None = None, priors: list[list[int]] | None = None,
             of: tuple[range, int] | None = None, cached: bool = True) -> list[Answer]:
    """Answer every prompt, each until it says `stop`. temperature 0 is greedy; top_k 0 and top_p 1 cut nothing off.
    A prompt that leaves no room for `max_new` tokens in the context loses its beginning.
    `of`: (places of these prompts in a larger batch, its size): each draws the random numbers that it would draw there.
    `cached=False` reads everything again for each token: slow, and equal token by token (tests)."""
    if not prompts:
        return []
    stop = {stop} if isinstance(stop, int) else stop
    priors = priors or [prior or []] * len(prompts)
    longest = max(map(len, priors))
    device, room = model.wte.weight.device, model.cfg.n_ctx
    max_new = min(max_new, room - 1 - longest)
    if max_new < 1:
        raise UserError(f"max_new {max_new}: no new token fits (context {room}, {longest} forced, 1 of the prompt)")
    prompts = [p[-(room - max_new - len(forced)):] + forced for p, forced in zip(prompts, priors, strict=True)]
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))     # neighbours of like length: little padding
    ids, keep = _pad_left([prompts[i] for i in order], max_new, pad, device)     # (B,P), (B,P+max_new)
    pos = (keep.long().cumsum(1) - 1).clamp_min(0)
    (B, P), rows = ids.shape, torch.tensor(order, device=device)           # rows (b,): the prompts still in the batch
    places, size = of or (range(B), B)
    places = torch.tensor(places, device=device)                           # (B,)
    cache = model.new_cache(B) if cached else None
    cached = cache is not None
    rng, speaks = torch.Generator(device).manual_seed(seed), torch.ones(B, dtype=torch.bool, device=device)     # (b,)
    stop_ids = torch.tensor(sorted(stop), device=device)
    said, logp = torch.full((B, max_new), pad, device=device), torch.zeros(B, max_new, device=device)
    # a step of a small model is over before a second thread has woken up: 64 rows take half the time with one
    small = device.type == "cpu" and B <= 128 and model.cfg.n_embd <= 256
    with threads(1 if small else torch.get_num_threads()), quick_products(model):
        for step in range(max_new):
            n = P + step
            if step == 0 and cached:
                hidden = _read_prompts(model, ids, keep, pos, cache)            # (b,C) of the last column
            else:
                new = said[rows, step - 1:step] if cached else torch.cat([ids, said[rows, :step]], 1)
                start = n - new.shape[1]
                hidden = model(new, want="hidden", pos=pos[:, start:n], cache=cache, keep=keep[:, :n])[:, -1]
            logits = model(hidden=hidden)                                   # (b,V): the head on the last column only
            token = _choose(logits, temperature, top_k, top_p, rng, places[rows], size)     # (b,)
            said[rows, step] = token
            logp[rows, step] = logits.float().log_softmax(-1).gather(1, token[:, None])[:, 0]
            speaks &= (token[:, None] != stop_ids).all(1)
            # asking the device who still speaks makes the CPU wait for it: on a GPU ask seldom
            left = int(speaks.sum()) if device.type == "cpu" or step % 16 == 15 else B
            if left == 0:
                break
            if cached and left <= 0.75 * len(rows):                         # moving the cache costs: not for one row
                still = speaks.nonzero()[:, 0]
                cache.take(still, n)
                rows, token, keep, pos, speaks = (x[still] for x in (rows, token, keep, pos, speaks))
    return [_cut(row[:step + 1], lp, stop, forced) for row, lp, forced in zip(said.tolist(), logp.tolist(), priors)]


def _pad_left(prompts: list[list[int]], max_new: int, pad: int, device) -> tuple[Tensor, Tensor]:
    """(B,P) ids and (B,P+max_new) keep: False for padding."""
    P = max(map(len, prompts))
    ids = torch.tensor([[pad] * (P - len(p)) + p for p in prompts], device=device)
    empty = torch.tensor([[P - len(p)] for p in prompts], device=device)
    return ids, torch.arange(P + max_new, device=device) >= empty


def _read_prompts(model: GPT, ids: Tensor, keep: Tensor, pos: Tensor, cache: Cache) -> Tensor:
    """Fill the cache with all prompts (B,P) -> (B,C) final states of the last column. On a CPU in four parts, so
    that short prompts do not pay for the padding of long ones."""
    if not cache.in_parts:
        return model(ids, want="hidden", pos=pos[:, :ids.shape[1]], cache=cache, keep=keep[:, :ids.shape[1]])[:, -1]
    (B, P), last = ids.shape, []
    size = max(16, B // 4) if ids.device.type == "cpu" else B
    cache.kv, cache.n = F.pad(cache.kv, (0, 0, 0, P + 15)), P
    for rows in (slice(i, i + size) for i in range(0, B, size)):
        start = int(keep[rows].int().argmax(1).min())                       # the first column that is not all padding
        part = model.new_cache(len(ids[rows]))
        last.append(model(ids[rows, start:], want="hidden", pos=pos[rows, start:P], cache=part,
                          keep=keep[rows, start:P])[:, -1])
        cache.kv[:, :, rows, :, start:P] = part.kv[..., :P - start, :]
    return torch.cat(last)


def _choose(logits: Tensor, temperature: float, top_k: int, top_p: float, rng: torch.Generator,
            rows: Tensor, B: int) -> Tensor:
    """(b,V) logits -> (b,) tokens, of these rows of a batch of B; each keeps its own random numbers."""
    if temperature <= 0:
        return logits.argmax(-1)
    logits = logits.float() / temperature
    if top_k:
        kth = logits.topk(min(top_k, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(logits < kth, -torch.inf)
    if top_p < 1:
        sorted_logits, order = logits.sort(descending=True)
        p = sorted_logits.softmax(-1)
        before = p.cumsum(-1) - p                       # mass of what is likelier; the likeliest is always kept
        drop = (before >= top_p).scatter(1, order, before >= top_p)
        logits = logits.masked_fill(drop, -torch.inf)
    # one random number a row, u in (0, 1]: the first token at which the summed probabilities reach u
    # (torch.multinomial draws a number for each token of the vocabulary: half of the time of a step here)
    cdf = logits.softmax(-1).cumsum(-1)
    u = 1 - torch.rand(B, 1, device=logits.device, generator=rng)[rows]
    token = torch.searchsorted(cdf, u * cdf[:, -1:])[:, 0]                  # times the sum: 1, but for rounding
    return token.clamp_max(logits.shape[1] - 1)                             # a model that says NaN reaches no u


def _cut(row: list[int], logp: list[float], stop: set[int], prior: list[int]) -> Answer:
    n = next((i for i, token in enumerate(row) if token in stop), len(row))
    ended = n < len(row)
    return Answer(prior + row[:n], ended, logp[:n + 1], row[n] if ended else None)


def stops(a: Answer, tok: Tokenizer) -> bool:
    """Did the answer end by itself? Running on into another question before <|end|> is not stopping."""
    return a.ended and tok.user not in a.ids and tok.assistant not in a.ids


@torch.no_grad()
def answer_rows(model: GPT, tok: Tokenizer, rows: list[Row], max_new: int = MAX_NEW, chunk: int = 300,
                priors: list[list[int]] | None = None, seed: int = 0, **how) -> list[Answer]:
    """Greedy (or as `how` says) answers in the order of rows; computed by prompt length, so that little is padding.
    `priors`: the tokens that each answer must begin with. Each chunk has random numbers of its own."""
    prompts = [tok.prompt_ids(r.prompt) for r in rows]
    out, by_length = [None] * len(rows), sorted(range(len(rows)), key=lambda i: len(prompts[i]))
    for i in range(0, len(rows), chunk):
        part = by_length[i:i + chunk]
        some = generate(model, [prompts[j] for j in part], stop=tok.stops, pad=tok.pad, max_new=max_new,
                        seed=chunk_seed(seed, i // chunk),
                        priors=[priors[j] for j in part] if priors else None, **how)
        for j, a in zip(part, some):
            out[j] = a
    return out


# ---- faster products on a CPU ----------------------------------------------------------------------------------------
@contextlib.contextmanager
def threads(n: int) -> Iterator[None]:
    """`n` CPU threads inside, as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _product(x: Tensor, weight: Tensor, bias: Tensor | None, then: str = "none") -> Tensor:
    """x (...,K), weight (N,K), bias (N,) -> (...,N), through GPT-2's tanh GELU where `then` is "gelu"."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, then, [], "tanh")


@contextlib.contextmanager
def quick_products(model: GPT) -> Iterator[None]:
    """Inside, the model's matrix products are oneDNN's: up to twice as fast on a CPU, other in the last digit, without
    gradient. They are a private operation of PyTorch; where it is missing, and in other precisions, nothing changes."""
    w = model.wte.weight
    ours = w.device.type == "cpu" and w.dtype == torch.float32 and hasattr(model, "h")
    if not ours or not torch.backends.mkldnn.is_available():
        yield
        return
    model.head = lambda hidden: _product(hidden, w, None)
    changed: list[nn.Module] = []
    for block in model.h:
        for layer in (block.attn.c_attn, block.attn.c_proj):
            layer.forward = lambda x, layer=layer: _product(x, layer.weight, layer.bias)
        block.mlp.forward = lambda x, up=block.mlp.c_fc, down=block.mlp.c_proj: _product(
            _product(x, up.weight, up.bias, "gelu"), down.weight, down.bias)
        changed += [block.attn.c_attn, block.attn.c_proj, block.mlp]
    try:
        yield
    finally:
        del model.head
        for module in changed:
            del module.forward
