"""Ranks that admit ties, from scores of the same seeds.

    python -m pytest tests/lab/test_ranks.py        below a second
"""
import pytest

from lab import ranks


def test_the_luck_of_a_seed_cancels():
    """Rows far apart from seed to seed, and always one point apart on the same seed."""
    lucky = {0: 0.5, 1: 0.7, 2: 0.9}
    (mean, half), word = ranks.minus({s: x + 0.01 + 0.001 * s for s, x in lucky.items()}, lucky)
    assert mean == pytest.approx(0.011) and half < 0.003 and word == "better"
    assert ranks.minus(lucky, lucky) == ([0, 0], "equal")
    assert ranks.minus(lucky, {0: 0.4}) == ([pytest.approx(0.1), None], "undecided"), "one seed tells nothing"
    assert ranks.minus(lucky, {7: 0.4}) is None and ranks.minus(lucky, None) is None


def test_a_row_may_hold_every_place_that_no_other_surely_has():
    """a and b are not told apart, c is surely behind both, d had no luck with its seeds."""
    scores = {"a": {0: 0.80, 1: 0.82, 2: 0.84}, "b": {0: 0.83, 1: 0.81, 2: 0.83}, "c": {0: 0.5, 1: 0.51, 2: 0.53},
              "d": {}}
    assert ranks.places(scores) == {"a": [1, 2], "b": [1, 2], "c": [3, 3]}
