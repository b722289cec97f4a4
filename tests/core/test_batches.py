"""From examples to batches: the mask by hand, one shift, cuts that are counted, a fair order with little padding."""
import random

import numpy as np
import pytest
from tiny import NANO, batch_of, same, say, some_rows

from nanouft.data.batches import EncodeReport, collate, encode, order, show_mask
from nanouft.data.rows import Example, Turn
from nanouft.data.tokenizer import Tokenizer
from nanouft.objective import Columns
from nanouft.shell.config import UserError

LETTERS = Tokenizer("letters", {bytes([b]): b for b in range(256)},
                    r"[\s\S]")      # a token a byte: lengths can be counted by hand
PAD = LETTERS.pad


def turns(*texts: str) -> tuple[Turn, ...]:
    """Alternating user and assistant turns."""
    return tuple(Turn(("user", "assistant")[i % 2], text) for i, text in enumerate(texts))


def reply(*texts: str) -> tuple[Turn, ...]:
    """The same, with the assistant first."""
    return turns("", *texts)[1:]


def one(context: tuple, trained: tuple) -> Example:
    return Example({"answer": (context, trained)})


def pieces(ids) -> list[str]:
    return [LETTERS.decode([int(i)]) for i in ids]


# ---- the mask and the shift -----------------------------------------------------------------------------------------
def test_a_conversation_to_the_token():
    (e,), report = encode([one(turns("hi"), reply("yo"))], LETTERS, 64)
    s = collate([e], np.arange(1), PAD).seqs["answer"]
    assert pieces(s.inputs[0]) == ["<|user|>", " ", "h", "i", "<|assistant|>", " ", "y", "o"]
    assert pieces(s.targets[0]) == [" ", "h", "i", "<|assistant|>", " ", "y", "o", "<|end|>"], \
        "LAW: targets[t] follows inputs[t]"
    assert s.mask.tolist() == [[0, 0, 0, 0, 1, 1, 1, 1]], \
        "LAW: the answer and its <|end|> are trained on, the header is not"
    assert (report.rows, report.cut, report.skipped) == (1, 0, 0)


@pytest.mark.parametrize("context, trained, want", [
    (turns("a"), reply("b", "c", "d"), [" ", "b", "<|end|>", " ", "d", "<|end|>"]),
    (turns("a", "b", "c"), reply("d"), [" ", "d", "<|end|>"]),
])
def test_every_assistant_turn_after_the_prompt_is_trained_on_and_no_other(context, trained, want):
    (e,), _ = encode([one(context, trained)], LETTERS, 64)
    s = collate([e], np.arange(1), PAD).seqs["answer"]
    assert [p for p, m in zip(pieces(s.targets[0]), s.mask[0]) if m] == want


def test_collate_pads_on_the_right():
    rows = some_rows(5)
    s = batch_of(rows).seqs["answer"]
    for i, e in enumerate(rows):
        t, n = e.seqs["answer"], len(e.seqs["answer"].ids) - 1
        assert s.inputs[i].tolist() == [*t.ids[:-1], *[0] * (s.inputs.shape[1] - n)]
        assert s.targets[i, :n].tolist() == t.ids[1:].tolist() and s.mask[i, :n].tolist() == t.mask[1:].tolist()
        assert s.attend[i].tolist() == [1] * n + [0] * (s.inputs.shape[1] - n), \
            "LAW: attend marks real targets, prompt included"
        assert (s.mask[i] <= s.attend[i]).all()
    assert max(len(e.seqs["answer"].ids) for e in rows) == s.inputs.shape[1] + 1, "no wider than the longest row"


def test_columns_stand_beside_their_targets():
    rows = some_rows(3)
    for e in rows:
        t = e.seqs["answer"]
        t.ref = -(t.ids[1:] / 8).astype(np.float32)              # a column that says which target it belongs to
        e.col.score = float(len(t.ids))
    batch = batch_of(rows)
    s = batch.seqs["answer"]
    same(s.ref, -(s.targets / 8) * s.attend,
         "a column of L-1 numbers stands beside the L-1 targets, 0 in the padding")
    same(batch.col.score, [len(e.seqs["answer"].ids) for e in rows], "row columns are (B,)")


@pytest.mark.parametrize("parts", [1, 2, 3, 6])
def test_totals_are_those_of_the_step_however_it_is_cut(parts):
    rows = some_rows(6)
    whole = batch_of(rows, seed=4, step=9, ramp=0.3)
    cut = [batch_of(rows, parts, part, seed=4, step=9, ramp=0.3) for part in range(parts)]
    for b in cut:
        assert (b.rows, b.tokens, b.seed, b.ramp) == (whole.rows, whole.tokens, whole.seed, whole.ramp), \
            "LAW: every piece knows the totals and the seed of its whole step"
    assert whole.tokens["answer"] == int(whole.seqs["answer"].mask.sum()) and whole.rows == 6
    assert [b.first for b in cut] == [i * 6 // parts for i in range(parts)]
    assert sum(len(b.seqs["answer"].inputs) for b in cut) == 6, "pieces hold every row once"
    targets = [t[m > 0].tolist() for b in cut for t, m in zip(b.seqs["answer"].targets, b.seqs["answer"].mask)]
    assert targets == [t[m > 0].tolist() for t, m in zip(whole.seqs["answer"].targets, whole.seqs["answer"].mask)]


def test_a_step_has_a_seed_of_its_own():
    rows = some_rows(2)
    seeds = {batch_of(rows, seed=seed, step=step).seed for seed in range(20) for step in range(200)}
    assert len(seeds) == 20 * 200, "LAW: no two (seed, step) draw the same numbers"


# ---- rows that do not fit -------------------------------------------------------------------------------------------
def test_a_long_prompt_loses_its_beginning():
    (e,), report = encode([one(turns("abcdefgh"), reply("yo"))], LETTERS, 8)
    t = e.seqs["answer"]
    assert len(t.ids) == 9, "LAW: n_ctx inputs and as many targets: n_ctx + 1 tokens"
    assert pieces(t.ids) == [*"efgh", "<|assistant|>", *" yo", "<|end|>"] and t.mask.tolist() == [0] * 5 + [1] * 4
    assert (report.cut, report.skipped) == (1, 0) and "1 rows" in report.lines(8)[0]
    for n_ctx, cut in ((14, 0), (13, 1)):
        assert encode([one(turns("abcdefgh"), reply("yo"))], LETTERS, n_ctx)[1].cut == cut, "LAW: 15 tokens fit into 14"


def test_a_pair_is_cut_by_the_same_amount():
    pair = Example({"chosen": (turns("abcdefgh"), reply("yo")),
                    "rejected": (turns("abcdefgh"), reply("no no"))})
    (e,), report = encode([pair], LETTERS, 12)
    c, r = e.seqs["chosen"], e.seqs["rejected"]
    assert max(len(c.ids), len(r.ids)) == 13 and report.cut == 1
    n = pieces(c.ids).index("<|assistant|>")
    assert pieces(c.ids)[:n] == pieces(r.ids)[:n] and n == 5, "LAW: both answers of a pair see the same prompt"


def test_an_answer_longer_than_the_context_is_skipped_and_counted():
    long, short = one(turns("a"), reply("x" * 50)), one(turns("a"), reply("yo"))
    kept, report = encode([short, long, short], LETTERS, 20)
    assert len(kept) == 2 and (report.rows, report.skipped, report.cut) == (3, 1, 0)
    assert "1 rows skipped" in report.lines(20)[0]
    pair = Example({"chosen": short.seqs["answer"], "rejected": long.seqs["answer"]})
    assert encode([short, pair], LETTERS, 20)[1].skipped == 1, \
        "a pair of which one answer does not fit is skipped whole"
    with pytest.raises(UserError, match="no row fits"):
        encode([long], LETTERS, 20)


@pytest.mark.parametrize("room, kept", [(0, True), (-1, False)])
def test_the_longest_answer_that_fits(room, kept):
    """Its tokens, its <|end|>, and <|assistant|> in front of them so that the first token is a target."""
    answer = "x" * 10                                   # 12 targets: a space, ten letters, <|end|>
    filler = one(turns("a"), reply("yo"))
    out, report = encode([one(turns("hello"), reply(answer)), filler], LETTERS, 12 + room)
    assert report.skipped == (not kept)
    if kept:
        t = out[0].seqs["answer"]
        assert pieces(t.ids)[0] == "<|assistant|>" and t.mask.tolist() == [0] + [1] * 12, \
            "LAW: the whole answer is still trained on"
        assert collate(out, np.arange(1), PAD).tokens == {"answer": 12}, "LAW: totals count targets, the first one too"


def test_earlier_turns_may_be_cut_the_last_answer_may_not():
    talk = one(turns("a"), reply("b" * 20, "c", "dd"))
    (e,), report = encode([talk], LETTERS, 14)
    batch = collate([e], np.arange(1), PAD)
    s = batch.seqs["answer"]
    assert batch.tokens["answer"] == s.mask.sum() == e.seqs["answer"].mask.sum() - 1, \
        "LAW: a row that begins inside an answer has one response token that is no target"
    assert report.cut == 1 and "".join(pieces(s.targets[0])).endswith("<|user|> c<|assistant|> dd<|end|>")


# ---- the order ------------------------------------------------------------------------------------------------------
def lengths_of(n: int, seed: int = 0) -> list[int]:
    rng = random.Random(seed)
    return [rng.randint(10, 90) for _ in range(n)]


@pytest.mark.parametrize("n, rows, steps",
                         [(1020, 32, 96), (100, 32, 60), (7, 3, 40), (64, 32, 7), (5, 8, 9), (1, 4, 3), (33, 32, 50)])
def test_every_step_is_full_and_every_epoch_sees_each_row_once(n, rows, steps):
    plan = order(lengths_of(n), rows, steps, seed=1)
    assert len(plan) == steps and all(len(step) == rows for step in plan), "LAW: every step has exactly `rows` rows"
    seen = np.zeros(n, int)
    for i, step in enumerate(plan):
        np.add.at(seen, step, 1)
        assert seen.max() - seen.min() <= 1, \
            f"LAW: after step {i + 1} no row has been seen two times more often than another"


@pytest.mark.parametrize("n, rows", [(1020, 32), (100, 32), (200, 32), (50, 8)])
def test_a_step_does_not_repeat_rows(n, rows):
    """Small data, too: sorting two epochs together would put the copies of a row side by side."""
    plan = order(lengths_of(n), rows, 10 * n // rows, seed=1)
    distinct = np.mean([len(set(step.tolist())) for step in plan]) / rows
    assert distinct > 0.97, f"LAW: a step is a mix: {distinct:.0%} of its rows are different ones"


def test_the_order_is_a_function_of_the_seed():
    lengths = lengths_of(300)
    plan = order(lengths, 8, 100, seed=3)
    assert np.array_equal(plan, order(lengths, 8, 100, seed=3)), "LAW: the same seed gives the same order"
    assert not np.array_equal(plan, order(lengths, 8, 100, seed=4)), "another seed, another order"
    first = [set(step.tolist()) for step in plan[:37]]
    assert not any(set(step.tolist()) in first for step in plan[38:75]), "each epoch is shuffled anew"


def test_little_padding():
    lengths = np.array(lengths_of(1020))

    def waste(plan) -> float:
        return 1 - np.mean([lengths[s].sum() / (lengths[s].max() * len(s)) for s in plan])
    sorted_pools = waste(order(list(lengths), 32, 96, seed=0))
    shuffled = waste(np.random.default_rng(0).permutation(1020)[:992].reshape(-1, 32))
    assert sorted_pools < 0.1 < 0.4 < shuffled, \
        f"LAW: padding is {sorted_pools:.0%} of the tokens, without sorting {shuffled:.0%}"


def test_steps_come_in_no_order_of_length():
    lengths = np.array(lengths_of(1020))
    means = np.array([lengths[s].mean() for s in order(list(lengths), 32, 31, seed=0)])
    assert (np.diff(means) > 0).sum() in range(8, 23), "LAW: steps are shuffled, short rows do not come first"


def test_rows_of_one_length_are_mixed():
    """Rows come family by family; with equal lengths a step must still be a draw of all of them."""
    plan = order([20] * 1000, 32, 31, seed=0)
    families = [len({r // 200 for r in step.tolist()}) for step in plan]
    assert min(families) >= 4, "LAW: a step is a random draw of its pool, not one family of tasks"


# ---- what is printed ------------------------------------------------------------------------------------------------
def test_the_mask_is_shown_as_it_is():
    (e,), _ = encode([one(say("user", "hi"), say("assistant", "yo"))], NANO, 64)
    assert show_mask(e, NANO, colour=False).split(maxsplit=1)[1] == "<|user|> hi<|assistant|>[[ yo<|end|>]]"
    coloured = show_mask(e, NANO, colour=True)
    assert coloured.count("\033[32m") == 1 and coloured.endswith("\033[0m")
    e.col = Columns(score=0.75)
    assert show_mask(e, NANO, False).strip().startswith("answer (score 0.75)  <|user|>"), "a score stands by its role"
    e.col = Columns(label=1.0, prompt=np.zeros(3))
    assert "answer (label good)  " in show_mask(e, NANO, False), "a label in words, a vector not at all"
    e.seqs = {"mismatch": e.seqs["answer"]}
    apart = show_mask(e, NANO, False)
    assert "mismatch (only measured)  " in apart and "[[" not in apart, "nothing of it is trained on"
    assert EncodeReport(5).lines(64) == [], "nothing lost, nothing said"
