"""The figures that a run is judged by, on cases made by hand, and what stands behind them."""

import numpy as np
import pytest
import torch
from tiny import CPU, NANO, PAD, differs, nano, same, say, some_rows, tiny

from nanouft import sample as voices
from nanouft import world
from nanouft.data.batches import Encoded, encode
from nanouft.data.rows import Row, Turn
from nanouft.eval.held_out import held_out
from nanouft.eval.scores import Item, families, summary
from nanouft.eval.stats import T95, bootstrap, interval
from nanouft.loop import Device
from nanouft.objective import REF
from nanouft.reference import Models, add_columns
from nanouft.sample import ChatModel, Sample
from nanouft.sampling import Answer, _choose, _cut_tail, answer_rows
from nanouft.world.facts import WORLD, question

BF16 = Device("cpu", "bf16")


# ---- intervals -----------------------------------------------------------------------------------
def test_the_interval_is_a_95_percent_interval():
    x = np.random.default_rng(1).normal(3, 2, 200)
    half = 1.96 * x.std() / np.sqrt(len(x))  # the normal approximation, good at 200 values
    low, high = bootstrap(x)
    assert 0.85 * half < x.mean() - low < 1.15 * half, \
        "LAW: 2.5 % of the resampled means lie below `low`"
    assert 0.85 * half < high - x.mean() < 1.15 * half, \
        "LAW: 2.5 % of the resampled means lie above `high`"
    assert bootstrap(x) == (low, high), "LAW: always the same draws"
    same(bootstrap(np.full(9, 0.25)), [0.25, 0.25], "no spread, no interval")


def test_the_interval_of_a_mean_over_tokens():
    rng = np.random.default_rng(2)
    counts = rng.integers(1, 20, 200)
    sums = counts * rng.normal(2, 1, 200)
    mean = sums.sum() / counts.sum()  # the usual standard error of a ratio of two sums
    half = 1.96 * np.sqrt(np.mean((sums - mean * counts) ** 2) / len(sums)) / counts.mean()
    low, high = bootstrap(sums, counts)
    for side in (mean - low, high - mean):
        assert 0.8 * half < side < 1.2 * half, \
            "LAW: rows are drawn, and each brings its sum AND its number of tokens"
    same(bootstrap(sums, np.full(200, 4)), np.array(bootstrap(sums)) / 4,
         "rows of four tokens each: a fourth of the interval of the sums", 1e-9)
    low, high = bootstrap([1.0] * 50 + [99.0], [1] * 50 + [99])
    assert low == high == 1, \
        "LAW: a long row weighs by its tokens; all tokens cost 1, so the mean is 1 in every draw"


def test_intervals_over_seeds_are_students():
    """97.5 % of Student's t by its density (up to its constant), and the row for n values is that
    of n - 1."""
    t = np.linspace(0, 400, 800_001)
    for k, quantile in T95.items():
        density = (1 + t ** 2 / k) ** (-(k + 1) / 2)
        share = density[t <= quantile].sum() / density.sum()
        assert abs(share - 0.95) < 3e-3, \
            f"LAW: {k} degrees of freedom: {quantile} holds 95 %, not {100 * share:.1f}"
    for n, k in ((2, 1), (3, 2), (10, 9), (21, 19), (22, 19), (100, 99)):
        x = np.arange(n) % 3
        same(interval(x), [x.mean(), T95[k] * x.std(ddof=1) / np.sqrt(n)],
             f"{n} seeds: {k} degrees of freedom")


# ---- NanoWorld figures ---------------------------------------------------------------------------
def test_summary_of_a_family():
    number = iter(range(9))
    def item(score: float, ended: bool, length: int) -> Item:
        return Item("sort", f"p{next(number)}", "a", score, ended, length, -length / 10)
    s = summary([item(1, True, 2), item(1, False, 9), item(0.5, True, 4), item(0, False, 9),
                          item(1, False, 6)])
    same(s["score"], 0.7, "score is the mean, whether answers stop or not")
    same(s["strict"], 0.2,
         "strict = fully right AND stops: one of five; two run on, one that stops is half right")
    same([s["ends"], s["length"], s["gold_logp"], s["n"]], [0.4, 6, -0.6, 5], "and the other means")
    same([s["low"], s["high"]], bootstrap([1, 1, 0.5, 0, 1]), "the interval is that of the score")


def test_the_reference_answer_is_judged_per_token():
    model = nano()

    def silent(rows):
        return [Answer([], True)] * len(rows)
    found, _ = families(model, NANO, CPU, items=3, answer=silent)
    assert {f: x["n"] for f, x in found.items()} == dict.fromkeys(world.FAMILIES, 3)
    _, items = families(model, NANO, CPU, items=1, answer=silent)
    rows = world.rows("test", "prompts", len(world.FAMILIES), 0)
    ids, mask = NANO.chat(rows[0].prompt, rows[0].answer)
    x = torch.tensor([ids])
    nats = model(x[:, :-1], want="logp", targets=x[:, 1:])[0][torch.tensor(mask[1:]) > 0]
    same(items[0].gold_logp, nats.mean().detach(),
         "nats on average a token of the reference answer", 1e-5)
    model.cfg.n_ctx = len(ids) - 1  # some rows do not fit: the figures of others went to them
    _, few = families(model, NANO, CPU, items=1, answer=silent)
    fits = [len(NANO.chat(r.prompt, r.answer)[0]) <= len(ids) for r in rows]
    assert [x.gold_logp is not None for x in few] == fits and not all(fits)
    same([x.gold_logp for x in few if x.gold_logp],
         [x.gold_logp for x, there in zip(items, fits) if there], "each row has its own figure",
         1e-5)


def test_wordings_of_one_fact_are_drawn_together():
    """Eight wordings of one fact are not eight independent questions: the interval must not shrink
    with them."""
    def items(creatures: list[str], wordings: int) -> list[Item]:
        return [Item("truth", question(name, "home", w), "a", i % 2, True, 1, 0.0)
                for i, name in enumerate(creatures) for w in range(wordings)]
    names = [n for n, relation in WORLD.truth if relation == "home"][:12]
    once, often = (summary(items(names, w)) for w in (1, 8))
    same([often["low"], often["high"]], [once["low"], once["high"]],
         "the interval is that of the facts")
    narrow = bootstrap([x.score for x in items(names, 8)])
    assert often["high"] - often["low"] > 2 * (narrow[1] - narrow[0]), \
        "taken one by one, it would be far too narrow"


def test_every_chunk_has_random_numbers_of_its_own():
    model = nano()
    rows = [Row((Turn("user", "x"),))] * 600
    said = [tuple(a.ids) for a in answer_rows(model, NANO, rows, max_new=4, temperature=1.0,
                                              seed=5)]
    assert sum(a == b for a, b in zip(said[:300], said[300:])) < 10


def test_each_answer_begins_with_its_own_tokens_in_every_chunk():
    rows, told = [Row((Turn("user", "x " * n),)) for n in (3, 1, 2, 4)], [[5], [6], [7], [8]]
    assert [a.ids[:1] for a in answer_rows(nano(), NANO, rows, max_new=3, priors=told, chunk=3)] \
        == told


# ---- held-out rows -------------------------------------------------------------------------------
def test_held_out_loss_is_a_mean_over_tokens():
    model, rows = tiny(double=False), some_rows(9)
    add_columns(rows, (REF,), Models(model, PAD, CPU))
    nll = [-e.seqs["answer"].ref_logp.sum() for e in rows]
    n = [int(e.seqs["answer"].mask[1:].sum()) for e in rows]
    got = held_out(model, rows, PAD, CPU)
    differs(np.mean(np.array(nll) / n), sum(nll) / sum(n),
            "means over rows and over tokens differ here", by=0.01)
    same(got["nll"], sum(nll) / sum(n), "nll = all nats of all response tokens / their number",
         1e-5)
    same([got["low"], got["high"]], bootstrap(nll, n), "and its interval draws rows", 1e-5)
    assert got["rows"] == 9 and got["low"] < got["nll"] < got["high"]


def test_the_loss_of_graded_answers_is_that_of_the_best():
    model = nano()
    rows = [Row(roles={"answer": (say("user", f"q{i}"), say("assistant", f"a{i}"))}, score=grade)
            for i, grade in enumerate((1.0, 0.6, 0.0))]
    graded, best = (held_out(model, encode(some, NANO, 64)[0], NANO.pad, CPU)
                    for some in (rows, rows[:1]))
    same(graded["nll"], best["nll"], "nll is that of answers of grade 1: of demonstrations", 1e-6)


def five_pairs() -> list[Encoded]:
    better, worse = some_rows(5, seed=3), some_rows(5, seed=4)
    return [Encoded({"chosen": w.seqs["answer"], "rejected": l.seqs["answer"]}, Row())
            for w, l in zip(better, worse)]


def test_accuracy_is_what_was_gained_over_the_start_model():
    """Five pairs: one did not move; in each of the others the LESS likely answer gained."""
    model, rows = tiny(double=False), five_pairs()
    add_columns(rows, (REF,), Models(model, PAD, CPU))  # = the policy: nothing has moved
    start = held_out(model, rows, PAD, CPU)
    same(start["accuracy"], 0.5, "at the start every pair is a tie, and a tie counts one half")
    logp = {role: np.array([e.seqs[role].ref_logp.sum() for e in rows])
            for role in ("chosen", "rejected")}
    likelier = logp["chosen"] > logp["rejected"]
    for e, chosen in list(zip(rows, ~likelier))[1:]:
        # the start model found it less likely
        e.seqs["chosen" if chosen else "rejected"].ref_logp[-1] -= 0.5
    want = np.where(np.arange(5) == 0, 0.5, ~likelier)
    now = held_out(model, rows, PAD, CPU)
    assert len({0.5, likelier.mean(), want.mean()}) == 3, \
        "the three figures must differ, or nothing is shown"
    same(now["accuracy"], want.mean(),
         "accuracy compares GAINS over the start model; ties count one half")
    same(now["prefers"], likelier.mean(), "prefers compares the answers themselves")
    same([now["low"], now["high"]], bootstrap(want), "the interval is that of the first figure")
    same([now["logp_chosen"], now["logp_rejected"]], [logp[r].mean() for r in logp],
         "nats a whole answer", 1e-5)
    for e in rows:
        for t in e.seqs.values():
            t.ref_logp = None
    bare = held_out(model, rows, PAD, CPU)
    assert "accuracy" not in bare, "LAW: without a start model nobody can say what was gained"
    same([bare["low"], bare["high"]], bootstrap(likelier), "then the interval is that of `prefers`")


# ---- the reference column ------------------------------------------------------------------------
def test_the_reference_is_scored_in_the_precision_of_the_policy():
    model, columns = tiny(double=False), {}
    for device in (CPU, BF16):
        rows = five_pairs()
        add_columns(rows, (REF,), Models(model, PAD, device))
        columns[device.dtype] = np.concatenate([t.ref_logp for e in rows for t in e.seqs.values()])
        same(held_out(model, rows, PAD, device)["accuracy"], 0.5,
             f"{device.dtype}: a policy equal to its reference gains nothing, for both are rounded "
             "alike")
    differs(columns["fp32"], columns["bf16"], "with bf16 the reference is rounded as the policy is",
            by=1e-4)
    same(columns["bf16"], columns["fp32"], "and by little", tol=0.1)


# ---- choosing a token ----------------------------------------------------------------------------
@pytest.mark.parametrize("logits, top_p, kept",
                         [([0.0, 0, 0, 0], 0.5, 2), ([0.0, 0, 0, 0], 0.51, 3),
                          ([0.0, 0, 0, 0], 0.25, 1), ([0.0, 0, 0, 0], 0.01, 1),
                          ([0.0, 0, -torch.inf, -torch.inf], 0.5, 1)], ids=str)
def test_top_p_keeps_no_more_than_its_mass_needs(logits, top_p, kept):
    # equal logits: every probability is exact in binary
    rows = torch.tensor([logits]).expand(400, -1)
    rng, places = torch.Generator().manual_seed(0), torch.arange(len(rows))
    token = _choose(_cut_tail(rows, 0, top_p), rng, places, len(rows))
    assert len(token.unique()) == kept, \
        f"LAW: the likeliest tokens up to the mass {top_p}; the next one adds nothing"


def test_a_plain_text_goes_on_without_a_template(monkeypatch):
    asked = []
    monkeypatch.setattr(voices, "generate", lambda model, prompts, **how: asked.append(prompts)
                        or [])
    model = object.__new__(ChatModel)
    model.model, model.tok = None, NANO
    for plain in (True, False):
        model.answers(say("user", "Where does"), Sample(plain=plain, n=2))
    assert asked == [[NANO.encode("Where does")] * 2,
                     [NANO.prompt_ids(say("user", "Where does"))] * 2]
