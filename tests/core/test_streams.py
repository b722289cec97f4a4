"""Streams of random numbers: in one run no two draw the same, but for the meetings that are listed
here."""
from itertools import combinations

import numpy as np

from nanouft import seeds as streams

SEEDS, STEPS, ROWS = (0, 1, 7, 20_261_122), range(400), range(64)


def row_seeds(seed: int, ahead=lambda batch_seed: batch_seed) -> set[int]:
    """Generators of all rows of all steps."""
    return {streams.row_seed(ahead(streams.step_seed(seed, step)), row) for step in STEPS
            for row in ROWS}


def test_every_place_of_a_run_has_its_own_generator():
    for seed in SEEDS:
        assert len(row_seeds(seed)) == len(STEPS) * len(ROWS), "rows of all steps"
        assert len({streams.rollout_seed(seed, r, chunk) for r in STEPS for chunk in ROWS}) \
            == len(STEPS) * len(ROWS)
        assert len({streams.chunk_seed(streams.harvest_seed(seed, n), 0) for n in STEPS}) \
            == len(STEPS)
        assert len({s for first in range(0, 100_000, 256)
                    for s in streams.pair_seeds(seed, first)}) == 2 * 391


def test_the_draws_of_ift_do_not_meet():
    """Coins and guesses of each row, and one draw a step. With --seed 0 the step's seed is its
    number, and so is that of a row of step 0: steps 1 to B draw their one number with a generator
    of a row of the first step."""
    for seed in SEEDS:
        once = {streams.step_seed(seed, step) for step in STEPS}
        coins, guesses = row_seeds(seed), row_seeds(seed, streams.guess_seed)
        for a, b in combinations((once, coins, guesses), 2):
            assert a & b == ({*range(1, 65)} if seed == 0 and a is once and b is coins
                             else set()), seed


def test_neighbouring_seeds_share_nothing():
    runs = [{streams.step_seed(seed, step) for step in STEPS} for seed in range(20)]
    assert len(set.union(*runs)) == 20 * len(STEPS)
    assert streams.step_seed(0, streams.STEPS) == streams.step_seed(1, 0), \
        "they would, after a million steps"
    assert streams.guess_seed(streams.step_seed(0, 0)) == streams.step_seed(0, 500_009), \
        "and after half a million"


def test_prompts_of_one_run_are_drawn_with_seeds_of_their_own():
    for seed in SEEDS:
        drawn = [streams.kind_seed(seed, kind)
                 for kind in range(4)] + [streams.harvest_prompt_seed(seed)]
        assert len(set(drawn)) == 5 and drawn[0] == seed
        assert streams.document_seed(seed) != streams.held_document_seed(seed)


def test_lists_seed_numpy():
    """numpy fills short lists up with zeros, so rollout 7's first order is dealt like the order of
    the prompts: two permutations of different lengths from one generator."""
    def first(entropy: list[int]) -> int:
        return int(np.random.default_rng(entropy).integers(2**62))
    for seed in SEEDS:
        order = first(streams.order_seed(seed))
        dealt = {(r, turn): first(streams.minibatch_seed(seed, r, turn)) for r in STEPS
                 for turn in range(4)}
        assert len(set(dealt.values())) == len(dealt)
        assert [place for place, x in dealt.items() if x == order] == [(7, 0)]
        assert first(streams.window_seed(seed)) != order
