"""From examples to batches: tokens, shifted targets, masks, an order that wastes little padding.

    encoded, report = encode(examples, tok, n_ctx)        # token ids and masks, once
    steps = order(lengths, rows, steps, seed)             # which rows stand in which optimizer step
    batch = collate(encoded, steps[i], ...)               # Seqs, shifted

Everything here is a pure function of data and seed, so step n of a resumed run sees what step n always sees.
"""
from dataclasses import dataclass, field

import numpy as np
import torch

from nanouft.shell.config import UserError
from nanouft.data.rows import Example, Turns
from nanouft.objectives import Batch, Seqs
from nanouft.data.tokenizer import Tokenizer


@dataclass
class Tokens:
    """One sequence: L token ids, mask 1 on response tokens, columns of L-1 numbers (one a target)."""
    ids: np.ndarray
    mask: np.ndarray
    tok: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass
class Encoded:
    seqs: dict[str, Tokens]
    col: dict[str, float | np.ndarray]
    example: Example

    @property
    def length(self) -> int:
        return max(len(t.ids) for t in self.seqs.values())


@dataclass
class EncodeReport:
    rows: int = 0
    cut: int = 0              # prompts that lost their beginning
    skipped: int = 0          # answers longer than the context

    def lines(self, n_ctx: int) -> list[str]:
        out = []
        if self.cut:
            out.append(f"{self.cut:,} rows longer than the context of {n_ctx} tokens: "
                       "the beginning of the prompt was cut")
        if self.skipped:
            out.append(f"{self.skipped:,} rows skipped: the answer alone is longer than the context of {n_ctx} tokens")
        return out


def encode(examples: list[Example], tok: Tokenizer, n_ctx: int) -> tuple[list[Encoded], EncodeReport]:
    """Tokenize; cut over-long prompts from the left, by the same amount in every role (a pair shares its prompt);
    skip a row whose last answer cannot fit (a cut answer would teach never to stop). UserError if none is left."""
    out, report = [], EncodeReport(len(examples))
    for e in examples:
        seqs = {role: tok.chat(context, trained) if trained else asked(context, tok)
                for role, (context, trained) in e.seqs.items()}
        excess = max(len(ids) - (n_ctx + 1) for ids, _ in seqs.values())
        if excess > 0:
            if any(excess >= _last_answer(mask) for _, mask in seqs.values()):
                report.skipped += 1
                continue
            report.cut += 1
            seqs = {role: (ids[excess:], mask[excess:]) for role, (ids, mask) in seqs.items()}
        out.append(Encoded({role: Tokens(np.array(ids, np.int64), np.array(mask, np.int64)) for role, (ids, mask)
                            in seqs.items()}, dict(e.col), e))
    if not out:
        raise UserError(f"no row fits: all {len(examples):,} answers are longer than the context of {n_ctx} tokens")
    return out, report


def asked(context: Turns, tok: Tokenizer) -> tuple[list[int], list[int]]:
    """A prompt that waits for its answer, and its mask: nothing to train on."""
    ids = tok.prompt_ids(context)
    return ids, [0] * len(ids)


def _last_answer(mask: list[int]) -> int:
    """Index of the first token of the last answer; of a prompt, that of its last token."""
    i = max((k for k, m in enumerate(mask) if m), default=len(mask) - 1)
    while mask[i - 1]:
        i -= 1
    return i


def order(lengths: list[int], rows: int, steps: int, seed: int, pool: int = 20) -> list[np.ndarray]:
    """`steps` arrays of `rows` row numbers each.

    The data is shuffled anew each epoch and dealt out in one endless stream. A pool of 20 steps' rows is sorted by
    length, cut into steps and the steps are shuffled: neighbours in a batch have similar lengths (little padding),
    yet a batch is a random draw of its pool (not one family of tasks). A pool never reaches into the next epoch:
    sorting would put the two copies of a row side by side. Only the step in which an epoch ends may hold a row twice.
    """
    rng, n, out = np.random.default_rng([seed, 7]), len(lengths), []
    lengths, stream = np.asarray(lengths), np.empty(0, np.int64)
    while len(out) < steps:
        left = len(stream)                              # of the epoch under way
        while len(stream) < rows:
            stream = np.concatenate([stream, rng.permutation(n)])
        want = rows if 0 < left < rows else min(pool, steps - len(out), len(stream) // rows) * rows
        here, stream = stream[:want], stream[want:]
        here = here[np.argsort(lengths[here], kind="stable")].reshape(-1, rows)
        out += list(here[rng.permutation(len(here))])
    return out


class Epochs:
    """A source of steps: the rows of the data again and again. source(step) -> (data, which rows of it)."""
    stride = 1                          # a run can be resumed at multiples of this many steps
    stats: dict[str, float] = {}        # what the source has to report beside the loss: nothing

    def __init__(self, data: list[Encoded], rows: int, steps: int, seed: int):
        self.data, self.plan = data, order([e.length for e in data], rows, steps, seed)

    def __call__(self, step: int) -> tuple[list[Encoded], np.ndarray]:
        return self.data, self.plan[step]


def collate(data: list[Encoded], rows: np.ndarray, pad: int, parts: int = 1, part: int = 0, *, seed: int = 0,
            step: int = 0, ramp: float = 1.0, device="cpu") -> Batch:
    """The Batch of one optimizer step, or its `part`-th of `parts` pieces (micro-batches times processes).

    The totals are those of the whole step, which every process knows without asking the others.
    """
    whole = [data[i] for i in rows]
    cuts = np.linspace(0, len(rows), parts + 1).astype(int)
    mine = whole[cuts[part]:cuts[part + 1]]
    seqs = {role: _shift([e.seqs[role] for e in mine], pad, device) for role in mine[0].seqs}
    every = {name: torch.from_numpy(np.array([e.col[name] for e in whole], np.float32)).to(device)
             for name in whole[0].col}
    col = {name: x[cuts[part]:cuts[part + 1]] for name, x in every.items()}
    tokens = {role: int(sum(e.seqs[role].mask[1:].sum() for e in whole)) for role in seqs}
    attended = {role: sum(len(e.seqs[role].ids) - 1 for e in whole) for role in seqs}
    return Batch(seqs, col, every, len(rows), tokens, attended, seed * 1_000_003 + step, int(cuts[part]), ramp)


def _shift(seqs: list[Tokens], pad: int, device) -> Seqs:
    """The one place where targets are shifted: inputs ids[:-1], targets ids[1:]; mask, columns follow the targets."""
    T = max(len(s.ids) for s in seqs) - 1
    def stack(arrays, fill, dtype):
        full = np.full((len(arrays), T), fill, dtype)
        for row, a in zip(full, arrays):
            row[:len(a)] = a
        return torch.from_numpy(full).to(device, non_blocking=True)
    return Seqs(stack([s.ids[:-1] for s in seqs], pad, np.int64), stack([s.ids[1:] for s in seqs], pad, np.int64),
                stack([s.mask[1:] for s in seqs], 0, np.float32),
                stack([np.ones(len(s.ids) - 1) for s in seqs], 0, np.float32),
                {name: stack([s.tok[name] for s in seqs], 0.0, np.float32) for name in seqs[0].tok})


def show_mask(e: Encoded, tok: Tokenizer, colour: bool, constant: tuple[str, ...] = ()) -> str:
    """One example as the model reads it; what is trained on is green (colour) or in [[ ]] (no colour). What is known
    of an answer (score, label) stands beside its role. `constant`: roles that are read and not trained on."""
    out, known = [], ", ".join(_known(name, x) for name, x in e.col.items() if np.ndim(x) == 0)
    for role, t in e.seqs.items():
        note = "only measured" if role in constant else known
        text, on = f"{role:>9}" + f" ({note})" * bool(note) + "  ", False
        for i, m in zip(t.ids, 0 * t.mask if role in constant else t.mask):
            if bool(m) != on:
                text += ("\033[32m" if m else "\033[0m") if colour else ("[[" if m else "]]")
                on = bool(m)
            text += tok.decode([int(i)])
        out.append(text + (("\033[0m" if colour else "]]") if on else ""))
    return "\n".join(out)


def _known(name: str, x: float) -> str:
    return f"label {'good' if x > 0.5 else 'bad'}" if name == "label" else f"{name} {x:.3g}"
