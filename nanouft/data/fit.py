"""One row as tokens that fit into the context of a model.

    rows, encoded = fit(row, tok, n_ctx)        # a dialogue may become a row for each answer

A dialogue that is too long loses its oldest questions. No question and no answer is cut, except
the answer to another question that KTO borrows: nothing is trained on it.
"""
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from nanouft.data.rows import Roles, Row, later_questions, without_oldest
from nanouft.models.tokenizer import OneAnswerOnly, Tokenizer, Turns

KNOWN = ("score", "label", "p")         # columns that come with the rows of the data
BORROWED = "mismatch"                   # role of an answer to another question, which is only read


@dataclass
class Tokens:
    ids: np.ndarray                     # (L,)
    mask: np.ndarray                    # (L,) 1 on response tokens
    ref_logp: np.ndarray | None = None      # (L-1,) one per target; run/reference.py writes it
    extra: dict[str, np.ndarray] = field(default_factory=dict)      # (L-1,) as well: Seqs.extra


@dataclass
class Encoded:
    """A tokenized row of the data: its sequences, one for each role, and its numbers."""
    seqs: dict[str, Tokens]
    row: Row
    per_row: dict[str, Any] = field(default_factory=dict)       # its numbers
    lost_thoughts: bool = False     # True: the template leaves out a part of an earlier answer

    @property
    def length(self) -> int:
        """Tokens of the longest sequence."""
        return max(len(t.ids) for t in self.seqs.values())


def fit(r: Row, tok: Tokenizer, n_ctx: int) -> tuple[list[Row], list[Encoded]]:
    """A row, and the same as tokens. Some chat templates change an answer when the dialogue goes
    on. Then a dialogue becomes one row for each of its answers, in which that answer comes last."""
    try:
        return [r], [_fitting(r, tok, n_ctx)]
    except OneAnswerOnly:
        rows = each_answer(r)
        if len(rows) == 1:
            raise
        return rows, [_fitting(x, tok, n_ctx) for x in rows]


def each_answer(r: Row) -> list[Row]:
    """One row for each trained answer of role "answer", with the turns before it as its context.
    All have the grade of the row. The two answers of a pair stay as they are."""
    context, trained = r.roles.get("answer", ((), ()))
    out = []
    for i, turn in enumerate(trained):
        if turn.role == "assistant":
            before = context + trained[:i]
            roles = {role: (before, said[:1]) for role, (_, said) in r.roles.items()}
            roles["answer"] = (before, (turn,))
            out.append(replace(r, prompt=before, answer=r.answer and (turn,), roles=roles))
    return out or [r]


def _fitting(r: Row, tok: Tokenizer, n_ctx: int) -> Encoded:
    """A row as tokens. If it is longer than n_ctx inputs and as many targets, its roles lose their
    oldest turns: as few questions as possible, down to the last one. `row.answer` stays."""
    known = {name: x for name in KNOWN if (x := getattr(r, name)) is not None}

    def fits(n: int) -> bool:
        """True if the row fits without n questions. It counts tokens of the text alone, because
        finding where answers begin costs far more."""
        own = (both for role, both in _shorter(r.roles, n).items() if role != BORROWED)
        return max(_count(*both, tok) for both in own) <= n_ctx + 1
    most = len(_questions(r.roles))
    n = first_that_fits(_too_many(r.roles, n_ctx), most, fits)
    e = _without(r, n, tok, known, n_ctx)
    while e.length > n_ctx + 1 and n < most:
        n += 1
        e = _without(r, n, tok, known, n_ctx)
    return e


def first_that_fits(low: int, high: int, fits: Callable[[int], bool]) -> int:
    """The least number from low on that fits, or `high`. Every number above one that fits does too.
    Large ones are cheaper to ask, so the search begins with them."""
    step = 1
    while low < high:
        n = max(low, high - step)
        if not fits(n):
            return n + 1 + bisect_left(range(n + 1, high), True, key=fits)
        high, step = n, 2 * step
    return high


def _without(r: Row, n: int, tok: Tokenizer, known: dict, n_ctx: int) -> Encoded:
    """A row without its n oldest questions, as tokens. A borrowed answer ends with the context."""
    if n:
        roles = _shorter(r.roles, n)
        prompt, _ = next(iter(roles.values()))          # that of all roles
        r = replace(r, prompt=prompt, roles=roles)
    lost = [tok.check(*both) for both in r.roles.values()]
    seqs = _tokens(r.roles, tok)
    if long := seqs.get(BORROWED):
        seqs[BORROWED] = Tokens(long.ids[:n_ctx + 1], long.mask[:n_ctx + 1])
    return Encoded(seqs, r, known, lost_thoughts=any(lost))


def _questions(roles: Roles) -> list[int]:
    """Places of the questions with which a shortened dialogue can begin: all but its first."""
    if "answer" in roles:
        return later_questions(*roles["answer"])
    prompt, _ = next(iter(roles.values()), ((), ()))
    return later_questions(prompt)


def _too_many(roles: Roles, n_ctx: int) -> int:
    """The least number of questions that a dialogue must lose: a turn has at least one token."""
    prompt, trained = roles.get("answer") or next(iter(roles.values()), ((), ()))
    turns = len(prompt + trained)
    longer = sum(turns - at > n_ctx + 1 for at in _questions(roles))
    return min(longer + 1, len(_questions(roles))) if turns > n_ctx + 1 else 0


def _shorter(roles: Roles, n: int) -> Roles:
    """The roles of a dialogue without its n oldest questions. First the prompt loses them, which
    all roles share, then the trained turns of "answer"; its last answer keeps the grade of the row.
    The two answers of a pair stay whole."""
    if "answer" not in roles:
        return {role: (without_oldest(prompt, (), n)[0], trained)
                for role, (prompt, trained) in roles.items()}
    left = {role: without_oldest(*both, n) for role, both in roles.items()}
    return {role: (left["answer"][0], trained) for role, (_, trained) in left.items()}


def count_answers(r: Row) -> int:
    """Number of trained turns of role "answer"."""
    _, trained = r.roles.get("answer", ((), ()))
    return sum(turn.role == "assistant" for turn in trained)


def _tokens(roles: Roles, tok: Tokenizer) -> dict[str, Tokens]:
    """Ids and mask of each role. A prompt that waits for its answer has nothing to train on."""
    out = {}
    for role, (context, trained) in roles.items():
        if trained:
            ids, mask = tok.chat(context, trained)
        else:
            ids = tok.prompt_ids(context)
            mask = [0] * len(ids)
        out[role] = Tokens(np.array(ids, np.int32), np.array(mask, np.int8))    # 5 bytes per token
    return out


def _count(context: Turns, trained: Turns, tok: Tokenizer) -> int:
    """Number of tokens of a role."""
    ids = tok.chat(context + trained)[0] if trained else tok.prompt_ids(context)
    return len(ids)
