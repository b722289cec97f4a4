"""Which lead will be seen? Told before the seeds are trained, and beside what is undecided.

    power_statement(c)  # "With 5 seeds and 45 test prompts a lead of 20.2 to 34.1 points ..."
    time_left(c)        # "The seeds take about 3 hours more, with 2 workers."
    least_lead(q)       # 0.14: a lead of 14 points would have been decided

The tries tell what chance does: those with three seeds (stats.Luck of the validation questions).
Two degrees of freedom an arm say little about seeds, so a range is printed: for seeds that differ
as much less, or more, as a standard error of that estimate. A lead is seen if it is decided in 80
of 100 comparisons: half of the interval that is due, and .84 standard errors.
"""
import math
from itertools import product

import numpy as np

from nanouft.compare import runs
from nanouft.compare.by_task import luck_of
from nanouft.compare.plan import SEARCH_SEED, SEARCH_SEEDS, Comparison
from nanouft.compare.stats import Luck
from nanouft.compare.verdicts import MEASURES, Question, compared_pairs, search_result
from nanouft.compare.workers import missing_jobs
from nanouft.plumbing.printing import quantity


def chi_square(errors: float, freedom: float) -> float:
    """The quantile of chi-square at which a normal distribution has so many standard errors
    (Wilson and Hilferty 1931)."""
    part = 2 / 9 / freedom
    return freedom * (1 - part + errors * math.sqrt(part)) ** 3


def scaled_luck(luck: Luck, seeds: int, times: float, rows: float = 1) -> Luck:
    """With so many seeds, so many times the prompts, so many times the training rows."""
    of_seed, rest = max(0.0, luck.seed - luck.rest) / rows, luck.rest / times
    of_prompts = max(0.0, luck.prompts - luck.rest / luck.seeds) / times
    return Luck(seeds, max(2, round(luck.facts * times)), of_seed + rest,
                of_prompts + rest / seeds, rest)


def detectable_lead(luck: Luck, redrawn: bool, comparisons: int, least: float) -> float:
    """The lead that is decided in 80 of 100 comparisons."""
    variance = luck.prompts + (luck.seed - luck.rest) / (1 if redrawn else luck.seeds)
    return luck.interval(redrawn, comparisons, least) + 0.84 * math.sqrt(variance)


# ---- before --------------------------------------------------------------------------------------
def luck_of_tries(c: Comparison) -> tuple[list[Question], Luck] | None:
    """(differences of arms that will be asked, what chance does to one), from all rates that were
    tried with three seeds; None if there are none."""
    results = {arm: [x for lr in c.finalists.get(arm, ()) if (x := search_result(c, arm, lr))]
               for arm in c.arms}
    compared = compared_pairs(c, c.arms)
    gaps = [Question(a, b, len(compared), 0.0) for x, y in compared
            for a, b in product(results[x], results[y])]
    if not gaps:
        return None
    luck = [luck_of(q.difference()) for q in gaps]
    return gaps, Luck(*luck[0][:2], *np.mean([x[2:] for x in luck], 0))


def detectable_range(luck: Luck, c: Comparison, q: Question, share: float,
                     times: float = 1) -> list[float]:
    """The least and the largest that the lead may be. share: so many test questions for each of
    validation; times: so many times all of them, and training rows. More rows may leave the seeds
    as they are, and the largest takes them so."""
    freedom, out = (len(SEARCH_SEEDS) - 1) * len(c.arms), []
    for errors, rows in ((1, times if c.parts else 1), (-1, 1)):
        seed = max(luck.rest, luck.seed * freedom / chi_square(errors, freedom))
        plan = scaled_luck(luck._replace(seed=seed), len(c.seeds), share * times, rows)
        out.append(detectable_lead(plan, bool(c.parts), q.n_comparisons,
                                   q.least_variance / share / times))
    return out


def power_statement(c: Comparison) -> str:
    """"" if no tries tell it."""
    if not (luck_known := luck_of_tries(c)):
        return ""
    (q, *_), luck = luck_known
    measure, spec = MEASURES[q.a.measure], c.eval_spec("test")
    questions = spec.draws() if c.parts else spec.items * len(spec.tasks)
    share = questions / luck.facts if c.parts else spec.items / c.eval_spec("val").items

    def lead_text(times: float = 1) -> str:
        leads = measure.range_text(*detectable_range(luck, c, q, share, times))
        return f"a lead of {leads}" if leads else "no lead"
    doubled = "twice the rows" if c.parts else f"--items {2 * spec.items}"
    return (f"With {len(c.seeds)} seeds and {quantity(questions, test_unit(c))} {lead_text()} "
            f"would be decided (in 80 of 100 comparisons); with {doubled}: {lead_text(2)}.")


def test_unit(c: Comparison) -> str:
    """What one draw of the test part is."""
    groups = c.parts and any(r.extra.get("group") for r in c.eval_spec("test").rows())
    return "groups of test prompts" if groups else "test prompts"


def time_left(c: Comparison) -> str:
    """What is still to be trained, as long as its tries took."""
    jobs = missing_jobs(c.job(arm, seed) for arm in c.all_arms for seed in c.seeds)
    todo = {job.key for job in jobs}
    spent = sum(runs.cpu_seconds(c.job(arm, SEARCH_SEED, c.lr(arm)))
                for arm in c.all_arms for seed in c.seeds if c.job(arm, seed).key in todo)
    workers = 1 if c.executor else c.cfg.workers or 1       # nobody knows how many it has
    minutes = math.ceil(spent / 60 / workers)
    time = f"{minutes / 60:.0f} hours" if minutes > 120 else quantity(minutes, "minutes")
    by = "divided among the executor's workers" if c.executor else (
        f"with {quantity(workers, 'workers')}")
    return f"The seeds take about {time} more, {by}."


# ---- afterwards ----------------------------------------------------------------------------------
def least_lead(q: Question) -> float:
    """The lead that such a test decides in 80 of 100. It needs no guess of the true lead, as the
    number of prompts that would decide it does."""
    luck = luck_of(q.difference())
    return detectable_lead(scaled_luck(luck, luck.seeds, 1), q.a.redrawn, q.n_comparisons,
                           q.least_variance)
