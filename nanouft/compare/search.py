"""The learning rate of each method: as many values for each, on validation prompts.

    found = search_rates(c, arms, make)     # {arm: Tried}; c.rates has the chosen ones

The own rate, a third of it and its triple are tried with one seed; if the best of any method is at
the edge, each method of as many stages gets one value more. Then its own and the two best get three
seeds, and the best mean is taken. From the scores of those it is told how wide the interval of the
test will be.
"""
from collections.abc import Callable, Iterable
from itertools import product
from typing import NamedTuple

import numpy as np

from nanouft.compare.arms import Arm
from nanouft.compare.plan import SEARCH_SEEDS, Comparison, short_lr
from nanouft.compare.runs import Run, scores_of
from nanouft.compare.splits import draw_keys
from nanouft.compare.stats import expected_half_width, least_variance
from nanouft.compare.verdicts import (
    MEASURES,
    Question,
    Result,
    compared_pairs,
    mean_over_tasks,
    metric_of,
    result,
)
from nanouft.plumbing.errors import UserError

RATE_FACTORS = (1, 1 / 3, 3, 1 / 9, 9)      # of a rate, in the order in which they are tried
FINALIST_RUNS = 6   # of an arm with two more seeds: the own rate, and the two best
Make = Callable[[Iterable[Run]], None]


class Tried(NamedTuple):
    scores: dict[float, list[float]]    # of each rate, of one seed or three; -inf: diverged
    taken: float


Found = dict[Arm, Tried]


def most_runs(c: Comparison) -> int:
    """Of a comparison: of each arm one try more than asked for, three finalists with two more seeds
    each, and the seeds; and the initial model."""
    search = (c.cfg.tries + 1 + FINALIST_RUNS) * (c.cfg.tries > 1)
    return len(c.all_arms) * (search + c.cfg.seeds) + 1


def search_rates(c: Comparison, arms: list[Arm], make: Make) -> Found:
    """Of arms with as many stages; c.rates has those of the arms that they start from."""
    lrs = {arm: [c.own_rate(arm) * x for x in RATE_FACTORS[:c.cfg.tries]] for arm in arms}
    if c.cfg.tries == 1:
        c.rates |= {arm.unlabelled: lrs[arm][0] for arm in arms}
        return {}
    make(c.run(arm, SEARCH_SEEDS[0], lr) for arm in arms for lr in lrs[arm])
    tried = {arm: validate(c, arm, lrs[arm]) for arm in arms}
    if any(at_edge(x.taken, x.scores) for x in tried.values()):
        lrs = {arm: [*x.scores, next_rate(x)] for arm, x in tried.items()}
        make(c.run(arm, SEARCH_SEEDS[0], lr) for arm in arms for lr in lrs[arm])
        tried = {arm: validate(c, arm, lrs[arm]) for arm in arms}
    left = arms
    while left:                         # once, unless all finalists of an arm diverge
        finalists = {arm: choose_finalists(c, arm, tried[arm]) for arm in left}
        make(c.run(arm, seed, lr) for arm in left for lr in finalists[arm]
             for seed in SEARCH_SEEDS[1:])
        tried |= {arm: choose(c, arm, tried[arm], finalists[arm]) for arm in left}
        left = [arm for arm in left if np.isneginf(tried[arm].scores[tried[arm].taken]).any()]
    c.rates |= {arm.unlabelled: x.taken for arm, x in tried.items()}
    return tried


def validate(c: Comparison, arm: Arm, lrs: list[float]) -> Tried:
    """The score of each rate with the first seed; the best one, of equal ones the nearest to the
    method's own."""
    own = c.own_rate(arm)
    scores = {lr: [validation_score(c, c.run(arm, SEARCH_SEEDS[0], lr))] for lr in sorted(lrs)}
    best = max(scores, key=lambda lr: (scores[lr][0], -log_distance(lr, own)))
    check_converged(c, arm, scores, best)
    return Tried(scores, best)


def validation_score(c: Comparison, run: Run) -> float:
    """More is better; -inf if it diverged."""
    if not (scores := scores_of(run)):
        return -np.inf
    measure = metric_of(c, scores)
    return MEASURES[measure].sign * mean_over_tasks(scores[measure])


def check_converged(c: Comparison, arm: Arm, scores: dict[float, list[float]], lr: float) -> None:
    if np.isneginf([x for of_lr in scores.values() for x in of_lr]).all():
        raise UserError(f"{arm.name}: training diverged at each learning rate "
                        f"({', '.join(map(short_lr, scores))}); give it a lower --lr. To see "
                        f"more: {c.run(arm, SEARCH_SEEDS[0], lr).command}")


def choose_finalists(c: Comparison, arm: Arm, tried: Tried) -> list[float]:
    """The rate nearest to the own, and the two best, of those that have not diverged."""
    alive = [lr for lr, x in tried.scores.items() if not np.isneginf(x).any()]
    if not alive:
        check_converged(c, arm, {lr: [-np.inf] for lr in tried.scores}, tried.taken)
    best = sorted(alive, key=lambda lr: np.mean(tried.scores[lr]))[-2:]
    return sorted({min(alive, key=lambda lr: log_distance(lr, c.own_rate(arm))), *best})


def choose(c: Comparison, arm: Arm, tried: Tried, finalists: list[float]) -> Tried:
    """The rate with the best mean of three seeds, of equal ones the nearest to the method's own."""
    scores = tried.scores | {
        lr: [validation_score(c, c.run(arm, seed, lr)) for seed in SEARCH_SEEDS]
        for lr in finalists}
    return Tried(scores, max(finalists, key=lambda lr: (
        np.mean(scores[lr]), -log_distance(lr, c.own_rate(arm)))))


# ---- what the test will see ----------------------------------------------------------------------
def validation_results(c: Comparison, arm: Arm, tried: Tried) -> dict[float, Result]:
    """Of each rate that has three seeds."""
    out = {}
    for lr, scores in tried.scores.items():
        if len(scores) == len(SEARCH_SEEDS) and not np.isneginf(scores).any():
            values = [x for seed in SEARCH_SEEDS if (x := scores_of(c.run(arm, seed, lr)))]
            out[lr] = result(c, arm.name, values, metric_of(c, values[0]), "val")
    return out


def expected_interval_text(c: Comparison, found: Found) -> str:
    """How wide the interval of a difference will be; "" without a search."""
    results = {arm: validation_results(c, arm, found[arm]).values() for arm in c.arms if found}
    pairs = compared_pairs(c.arms) if all(results.values()) and found else []
    questions = [Question(a, b, len(pairs), 0.0) for one, other in pairs
                 for a, b in product(results[one], results[other])]
    if not questions:
        return ""
    spec, of_search = c.spec("test"), questions[0].a
    groups = [*spec.groups().values()] if not c.parts else [
        np.unique(draw_keys(spec.rows()), return_inverse=True)[1]]
    low, middle, high = expected_half_width(
        [q.luck() for q in questions], len(c.arms), c.cfg.seeds,
        sum(len({*numbers}) for numbers in groups), bool(c.parts), len(pairs),
        least_variance(groups) if of_search.is_share else 0.0)
    measure = MEASURES[of_search.measure]
    return (f"With {c.cfg.seeds} seeds the ± of a difference will be about "
            f"{measure.with_unit(middle)} ({measure.text(low)} to {measure.text(high)}).")


def log_distance(lr: float, own: float) -> float:
    return abs(np.log(lr / own))


def at_edge(lr: float, tried: Iterable[float]) -> bool:
    return lr in (min(tried), max(tried))


def next_rate(tried: Tried) -> float:
    """A rate beyond those of an arm: where its best is at the edge, there, and else on the side of
    the better neighbour. So each arm has as many tries."""
    lrs = sorted(tried.scores)
    best = lrs.index(tried.taken)
    up = best == len(lrs) - 1 or best > 0 and (
        tried.scores[lrs[best + 1]] > tried.scores[lrs[best - 1]])
    return lrs[-1] * 3 if up else lrs[0] / 3
