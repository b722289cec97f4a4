"""Intervals over seeds and prompts together, differences of rows, and how both are written."""
import math

import numpy as np
import pytest

from lab.compare import minus
from lab.contrast import quantile, two_way
from lab.words import difference_word, format_gain, format_interval, markdown_table


@pytest.mark.parametrize("size", [1, 3])
def test_two_way_covers_the_truth_for_other_seeds_and_other_prompts(size):
    """Groups of prompts that move together, also within one seed. The truth is 0, and its spread is known."""
    rng, hit, halves, S, G = np.random.default_rng(3), [], [], 10, 60 // size
    for _ in range(120):
        seeds = rng.normal(0, 0.01, (S, 1))
        gaps = [np.repeat(seeds + rng.normal(0, 0.2, (1, G)) + rng.normal(0, 0.4, (S, G)), size, 1) for _ in range(3)]
        mean, half = two_way(gaps, [np.repeat(np.arange(G), size)] * 3, draws=300)
        assert mean == pytest.approx(np.mean([g.mean() for g in gaps]))
        hit.append(abs(mean) < half)
        halves.append(half)
    spread = math.sqrt(0.01 ** 2 / S + 0.2 ** 2 / G / 3 + 0.4 ** 2 / S / G / 3)
    assert 0.88 < np.mean(hit), "LAW: 95 % of the intervals hold the truth"
    assert np.mean(halves) < 1.35 * 1.96 * spread, "LAW: and they are not wider than need be"


@pytest.mark.parametrize("S", [2, 3])
def test_few_seeds_do_not_make_a_narrow_interval(S):
    """A small difference between two seeds says little: by Satterthwaite's freedom about .9 were covered."""
    rng, hit = np.random.default_rng(S), []
    for _ in range(200):
        gap = rng.normal(0, 0.1, (S, 1)) + rng.normal(0, 0.4, (1, 60)) + rng.normal(0, 0.4, (S, 60))
        mean, half = two_way([gap], draws=200)
        hit.append(abs(mean) < half)
    assert np.mean(hit) > 0.93, "LAW: 95 % of the intervals hold the truth"


def test_two_way_knows_one_seed_and_prompts_that_belong_together():
    gap = np.random.default_rng(0).normal(0, 1, (4, 40)).mean(0, keepdims=True).repeat(4, 0)
    assert two_way([gap[:1]])[1] == math.inf
    alone, together = two_way([gap])[1], two_way([np.repeat(gap, 3, 1)], [np.repeat(np.arange(40), 3)])[1]
    assert together == pytest.approx(alone, rel=0.2), "three wordings of one fact are one fact"


@pytest.mark.parametrize("freedom, looks, known", [(4, 7, 5.068), (8, 2, 2.752), (10_000, 5, 2.576)])
def test_the_best_of_many_is_sure_with_a_wider_interval(freedom, looks, known):
    """Bonferroni: Student's t that is exceeded with probability 2.5 % / looks."""
    assert quantile(freedom, looks) == pytest.approx(known, rel=0.0002)
    gap = np.random.default_rng(0).normal(0, 1, (5, 40)) + np.arange(5)[:, None]
    assert two_way([gap], looks=7)[1] > 1.5 * two_way([gap])[1]


def test_student_is_taken_at_the_whole_degrees_of_freedom_below():
    assert quantile(4) == quantile(4.9) == pytest.approx(2.7764, abs=1e-4)
    assert quantile(math.inf) == pytest.approx(1.96, abs=1e-3)


# ---- rows ----------------------------------------------------------------------------------------------------------
def test_the_luck_of_a_seed_cancels():
    """Rows far apart from seed to seed, and always one point apart on the same seed."""
    lucky = {0: 0.5, 1: 0.7, 2: 0.9}
    (mean, half), word = minus({s: x + 0.01 + 0.001 * s for s, x in lucky.items()}, lucky)
    assert mean == pytest.approx(0.011) and half < 0.003 and word == "better"
    assert minus(lucky, lucky) == ([0, 0], "equal")
    assert minus(lucky, {0: 0.4}) == ([pytest.approx(0.1), None], "undecided"), "one seed tells nothing"
    assert minus(lucky, {7: 0.4}) == (None, None)


# ---- words ---------------------------------------------------------------------------------------------------------
def test_a_difference_in_a_word():
    some = ((0.05, 0.02), (-0.05, 0.02), (0.005, 0.01), (0.01, 0.02), (0.0, math.inf))
    assert [difference_word(m, h, 0.02) for m, h in some] == ["better", "worse", "equal", "undecided", "undecided"]


def test_numbers_and_tables_as_the_pages_have_them():
    assert format_interval(0.799, 0.023) == "79.9 ± 2.3" and format_gain(0.012, 0.02) == "+1.2 ± 2.0"
    assert format_interval(0.5, math.inf) == "50.0", "one seed has no interval"
    assert markdown_table(["row", ""], [["SFT", 3], ["DPO", ""]]) == ["| row | |", "|---|---|", "| SFT | 3 |",
                                                                      "| DPO | |"]
