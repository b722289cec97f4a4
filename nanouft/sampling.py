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
from tqdm import tqdm

from nanouft.data.batches import Encoded, Plan, Tokens, collate
from nanouft.data.rows import Row
from nanouft.data.tokenizer import Tokenizer
from nanouft.errors import Diverged, UserError
from nanouft.gpt import GPT, Cache
from nanouft.loop import DTYPES, Device
from nanouft.objective import NOT_SET, Batch, Column, Columns, Objective, Seqs
from nanouft.objectives.on_policy import k3
from nanouft.seeds import (
    chunk_seed,
    minibatch_seed,
    other_prompts_seed,
    rollout_seed,
    step_seed,
)

CHUNK = 256             # answers with one seed, decoded together where there is room
# What measuring and decoding hold at once, whatever the model, beside its weights:
ROWS = 64               # read together
LOGITS = 2**28          # logits: 1 GiB in fp32
HELD = 5                # numbers that they hold for each logit
CACHE = 2**33           # bytes of keys and values, and of their copy while there is made room
MAX_NEW = 44            # NanoWorld's longest right answer has 36 tokens
# n rows and an answer to each -> (n,) rewards, or what several rewards add: {name: (n,)}
Score = Callable[[list[Row], list[str]], Any]


@dataclass
class Answer:
    ids: list[int]                      # without the stop token, forced tokens included
    ended: bool                         # did it say a stop token, or was there no more room?
    logp: list[float] = field(default_factory=list)     # nats of each sampled token, the stop token
    #                                     included, under the model at temperature 1
    stop: int | None = None             # which stop token it said


@dataclass
class Drawn:
    """Prompts, each as often as it was answered, their answers, and what these earned."""
    asked: list[Encoded]
    answers: list[Answer]
    texts: list[str]
    col: Columns

    @property
    def tokens(self) -> int:
        return sum(len(a.logp) for a in self.answers)

    def put(self, rows: list[int], new: "Drawn") -> None:
        """`new` in the place of these rows."""
        for j, i in enumerate(rows):
            self.asked[i], self.answers[i], self.texts[i] = \
                new.asked[j], new.answers[j], new.texts[j]
        for name in ("reward", "score", "ended"):
            getattr(self.col, name)[rows] = getattr(new.col, name)
        for name, x in self.col.extra.items():
            x[rows] = new.col.extra[name]


# ---- a source of steps ---------------------------------------------------------------------------
class Rollouts:
    """source(step) -> the batch of that step, made of answers that the policy gave itself."""

    def __init__(self, prompts: list[Encoded], objective: Objective, hp: Any, policy: GPT,
                 start: GPT, tok: Tokenizer, score: Score, *, rows: int, steps: int, seed: int = 0,
                 max_new: int = MAX_NEW, device: Device = Device(),
                 grade: Callable[[np.ndarray], np.ndarray] | None = None,
                 others: Mapping[str, GPT] = {}, exact: Score | None = None,
                 show: Callable[..., None] | None = None, show_every: int = 0,
                 accumulate: int = 1):
        """`policy` is trained in place; `start` is the model that it is held to.
        rows    prompts of a step
        grade   makes 0..1 of rewards
        others  the models that columns ask, by the column's name
        exact   a second score that is only reported, as "score"
        show    show(source, number, rows, texts, columns) after the first rollout, and after one
                every `show_every` steps
        accumulate  pieces in which each process takes a step"""
        self.prompts, self.objective, self.hp, self.tok = prompts, objective, hp, tok
        self.policy, self.start, self.score, self.device = policy, start, score, device
        self.rows, self.seed, self.max_new = rows, seed, max_new
        self.grade, self.others, self.exact = grade, others, exact
        self.show, self.show_every, self.accumulate = show, show_every, accumulate
        self.stride = hp.minibatches * hp.passes        # optimizer steps of a rollout
        self.groups = rows * hp.minibatches             # prompts of a rollout
        self.plan = Plan([e.length for e in prompts], self.groups, -(-steps // self.stride), seed,
                         pool=1)                        # pool 1: a random draw of all prompts
        self.number, self.batch = -1, Batch({})         # the rollout that is there
        self.old: list[Tensor] = []                     # log-probs of each step on it, if measured
        self.stats: dict[str, float] = {}

    def __call__(self, step: int) -> Batch:
        number, k = divmod(step, self.stride)
        if number != self.number:
            self.batch, self.number = self.collect(number), number
        batch = self.minibatch(k)
        if self.device.dtype != "fp32" and "answer" in batch.seqs:
            self.old = self.old if k else self.old_logps()
            batch.seqs["answer"].sampled_logp = self.old[k]
        return replace(batch, seed=step_seed(self.seed, step))

    def minibatch(self, k: int) -> Batch:
        """The rows of the k-th step on this rollout."""
        turn, part = divmod(k, self.hp.minibatches)
        rng = np.random.default_rng(minibatch_seed(self.seed, self.number, turn))
        mine = rng.permutation(self.groups)[part * self.rows:(part + 1) * self.rows]
        per = self.batch.rows // self.groups            # rows of a prompt: its answers, or one pair
        return self.batch.take((mine[:, None] * per + np.arange(per)).ravel())

    @torch.no_grad()
    def old_logps(self) -> list[Tensor]:
        """In half precision products depend on the shape of a batch (a ratio was off by .052; in
        fp32 by 1.6e-5). So this asks the policy that sampled, over the same pieces that each step
        on the rollout will take. The first step asks it by itself: on_policy.log_rho."""
        out, device, pieces = [NOT_SET], self.device, self.accumulate
        for k in range(1, self.stride):
            batch = self.minibatch(k)
            old = torch.zeros_like(batch.seqs["answer"].mask)                       # (B,T)
            for i in range(device.rank * pieces, (device.rank + 1) * pieces):
                piece = batch.piece(i, device.processes * pieces).to(device.name)
                with device.autocast():
                    self.objective.forward(self.policy, piece, self.hp)
                logp = piece.seqs["answer"].logp.float().cpu()                      # (b,t)
                old[piece.offset:piece.offset + len(logp), :logp.shape[1]] = logp
            out.append(device.sum(old))
        return out

    def collect(self, number: int) -> Batch:
        """Rollout `number`. Answers to one prompt are neighbours."""
        # 1. sample, 2. score
        drawn = self.draw([self.prompts[i] for i in self.plan[number]], number)
        more = self.resampled(drawn, number) if getattr(self.hp, "resample", 0) else {}
        batch = batch_of(drawn.asked, drawn.answers, self.tok)
        batch.per_row = drawn.col
        # 3. measure
        figures = measure(batch, self.policy, self.start, self.device, self.objective.columns,
                          self.hp, self.others)
        self.stats = stats(batch, figures, self.hp.samples) | more
        if self.device.dtype != "fp32":     # ref_logp and sampled_logp by the same forward
            batch.seqs["answer"].sampled_logp = figures["now"]
        # 4. credit
        batch, more = credited(batch, self.objective, self.hp)
        self.stats |= more
        if self.show and self.is_due(number):
            self.show(self, number, [e.row for e in drawn.asked], drawn.texts, drawn.col)
        return batch

    def draw(self, prompts: list[Encoded], number: int, turn: int = 0) -> Drawn:
        """`samples` answers to each prompt, scored."""
        asked = [e for e in prompts for _ in range(self.hp.samples)]
        answers = self.sample([e.seqs["prompt"].ids.tolist() for e in asked], number, turn)
        texts = [self.tok.decode(a.ids).strip() for a in answers]
        return Drawn(asked, answers, texts, self.scored([e.row for e in asked], texts, answers))

    def resampled(self, drawn: Drawn, number: int) -> dict[str, float]:
        """Dynamic sampling (DAPO, arXiv:2503.14476, Eq. 11), for at most `resample` rounds: where
        all answers to a prompt earn the same, another prompt takes its place in `drawn`.
        Returns the figures of the first draw, which nobody has chosen; the share that ties at the
        end; all tokens that were sampled."""
        K, col, taken = self.hp.samples, drawn.col, set(self.plan[number].tolist())
        first, tokens = earned(col, K), drawn.tokens
        for turn in range(1, self.hp.resample + 1):
            tied = tied_groups(col.reward, K).nonzero()[:, 0].tolist()
            rng = np.random.default_rng(other_prompts_seed(self.seed, number, turn))
            new = [i for i in rng.permutation(len(self.prompts)).tolist() if i not in taken]
            new = new[:len(tied)]
            if not new:                                 # nothing ties, or no other prompt is left
                break
            taken |= set(new)
            found = self.draw([self.prompts[i] for i in new], number, turn)
            tokens += found.tokens
            drawn.put([K * place + k for place in tied[:len(new)] for k in range(K)], found)
        left = float(tied_groups(col.reward, K).double().mean())
        return first | {"ties_left": left, "sampled": tokens}

    def is_due(self, number: int) -> bool:
        """Are answers of this rollout shown?"""
        every, first = self.show_every, number * self.stride
        return number == 0 or every > 0 and (first - self.stride) // every < first // every

    def sample(self, prompts: list[list[int]], number: int, turn: int = 0) -> list[Answer]:
        """An answer to each prompt. Its random numbers belong to its place, whoever samples it."""
        policy, dtype = self.policy, DTYPES[self.device.dtype]
        if policy.wte.weight.dtype != dtype:
            policy = copy.deepcopy(policy).to(dtype)            # half the weights to read per token
        out = []
        for i in range(0, len(prompts), CHUNK):
            chunk = prompts[i:i + CHUNK]
            mine = range(self.device.rank, len(chunk), self.device.processes)
            seed = rollout_seed(self.seed, number, i // CHUNK, turn)
            out += self.device.gather(generate(
                policy, [chunk[j] for j in mine], stop=self.tok.stops, pad=self.tok.pad,
                max_new=self.max_new, temperature=1.0, of=(mine, len(chunk)), seed=seed))
        if not np.isfinite(sum(sum(a.logp) for a in out)):
            raise Diverged(f"nothing can be sampled at step {number * self.stride + 1}: the run "
                           "diverged, its chances are not finite. Lower --lr")
        return out

    def scored(self, rows: list[Row], texts: list[str], answers: list[Answer]) -> Columns:
        """reward in its own unit; score, the same on 0..1 if there is a `grade`; ended."""
        found = None
        if self.device.rank == 0:               # alone: two processes may judge differently
            found = self.score(rows, texts)
        found = self.device.broadcast(found)
        parts = found if isinstance(found, dict) else {}                # several rewards
        rewards = np.asarray(sum(parts.values()) if parts else found, np.float32)
        score = self.grade(rewards) if self.grade else rewards
        col = Columns(reward=torch.from_numpy(rewards), score=torch.from_numpy(score),
                      ended=torch.tensor([float(stops(a, self.tok)) for a in answers]))
        col.extra |= {f"reward_{name}": torch.from_numpy(x) for name, x in parts.items()}
        if self.exact:
            col.extra["score"] = torch.from_numpy(self.exact(rows, texts))
        return col


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
    Returns {name: (B,T)}, 0 off the answer: now (log-probs under the policy), kl (the exact
    KL(policy || start) over the whole vocabulary), entropy."""
    s, vocab = batch.seqs["answer"], policy.cfg.vocab_size
    of_method = [column.name for column in columns if column.sampled]
    names = ["now", "ref", "kl", "entropy", *of_method]
    found = {name: torch.zeros_like(s.mask) for name in names}
    by_length = np.argsort(-s.real.sum(-1).numpy(), kind="stable")
    mine = by_length[device.rank::device.processes]
    most = max(1, min(ROWS, LOGITS // (s.mask.shape[1] * vocab)))
    for i in range(0, len(mine), most):
        rows = mine[i:i + most]
        part: Seqs = s.take(rows).map(lambda x: x.to(device.name))
        here = {name: torch.zeros_like(part.mask) for name in names}
        with device.autocast():
            hidden, from_start = (model(part.inputs, want="hidden") for model in (policy, start))
            for c in columns:
                if c.sampled:
                    x = c.sampled(part, policy, hidden, others.get(c.name), hp).float()
                    here[c.name] = x.masked_fill(part.mask == 0, 0)
        for at in part.mask.flatten().nonzero()[:, 0].split(max(1, LOGITS // (HELD * vocab))):
            with device.autocast():
                p = policy(hidden=hidden, at=at).float().log_softmax(-1)                # (N,V)
                q = start(hidden=from_start, at=at).float().log_softmax(-1)
            token = part.targets.flatten()[at, None]
            here["now"].view(-1)[at] = p.gather(1, token)[:, 0]
            here["ref"].view(-1)[at] = q.gather(1, token)[:, 0]
            here["kl"].view(-1)[at] = (p.exp() * (p - q)).sum(-1)
            here["entropy"].view(-1)[at] = -(p.exp() * p).sum(-1)
        for name, x in here.items():
            found[name][rows, :x.shape[1]] = x.cpu()
    found = {name: device.sum(x) for name, x in found.items()}
    s.ref_logp = found.pop("ref")
    s.extra |= {name: found.pop(name) for name in of_method}
    return found


def stats(batch: Batch, figures: dict[str, Tensor], samples: int) -> dict[str, float]:
    """What a rollout tells (docs/metrics.md): means over answers, or over their tokens."""
    s = batch.seqs["answer"]
    numbers = (s.sampled_logp, s.ref_logp, *figures.values())
    old, ref, now, kl, entropy = (x[s.mask > 0] for x in numbers)
    return earned(batch.per_row, samples) | {
        "length": len(old) / batch.rows, "kl_exact": float(kl.mean()),
        "kl_k1": float((old - ref).mean()), "kl_k3": float(k3(ref - old).mean()),
        "kl_answer": float(kl.sum() / batch.rows), "entropy": float(entropy.mean()),
        "decode_gap": float((old - now).abs().max())}


def earned(col: Columns, samples: int) -> dict[str, float]:
    """What answers earned on average, in all and in parts, and the share of prompts that tie."""
    parts = {"reward": col.reward, "ends": col.ended, **col.extra}
    parts |= {"ties": tied_groups(col.reward, samples)} if samples > 1 else {}
    return {name: float(x.double().mean()) for name, x in parts.items()}


def tied_groups(reward: Tensor, samples: int) -> Tensor:
    """(P,) bool from (P * samples,): do all answers to a prompt earn the same?"""
    R = reward.view(-1, samples)
    return R.amax(-1) == R.amin(-1)


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
    """Answer every prompt, each until it says `stop`; as many together as CACHE has room for.

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
    numbers, size = of or (range(len(prompts)), len(prompts))
    n = answers_together(model, min(room, max(map(len, prompts)) + longest + max_new))
    if len(prompts) > n:
        parts = [slice(i, i + n) for i in range(0, len(prompts), n)]
        return [answer for part in parts for answer in generate(
            model, prompts[part], stop=stop, pad=pad, max_new=max_new, temperature=temperature,
            top_k=top_k, top_p=top_p, seed=seed, priors=priors[part],
            of=(numbers[part], size), cached=cached)]
    prompts = [p[-(room - max_new - len(forced)):] + forced
               for p, forced in zip(prompts, priors, strict=True)]
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))      # little padding
    ids, keep = _pad_left([prompts[i] for i in order], max_new, pad, device)
    pos = (keep.long().cumsum(1) - 1).clamp_min(0)                          # (B,P+max_new)
    (B, P), rows = ids.shape, torch.tensor(order, device=device)    # rows (b,): still in the batch
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


def answers_together(model: GPT, tokens: int) -> int:
    """How many prompts and answers of so many tokens in all are decoded at once."""
    cfg, bytes_each = model.cfg, model.wte.weight.element_size()
    of_token = 2 * cfg.n_layer * (model.key_width or cfg.n_embd) * bytes_each
    return max(1, min(CACHE // (2 * tokens * of_token), LOGITS // (HELD * cfg.vocab_size)))


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
    for i in tqdm(range(0, len(rows), chunk), desc="sampling", leave=False,
                  disable=len(rows) < 10 * chunk):
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
