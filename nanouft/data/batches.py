"""From rows to batches: tokens, shifted targets, masks, an order with little padding.

    encoded, report = encode(rows, tok, n_ctx)          # token ids and masks, once
    picked = order(lengths, batch_size, steps, seed)    # the rows of each step
    batch = collate(encoded, picked[step], tok.pad)     # shifted and padded, as a loss reads it
"""
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

import numpy as np
import torch
from torch import Tensor

from nanouft.batch import NOT_SET, Batch, Seqs
from nanouft.data.fit import BORROWED, Encoded, Tokens, count_answers, fit
from nanouft.data.rows import Row
from nanouft.models.tokenizer import Tokenizer
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.printing import quantity
from nanouft.plumbing.progress import progress
from nanouft.plumbing.seeds import order_seed, step_seed

POOL = 20                               # steps whose rows are sorted by length
# end tokens of common tokenizers; a file made for one of them may have it typed into its answers
END_TOKENS = ("<|end|>", "<|im_end|>", "<|endoftext|>", "<|end_of_text|>", "<|eot_id|>", "</s>",
              "<eos>", "<end_of_turn>")


# ---- rows -> tokens ------------------------------------------------------------------------------
@dataclass
class EncodeReport:
    """Rows that a run leaves out, with the reason, and notes on rows that it changes."""
    kept_free: int = 0        # tokens of the context that are reserved for the model's answer
    by_flag: bool = False     # --max-length is the limit, and not the context of the model
    skipped: int = 0          # rows that are too long, as a whole or in one answer
    longest: int = 0          # tokens of the longest of these rows, the last token included
    refused: list[str] = field(default_factory=list)    # rows that a chat template refuses, and why
    why: dict[str, str] = field(default_factory=dict)   # Row.where -> why it is left out
    shortened: set[str] = field(default_factory=set)    # Row.where of rows that lost oldest turns
    lost_answers: int = 0     # trained answers among these lost turns
    divided: dict[str, int] = field(default_factory=dict)   # dialogues -> rows of one answer each
    lost_thoughts: set[str] = field(default_factory=set)    # rows without parts of earlier answers
    typed_ends: dict[str, set[str]] = field(default_factory=dict)   # end token -> Row.where

    def lines(self, n_ctx: int) -> list[str]:
        """Printed lines about rows that did not fit into `n_ctx` tokens, and about end tokens."""
        out = self.about_dialogues(n_ctx)
        if self.skipped:
            out.append("rows that are too long, whole or in one of their answers: "
                       f"{self.too_long(n_ctx)}")
        if self.refused:
            out.append(f"{len({*self.refused}):,} refused, the first: {self.refused[0]}")
        for name, rows in self.typed_ends.items():
            out.append(f'{quantity(len(rows), "rows")} with "{name}" typed into an answer; every '
                       "answer gets its end token anyway, so take it out of the file")
        return out

    def about_dialogues(self, n_ctx: int, used: str = "trained on") -> list[str]:
        """Printed lines about dialogues that are used, but not as they are in the file."""
        out = []
        if self.shortened:
            lost = (f", and with them {quantity(self.lost_answers, 'answers')} that would have "
                    f"been {used}" if self.lost_answers else "")
            out.append(f"{quantity(len(self.shortened), 'dialogues')} lost the oldest turns"
                       f"{lost}; so they fit {n_ctx} tokens, as in {min(self.shortened)}")
        if self.divided:
            parts = quantity(sum(self.divided.values()), "rows")
            out.append(f"{quantity(len(self.divided), 'dialogues')} as {parts} of one answer each: "
                       "the chat template changes an answer when the dialogue goes on, "
                       f"as in {min(self.divided)}")
        if self.lost_thoughts:
            out.append(f"{quantity(len(self.lost_thoughts), 'rows')} with earlier answers of which "
                       "the chat template leaves out a part, such as their thoughts; it does so "
                       f"too when the model is asked, as in {min(self.lost_thoughts)}")
        return out

    def too_long(self, n_ctx: int) -> str:
        free = (f"--max-new keeps {self.kept_free:,} more for the answer; lower it, or "
                if self.kept_free else "")
        remedy = "raise --max-length" if self.by_flag else (
            "--init a model with a longer context, since that of this one is the limit")
        return (f"they are longer than {n_ctx} tokens without their last (the longest has "
                f"{self.longest - 1:,}); {free}{remedy}")


def encode(rows: list[Row], tok: Tokenizer, n_ctx: int, kept_free: int = 0,
           by_flag: bool = False) -> tuple[list[Encoded], EncodeReport]:
    """The rows that fit, as tokens. UserError if none does. `kept_free` tokens are already taken
    off n_ctx, for an answer of the model; `by_flag`: n_ctx is less than the model's context."""
    report = EncodeReport(kept_free=kept_free, by_flag=by_flag)
    out, report = encode_what_fits(rows, tok, n_ctx, report)
    if not out:
        raise UserError(f"no row can be used; the first: {report.refused[0]}" if report.refused
                        else f"no row fits: {report.too_long(n_ctx)}")
    return out, report


def encode_what_fits(rows: list[Row], tok: Tokenizer, n_ctx: int,
                     report: EncodeReport | None = None) -> tuple[list[Encoded], EncodeReport]:
    """Tokenize rows, and add to `report` if there is one. A dialogue that is too long loses its
    oldest turns (fit.py). A row that is still too long is skipped: a cut answer would teach the
    model never to stop."""
    out = []
    names = {tok.decode([i]) for i in tok.stops} | {*END_TOKENS}
    report = report or EncodeReport()
    for r in progress(len(rows), "tokenizing", rows):
        try:
            parts, encoded = fit(r, tok, n_ctx)
        except UserError as why:
            report.refused.append(f"{r.where}: {why}")
            report.why[r.where] = "refused by the chat template"
            continue
        short_enough = [e for e in encoded if e.length <= n_ctx + 1]
        if len(short_enough) < len(encoded):
            report.skipped += not r.where or r.where not in report.why      # a row counts once
            report.longest = max(report.longest, *(e.length for e in encoded))
            report.why[r.where] = "too long"
        if len(encoded) > 1:
            report.divided[r.where] = report.divided.get(r.where, 0) + len(short_enough)
        for part, e in zip(parts, encoded):
            if e.row is not part and e.length <= n_ctx + 1:
                report.shortened.add(r.where)
                report.lost_answers += count_answers(part) - count_answers(e.row)
        if any(e.lost_thoughts for e in short_enough):
            report.lost_thoughts.add(r.where)
        for name in names if short_enough else ():
            if any(name in t.text for side in (r.answer, r.chosen, r.rejected) for t in side or ()):
                report.typed_ends.setdefault(name, set()).add(r.where)
        out += short_enough
    return out, report


def with_brackets(t: Tokens, tok: Tokenizer) -> str:
    """A sequence as text, with the trained tokens in [[ ]]. Long parts are shortened."""
    out = ""
    for counts, part in groupby(zip(t.mask, t.ids), key=lambda pair: pair[0]):
        text = tok.decode([i for _, i in part])
        text = text if len(text) <= 240 else f"{text[:110]} ... {text[-110:]}"
        text = text.replace("\n", "\\n")
        out += f"[[{text}]]" if counts else text
    return out


def example_lines(data: list[Encoded], tok: Tokenizer) -> list[str]:
    """The row that a run prints, as text within 80 columns: the first one. If rows have grades, it
    is the best and the worst, each below its grade."""
    name = next((name for name in ("score", "label") if name in data[0].per_row), "")
    rows = [data[0]]
    if name:
        best, worst = (pick(data, key=lambda e: e.per_row[name]) for pick in (max, min))
        rows = [best] if best is worst else [best, worst]
    out = []
    for e in rows:
        texts = {role: with_brackets(t, tok) for role, t in e.seqs.items() if role != BORROWED}
        out += [f" {name} {e.per_row[name]:.3g}:"] if name else []
        out += [textwrap.fill(text if len(texts) == 1 else f"{role}: {text}", 80,
                              initial_indent="  ", subsequent_indent="  ")
                for role, text in texts.items()]
    return out


# ---- the order -----------------------------------------------------------------------------------
def order(lengths: list[int], batch_size: int, steps: int, seed: int) -> np.ndarray:
    """(steps, batch_size) row numbers.
    The data is shuffled in each epoch and dealt out in one endless stream. The rows of POOL steps
    are sorted by length and cut into steps, and the steps are shuffled. So there is little padding,
    yet a batch is a random draw from its pool. A pool never reaches into the next epoch. Only the
    step in which an epoch ends may hold a row twice."""
    rng, n, done = np.random.default_rng(order_seed(seed)), len(lengths), 0
    sizes, stream = np.asarray(lengths), np.empty(0, np.int64)
    out = np.empty((steps, batch_size), np.int64)
    while done < steps:
        left_of_epoch = len(stream)
        while len(stream) < batch_size:
            stream = np.concatenate([stream, rng.permutation(n)])
        epoch_ends_in_step = 0 < left_of_epoch < batch_size
        if epoch_ends_in_step:
            take = batch_size
        else:
            take = min(POOL, steps - done, len(stream) // batch_size) * batch_size
        pool, stream = stream[:take], stream[take:]
        pool = pool[np.argsort(sizes[pool], kind="stable")].reshape(-1, batch_size)
        out[done:done + len(pool)] = pool[rng.permutation(len(pool))]
        done += len(pool)
    return out


@dataclass(frozen=True)
class Batching:
    """Size, number and order of the steps of a run."""
    batch_size: int             # rows of a step, or prompts if the model samples
    steps: int                  # of the whole run
    seed: int = 0
    accumulate: int = 1         # micro-batches in which a step is taken


class RowSource:
    """A source of steps that repeats the rows of the data. source(number) is the batch of that
    step."""
    stride = 1                          # a run can be resumed at multiples of this many steps
    stats: dict[str, float] = {}        # metrics of the source beside the loss: none

    def __init__(self, data: list[Encoded], batching: Batching, pad: int):
        self.data, self.pad, self.batching = data, pad, batching
        lengths = [e.length for e in data]
        self.order = order(lengths, batching.batch_size, batching.steps, batching.seed)

    def __call__(self, number: int) -> Batch:
        batch = collate(self.data, self.order[number], self.pad)
        return replace(batch, seed=step_seed(self.batching.seed, number),
                       progress=number / self.batching.steps, accumulate=self.batching.accumulate)


# ---- tokens -> a batch ---------------------------------------------------------------------------
def collate(data: list[Encoded], picked: Sequence[int] | np.ndarray, pad: int) -> Batch:
    """The batch of one optimizer step: the picked rows of the data, on the CPU."""
    rows = [data[i] for i in picked]
    per_row = {name: torch.from_numpy(np.array([e.per_row[name] for e in rows], np.float32))
               for name in rows[0].per_row}                             # (B,) or (B,...)
    seqs = {role: _shift([e.seqs[role] for e in rows], pad) for role in rows[0].seqs}
    return Batch.of(seqs, per_row)


def _shift(seqs: list[Tokens], pad: int) -> Seqs:
    """The one place that shifts the targets of rows: inputs ids[:-1], targets ids[1:]. Mask and
    extra columns follow the targets. (pretrain.py shifts whole texts.) Short rows are padded on the
    right."""
    T = max(len(s.ids) for s in seqs) - 1

    def stack(arrays: list[np.ndarray], fill: float, dtype: type = np.float32) -> Tensor:
        full: np.ndarray = np.full((len(arrays), T), fill, dtype)
        for row, a in zip(full, arrays):
            row[:len(a)] = a
        return torch.from_numpy(full)

    refs = [s.ref_logp for s in seqs if s.ref_logp is not None]
    return Seqs(inputs=stack([s.ids[:-1] for s in seqs], pad, np.int64),
                targets=stack([s.ids[1:] for s in seqs], pad, np.int64),
                mask=stack([s.mask[1:] for s in seqs], 0),
                not_padding=stack([np.ones(len(s.ids) - 1) for s in seqs], 0),
                ref_logp=stack(refs, 0) if refs else NOT_SET,
                extra={name: stack([s.extra[name] for s in seqs], 0) for name in seqs[0].extra})
