"""From rows to batches: tokens, shifted targets, masks, an order with little padding.

    encoded, report = encode(rows, tok, n_ctx)          # token ids and masks, once
    picked = order(lengths, batch_size, steps, seed)    # the rows of each step
    batch = collate(encoded, picked[step], tok.pad)     # shifted and padded, as a loss reads it

A dialogue that is too long loses its oldest questions. No question and no answer is cut, except
the answer to another question that KTO borrows: nothing is trained on it.
"""
import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from nanouft.batch import NOT_SET, Batch, Seqs
from nanouft.data.row import Roles, Row, up_to_last_answer
from nanouft.models.tokenizer import ANSWERS, Chat, OneAnswerOnly, Tokenizer, Turns
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.printing import LeftOut, each_reason, progress, reasons
from nanouft.plumbing.seeds import ORDER, step_seed

POOL = 20                               # steps whose rows are sorted by length
AT_ONCE = 64                            # rows that are tokenized together
MISMATCHED = "mismatch"                 # role of an answer to another question, which is only read
# end tokens of common tokenizers; a file made for one of them may have it typed into its texts
END_TOKENS = ("<|end|>", "<|im_end|>", "<|endoftext|>", "<|end_of_text|>", "<|eot_id|>", "</s>",
              "<eos>", "<end_of_turn>")
# a dialogue that is written as one text
TURN = re.compile(r"(?:^|\n\n)(?:Human|Assistant|### Instruction|### Response):")


@dataclass
class Tokens:
    ids: np.ndarray                     # (L,)
    mask: np.ndarray                    # (L,) 1 on response tokens: Tokenizer.chat says which
    ref_logp: np.ndarray | None = None      # (L-1,) one per target; run/reference.py writes it
    extra: dict[str, np.ndarray] = field(default_factory=dict)      # (L-1,) as well: Seqs.extra


@dataclass
class Encoded:
    """A tokenized row of the data: its sequences, one for each role, and its numbers."""
    seqs: dict[str, Tokens]
    row: Row
    per_row: dict[str, Any] = field(default_factory=dict)       # its numbers
    lost_turns: bool = False        # True: its oldest turns were left out, so that it fits
    lost_thoughts: bool = False     # True: the template leaves out a part of an earlier answer
    changed: str = ""               # a word that the tokenizer changes: '"Café" becomes "cafe"'

    @property
    def length(self) -> int:
        """Tokens of the longest sequence."""
        return max(len(t.ids) for t in self.seqs.values())


@dataclass
class EncodeReport:
    """Rows that are left out, each with its reason, and rows that are changed, each with a note."""
    remedy: str = "give a model with a longer context"      # for rows that are too long
    why: dict[str, str] = field(default_factory=dict)   # Row.where -> why it is left out
    notes: LeftOut = field(default_factory=list)        # (Row.where, what is changed)
    changed: str = ""       # the first word that the tokenizer changes: '"Café" becomes "cafe"'

    def lines(self) -> list[str]:
        """Printed lines about rows that are not used as they are in the file."""
        return each_reason([*dict.fromkeys(self.notes)])    # a row may be encoded twice


# ---- rows -> tokens ------------------------------------------------------------------------------
def encode(rows: list[Row], tok: Tokenizer, n_ctx: int,
           report: EncodeReport | None = None) -> tuple[list[Encoded], EncodeReport]:
    """The rows that fit, as tokens. UserError if none does."""
    out, report = encode_what_fits(rows, tok, n_ctx, report)
    if not out:
        raise UserError(f"no row can be used: {reasons([*report.why.items()])}")
    return out, report


def encode_what_fits(rows: list[Row], tok: Tokenizer, n_ctx: int,
                     report: EncodeReport | None = None) -> tuple[list[Encoded], EncodeReport]:
    """Tokenize rows, and add to `report` if there is one. A row that is still too long without its
    oldest turns is skipped: a cut answer would teach the model never to stop."""
    out, report = list[Encoded](), report or EncodeReport()
    ends = tuple({tok.decode([i]): None for i in sorted(tok.stops)} | dict.fromkeys(END_TOKENS))
    left = iter(progress(len(rows), "tokenizing", rows))
    while together := [*islice(left, AT_ONCE)]:
        chats = iter(tok.chats([both for r in together for both in r.roles.values()]))
        for r in together:
            out += encode_row(r, [*islice(chats, len(r.roles))], tok, n_ctx, ends, report)
    return out, report


def encode_row(r: Row, chats: list[Chat | UserError], tok: Tokenizer, n_ctx: int,
               ends: Sequence[str], report: EncodeReport) -> list[Encoded]:
    """What fits of a row, whose roles are `chats`; the report says what is changed or left out."""
    try:
        encoded = fit(r, chats, tok, n_ctx)
    except UserError as e:
        report.why[r.where] = f"refused: {e}"
        return []
    kept = [e for e in encoded if e.length <= n_ctx + 1]
    if len(kept) < len(encoded):
        longest = max(e.length for e in encoded) - 1
        report.why[r.where] = (f"too long ({longest:,} tokens, at most {n_ctx:,}; "
                               f"{report.remedy})")
    if len(encoded) > 1:
        report.notes.append((r.where, "split into one row for each response, because the chat "
                             "template changes a response when the dialogue continues"))
    if kept:
        report.notes += [(r.where, note) for note in notes_on(r, kept, ends, n_ctx)]
    if changed := next((e.changed for e in kept if e.changed), ""):
        report.changed = report.changed or changed
        report.notes.append((r.where, "the tokenizer does not reproduce a text: "
                             f"{report.changed}"))
    return kept


def notes_on(r: Row, kept: list[Encoded], ends: Sequence[str], n_ctx: int) -> Iterator[str]:
    """What is changed of a row that is used, and end tokens that are typed into its texts."""
    if any(e.lost_turns for e in kept):
        yield f"without the oldest turns, to fit {n_ctx} tokens"
    if any(e.lost_thoughts for e in kept):
        yield ("the chat template drops a part of earlier responses, as it does when the model "
               "generates")
    roles = [both for role, both in r.roles.items() if role != MISMATCHED]
    asked = [turn.text for context, _ in roles for turn in context]
    answers = [turn.text for _, trained in roles for turn in trained]
    for end in ends:
        if any(end in text for text in answers):
            yield f'"{end}" is typed into a response, which gets its EOS token anyway'
        if any(end in text for text in asked):
            yield f'"{end}" is typed into a prompt, where it is plain text and not a token'
    if typed := next(filter(None, map(TURN.search, answers + asked)), None):
        yield f'"{typed[0].strip()}" is typed into a text, so the turns of other speakers may be '\
            "trained on; write the dialogue as messages"


def fit(r: Row, chats: list[Chat | UserError], tok: Tokenizer, n_ctx: int) -> list[Encoded]:
    """A row as tokens. Some chat templates change an answer when the dialogue goes on. Then a
    dialogue becomes one row for each of its answers, in which that answer comes last."""
    try:
        return [without_what_is_too_long(r, chats, tok, n_ctx)]
    except OneAnswerOnly:
        rows = each_answer(r)
        if len(rows) == 1:
            raise
        return [without_what_is_too_long(x, tok.chats(x.roles.values()), tok, n_ctx) for x in rows]


def each_answer(r: Row) -> list[Row]:
    """One row for each trained answer of role "answer", with the turns before it as its context.
    All have the grade of the row. The two answers of a pair stay as they are."""
    context, trained = r.roles.get("answer", ((), ()))
    out = []
    for i, turn in enumerate(trained):
        if turn.role == "assistant":
            before = context + trained[:i]
            roles = {role: (before, turns[:1]) for role, (_, turns) in r.roles.items()}
            roles["answer"] = (before, (turn,))
            out.append(replace(r, prompt=before, answer=r.answer and (turn,), roles=roles))
    return out or [r]


def without_what_is_too_long(r: Row, chats: list[Chat | UserError], tok: Tokenizer,
                             n_ctx: int) -> Encoded:
    """A row as token ids and masks. If it is longer than n_ctx inputs and as many targets, its
    roles lose as few of their oldest questions as possible, down to the last one. A borrowed answer
    ends with the context."""
    def length(chats: list[Chat]) -> int:
        return max(len(x.ids) for role, x in zip(r.roles, chats) if role != MISMATCHED)

    def shorter(n: int) -> list[Chat]:
        return whole(tok.chats(drop_oldest_turns(r, n).roles.values()))
    found, n = whole(chats), 0
    if length(found) > n_ctx + 1:
        prompt, trained = next(iter(r.roles.values()))
        most = len(later_questions(prompt, trained if "answer" in r.roles else ()))
        n = bisect_left(range(most), True, 1, key=lambda n: length(shorter(n)) <= n_ctx + 1)
        n = min(n, most)
        found = shorter(n)
    r = drop_oldest_turns(r, n)
    seqs = {}
    for role, x in zip(r.roles, found):
        end = n_ctx + 1 if role == MISMATCHED else len(x.ids)
        seqs[role] = Tokens(np.array(x.ids[:end], np.int32), np.array(x.mask[:end], np.int8))
    known = {name: x for name in ("score", "label", "p") if (x := getattr(r, name)) is not None}
    return Encoded(seqs, r, known, n > 0, any(x.lost_thoughts for x in found),
                   next((x.changed for x in found if x.changed), ""))


def whole(chats: list[Chat | UserError]) -> list[Chat]:
    """UserError if one of them cannot be written."""
    for x in chats:
        if isinstance(x, UserError):
            raise x
    return [x for x in chats if isinstance(x, Chat)]


def drop_oldest_turns(r: Row, n: int) -> Row:
    """A row without its n oldest questions. First the prompt loses them, which all roles share,
    then the trained turns of "answer"."""
    if n:
        roles: Roles = {}
        for role, (context, trained) in r.roles.items():
            if role == MISMATCHED:
                roles[role] = roles["answer"][0], trained
            elif role == "answer":
                roles[role] = without_oldest(context, trained, n)
            else:                                       # two compared answers stay whole
                roles[role] = without_oldest(context, (), n)[0], trained
        r = replace(r, prompt=next(iter(roles.values()))[0], roles=roles)
    return r


def later_questions(prompt: Turns, trained: Turns = ()) -> list[int]:
    """Places of the second, third and later questions of a dialogue. Each has an answer before it,
    and comes before the last trained answer."""
    talk = prompt + up_to_last_answer(trained)
    spoken = [i for i, turn in enumerate(talk) if turn.role != "system"]
    return [i for before, i in zip(spoken, spoken[1:])
            if talk[i].role == "user" and talk[before].role in ANSWERS]


def without_oldest(prompt: Turns, trained: Turns = (), n: int = 1) -> tuple[Turns, Turns]:
    """A prompt and its trained turns without their n oldest questions and the turns that belong to
    these. The next question begins the new prompt. System turns and the last question stay."""
    talk, cut, later = prompt + trained, len(prompt), later_questions(prompt, trained)
    start = later[min(n, len(later)) - 1] if later and n else 0
    if start >= max(cut, 1):                            # trained answers leave
        cut = next(i for i in range(start, len(talk)) if talk[i].role in ANSWERS)
    left = [turn for i, turn in enumerate(talk[:cut]) if i >= start or turn.role == "system"]
    return (*left,), talk[cut:]


# ---- the order -----------------------------------------------------------------------------------
def order(lengths: list[int], batch_size: int, steps: int, seed: int) -> np.ndarray:
    """(steps, batch_size) row numbers.
    The data is shuffled in each epoch and dealt out in one endless stream. The rows of POOL steps
    are sorted by length and cut into steps, and the steps are shuffled. So there is little padding,
    yet a batch is a random draw from its pool. A pool never reaches into the next epoch. Only the
    step in which an epoch ends may hold a row twice."""
    rng, n, done = np.random.default_rng([seed, ORDER]), len(lengths), 0
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


class RunData(NamedTuple):
    """The rows of a run, as tokens."""
    train: list[Encoded]
    held_out: list[Encoded]     # those that are scored before and after
    asked: frozenset[str] = frozenset()     # keys of the questions that it or its start learned
    leak: str = ""              # "5 of 5 held-out questions are also trained on", or ""


class RowSource:
    """A source of steps that repeats the rows of the data. source(number) is the batch of that
    step."""
    stride = 1                          # a run can be resumed at multiples of this many steps
    stats: dict[str, float] = {}        # metrics of the source beside the loss: none

    def __init__(self, data: list[Encoded], batching: Batching, pad: int):
        self.data, self.pad, self.batching = data, pad, batching
        lengths = [e.length for e in data]
        self.order = order(lengths, batching.batch_size, batching.steps, batching.seed)

    def rows_read(self) -> list[Encoded]:
        """The rows that a step reads: all of them, unless the run is shorter than an epoch."""
        return [self.data[i] for i in np.unique(self.order)]

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
