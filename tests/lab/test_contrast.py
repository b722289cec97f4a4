"""The difference of two rows of cells and its interval, over seeds and prompts.

    python -m pytest tests/lab/test_contrast.py        a second; cells are made by hand
"""
import numpy as np
import pytest
from made_cells import made
from tiny import same

from lab.cell import Cell
from lab.cells import pack_scores
from lab.contrast import arrays, contrast, endpoint_score, prompt_groups
from nanouft import world
from nanouft.look.stats import interval


def paired(gains: list[int]) -> tuple[list[dict], list[dict]]:
    """Two rows: seeds differ by six points, the first row is ahead by `gains` 240ths (those are what is kept)."""
    both = [(made(Cell((), s), 0.3 + 0.06 * s + g / 240), made(Cell((), s), 0.3 + 0.06 * s))
            for s, g in enumerate(gains)]
    return [a for a, _ in both], [b for _, b in both]


def test_the_interval_is_paired():
    """Differences are taken seed by seed and prompt by prompt; where no prompt differs: Student's t over seeds."""
    same(contrast(*paired([6, 6, 6, 6, 6])), [6 / 240, 0], "seeds and prompts differ, differences do not", 1e-9)
    gains = [2, 6, 4, 8, 5]
    same(contrast(*paired(gains)), interval([g / 240 for g in gains]), "t over seeds", 2e-3)
    same(interval([1, 2, 3, 2, 2]), [2, 0.878], "2 ± .878 by Student's t with four degrees of freedom", 1e-3)


def test_a_contrast_counts_parts_alike_and_takes_gains_of_gains():
    a, b = [made(Cell((), s), 0.5, rules=0.7, fact=0.6) for s in range(3)], [made(Cell((), s), 0.5) for s in range(3)]
    same(contrast(a, b)[0], 0.3 / 9, "nine families alike", 1e-9)
    same(contrast(a, b, (("rules", "list"), ("fact",)))[0], (0.1 + 0.1) / 2, "a part is a mean of its families", 1e-9)
    same(contrast(a, b, minus=(b, a))[0], 0.6 / 9, "(a - b) - (b - a)", 1e-9)
    same(contrast(b)[0], endpoint_score(b[0]), "one row alone", 1e-9)
    with pytest.raises(AssertionError, match="not the same seeds"):
        contrast(a, b[:2])


def test_prompts_widen_the_interval_and_prompts_of_one_fact_count_once():
    """The same gain of every seed, on half of the questions: only the choice of prompts is unsure."""
    facts = prompt_groups("test", 100)["fact"]
    different = {f: len(set(g)) for f, g in prompt_groups("test", 100).items() if len(set(g)) < 100}
    assert different == {"truth": 72, "fact": 72}

    def row(each):
        return [{**made(Cell((), s), 0), "each": dict.fromkeys(world.FAMILIES, pack_scores(each))} for s in range(5)]
    right, wrong = facts % 2 == 0, np.zeros(100)
    mean, half = contrast(row(right), row(wrong), (("list",),))
    assert mean == right.mean() and 0.09 < half < 0.115                     # 1.96 x .05 and a little
    assert contrast(row(right), row(wrong), (("fact",),))[1] > 1.1 * half


def test_a_run_that_diverged_cannot_help_its_row():
    failed = {**Cell((), 0).__dict__, "failed": "loss is nan"}
    (answers,) = arrays([failed], ["list"])
    assert endpoint_score(failed) == 0 and answers.shape == (1, 100) and not answers.any()
