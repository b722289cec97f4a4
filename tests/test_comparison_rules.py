"""nanouft/compare/stats.py: each interval by hand, p values that agree with it, a floor for shares,
and the ± that is told before the test. How often the rules err: tests/bench/comparison_rules.py."""
import numpy as np
import pytest

from nanouft.compare import stats
from nanouft.compare.stats import Luck

LUCK = Luck(seeds=3, facts=4, seed=1, prompts=2, rest=0.5)
T2, T3 = 4.303, 3.182               # Student's t of two and three degrees of freedom, 95 %
T2_OF_3, T3_OF_3 = 7.649, 4.857     # where three comparisons share the 5 %


def shares(seeds: int, prompts: int, right: int = 0) -> np.ndarray:
    """(seeds, prompts) of 0 and 1: the first prompts are right with every seed."""
    return np.tile((np.arange(prompts) < right).astype(float), (seeds, 1))


def test_another_file_is_covered_by_the_whole_variance_between_seeds_this_one_by_its_part():
    """Three seeds 0, 1, 2 on prompts that are all alike have variance 1."""
    gap, fact = np.repeat(np.array([[0.0], [1.0], [2.0]]), 4, 1), [np.arange(4)]
    assert stats.moments([gap], fact) == pytest.approx((1, 1 / 3, 2))
    luck = stats.luck_of([gap], fact)
    assert luck.interval(redrawn=True) == pytest.approx(T2, abs=1e-3)
    assert luck.on_this_file() == pytest.approx(T2 / 3 ** 0.5, abs=1e-3)


@pytest.mark.parametrize("comparisons, seeds, prompts", [(1, T2, T3), (3, T2_OF_3, T3_OF_3)])
def test_each_part_has_the_t_of_its_own_freedom(comparisons, seeds, prompts):
    for half, of_seeds in ((LUCK.interval(True, comparisons), 1),
                           (LUCK.on_this_file(comparisons), 1 / 3)):
        by_hand = seeds ** 2 * of_seeds + prompts ** 2 * 2
        assert half == pytest.approx(by_hand ** 0.5, rel=1e-3)


def test_a_half_width_is_corrected_for_the_comparisons():
    assert stats.half_width(4, 2) == pytest.approx(2 * T2, rel=1e-3)
    assert stats.half_width(4, 2, comparisons=3) == pytest.approx(2 * T2_OF_3, rel=1e-3)


HALVES = {"another file": lambda luck, *more: luck.interval(True, *more),
          "NanoWorld": lambda luck, *more: luck.interval(False, *more),
          "this file": Luck.on_this_file}


@pytest.mark.parametrize("claim", HALVES)
@pytest.mark.parametrize("comparisons", [1, 3, 6])
def test_a_p_value_is_below_5_percent_where_the_interval_excludes_0(claim, comparisons):
    def half(alpha: float) -> float:
        return HALVES[claim](LUCK, comparisons, 0.0, alpha)
    edge, found = half(0.05), []
    for times in (0, 0.5, 1 - 1e-9, 1, 1 + 1e-9, 2, 20):
        found.append(stats.p_value(times * edge, half))
        assert (found[-1] < 0.05) == (times * edge > edge)
        assert found[-1] == stats.p_value(-times * edge, half)
    assert found == sorted(found, reverse=True) and found[0] == pytest.approx(1)
    assert found[3] == pytest.approx(0.05) and stats.p_value(edge, half) >= 0.05


def test_a_p_value_is_that_of_the_tables_times_the_comparisons():
    """Student's t of two degrees of freedom beyond 9.925: one of 100. Never more than 1."""
    luck = Luck(seeds=3, facts=9, seed=1, prompts=0, rest=0)
    for comparisons, p in ((1, 0.01), (4, 0.04), (6, 0.06), (200, 1)):
        def half(alpha: float, comparisons: int = comparisons) -> float:
            return luck.interval(True, comparisons, 0.0, alpha)
        assert stats.p_value(9.925, half) == pytest.approx(p, rel=1e-3)


@pytest.mark.parametrize("seeds", [2, 5])
@pytest.mark.parametrize("half", HALVES.values(), ids=HALVES)
def test_a_share_of_0_is_not_known_without_error(half, seeds):
    """Agresti and Min by hand: of ten prompts as if one of twelve were right. Of two tasks each has
    half of the weight."""
    fact = np.arange(10)
    assert stats.least_variance([fact]) == pytest.approx(1 / 12 ** 2)
    assert stats.least_variance([fact, fact // 2]) == pytest.approx(1 / 24 ** 2 + 1 / 14 ** 2)
    luck = stats.luck_of([shares(seeds, 10)], [fact])
    assert half(luck) == 0 and 1.9 / 12 < half(luck, 1, stats.least_variance([fact])) < 2.3 / 12


def test_a_floor_never_narrows_an_interval():
    """It is no measurement, so it adds no degrees of freedom to those of the seeds."""
    rng = np.random.default_rng(0)
    for spread in (0.001, 0.01, 0.1):
        gap = rng.normal(0, spread, (5, 1)) + np.zeros((5, 40))
        luck, floor = stats.luck_of([gap], [np.arange(40)]), stats.least_variance([np.arange(40)])
        assert luck.interval(False, 6, floor) >= luck.interval(False, 6)


def test_the_half_width_that_is_told_is_in_the_middle_of_those_that_come():
    """Two methods, tried on 100 prompts with three seeds, tested on 150 with five."""
    rng, found = np.random.default_rng(0), []

    def luck(seeds: int, prompts: int) -> Luck:
        gap = rng.normal(0, 3, (seeds, 1)) + rng.normal(0, 20, prompts) + rng.normal(
            0, 30, (seeds, prompts))
        return stats.luck_of([gap], [np.arange(prompts)])
    for _ in range(200):
        low, middle, high = stats.expected_half_width([luck(3, 100)], 2, 5, 150, redrawn=True)
        half = luck(5, 150).interval(redrawn=True)
        found.append((low <= half <= high, half > middle))
    covered, above = np.mean(found, 0)
    assert 0.75 <= covered <= 0.95 and 0.3 <= above <= 0.7
    # three times the prompts: what prompts and answers do is a third
    few, many = (stats.expected_half_width([LUCK], 2, 5, prompts, True) for prompts in (40, 120))
    assert many[1] < few[1]
    assert few < stats.expected_half_width([LUCK], 2, 5, 40, True, comparisons=3)
    assert few < stats.expected_half_width([LUCK], 2, 5, 40, True, least=9.0)
