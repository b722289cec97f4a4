"""Intervals over seeds and prompts together, differences of rows of cells made by hand, and how
both are written."""
import math

import numpy as np
import pytest
from made_cells import made
from tiny import same

from lab.cell import Cell
from lab.cells import pack_scores
from lab.contrast import arrays, contrast, endpoint_score, prompt_groups, quantile, two_way
from lab.prices import exchange
from lab.words import difference_word, format_gain, format_interval, markdown_table
from nanouft import world
from nanouft.eval.stats import interval


@pytest.mark.parametrize("size", [1, 3])
def test_two_way_covers_the_truth_for_other_seeds_and_other_prompts(size):
    """Groups of prompts that move together, also within one seed. The truth is 0, and its spread is
    known."""
    rng, hit, halves, S, G = np.random.default_rng(3), [], [], 10, 60 // size
    for _ in range(120):
        seeds = rng.normal(0, 0.01, (S, 1))
        gaps = [np.repeat(seeds + rng.normal(0, 0.2, (1, G)) + rng.normal(0, 0.4, (S, G)), size, 1)
                for _ in range(3)]
        mean, half = two_way(gaps, [np.repeat(np.arange(G), size)] * 3, draws=300)
        assert mean == pytest.approx(np.mean([g.mean() for g in gaps]))
        hit.append(abs(mean) < half)
        halves.append(half)
    spread = math.sqrt(0.01 ** 2 / S + 0.2 ** 2 / G / 3 + 0.4 ** 2 / S / G / 3)
    assert 0.88 < np.mean(hit), "LAW: 95 % of the intervals hold the truth"
    assert np.mean(halves) < 1.35 * 1.96 * spread, "LAW: and they are not wider than need be"


@pytest.mark.parametrize("S", [2, 3])
def test_few_seeds_do_not_make_a_narrow_interval(S):
    """A small difference between two seeds says little: by Satterthwaite's freedom about .9 were
    covered."""
    rng, hit = np.random.default_rng(S), []
    for _ in range(200):
        gap = rng.normal(0, 0.1, (S, 1)) + rng.normal(0, 0.4, (1, 60)) + rng.normal(0, 0.4, (S, 60))
        mean, half = two_way([gap], draws=200)
        hit.append(abs(mean) < half)
    assert np.mean(hit) > 0.93, "LAW: 95 % of the intervals hold the truth"


def test_two_way_knows_one_seed_and_prompts_that_belong_together():
    gap = np.random.default_rng(0).normal(0, 1, (4, 40)).mean(0, keepdims=True).repeat(4, 0)
    assert two_way([gap[:1]])[1] == math.inf
    alone = two_way([gap])[1]
    together = two_way([np.repeat(gap, 3, 1)], [np.repeat(np.arange(40), 3)])[1]
    assert together == pytest.approx(alone, rel=0.2), "three wordings of one fact are one fact"


@pytest.mark.parametrize("freedom, looks, known",
                         [(4, 7, 5.068), (8, 2, 2.752), (10_000, 5, 2.576)])
def test_the_best_of_many_is_sure_with_a_wider_interval(freedom, looks, known):
    """Bonferroni: Student's t that is exceeded with probability 2.5 % / looks."""
    assert quantile(freedom, looks) == pytest.approx(known, rel=0.0002)
    gap = np.random.default_rng(0).normal(0, 1, (5, 40)) + np.arange(5)[:, None]
    assert two_way([gap], looks=7)[1] > 1.5 * two_way([gap])[1]


def test_student_is_taken_at_the_whole_degrees_of_freedom_below():
    assert quantile(4) == quantile(4.9) == pytest.approx(2.7764, abs=1e-4)
    assert quantile(math.inf) == pytest.approx(1.96, abs=1e-3)


@pytest.mark.parametrize("looks", [1, 7])
def test_seeds_that_are_alike_but_for_rounding_are_one_seed(looks):
    """Where means of seeds differ in the last digit alone, the degrees of freedom are far beyond an
    integer of 64 bits."""
    known = quantile(math.inf, looks)
    for freedom in (1e6, 1e18, 1e30, 1e300):
        assert quantile(freedom, looks) == pytest.approx(known, rel=1e-4)
    for draw in range(20):
        rng = np.random.default_rng(draw)
        scores = rng.integers(0, 6, 60) / 5
        gap = scores + rng.uniform(-1e-15, 1e-15, (5, 60))
        mean, half = two_way([gap], looks=looks)
        assert mean == pytest.approx(scores.mean())
        assert half == pytest.approx(two_way([np.tile(scores, (5, 1))], looks=looks)[1])


# ---- rows ----------------------------------------------------------------------------------------
def paired(gains: list[int]) -> tuple[list[dict], list[dict]]:
    """Two rows: seeds differ by six points, the first row is ahead by `gains` 240ths (those are
    what is kept)."""
    both = [(made(Cell((), s), 0.3 + 0.06 * s + g / 240), made(Cell((), s), 0.3 + 0.06 * s))
            for s, g in enumerate(gains)]
    return [a for a, _ in both], [b for _, b in both]


def test_the_interval_is_paired():
    """Differences are taken seed by seed and prompt by prompt; where no prompt differs: Student's t
    over seeds."""
    same(contrast(*paired([6, 6, 6, 6, 6])), [6 / 240, 0],
         "seeds and prompts differ, differences do not", 1e-9)
    gains = [2, 6, 4, 8, 5]
    same(contrast(*paired(gains)), interval([g / 240 for g in gains]), "t over seeds", 2e-3)
    same(interval([1, 2, 3, 2, 2]), [2, 0.878],
         "2 ± .878 by Student's t with four degrees of freedom", 1e-3)


def test_a_contrast_counts_parts_alike_and_takes_gains_of_gains():
    a = [made(Cell((), s), 0.5, rules=0.7, fact=0.6) for s in range(3)]
    b = [made(Cell((), s), 0.5) for s in range(3)]
    same(contrast(a, b)[0], 0.3 / 9, "nine families alike", 1e-9)
    same(contrast(a, b, (("rules", "list"), ("fact",)))[0], (0.1 + 0.1) / 2,
         "a part is a mean of its families", 1e-9)
    same(contrast(a, b, minus=(b, a))[0], 0.6 / 9, "(a - b) - (b - a)", 1e-9)
    same(contrast(b)[0], endpoint_score(b[0]), "one row alone", 1e-9)
    with pytest.raises(AssertionError, match="not the same seeds"):
        contrast(a, b[:2])


def test_prompts_widen_the_interval_and_prompts_of_one_fact_count_once():
    """The same gain of every seed, on half of the questions: only the choice of prompts is
    unsure."""
    facts = prompt_groups("test", 100)["fact"]
    different = {f: len(set(g)) for f, g in prompt_groups("test", 100).items() if len(set(g)) < 100}
    assert different == {"truth": 72, "fact": 72}

    def row(each):
        return [{**made(Cell((), s), 0), "each": dict.fromkeys(world.FAMILIES, pack_scores(each))}
                for s in range(5)]
    right, wrong = facts % 2 == 0, np.zeros(100)
    mean, half = contrast(row(right), row(wrong), (("list",),))
    assert mean == right.mean() and 0.09 < half < 0.115  # 1.96 x .05 and a little
    assert contrast(row(right), row(wrong), (("fact",),))[1] > 1.1 * half


def test_a_run_that_diverged_cannot_help_its_row():
    failed = {**Cell((), 0).__dict__, "failed": "loss is nan"}
    (answers,) = arrays([failed], ["list"])
    assert endpoint_score(failed) == 0 and answers.shape == (1, 100) and not answers.any()


def test_one_seed_tells_no_interval():
    assert interval([0.5]) == (0.5, math.inf) and math.isnan(interval([])[0]), "no seed: no number"


def test_a_row_that_scores_like_sft_with_more_demonstrations_is_worth_the_difference():
    def cells(mean: float, spread: float = 0.0) -> list[dict]:
        return [made(Cell((), seed), mean + spread * (seed - 1.5)) for seed in range(4)]
    curve = {30: cells(0.60), 100: cells(0.70), 300: cells(0.75)}
    between = 0.70 + 0.05 * np.log(200 / 100) / np.log(3)           # where SFT stands with 200
    above, none, spread = exchange(curve, {(30, 1000, "RFT", 0): cells(between),
                                           (100, 1000, "UNA", 0): cells(0.70),
                                           (30, 4000, "RFT", 15): cells(between, spread=0.01)})
    assert above["worth"] == pytest.approx(170, rel=0.06), "scores are kept in 240ths"
    assert above["low"] == pytest.approx(above["worth"], rel=0.01), "no chance is left"
    assert none["worth"] == pytest.approx(0, abs=1)
    assert (none["row"], none["demos"], none["errs"]) == ("UNA", 100, 0)
    assert spread["errs"] == 15 and spread["low"] < 160 < 180 < spread["high"]


# ---- words ---------------------------------------------------------------------------------------
def test_a_difference_in_a_word():
    some = ((0.05, 0.02), (-0.05, 0.02), (0.005, 0.01), (0.01, 0.02), (0.0, math.inf))
    words = ["better", "worse", "equal", "undecided", "undecided"]
    assert [difference_word(m, h, 0.02) for m, h in some] == words


def test_numbers_and_tables_as_the_pages_have_them():
    assert format_interval(0.799, 0.023) == "79.9 ± 2.3"
    assert format_gain(0.012, 0.02) == "+1.2 ± 2.0"
    assert format_interval(0.5, math.inf) == "50.0", "one seed has no interval"
    lines = ["| row | |", "|---|---|", "| SFT | 3 |", "| DPO | |"]
    assert markdown_table(["row", ""], [["SFT", 3], ["DPO", ""]]) == lines
