"""Decoding: a model answers many prompts together, with a cache of keys and values.

    answers = generate(model, [tok.prompt_ids(turns) ...], stop=tok.stops, pad=tok.pad)
"""
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from nanouft.gpt import GPT
from nanouft.models.tokenizer import Tokenizer
from nanouft.plumbing.printing import quantity

LOGIT_BUDGET = 2**26    # logits that exist at once while measuring and decoding
LOGIT_COPIES = 5        # tensors of that size at the same time: log-softmax, its exp, the sum ...
STATES = 2**22          # numbers in the final states of rows that are read together
CACHE = 2**30           # bytes of keys and values, and of their copy when some answers have ended
FEW = 32                # tokens: on a CPU, products of so few rows are rounded differently
ROWS = 64               # largest number of rows that are read together
MAX_NEW = 44            # NanoWorld's longest right answer has 36 tokens


@dataclass
class Answer:
    ids: list[int]                      # without the stop token
    ended: bool                         # True: with a stop token; False: it reached the limit
    logp: list[float] = field(default_factory=list)     # nats of each token, also of `stop`
    stop: int | None = None             # its stop token (EOS, or the end of a turn)


@torch.inference_mode()
def generate(model: GPT, prompts: list[list[int]], *, stop: int | set[int], pad: int,
             max_new: int = 64, temperature: float = 0.0, seed: int = 0,
             count: Callable[[int], Any] = lambda n: None,
             stream: Callable[[Tensor], Any] | None = None) -> list[Answer]:
    """Answer every prompt, each until a `stop` token. As many as fit into CACHE are decoded
    together. temperature 0 is greedy. The random numbers of a prompt depend on its place in the
    list, not on how many are decoded together. An answer ends where the context ends. A prompt that
    fills the context is truncated on the left, so that one token fits.
    count(n): called when n more answers have ended.
    stream(tokens): called with the (b,) new tokens of unfinished answers; a GPU waits for it."""
    max_new = min(max_new, model.cfg.n_ctx - 1)
    prompts = [p[-(model.cfg.n_ctx - 1):] for p in prompts]
    together = answers_per_batch(model, max(map(len, prompts), default=0) + max_new)
    stop_ids = sorted({stop} if isinstance(stop, int) else stop)
    device, answers = model.wte.weight.device, list[Answer]()
    for first in range(0, len(prompts), together):
        rng = torch.Generator(device).manual_seed(seed)

        def sample_token(logits: Tensor, rows: Tensor) -> Tensor:
            """(b,V) logits of these rows -> (b,) tokens."""
            if temperature <= 0:
                return logits.argmax(-1)
            u = torch.rand(len(prompts), 1, device=device, generator=rng)[first + rows]
            return sample_by_cumulative(logits.float() / temperature, u)
        answers += decode(model, prompts[first:first + together], sample_token, stop_ids,
                          pad, max_new, count, stream)
    return answers


def pad_left(prompts: list[list[int]], pad: int, max_new: int,
             device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """(ids (B,P), attention_mask (B,P+max_new), positions (B,P+max_new)). Padding is on the left,
    so the next token of every row belongs to the same column."""
    P = max(map(len, prompts))
    missing = torch.tensor([[P - len(p)] for p in prompts], device=device)
    ids = torch.tensor([[pad] * (P - len(p)) + p for p in prompts], device=device)
    attention_mask = torch.arange(P + max_new, device=device) >= missing
    return ids, attention_mask, (attention_mask.long().cumsum(1) - 1).clamp_min(0)


def decode(model: GPT, prompts: list[list[int]], sample_token: Callable[[Tensor, Tensor], Tensor],
           stop: list[int], pad: int, max_new: int, count: Callable[[int], Any],
           stream: Callable[[Tensor], Any] | None) -> list[Answer]:
    """Answers to prompts that are decoded together."""
    device, B, n_ctx = model.wte.weight.device, len(prompts), model.cfg.n_ctx
    rows = torch.arange(B, device=device)                           # (b,) those still decoded
    ids, attention_mask, pos = pad_left(prompts, pad, max_new, device)
    P = ids.shape[1]
    pos = pos.clamp_max(n_ctx - 1)          # for rows that have ended
    room = torch.tensor([n_ctx - len(p) for p in prompts], device=device)  # for answers
    stop_ids = torch.tensor(stop, device=device)
    unfinished = torch.ones(B, dtype=torch.bool, device=device)     # (b,) of these rows
    new_ids = torch.full((B, max_new), pad, device=device)
    logp = torch.zeros(B, max_new, device=device)
    n_ended = 0                                 # answers that were found to have ended
    small = device.type == "cpu" and B <= 128 and model.cfg.n_embd <= 256
    with one_thread(small):
        hidden, cache = read_prompts(model, prompts, ids, attention_mask, pos, max_new)
        for step in range(max_new):
            logits = model.head(hidden)                                     # (b,V)
            token = sample_token(logits, rows)                              # (b,)
            if stream:
                stream(token[unfinished])
            new_ids[rows, step] = token
            logp[rows, step] = logits.float().log_softmax(-1).gather(1, token[:, None])[:, 0]
            unfinished &= (token[:, None] != stop_ids).all(1) & (step + 1 < room)
            if step == max_new - 1:
                break
            if (step + 1) % steps_between_checks(device) == 0:
                n_left = int(unfinished.sum())
                count(B - n_ended - n_left)
                n_ended = B - n_left
                if n_left == 0:
                    break
                if n_left <= 0.75 * len(rows):                      # moving the cache has a cost
                    kept = unfinished.nonzero()[:, 0]
                    cache.take(kept)
                    rows, attention_mask, pos, unfinished, room = (
                        x[kept] for x in (rows, attention_mask, pos, unfinished, room))
            n = P + step
            hidden = model(new_ids[rows, step:step + 1], pos=pos[:, n:n + 1], cache=cache,
                           attention_mask=attention_mask[:, :n + 1])[:, -1]
    count(B - n_ended)
    ends = [min(step + 1, n_ctx - len(prompt)) for prompt in prompts]
    return [cut_at_stop(row[:n], nats[:n], stop)
            for row, nats, n in zip(new_ids.tolist(), logp.tolist(), ends)]


def read_prompts(model: GPT, prompts: list[list[int]], ids: Tensor, attention_mask: Tensor,
                 pos: Tensor, max_new: int) -> tuple[Tensor, Any]:
    """(final states (B,C) of the last tokens, cache of B rows). Equal prompts, such as those of a
    group, are read once, and then the cache's rows are copied."""
    (B, P), device = ids.shape, ids.device
    first = dict[tuple[int, ...], int]()                # prompt -> the first row that has it
    same = [first.setdefault(tuple(prompt), row) for row, prompt in enumerate(prompts)]
    once = [*first.values()] if len(first) * P >= FEW else [*range(B)]
    if len(once) < B:
        read = torch.tensor(once, device=device)
        ids, attention_mask, pos = ids[read], attention_mask[read], pos[read]
    cache = model.new_cache(len(once), P + max_new)
    hidden = model(ids, pos=pos[:, :P], cache=cache, attention_mask=attention_mask[:, :P])[:, -1]
    if len(once) < B:
        place = {row: k for k, row in enumerate(once)}
        copies = torch.tensor([place[row] for row in same], device=device)
        cache.take(copies)
        hidden = hidden[copies]
    return hidden, cache


def steps_between_checks(device: torch.device) -> int:
    """Number of decoding steps between two checks of which answers have ended. On a GPU it is
    large, because the CPU waits for each check."""
    return 1 if device.type == "cpu" else 16


def answers_per_batch(model: GPT, tokens: int) -> int:
    """How many sequences of `tokens` tokens (prompt and answer) are decoded together."""
    cfg, bytes_each = model.cfg, model.wte.weight.element_size()
    of_token = 2 * cfg.n_layer * (model.key_width or cfg.n_embd) * bytes_each
    by_cache = CACHE // (model.cache_copies * max(1, tokens) * of_token)
    return max(1, min(by_cache, positions_per_batch(cfg.vocab_size)))


def positions_per_batch(vocab: int) -> int:
    """How many positions can have their logits, with copies, in memory at once."""
    return max(1, LOGIT_BUDGET // (LOGIT_COPIES * vocab))


def rows_per_batch(model: GPT, tokens: int) -> int:
    """How many rows of `tokens` tokens are read together without gradient. The vocabulary does not
    matter: the head runs in pieces."""
    return max(1, min(ROWS, STATES // max(1, tokens * model.cfg.n_embd)))


def sample_by_cumulative(logits: Tensor, u: Tensor) -> Tensor:
    """(b,V) logits and (b,1) random numbers u -> (b,) tokens: the first token at which the summed
    probabilities reach 1 - u. (torch.multinomial draws a number for each token, which is slow.)"""
    cdf = logits.softmax(-1).cumsum(-1)
    token = torch.searchsorted(cdf, (1 - u) * cdf[:, -1:])[:, 0]    # the sum is not quite 1
    return token.clamp_max(logits.shape[1] - 1)     # NaN: searchsorted gives V, so the last token


def cut_at_stop(row: list[int], logp: list[float], stop: list[int]) -> Answer:
    n = next((i for i, token in enumerate(row) if token in stop), len(row))
    ended = n < len(row)
    return Answer(row[:n], ended, logp[:n + 1], row[n] if ended else None)


def why_unfinished(a: Answer, tok: Tokenizer) -> str:
    """Why an answer is unfinished, in words; "" if it ended by itself. An answer that begins
    another turn before its EOS token <|end|> has not stopped."""
    if tok.user in a.ids or tok.assistant in a.ids:
        return "goes on with another question"
    return "" if a.ended else f"cut at {quantity(len(a.ids), 'tokens')}"


def stops(a: Answer, tok: Tokenizer) -> bool:
    return not why_unfinished(a, tok)


def longest_answer(model: GPT, tok: Tokenizer) -> int:
    """The default limit of an answer's length, in tokens: 44 for a model of NanoWorld."""
    return MAX_NEW if tok.name == "nano" else min(256, model.cfg.n_ctx // 2)


@contextlib.contextmanager
def one_thread(small: bool) -> Iterator[None]:
    """One CPU thread for a small model: its step takes less time than waking a second thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1 if small else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
