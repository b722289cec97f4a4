"""From rows to batches: tokens, shifted targets, masks, an order that wastes little padding.

    encoded, report = encode(rows, tok, n_ctx)            # token ids and masks, once
    plan = Plan(lengths, rows, steps, seed)               # which rows stand in which step: a function of the seed
    batch = collate(encoded, plan[step], tok.pad)         # shifted, padded: what a loss reads
"""
import shlex
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from nanouft.data.rows import ANSWERS, Roles, Row, Turns
from nanouft.data.tokenizer import Tokenizer
from nanouft.errors import UserError, visible
from nanouft.objective import NOT_SET, Batch, Columns, Seqs
from nanouft.seeds import order_seed, step_seed

MOST_CTX = 8192             # the longest context that `pretrain` makes
KNOWN = ("score", "label", "p")      # columns that come with the rows of the data


@dataclass
class Tokens:
    ids: np.ndarray                     # (L,)
    mask: np.ndarray                    # (L,) 1 on response tokens
    ref: np.ndarray | None = None       # (L-1,) one number a target; reference.py writes it, see Seqs.ref
    extra: dict[str, np.ndarray] = field(default_factory=dict)      # (L-1,) likewise: Seqs.extra


@dataclass
class Encoded:
    """A row of the data as tokens: the sequences that stand together, and what is known of the row."""
    seqs: dict[str, Tokens]
    row: Row
    col: Columns = field(default_factory=Columns)

    @property
    def length(self) -> int:
        return _longest(self.seqs)


@dataclass
class EncodeReport:
    rows: int = 0
    cut: int = 0              # dialogues that lost their oldest turns
    skipped: int = 0          # rows of which not even the last question and its answer fit
    longest: int = 0          # tokens of the longest of these, as short as it can be cut
    file: str = ""            # where that one stands
    refused: list[str] = field(default_factory=list)    # rows that a model's own chat template cannot write, and why

    def lines(self, n_ctx: int, given: int | None = None) -> list[str]:
        """`given`: --max-length."""
        out, limit = [], f"{'--max-length' if given else 'the context'} of {n_ctx} tokens"
        if self.cut:
            out.append(f"{self.cut:,} rows longer than {limit}: their oldest turns were dropped")
        if self.skipped:
            out.append(f"{self.skipped:,} rows skipped: the last question and its answer alone are longer than "
                       f"{limit}{'' if given else '. ' + self.remedy()}")
        if self.refused:
            out.append(f"{len(self.refused):,} rows skipped, the first: {self.refused[0]}")
        return out

    def remedy(self) -> str:
        """What to do about rows that do not fit: the next power of two is context enough for the longest."""
        if self.longest > MOST_CTX:
            return f"The longest has {self.longest:,} tokens: make such rows shorter, or --init a model that reads them"
        ctx = 1 << (self.longest - 2).bit_length()
        return ("To keep them, make a base that reads them, with its own tokenizer: python -m nanouft.pretrain "
                f"--corpus {shlex.quote(self.file)} --ctx {ctx}; or --init a model with a longer context")


def encode(rows: list[Row], tok: Tokenizer, n_ctx: int) -> tuple[list[Encoded], EncodeReport]:
    """Tokenize. A dialogue that is too long loses its oldest turns; system turns stay, and all roles lose the same ones
    (a pair shares its prompt). It then begins with a question. A row whose last question and answer do not fit is
    skipped: a cut answer would teach never to stop. So every row has a prompt. UserError if no row is left."""
    out, report = [], EncodeReport(len(rows))
    for r in rows:
        known = Columns(score=r.score, label=r.label, p=r.p)
        try:
            row = Encoded(_tokens(r.roles, tok), r, known)
            if row.length > n_ctx + 1:
                row = Encoded(_cut(r.roles, tok, n_ctx) or row.seqs, r, known)
                report.cut += row.length <= n_ctx + 1
            if row.length <= n_ctx + 1:
                out.append(row)
            else:
                report.skipped += 1
                if row.length > report.longest:
                    report.longest, report.file = row.length, r.where.rpartition(", ")[0]
        except UserError as why:
            report.refused.append(f"{r.where}: {why}")
    if report.refused and not out:
        raise UserError(f"no row can be used; the first: {report.refused[0]}")
    if not out:
        raise UserError(f"no row fits: all {len(rows):,} questions with their answers are longer than the context "
                        f"of {n_ctx} tokens (or than --max-length). {report.remedy()}")
    return out, report


def _tokens(roles: Roles, tok: Tokenizer) -> dict[str, Tokens]:
    """Ids and mask of each role; a prompt that waits for its answer has nothing to train on."""
    out = {}
    for role, (context, trained) in roles.items():
        if trained:
            ids, mask = tok.chat(context, trained)
        else:
            ids = tok.prompt_ids(context)
            mask = [0] * len(ids)
        out[role] = Tokens(np.array(ids, np.int32), np.array(mask, np.int8))    # 5 bytes a token, while they wait
    return out


def _cut(roles: Roles, tok: Tokenizer, n_ctx: int) -> dict[str, Tokens]:
    """The longest of `shorter` that fits; if none does, the shortest; {} if there are none. Found by halving: the chat
    template of another model is slow."""
    forms = list(shorter(roles))
    if not forms:
        return {}
    first = bisect_left(forms, True, key=lambda form: _longest(_tokens(form, tok)) <= n_ctx + 1)
    return _tokens(forms[min(first, len(forms) - 1)], tok)


def _longest(tokens: dict[str, Tokens]) -> int:
    return max(len(t.ids) for t in tokens.values())


def shorter(roles: Roles) -> Iterator[Roles]:
    """The same roles from a later question on, the longest first: from a user turn after an answer that all roles have,
    after the same turns and before their last answers."""
    talks = [(*context, *trained) for context, trained in roles.values()]
    ends = [max((i for i, turn in enumerate(talk) if turn.role == "assistant"), default=0) if trained else len(talk)
            for talk, (_, trained) in zip(talks, roles.values())]
    for n in range(1, min(ends)):
        if any(talk[:n + 1] != talks[0][:n + 1] for talk in talks):
            return
        if talks[0][n].role == "user" and talks[0][n - 1].role in ANSWERS:
            yield {role: (_since(n, context), _since(n - len(context), trained))
                   for role, (context, trained) in roles.items()}


def _since(n: int, turns: Turns) -> Turns:
    """The turns from number n on, and every system turn."""
    return tuple(turn for i, turn in enumerate(turns) if i >= n or turn.role == "system")


def order(lengths: list[int], rows: int, steps: int, seed: int, pool: int = 20) -> list[np.ndarray]:
    """`steps` arrays of `rows` row numbers each: the whole of `pools`, for few steps."""
    return [step for here in pools(lengths, rows, steps, seed, pool) for step in here]


def pools(lengths: list[int], rows: int, steps: int, seed: int, pool: int = 20) -> Iterator[np.ndarray]:
    """Arrays (steps, rows) of row numbers, in all `steps` steps; each is made when it is asked for.
    The data is shuffled in each epoch and dealt out in one endless stream. A pool of 20 steps' rows is sorted by
    length, cut into steps and the steps are shuffled: little padding, yet a batch is a random draw of its pool. A pool
    never reaches into the next epoch. Only the step in which an epoch ends may hold a row twice."""
    rng, n, done = np.random.default_rng(order_seed(seed)), len(lengths), 0
    tokens, stream = np.asarray(lengths), np.empty(0, np.int64)
    while done < steps:
        left = len(stream)                              # of the epoch under way
        while len(stream) < rows:
            stream = np.concatenate([stream, rng.permutation(n)])
        want = rows if 0 < left < rows else min(pool, steps - done, len(stream) // rows) * rows
        here, stream = stream[:want], stream[want:]
        here = here[np.argsort(tokens[here], kind="stable")].reshape(-1, rows)
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
        self.data, self.pad, self.seed = data, pad, seed
        self.plan = Plan([e.length for e in data], rows, steps, seed)

    def __call__(self, step: int) -> Batch:
        return replace(collate(self.data, self.plan[step], self.pad), seed=step_seed(self.seed, step))


def collate(data: list[Encoded], rows, pad: int) -> Batch:
    """The batch of one optimizer step: these rows of the data, on the CPU."""
    here = [data[i] for i in rows]
    seqs = {role: _shift([e.seqs[role] for e in here], pad) for role in here[0].seqs}
    known = {name: _column([getattr(e.col, name) for e in here])
             for name in KNOWN if getattr(here[0].col, name) is not None}
    extra = {name: _column([e.col.extra[name] for e in here]) for name in here[0].col.extra}
    return Batch.of(seqs, Columns(**known, extra=extra))


def _column(values: list) -> Tensor:
    """A number or a vector of each row -> (B,) or (B,...)."""
    return torch.from_numpy(np.array(values, np.float32))


def _shift(seqs: list[Tokens], pad: int) -> Seqs:
    """The one place where targets are shifted: inputs ids[:-1], targets ids[1:]; mask and columns follow the targets.
    Shorter rows are padded on the right."""
    T = max(len(s.ids) for s in seqs) - 1

    def stack(arrays: list[np.ndarray], fill: float, dtype) -> Tensor:
        full = np.full((len(arrays), T), fill, dtype)
        for row, a in zip(full, arrays):
            row[:len(a)] = a
        return torch.from_numpy(full)

    refs = [s.ref for s in seqs if s.ref is not None]
    return Seqs(inputs=stack([s.ids[:-1] for s in seqs], pad, np.int64),
                targets=stack([s.ids[1:] for s in seqs], pad, np.int64),
                mask=stack([s.mask[1:] for s in seqs], 0, np.float32),
                attend=stack([np.ones(len(s.ids) - 1) for s in seqs], 0, np.float32),
                ref=stack(refs, 0, np.float32) if refs else NOT_SET,
                extra={name: stack([s.extra[name] for s in seqs], 0, np.float32) for name in seqs[0].extra})


# ---- one example, for the eyes ---------------------------------------------------------------------------------------
LONG = 1200                                     # letters of a text that are shown
ONLY_READ = {"mismatch": "only measured"}       # roles that no loss trains on


def show_mask(e: Encoded, tok: Tokenizer, colour: bool, between: str = "") -> str:
    """One example as the model reads it; what is trained on is green (colour) or in [[ ]] (no colour). What is known
    of an answer (score, label) stands beside its role. `between`: a mark between two tokens. Long texts are cut."""
    begin, end = ("\033[32m", "\033[0m") if colour else ("[[", "]]")
    out = []
    for role, t in e.seqs.items():
        note = ONLY_READ.get(role) or _known(e.col)
        text = f"{role:>9}" + (f" ({note})" if note else "") + "  "
        mask = 0 * t.mask if role in ONLY_READ else t.mask
        edges = [0, *(np.flatnonzero(np.diff(mask)) + 1), len(mask)]
        for start, stop in zip(edges, edges[1:]):
            span = visible(spelt(t.ids[start:stop].tolist(), tok, between))
            span = span if len(span) <= LONG else f"{span[:LONG // 2]} [...] {span[-LONG // 4:]}"
            text += begin + span + end if mask[start] else span
        out.append(text)
    return "\n".join(out)


def spelt(ids: list[int], tok: Tokenizer, between: str) -> str:
    """The text of ids, with a mark `between` tokens. A letter may be several tokens: it stays whole."""
    if not between:
        return tok.decode(ids)
    pieces: list[str] = []
    last, here = ids[:0], ids[:0]
    for i in ids:
        here.append(i)                          # some tokenizers put a space before the first token of all: `last`
        text = tok.decode([*last, *here])[len(tok.decode(last)):]
        if "\ufffd" not in text or len(here) > 4:
            pieces.append(text)
            last, here = [i], []
    return between.join(pieces) + tok.decode(here)


def _known(col: Columns) -> str:
    """"label good", "score 0.5": the numbers that came with a row."""
    said = [] if col.label is None else ["label good" if col.label > 0.5 else "label bad"]
    return ", ".join(said + [f"{name} {x:.3g}" for name in ("score", "p") if (x := getattr(col, name)) is not None])
