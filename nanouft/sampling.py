"""A rollout in one file: the model answers prompts, its answers are scored, measured, credited.

    answers = generate(model, [tok.prompt_ids(turns) ...], stop=tok.stops, pad=tok.pad)
    source = Rollouts(prompts, objective, hp, policy, start, tok, score, ...)       # for loop.steps
    batch = source(0)                           # the first step's rows; the loss does the rest

A rollout serves `stride` optimizer steps (minibatches x passes). It is one Batch all the way:
1. sample    `samples` answers to each prompt at temperature 1, with no cut of the tail: from any
             other distribution the gradient would be that of another policy. Their log-probs
             are kept: Seqs.sampled_logp.
2. score     Columns.reward: what `score` gives for the whole answer.
3. measure   one pass without gradient over policy and start model: Seqs.ref_logp, the columns of
             the method, and the figures that are reported (docs/metrics.md).
4. credit    the objective says who earned the reward: advantages, returns, or pairs of answers.
5. take      minibatches, `passes` times. Answers to one prompt stay together.
Every draw is a function of (seed, number of the rollout). Checkpoints are written between rollouts,
so a resumed run samples the same answers from the same weights.
Of several processes each answers and measures its share of the rows, and the first one scores.
Simplified: the scorers of this project see only the last turn of a prompt.
"""
import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nanouft.data.batches import Encoded, Plan, Tokens, collate
from nanouft.data.rows import Row
from nanouft.data.tokenizer import Tokenizer
from nanouft.errors import Diverged, UserError
from nanouft.gpt import GPT, Cache
from nanouft.loop import DTYPES, Device
from nanouft.objective import Batch, Column, Columns, Objective, Seqs
from nanouft.objectives.on_policy import k3
from nanouft.seeds import chunk_seed, minibatch_seed, rollout_seed, step_seed

CHUNK = 256             # answers that are decoded together
MEASURED = 64           # answers that are measured together
MAX_NEW = 44            # NanoWorld's longest right answer has 36 tokens
Score = Callable[[list[Row], list[str]], np.ndarray]    # n rows, an answer to each -> (n,) rewards


@dataclass
class Answer:
    ids: list[int]                      # without the stop token, forced tokens included
    ended: bool                         # did it say a stop token, or was there no more room?
    logp: list[float] = field(default_factory=list)     # nats of each sampled token, the stop token
    #                                     included, under the model at temperature 1
    stop: int | None = None             # which stop token it said


# ---- a source of steps ---------------------------------------------------------------------------
class Rollouts:
    """source(step) -> the batch of that step, made of answers that the policy gave itself."""

    def __init__(self, prompts: list[Encoded], objective: Objective, hp: Any, policy: GPT,
                 start: GPT, tok: Tokenizer, score: Score, *, rows: int, steps: int, seed: int = 0,
                 max_new: int = MAX_NEW, device: Device = Device(),
                 grade: Callable[[np.ndarray], np.ndarray] | None = None,
                 others: Mapping[str, GPT] = {}, exact: Score | None = None,
                 show: Callable[..., None] | None = None, show_every: int = 0):
        """`policy` is trained in place; `start` is the model that it is held to.
        rows    prompts of a step
        grade   makes 0..1 of rewards
        others  the models that columns ask, by the column's name
        exact   a second score that is only reported, as "score"
        show    show(source, number, rows, texts, columns) after the first rollout, and after one
                every `show_every` steps"""
        self.prompts, self.objective, self.hp, self.tok = prompts, objective, hp, tok
        self.policy, self.start, self.score, self.device = policy, start, score, device
        self.rows, self.seed, self.max_new = rows, seed, max_new
        self.grade, self.others, self.exact = grade, others, exact
        self.show, self.show_every = show, show_every
        self.stride = hp.minibatches * hp.passes        # optimizer steps of a rollout
        self.groups = rows * hp.minibatches             # prompts of a rollout
        self.plan = Plan([e.length for e in prompts], self.groups, -(-steps // self.stride), seed,
                         pool=1)                        # pool 1: a random draw of all prompts
        self.number, self.batch = -1, Batch({})         # the rollout that is there
        self.stats: dict[str, float] = {}

    def __call__(self, step: int) -> Batch:
        number, k = divmod(step, self.stride)
        if number != self.number:
            self.batch = self.collect(number)
            self.number = number
        turn, part = divmod(k, self.hp.minibatches)
        rng = np.random.default_rng(minibatch_seed(self.seed, number, turn))
        mine = rng.permutation(self.groups)[part * self.rows:(part + 1) * self.rows]
        per = self.batch.rows // self.groups            # rows of a prompt: its answers, or one pair
        batch = self.batch.take((mine[:, None] * per + np.arange(per)).ravel())
        return replace(batch, seed=step_seed(self.seed, step))

    def collect(self, number: int) -> Batch:
        """Rollout `number`. Answers to one prompt are neighbours."""
        asked = [self.prompts[i] for i in self.plan[number] for _ in range(self.hp.samples)]
        # 1. sample
        answers = self.sample([e.seqs["prompt"].ids.tolist() for e in asked], number)
        texts = [self.tok.decode(a.ids).strip() for a in answers]
        batch = batch_of(asked, answers, self.tok)
        rows = [e.row for e in asked]
        # 2. score
        col = self.scored(rows, texts, answers)
        batch.per_row = col
        # 3. measure
        figures = measure(batch, self.policy, self.start, self.device, self.objective.columns,
                          self.hp, self.others)
        self.stats = stats(batch, figures)
        if self.exact:
            self.stats["score"] = float(self.exact(rows, texts).mean())
        if self.device.dtype != "fp32":
            # sampled_logp is what training's forward says: the ratio begins near 1. Not at 1:
            # products of bf16 depend on a batch's shape (a ratio was off by .052; fp32: 1.6e-5).
            batch.seqs["answer"].sampled_logp = figures["now"]
        # 4. credit
        batch, more = credited(batch, self.objective, self.hp)
        self.stats |= more
        if self.show and self.is_due(number):
            self.show(self, number, rows, texts, col)
        return batch

    def is_due(self, number: int) -> bool:
        """Are answers of this rollout shown?"""
        every, first = self.show_every, number * self.stride
        return number == 0 or every > 0 and (first - self.stride) // every < first // every

    def sample(self, prompts: list[list[int]], number: int) -> list[Answer]:
        """An answer to each prompt. Its random numbers belong to its place, whoever samples it."""
        policy, dtype = self.policy, DTYPES[self.device.dtype]
        if policy.wte.weight.dtype != dtype:
            policy = copy.deepcopy(policy).to(dtype)            # half the weights to read per token
        out = []
        for i in range(0, len(prompts), CHUNK):
            chunk = prompts[i:i + CHUNK]
            mine = range(self.device.rank, len(chunk), self.device.processes)
            some = generate(policy, [chunk[j] for j in mine], stop=self.tok.stops,
                            pad=self.tok.pad, max_new=self.max_new, temperature=1.0,
                            of=(mine, len(chunk)),
                            seed=rollout_seed(self.seed, number, i // CHUNK))
            out += self.device.gather(some)
        if not np.isfinite(sum(sum(a.logp) for a in out)):
            raise Diverged(f"nothing can be sampled at step {number * self.stride + 1}: the run "
                           "diverged, its chances are not finite. Lower --lr")
        return out

    def scored(self, rows: list[Row], texts: list[str], answers: list[Answer]) -> Columns:
        """reward in its own unit; score, the same on 0..1 if there is a `grade`; ended."""
        rewards = None
        if self.device.rank == 0:               # alone: two processes may judge differently
            rewards = self.score(rows, texts)
        rewards = np.asarray(self.device.broadcast(rewards), np.float32)
        score = self.grade(rewards) if self.grade else rewards
        ended = torch.tensor([float(stops(a, self.tok)) for a in answers])
        return Columns(reward=torch.from_numpy(rewards), score=torch.from_numpy(score), ended=ended)


# ---- answers -> batch ----------------------------------------------------------------------------
def batch_of(prompts: list[Encoded], answers: list[Answer], tok: Tokenizer) -> Batch:
    """Prompts with their sampled answers, role "answer", with the log-probs of decoding."""
    rows = []
    for e, a in zip(prompts, answers, strict=True):
        asked = e.seqs["prompt"].ids
        answer = np.array([*a.ids, a.stop] if a.ended else a.ids, np.int64)
        mask = np.repeat([0, 1], [len(asked), len(answer)])
        rows.append(Encoded({"answer": Tokens(np.concatenate([asked, answer]), mask)}, e.row))
    batch = collate(rows, range(len(rows)), tok.pad)
    s = batch.seqs["answer"]
    nats = torch.tensor([x for a in answers for x in a.logp])
    s.sampled_logp = torch.zeros_like(s.mask).masked_scatter(s.mask.bool(), nats)
    return batch


@torch.no_grad()
def measure(batch: Batch, policy: GPT, start: GPT, device: Device,
            columns: tuple[Column, ...] = (), hp: Any = None,
            others: Mapping[str, GPT] = {}) -> dict[str, Tensor]:
    """Write Seqs.ref_logp (log-probs under the start model) and the columns of the method.
    `others`: the models that columns ask, by the column's name.
    Returns {name: (B,T)}, 0 off the answer: now (log-probs under the policy), kl (the exact
    KL(policy || start) over the whole vocabulary), entropy."""
    s = batch.seqs["answer"]
    columns = tuple(column for column in columns if column.sampled)
    names = ["now", "ref", "kl", "entropy", *(column.name for column in columns)]
    found = {name: torch.zeros_like(s.mask) for name in names}
    by_length = np.argsort(-s.real.sum(-1).numpy(), kind="stable")
    mine = by_length[device.rank::device.processes]
    for i in range(0, len(mine), MEASURED):
        rows = mine[i:i + MEASURED]
        part: Seqs = s.take(rows).map(lambda x: x.to(device.name))
        at = part.mask.bool()
        with device.autocast():
            hidden = policy(part.inputs, want="hidden")
            p = policy(hidden=hidden, at=at).float().log_softmax(-1)                # (N,V)
            q = start(part.inputs, at=at).float().log_softmax(-1)
            extra = {c.name: c.sampled(part, policy, hidden, others.get(c.name), hp).float()[at]
                     for c in columns if c.sampled}
        token = part.targets[at][:, None]
        here = {"now": p.gather(1, token)[:, 0], "ref": q.gather(1, token)[:, 0],
                "kl": (p.exp() * (p - q)).sum(-1), "entropy": -(p.exp() * p).sum(-1), **extra}
        for name, x in here.items():
            nats = torch.zeros_like(part.mask).masked_scatter(at, x).cpu()
            found[name][rows, :at.shape[1]] = nats
    found = {name: device.sum(x) for name, x in found.items()}
    s.ref_logp = found.pop("ref")
    s.extra |= {column.name: found.pop(column.name) for column in columns}
    return found


def stats(batch: Batch, figures: dict[str, Tensor]) -> dict[str, float]:
    """What a rollout tells (docs/metrics.md): means over answers, or over their tokens."""
    s, col = batch.seqs["answer"], batch.per_row
    numbers = (s.sampled_logp, s.ref_logp, *figures.values())
    old, ref, now, kl, entropy = (x[s.mask > 0] for x in numbers)
    return {"reward": float(col.reward.double().mean()), "ends": float(col.ended.double().mean()),
            "length": len(old) / batch.rows, "kl_exact": float(kl.mean()),
            "kl_k1": float((old - ref).mean()), "kl_k3": float(k3(ref - old).mean()),
            "kl_answer": float(kl.sum() / batch.rows), "entropy": float(entropy.mean()),
            "decode_gap": float((old - now).abs().max())}


def credited(batch: Batch, objective: Objective, hp: Any) -> tuple[Batch, dict[str, float]]:
    """The rollout as the loss sees it, and what the method reports of it.
    Advantages are small differences of rewards, so they are made in fp64: where all rewards are
    equal, Adam would take what fp32 rounds for a gradient."""
    double = batch.map(lambda x: x.double() if x.is_floating_point() else x)
    assert objective.credit is not None
    batch = objective.credit(double, hp)
    more = objective.report(batch) if objective.report else {}
    return batch.map(lambda x: x.float() if x.is_floating_point() else x), more


def as_if_sampled(answers: list[Encoded], rewards: list[float], objective: Objective, hp: Any,
                  model: GPT, pad: int, device: Device, start: GPT | None = None,
                  others: Mapping[str, GPT] = {}) -> Batch:
    """Given answers as if `model` had sampled them just now and they had earned these rewards (for
    the ledger and tests). They must make whole groups of hp.samples."""
    reward = torch.tensor(rewards)
    col = Columns(reward=reward, score=reward, ended=torch.ones(len(reward)))
    batch = Batch.of(collate(answers, range(len(answers)), pad).seqs, col)
    found = measure(batch, model, start or model, device, objective.columns, hp, others)
    batch.seqs["answer"].sampled_logp = found["now"]
    return credited(batch, objective, hp)[0]


# ---- sampling ------------------------------------------------------------------------------------
@torch.inference_mode()
def generate(model: GPT, prompts: list[list[int]], *, stop: int | set[int], pad: int,
             max_new: int = 64, temperature: float = 0.0, top_k: int = 0, top_p: float = 1.0,
             seed: int = 0, prior: list[int] | None = None, priors: list[list[int]] | None = None,
             of: tuple[range, int] | None = None, cached: bool = True) -> list[Answer]:
    """Answer every prompt, each until it says `stop`; all together, with a key/value cache.

    temperature 0 is greedy; top_k 0 and top_p 1 cut nothing off.
    prior   tokens that every answer must begin with, `priors` those of each answer (PreTTY,
            arXiv:2404.16766); they belong to the answer that is returned.
    of      (places of these prompts in a larger batch, its size): each draws the random numbers
            that it would draw there.
    cached  False reads everything again for each token: slow, equal token by token (tests).
    A prompt that leaves no room for `max_new` tokens in the context loses its beginning. Prompts
    are padded on the left, so that the next token of every row stands in the same column."""
    if not prompts:
        return []
    stop = {stop} if isinstance(stop, int) else stop
    priors = priors or [prior or []] * len(prompts)
    longest = max(map(len, priors))
    device, room = model.wte.weight.device, model.cfg.n_ctx
    max_new = min(max_new, room - 1 - longest)
    if max_new < 1:
        raise UserError(f"max_new {max_new}: no new token fits (context {room}, {longest} forced, "
                        "1 of the prompt)")
    prompts = [p[-(room - max_new - len(forced)):] + forced
               for p, forced in zip(prompts, priors, strict=True)]
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))      # little padding
    ids, keep = _pad_left([prompts[i] for i in order], max_new, pad, device)
    pos = (keep.long().cumsum(1) - 1).clamp_min(0)                          # (B,P+max_new)
    (B, P), rows = ids.shape, torch.tensor(order, device=device)    # rows (b,): still in the batch
    numbers, size = of or (range(B), B)
    places = torch.tensor(numbers, device=device)                           # (B,)
    cache = model.new_cache(B) if cached else None
    rng = torch.Generator(device).manual_seed(seed)
    speaks = torch.ones(B, dtype=torch.bool, device=device)                 # (b,)
    stop_ids = torch.tensor(sorted(stop), device=device)
    new_ids = torch.full((B, max_new), pad, device=device)
    logp = torch.zeros(B, max_new, device=device)
    # A step of a small model is over before a second thread has woken up.
    small = device.type == "cpu" and B <= 128 and model.cfg.n_embd <= 256
    with threads(1 if small else torch.get_num_threads()):
        for step in range(max_new):
            n = P + step                                                    # columns read so far
            if cache is None:
                ids_now = torch.cat([ids, new_ids[rows, :step]], 1)
                hidden = model(ids_now, want="hidden", pos=pos[:, :n], keep=keep[:, :n])[:, -1]
            elif step == 0:
                hidden = _read_prompts(model, ids, keep, pos, cache)        # (b,C) last column
            else:
                hidden = model(new_ids[rows, step - 1:step], want="hidden", pos=pos[:, n - 1:n],
                               cache=cache, keep=keep[:, :n])[:, -1]
            logits = model(hidden=hidden)                                   # (b,V)
            if temperature <= 0:
                token = logits.argmax(-1)                                   # (b,)
            else:
                warm = logits.float() / temperature
                if top_k or top_p < 1:
                    warm = _cut_tail(warm, top_k, top_p)
                token = _choose(warm, rng, places[rows], size)
            new_ids[rows, step] = token
            nats = logits.float().log_softmax(-1).gather(1, token[:, None])
            logp[rows, step] = nats[:, 0]
            speaks &= (token[:, None] != stop_ids).all(1)
            # Asking a GPU who still speaks makes the CPU wait for it: ask seldom.
            left = int(speaks.sum()) if device.type == "cpu" or step % 16 == 15 else B
            if left == 0:
                break
            if cache is not None and left <= 0.75 * len(rows):      # moving the cache costs, too
                still = speaks.nonzero()[:, 0]
                cache.take(still, n)
                rows, keep, pos, speaks = (x[still] for x in (rows, keep, pos, speaks))
    return [_cut(row[:step + 1], nats, stop, forced)
            for row, nats, forced in zip(new_ids.tolist(), logp.tolist(), priors)]


def _pad_left(prompts: list[list[int]], max_new: int, pad: int, device) -> tuple[Tensor, Tensor]:
    """(B,P) ids and (B,P+max_new) keep: False for padding, which nobody looks at."""
    P = max(map(len, prompts))
    ids = torch.tensor([[pad] * (P - len(p)) + p for p in prompts], device=device)
    empty = torch.tensor([[P - len(p)] for p in prompts], device=device)
    return ids, torch.arange(P + max_new, device=device) >= empty


def _read_prompts(model: GPT, ids: Tensor, keep: Tensor, pos: Tensor, cache: Cache) -> Tensor:
    """Fill the cache with all prompts (B,P) -> (B,C) final states of the last column.
    On a CPU in four parts: short prompts do not pay for the padding of long ones."""
    if not cache.in_parts:
        P = ids.shape[1]
        return model(ids, want="hidden", pos=pos[:, :P], cache=cache, keep=keep[:, :P])[:, -1]
    (B, P), last = ids.shape, []
    size = max(16, B // 4) if ids.device.type == "cpu" else B
    cache.kv, cache.n = F.pad(cache.kv, (0, 0, 0, P + 15)), P
    for rows in (slice(i, i + size) for i in range(0, B, size)):
        start = int(keep[rows].int().argmax(1).min())       # the first column not all padding
        part = model.new_cache(len(ids[rows]))
        last.append(model(ids[rows, start:], want="hidden", pos=pos[rows, start:P], cache=part,
                          keep=keep[rows, start:P])[:, -1])
        cache.kv[:, :, rows, :, start:P] = part.kv[..., :P - start, :]
    return torch.cat(last)


def _choose(logits: Tensor, rng: torch.Generator, rows: Tensor, size: int) -> Tensor:
    """(b,V) logits of these rows of a batch of `size` -> (b,) tokens.
    One random number a row, u in (0, 1]: the first token at which the summed probabilities reach u.
    (torch.multinomial draws one for each token of the vocabulary: half of a step's time.)"""
    cdf = logits.softmax(-1).cumsum(-1)
    u = 1 - torch.rand(size, 1, device=logits.device, generator=rng)[rows]
    token = torch.searchsorted(cdf, u * cdf[:, -1:])[:, 0]      # times the sum: 1, but for rounding
    return token.clamp_max(logits.shape[1] - 1)                 # a model that says NaN reaches no u


def _cut_tail(logits: Tensor, top_k: int, top_p: float) -> Tensor:
    """(b,V) logits, -inf outside the top_k likeliest tokens and beyond the mass top_p."""
    if top_k:
        kth = logits.topk(min(top_k, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(logits < kth, -torch.inf)
    if top_p < 1:
        sorted_logits, order = logits.sort(descending=True)
        p = sorted_logits.softmax(-1)
        before = p.cumsum(-1) - p               # mass of what is likelier; the likeliest is kept
        drop = (before >= top_p).scatter(1, order, before >= top_p)
        logits = logits.masked_fill(drop, -torch.inf)
    return logits


def _cut(row: list[int], logp: list[float], stop: set[int], prior: list[int]) -> Answer:
    n = next((i for i, token in enumerate(row) if token in stop), len(row))
    ended = n < len(row)
    return Answer(prior + row[:n], ended, logp[:n + 1], row[n] if ended else None)


def stops(a: Answer, tok: Tokenizer) -> bool:
    """Did it end by itself? Beginning another question before <|end|> is not stopping."""
    return a.ended and tok.user not in a.ids and tok.assistant not in a.ids


def answer_rows(model: GPT, tok: Tokenizer, rows: list[Row], max_new: int = MAX_NEW,
                chunk: int = 300, priors: list[list[int]] | None = None, seed: int = 0,
                **how: Any) -> list[Answer]:
    """Greedy (or as `how` says) answers in the order of rows; prompts of like length together.
    `priors`: the tokens that each answer must begin with."""
    prompts = [tok.prompt_ids(r.prompt) for r in rows]
    out: list[Any] = [None] * len(rows)
    by_length = sorted(range(len(rows)), key=lambda i: len(prompts[i]))
    for i in range(0, len(rows), chunk):
        part = by_length[i:i + chunk]
        some = generate(model, [prompts[j] for j in part], stop=tok.stops, pad=tok.pad,
                        max_new=max_new, seed=chunk_seed(seed, i // chunk),
                        priors=[priors[j] for j in part] if priors else None, **how)
        for j, a in zip(part, some):
            out[j] = a
    return out


@contextlib.contextmanager
def threads(n: int) -> Iterator[None]:
    """`n` CPU threads inside, as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)
