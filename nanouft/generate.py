"""Batched sampling with the key/value cache: prompts of different length in one batch.

    answers = generate(model, [tok.prompt_ids(turns) ...], stop=tok.end, pad=tok.pad)

Prompts are padded on the left, so that every row's next token stands in the same column; padding is never looked at
and takes no position. `prior` forces the first tokens of every answer, `priors` those of each answer (PreTTY,
arXiv:2404.16766, asks how far that alone gets); forced tokens belong to the answer that is returned.
One generator serves the whole batch: the same seed and the same batch give the same answers.
"""
from dataclasses import dataclass, field

import torch
from torch import Tensor

from nanouft.config import UserError
from nanouft.gpt import GPT, Cache


@dataclass
class Answer:
    ids: list[int]                                      # without the stop token, prior tokens included
    ended: bool                                         # did it say the stop token, or did we run out of room?
    logp: list[float] = field(default_factory=list)     # nats of each sampled token (stop token included) under the
    #                                                     model at temperature 1, whatever was sampled from


@torch.no_grad()
def generate(model: GPT, prompts: list[list[int]], *, stop: int, pad: int, max_new: int = 64, temperature: float = 0.0,
             top_k: int = 0, top_p: float = 1.0, seed: int = 0, prior: list[int] | None = None,
             priors: list[list[int]] | None = None, cached: bool = True) -> list[Answer]:
    """Answer every prompt. temperature 0 is greedy; top_k 0 and top_p 1 switch those cuts off.

    A prompt that leaves no room for `max_new` tokens in the context loses its beginning.
    `cached=False` reads everything again for each token: slow, and equal token by token (tests/test_generate.py).
    """
    if not prompts:
        return []
    priors = priors or [prior or []] * len(prompts)
    longest = max(map(len, priors))
    device, room = model.wte.weight.device, model.cfg.n_ctx
    max_new = min(max_new, room - 1 - longest)
    if max_new < 1:
        raise UserError(f"max_new {max_new}: no new token fits (context {room}, {longest} forced, 1 of the prompt)")
    prompts = [p[-(room - max_new - len(forced)):] + forced for p, forced in zip(prompts, priors, strict=True)]
    ids, keep = _pad_left(prompts, pad, device)                             # (B,P), (B,P)
    B, P = ids.shape
    rng = torch.Generator(device).manual_seed(seed)
    cache = Cache(model.cfg, B, P + max_new, model.wte.weight) if cached else None
    done = torch.zeros(B, dtype=torch.bool, device=device)
    tokens, logps, new = [], [], ids
    for step in range(max_new):
        keep_now = keep if cached or step == 0 else _extend(keep, step)
        pos = (keep_now.long().cumsum(1) - 1).clamp_min(0)
        read = new if cached else torch.cat([ids] + [t[:, None] for t in tokens], 1)
        hidden = model(read, want="hidden", pos=pos[:, -read.shape[1]:], cache=cache, keep=keep_now)
        logits = model(hidden=hidden[:, -1])                                # (B,V): the head on the last column only
        token = _choose(logits, temperature, top_k, top_p, rng)             # (B,)
        logps.append(logits.float().log_softmax(-1).gather(1, token[:, None])[:, 0])
        tokens.append(token)
        done |= token == stop
        if cached:
            keep, new = _extend(keep, 1), token[:, None]
        # asking the device whether all are done makes the CPU wait for it: on a GPU ask seldom
        if (device.type == "cpu" or step % 16 == 15) and bool(done.all()):
            break
    return [_cut(row, lp, stop, forced) for row, lp, forced in
            zip(torch.stack(tokens, 1).tolist(), torch.stack(logps, 1).tolist(), priors)]


def _pad_left(prompts: list[list[int]], pad: int, device) -> tuple[Tensor, Tensor]:
    P = max(map(len, prompts))
    ids = torch.tensor([[pad] * (P - len(p)) + p for p in prompts], device=device)
    keep = torch.tensor([[False] * (P - len(p)) + [True] * len(p) for p in prompts], device=device)
    return ids, keep


def _extend(keep: Tensor, n: int) -> Tensor:
    return torch.cat([keep, keep.new_ones(keep.shape[0], n)], 1)


def _choose(logits: Tensor, temperature: float, top_k: int, top_p: float, rng: torch.Generator) -> Tensor:
    """(B,V) logits -> (B,) tokens."""
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
    return torch.multinomial(logits.softmax(-1), 1, generator=rng)[:, 0]


def _cut(row: list[int], logp: list[float], stop: int, prior: list[int]) -> Answer:
    n = row.index(stop) if stop in row else len(row)
    return Answer(prior + row[:n], stop in row, logp[:n + 1])
