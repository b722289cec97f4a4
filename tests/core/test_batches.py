"""From examples to batches: the mask by hand, one shift, cuts that are counted, a fair order with
little padding."""
import random

import numpy as np
import pytest
from tiny import NANO, batch_of, say, some_rows

from nanouft.data import batches
from nanouft.data.batches import Encoded, Plan, Tokens, collate, encode, order
from nanouft.data.rows import Row, Turn
from nanouft.data.tokenizer import Tokenizer
from nanouft.errors import UserError
from nanouft.eval.show import show_mask
from nanouft.objective import Columns
from nanouft.reference import LOGITS, ROWS, chunks

# a byte is a token: easy to count
LETTERS = Tokenizer("letters", {bytes([b]): b for b in range(256)}, r"[\s\S]")
PAD = LETTERS.pad


def turns(*texts: str) -> tuple[Turn, ...]:
    """Alternating user and assistant turns."""
    return tuple(Turn(("user", "assistant")[i % 2], text) for i, text in enumerate(texts))


def reply(*texts: str) -> tuple[Turn, ...]:
    """The same, with the assistant first."""
    return turns("", *texts)[1:]


def one(context: tuple, trained: tuple) -> Row:
    return Row(roles={"answer": (context, trained)})


def pieces(ids) -> list[str]:
    return [LETTERS.decode([int(i)]) for i in ids]


# ---- the mask and the shift ----------------------------------------------------------------------
def test_a_conversation_to_the_token():
    (e,), report = encode([one(turns("hi"), reply("yo"))], LETTERS, 64)
    s = collate([e], np.arange(1), PAD).seqs["answer"]
    assert pieces(s.inputs[0]) == ["<|user|>", " ", "h", "i", "<|assistant|>", " ", "y", "o"]
    assert pieces(s.targets[0]) == [" ", "h", "i", "<|assistant|>", " ", "y", "o", "<|end|>"], \
        "LAW: targets[t] follows inputs[t]"
    assert s.mask.tolist() == [[0, 0, 0, 0, 1, 1, 1, 1]], \
        "LAW: the answer and its <|end|> are trained on, the header is not"
    assert (report.rows, report.cut, report.skipped) == (1, 0, 0)


def test_collate_pads_on_the_right():
    rows = some_rows(5)
    s = batch_of(rows).seqs["answer"]
    for i, e in enumerate(rows):
        t, n = e.seqs["answer"], len(e.seqs["answer"].ids) - 1
        assert s.inputs[i].tolist() == [*t.ids[:-1], *[0] * (s.inputs.shape[1] - n)]
        assert s.targets[i, :n].tolist() == t.ids[1:].tolist() \
            and s.mask[i, :n].tolist() == t.mask[1:].tolist()
        assert s.real[i].tolist() == [1] * n + [0] * (s.inputs.shape[1] - n), \
            "LAW: `real` marks real targets, prompt included"
        assert (s.mask[i] <= s.real[i]).all()
    assert max(len(e.seqs["answer"].ids) for e in rows) == s.inputs.shape[1] + 1, \
        "no wider than the longest row"


# ---- rows that do not fit ------------------------------------------------------------------------
def test_a_row_that_does_not_fit_is_skipped_and_counted():
    for n_ctx, skipped in ((14, 0), (13, 1)):
        short, long = one(turns("a"), reply("yo")), one(turns("abcdefgh"), reply("yo"))
        kept, report = encode([short, long, short], LETTERS, n_ctx)
        assert (len(kept), report.rows, report.skipped, report.cut) \
            == (3 - skipped, 3, skipped, 0), \
            "LAW: 15 tokens are 14 inputs and as many targets; neither question nor answer is cut"
        assert report.lines(14) == [] or "1 rows skipped" in report.lines(14)[0]
    pair = Row(roles={"chosen": short.roles["answer"], "rejected": long.roles["answer"]})
    assert encode([short, pair], LETTERS, 13)[1].skipped == 1, "a pair goes as a whole"
    with pytest.raises(UserError, match="no row fits"):
        encode([long], LETTERS, 13)


TALK = turns("a", "b" * 20, "c", "dd", "e")         # 3 + 23 + 3 + 5 + 3 tokens


@pytest.mark.parametrize("n_ctx, first, n, trained",
                         [(41, " a", 42, " bbbbbbbbbbbbbbbbbbbb<|end|> dd<|end|> ff<|end|>"),
                          (40, " c", 16, " dd<|end|> ff<|end|>"),
                          (15, " c", 16, " dd<|end|> ff<|end|>"), (14, " e", 8, " ff<|end|>"),
                          (7, " e", 8, " ff<|end|>"), (6, None, 0, "")])
def test_a_dialogue_loses_its_oldest_turns(n_ctx, first, n, trained):
    """Cut at questions only, and never the last one."""
    rows = [one(TALK[:1], (*TALK[1:], *reply("ff"))), one(turns("a"), reply("yo"))]
    if first is None:
        with pytest.raises(UserError, match="no row fits"):
            encode(rows[:1], LETTERS, n_ctx)
        return
    out, report = encode(rows, LETTERS, n_ctx)
    ids, mask = out[0].seqs["answer"].ids, out[0].seqs["answer"].mask
    assert "".join(pieces(ids)).startswith(f"<|user|>{first}<|assistant|>") and len(ids) == n, \
        "LAW: it asks first"
    assert "".join(p for p, m in zip(pieces(ids), mask) if m) == trained and mask[0] == 0
    assert (report.cut, report.skipped) == (n < 42, 0)
    assert collate(out, np.arange(1), PAD).tokens == {"answer": mask.sum()}, \
        "LAW: every trained token is a target"


def test_where_a_long_dialogue_is_cut_is_found_by_halving(monkeypatch):
    """The template of another model may take a second for 400 turns: it shall not be asked 200
    times. Nor are 200 shorter dialogues made: of 100,000 turns that would be hours."""
    turns = [Turn(role, f"{role} {i}") for i in range(200) for role in ("user", "assistant")]
    e = Row(roles={"answer": (tuple(turns[:-1]), (turns[-1],))})
    asked, chat, made, since = [], NANO.chat, [], batches._since
    monkeypatch.setattr(NANO, "chat", lambda *turns: asked.append(turns) or chat(*turns))
    monkeypatch.setattr(batches, "_since", lambda n, of: made.append(len(of)) or since(n, of))
    (row,), report = encode([e], NANO, 100)
    longer = max(k for k in range(1, 400, 2) if len(chat(turns[-1 - k:-1], turns[-1:])[0]) <= 101)
    assert len(asked) < 15 and sum(made) < 15 * len(turns) and report.cut == 1
    assert row.seqs["answer"].ids.tolist() == chat(turns[-1 - longer:-1], turns[-1:])[0]


def test_a_cut_row_keeps_one_prompt_for_all_its_roles():
    """Not at a question that stands behind different answers."""
    old, long = turns("x" * 9, "y", "what"), Row(
        roles={"chosen": (TALK[:1], reply("bb", "c", "dd")),
               "rejected": (TALK[:1], reply("zz", "c", "dd"))})
    pair = Row(roles={"chosen": (old, reply("yo")), "rejected": (old, reply("no no"))})
    prompt = Row(roles={"prompt": (old, ())})
    (e, p), report = encode([pair, prompt, long], LETTERS, 13)
    assert ["".join(pieces(t.ids)) for t in e.seqs.values()] == [
        "<|user|> what<|assistant|> yo<|end|>", "<|user|> what<|assistant|> no no<|end|>"]
    assert "".join(pieces(p.seqs["prompt"].ids)) == "<|user|> what<|assistant|>"
    assert (report.cut, report.skipped) == (2, 1)


def test_a_cut_dialogue_keeps_its_system_turn_and_never_begins_with_a_tool():
    talk = (Turn("system", "S"), Turn("user", "a"), Turn("assistant", "b" * 9), Turn("user", "c"),
            Turn("shown", "f()"), Turn("tool", "1"), Turn("assistant", "d"))
    whole = "<|user|> S\n\nc<|assistant|> f()<|end|><|user|> 1<|assistant|> d<|end|>"
    for n_ctx, kept in ((30, whole), (18, whole), (17, None)):          # 6 + 6 + 3 + 4 tokens
        for context, trained in ((talk[:2], talk[2:]), (talk[:6], talk[6:])):
            try:
                (e,), report = encode([one(context, trained)], LETTERS, n_ctx)
                assert "".join(pieces(e.seqs["answer"].ids)) == kept and report.cut == 1
                mask = e.seqs["answer"].mask
                assert "".join(p for p, m in zip(pieces(e.seqs["answer"].ids), mask) if m) \
                    == " d<|end|>"
            except UserError:
                assert kept is None, "LAW: a tool's result is no question"


# ---- the order -----------------------------------------------------------------------------------
def lengths_of(n: int, seed: int = 0) -> list[int]:
    rng = random.Random(seed)
    return [rng.randint(10, 90) for _ in range(n)]


@pytest.mark.parametrize("n, rows, steps, pool",
                         [(1020, 32, 96, 20), (1020, 64, 31, 1), (100, 32, 60, 20), (7, 3, 40, 20),
                          (64, 32, 7, 20), (5, 8, 9, 20), (1, 4, 3, 20), (33, 32, 50, 1),
                          (42, 2, 90, 20)])
def test_every_row_comes_once_in_each_epoch(n, rows, steps, pool):
    for seed in (0, 5):
        made, plan = order(lengths_of(n), rows, steps, seed,
                           pool), Plan(lengths_of(n), rows, steps, seed, pool)
        seen = np.cumsum([np.bincount(step, minlength=n) for step in made], axis=0)  # (steps,n)
        assert np.ptp(seen, axis=1).max() <= 1, \
            "LAW: no row comes again before all others have come"
        assert np.array_equal(made, [plan[i] for i in range(steps)])
        assert np.array_equal(plan[steps // 2], made[steps // 2]), \
            "and a step may be asked for again"


def test_a_plan_of_a_thousand_million_steps_begins_at_once():
    plan = Plan(lengths_of(1020), 32, 10 ** 9, seed=1)
    assert len(plan[0]) == 32 and len(plan.here) <= 31, "LAW: only one pool is in memory"
    assert np.array_equal(plan[70], order(lengths_of(1020), 32, 96, seed=1)[70])


def test_little_padding():
    lengths = np.array(lengths_of(1020))

    def waste(plan) -> float:
        return 1 - np.mean([lengths[s].sum() / (lengths[s].max() * len(s)) for s in plan])
    sorted_pools = waste(order(list(lengths), 32, 96, seed=0))
    shuffled = waste(np.random.default_rng(0).permutation(1020)[:992].reshape(-1, 32))
    assert sorted_pools < 0.1 < 0.4 < shuffled, \
        f"LAW: padding is {sorted_pools:.0%} of the tokens, without sorting {shuffled:.0%}"


def test_the_mask_is_shown_as_it_is():
    (e,), _ = encode([one(say("user", "hi"), say("assistant", "yo"))], NANO, 64)
    assert show_mask(e, NANO, colour=False).split(maxsplit=1)[1] \
        == "<|user|> hi<|assistant|>[[ yo<|end|>]]"
    assert show_mask(e, NANO, colour=True).count("\033[32m") == 1
    (other,), _ = encode([one(say("user", "学 didn’t"), say("assistant", "日本語 😀"))], NANO, 64)
    assert "学 didn’t" in show_mask(other, NANO, False), "a letter of several tokens is one letter"
    e.per_row = Columns(label=1.0, score=0.75, extra={"embedding": np.zeros(3)})
    assert "0.75" in show_mask(e, NANO, False) and "good" in show_mask(e, NANO, False)
    e.seqs = {"mismatch": e.seqs["answer"]}
    assert "[[" not in show_mask(e, NANO, False), "nothing of it is trained on"


def test_rows_that_are_scored_together():
    """Each row once; never so many that their logits would not fit: with a vocabulary of 151,000 a
    few at a time."""
    data = [Encoded({role: Tokens(np.zeros(n), np.zeros(n)) for role in ("chosen", "rejected")},
                    None) for n in (900, 7, 1024, 30, *[12] * 200)]
    for vocab in (1024, 151_000):
        made = chunks(data, vocab)
        assert sorted(np.concatenate(made)) == list(range(len(data)))
        logits = [len(rows) * max(data[i].length for i in rows) * 2 * vocab for rows in made]
        assert all(len(rows) <= ROWS and (n <= LOGITS or len(rows) == 1)
                   for rows, n in zip(made, logits))
    assert max(map(len, made)) == ROWS > len(made[0]) == 1
