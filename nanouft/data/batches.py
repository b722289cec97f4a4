"""From examples to batches: tokens, shifted targets, masks, an order that wastes little padding.

    encoded, report = encode(examples, tok, n_ctx)        # token ids and masks, once
    plan = Plan(lengths, rows, steps, seed)               # which rows stand in which optimizer step
    batch = collate(encoded, plan[step], tok.pad)         # shifted, padded: what a loss reads

Everything here is a pure function of data and seed, so step n of a resumed run sees what step n always sees.
"""
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from functools import partial

import numpy as np
import torch
from torch import Tensor

from nanouft.data.rows import Example, Turns
from nanouft.data.tokenizer import Tokenizer
from nanouft.objective import Batch, Columns, Seqs
from nanouft.shell.config import UserError
from nanouft.shell.text import visible


@dataclass
class Tokens:
    ids: np.ndarray                     # (L,)
    mask: np.ndarray                    # (L,) 1 on response tokens
    ref: np.ndarray | None = None       # (L-1,) one number a target; reference.py writes it, see Seqs.ref
    tis: np.ndarray | None = None       # (L-1,) likewise


@dataclass
class Encoded:
    """A row of the data as tokens: the sequences that stand together, and what is known of the row."""
    seqs: dict[str, Tokens]
    example: Example
    col: Columns = field(default_factory=Columns)

    @property
    def length(self) -> int:
        return max(len(t.ids) for t in self.seqs.values())


@dataclass
class EncodeReport:
    rows: int = 0
    cut: int = 0              # dialogues that lost their oldest turns
    skipped: int = 0          # rows of which not even the last question and its answer fit
    refused: list[str] = field(default_factory=list)    # rows that a model's own chat template cannot write, and why

    def lines(self, n_ctx: int) -> list[str]:
        out = []
        if self.cut:
            out.append(f"{self.cut:,} rows longer than the context of {n_ctx} tokens: their oldest turns were dropped")
        if self.skipped:
            out.append(f"{self.skipped:,} rows skipped: the last question and its answer alone are longer than the "
                       f"context of {n_ctx} tokens")
        if self.refused:
            out.append(f"{len(self.refused):,} rows skipped, the first: {self.refused[0]}")
        return out


def encode(examples: list[Example], tok: Tokenizer, n_ctx: int) -> tuple[list[Encoded], EncodeReport]:
    """Tokenize. A dialogue that is too long loses its oldest turns, the same in every role (a pair shares its prompt),
    and begins with a question; a row whose last question and answer do not fit is skipped: half a question is another
    one, and a cut answer would teach never to stop. So every row has a prompt. UserError if no row is left."""
    out, report = [], EncodeReport(len(examples))
    for e in examples:
        try:
            seqs = {role: tok.chat(context, trained) if trained else asked(context, tok)
                    for role, (context, trained) in e.seqs.items()}
        except UserError as why:
            report.refused.append(f"{e.where}: {why}")
            continue
        excess = max(len(ids) - (n_ctx + 1) for ids, _ in seqs.values())
        if excess > 0:
            start = _question(list(seqs.values()), excess, tok.user)
            if start is None:
                report.skipped += 1
                continue
            report.cut += 1
            seqs = {role: (ids[start:], mask[start:]) for role, (ids, mask) in seqs.items()}
        tokens = {role: Tokens(np.array(ids, np.int64), np.array(mask, np.int64)) for role, (ids, mask) in seqs.items()}
        out.append(Encoded(tokens, e, Columns(score=e.score, label=e.label, p=e.p)))
    if report.refused and not out:
        raise UserError(f"no row can be used; the first: {report.refused[0]}")
    if not out:
        raise UserError(f"no row fits: all {len(examples):,} questions with their answers are longer than the context "
                        f"of {n_ctx} tokens; shorten them or take a model with a longer context")
    return out, report


def asked(context: Turns, tok: Tokenizer) -> tuple[list[int], list[int]]:
    """A prompt that waits for its answer, and its mask: nothing to train on."""
    ids = tok.prompt_ids(context)
    return ids, [0] * len(ids)


def _question(seqs: list[tuple[list[int], list[int]]], excess: int, user: int) -> int | None:
    """Where a row that has `excess` tokens too many may begin: at the first <|user|> from there on that all roles have,
    after the same turns and before their last answers. None: there is none."""
    shared = seqs[0][0]
    for i in range(excess, min(_last_answer(mask) for _, mask in seqs)):
        if shared[i] == user and all(ids[:i + 1] == shared[:i + 1] for ids, _ in seqs):
            return i
    return None


def _last_answer(mask: list[int]) -> int:
    """Index of the first token of the last answer; of a prompt, that of its last token."""
    i = max((k for k, m in enumerate(mask) if m), default=len(mask) - 1)
    while mask[i - 1]:
        i -= 1
    return i


def order(lengths: list[int], rows: int, steps: int, seed: int, pool: int = 20) -> list[np.ndarray]:
    """`steps` arrays of `rows` row numbers each: the whole of `pools`, for few steps."""
    return [step for here in pools(lengths, rows, steps, seed, pool) for step in here]


def pools(lengths: list[int], rows: int, steps: int, seed: int, pool: int = 20) -> Iterator[np.ndarray]:
    """Arrays (steps, rows) of row numbers, in all `steps` steps; each is made when it is asked for.
    The data is shuffled anew each epoch and dealt out in one endless stream. A pool of 20 steps' rows is sorted by
    length, cut into steps and the steps are shuffled: neighbours in a batch have similar lengths (little padding),
    yet a batch is a random draw of its pool (not one family of tasks). A pool never reaches into the next epoch:
    sorting would put the two copies of a row side by side. Only the step in which an epoch ends may hold a row twice.
    """
    rng, n, done = np.random.default_rng([seed, 7]), len(lengths), 0
    lengths, stream = np.asarray(lengths), np.empty(0, np.int64)
    while done < steps:
        left = len(stream)                              # of the epoch under way
        while len(stream) < rows:
            stream = np.concatenate([stream, rng.permutation(n)])
        want = rows if 0 < left < rows else min(pool, steps - done, len(stream) // rows) * rows
        here, stream = stream[:want], stream[want:]
        here = here[np.argsort(lengths[here], kind="stable")].reshape(-1, rows)
        yield here[rng.permutation(len(here))]
        done += len(here)


class Plan:
    """plan[step]: what order(...)[step] is, for any number of steps. Only one pool is kept; asked for an earlier step,
    it begins again."""

    def __init__(self, lengths: list[int], rows: int, steps: int, seed: int, pool: int = 20):
        self.begin = partial(pools, lengths, rows, steps, seed, pool)
        self.first, self.here, self.rest = 0, np.empty((0, rows), np.int64), self.begin()

    def __getitem__(self, step: int) -> np.ndarray:
        if step < self.first:
            self.first, self.here, self.rest = 0, self.here[:0], self.begin()
        while step >= self.first + len(self.here):
            self.first += len(self.here)
            self.here = next(self.rest)
        return self.here[step - self.first]


class Epochs:
    """A source of steps: the rows of the data again and again. source(step) -> the batch of that step."""
    stride = 1                          # a run can be resumed at multiples of this many steps
    stats: dict[str, float] = {}        # what the source has to report beside the loss: nothing

    def __init__(self, data: list[Encoded], rows: int, steps: int, seed: int, pad: int):
        self.data, self.pad = data, pad
        self.plan = Plan([e.length for e in data], rows, steps, seed)

    def __call__(self, step: int) -> Batch:
        return collate(self.data, self.plan[step], self.pad)


def collate(data: list[Encoded], rows, pad: int) -> Batch:
    """The batch of one optimizer step: these rows of the data, on the CPU."""
    here = [data[i] for i in rows]
    seqs = {role: _shift([e.seqs[role] for e in here], pad) for role in here[0].seqs}
    known = {f.name: [getattr(e.col, f.name) for e in here] for f in fields(Columns)}
    col = Columns(**{name: torch.from_numpy(np.array(x, np.float32)) for name, x in known.items() if x[0] is not None})
    return Batch.of(seqs, col)


def _shift(seqs: list[Tokens], pad: int) -> Seqs:
    """The one place where targets are shifted: inputs ids[:-1], targets ids[1:]; mask and columns follow the targets.
    Shorter rows are padded on the right."""
    T = max(len(s.ids) for s in seqs) - 1

    def stack(arrays: list[np.ndarray], fill: float, dtype) -> Tensor:
        full = np.full((len(arrays), T), fill, dtype)
        for row, a in zip(full, arrays):
            row[:len(a)] = a
        return torch.from_numpy(full)

    return Seqs(inputs=stack([s.ids[:-1] for s in seqs], pad, np.int64),
                targets=stack([s.ids[1:] for s in seqs], pad, np.int64),
                mask=stack([s.mask[1:] for s in seqs], 0, np.float32),
                attend=stack([np.ones(len(s.ids) - 1) for s in seqs], 0, np.float32),
                ref=None if seqs[0].ref is None else stack([s.ref for s in seqs], 0, np.float32),
                tis=None if seqs[0].tis is None else stack([s.tis for s in seqs], 0, np.float32))


# ---- one example, for the eyes ---------------------------------------------------------------------------------------
ONLY_READ = {"mismatch": "only measured"}       # roles that no loss trains on


def show_mask(e: Encoded, tok: Tokenizer, colour: bool) -> str:
    """One example as the model reads it; what is trained on is green (colour) or in [[ ]] (no colour). What is known
    of an answer (score, label) stands beside its role."""
    begin, end = ("\033[32m", "\033[0m") if colour else ("[[", "]]")
    out = []
    for role, t in e.seqs.items():
        note = ONLY_READ.get(role) or _known(e.col)
        text, trained = f"{role:>9}" + (f" ({note})" if note else "") + "  ", False
        for i, m in zip(t.ids, 0 * t.mask if role in ONLY_READ else t.mask):
            if bool(m) != trained:
                text += begin if m else end
                trained = bool(m)
            text += visible(tok.decode([int(i)]))
        out.append(text + (end if trained else ""))
    return "\n".join(out)


def _known(col: Columns) -> str:
    """"label good", "score 0.5": the numbers that came with a row."""
    said = [] if col.label is None else ["label good" if col.label > 0.5 else "label bad"]
    return ", ".join(said + [f"{name} {x:.3g}" for name in ("score", "p") if (x := getattr(col, name)) is not None])
