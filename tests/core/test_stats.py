"""Intervals over seeds and prompts together, and what a difference is called."""
import math

import numpy as np
import pytest

from nanouft.look.stats import compared, two_way


def test_two_way_covers_the_truth_for_other_seeds_and_other_prompts():
    rng, hit = np.random.default_rng(3), []
    for _ in range(120):
        gaps = [rng.normal(0, 0.03, (5, 1)) + rng.normal(0, 0.2, (1, 60)) + rng.normal(0, 0.2, (5, 60))
                for _ in range(3)]
        mean, half = two_way(gaps, draws=300)
        assert mean == pytest.approx(np.mean([g.mean() for g in gaps]))
        hit.append(abs(mean) < half)
    assert 0.88 < np.mean(hit) <= 1, "LAW: 95 % of the intervals hold the truth, which is 0"


def test_two_way_knows_one_seed_and_prompts_that_belong_together():
    gap = np.random.default_rng(0).normal(0, 1, (4, 40)).mean(0, keepdims=True).repeat(4, 0)
    assert two_way([gap[:1]])[1] == math.inf
    alone, together = two_way([gap])[1], two_way([np.repeat(gap, 3, 1)], [np.repeat(np.arange(40), 3)])[1]
    assert together == pytest.approx(alone, rel=0.2), "three wordings of one fact are one fact"


def test_a_difference_in_a_word():
    some = ((0.05, 0.02), (-0.05, 0.02), (0.005, 0.01), (0.01, 0.02), (0.0, math.inf))
    assert [compared(m, h, 0.02) for m, h in some] == ["better", "worse", "equal", "undecided", "undecided"]
