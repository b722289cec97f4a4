"""Curating: which demonstrations are kept, and what is refused."""
from tiny import CPU

from nanouft import world
from nanouft.data.batches import encode
from nanouft.data.rows import demo_rows
from nanouft.models.load import start_model
from nanouft.reference import logps
from nanouft.training import setup
from nanouft.training.flags import Train


def test_keep_takes_the_likeliest_by_the_mean_over_the_judges_in_order():
    rows = world.rows("train", "demos", 30, 1)
    model, tok = start_model("base")
    encoded, _ = encode(demo_rows(rows, None), tok, model.cfg.n_ctx)
    opinion = [column["answer"].sum() / e.seqs["answer"].mask[1:].sum()
               for column, e in zip(logps(encoded, model, tok.pad, CPU), encoded)]
    worst_kept = sorted(opinion, reverse=True)[11]
    assert setup.curated((rows, rows), Train(), [], CPU) == (rows, rows), "nothing asked, nothing changed"
    kept, held = setup.curated((rows, rows[:3]), Train(keep=0.4), ["base"], CPU)
    assert held == rows[:3], "rows held out stay as they are"
    assert kept == [r for r, x in zip(rows, opinion) if x >= worst_kept]
