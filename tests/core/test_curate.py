"""Curating: who is kept, whose answers are learnt, and what is refused."""
import pytest
from tiny import CPU

from nanouft import world
from nanouft.data.batches import encode
from nanouft.data.rows import demo_rows
from nanouft.models.generate import Answer
from nanouft.models.load import start_model
from nanouft.reference import logps
from nanouft.shell.errors import UserError
from nanouft.training import curate, flags, setup
from nanouft.training.flags import Train


def test_clean_leaves_exactly_the_right_ones(capsys):
    noisy, right = (world.rows("train", "demos", 200, 3, noise) for noise in (0.4, 0.0))
    assert setup.curated((noisy, right), Train(), [], CPU) == (noisy, right), "nothing asked, nothing changed"
    left, held = setup.curated((noisy, noisy), Train(clean=True), [], CPU)
    assert left == [a for a, b in zip(noisy, right) if a == b] and len(left) == 120
    assert held == noisy, "rows held out stay as they are"
    assert capsys.readouterr().out == "120 of 200 demonstrations are left\n"


def test_keep_takes_the_likeliest_by_the_mean_over_the_judges_in_order():
    rows = world.rows("train", "demos", 30, 1)
    model, tok = start_model("base")
    encoded, _ = encode(demo_rows(rows, None), tok, model.cfg.n_ctx)
    opinion = [column["answer"].sum() / e.seqs["answer"].mask[1:].sum()
               for column, e in zip(logps(encoded, model, tok.pad, CPU), encoded)]
    worst_kept = sorted(opinion, reverse=True)[11]
    kept, _ = setup.curated((rows, []), Train(keep=0.4), ["base"], CPU)
    assert kept == [r for r, x in zip(rows, opinion) if x >= worst_kept]


def test_rewrite_puts_the_judges_answers_under_the_same_prompts(monkeypatch):
    rows = world.rows("train", "demos", 12, 1, skills=("fact",))
    new = curate.curate(rows, Train(rewrite=True), ["base"], CPU)
    assert [r.prompt for r in new] == [r.prompt for r in rows], "the base stops after every fact"
    assert [r.answer for r in new] == [r.answer for r in rows], "and knows them all"
    monkeypatch.setattr(curate, "answer_rows", lambda model, tok, rows: [Answer([5, 6], False)] * len(rows))
    with pytest.raises(UserError, match="never ends an answer"):
        curate.curate(rows, Train(rewrite=True), ["base"], CPU)


@pytest.mark.parametrize("argv, words", [
    (["--objective", "dpo", "--keep", "0.5"], "--keep chooses demonstrations; dpo learns from pairs"),
    (["--objective", "sft", "--keep", "0"], r"--keep 0(\.0)?: must be above 0"),
    (["--objective", "sft", "--judge", "out/x"], "--judge says whose opinion counts"),
    (["--objective", "sft", "--data", "x.jsonl", "--keep", "0.5"], "--judge DIR is needed with --data"),
    (["--objective", "sft", "--data", "x.jsonl", "--clean"], "--clean belongs to NanoWorld")])
def test_flags_that_mean_nothing_are_refused(argv, words):
    with pytest.raises(UserError, match=words):
        flags.read_flags(argv)
