"""Which method is better? Train several on the same rows and seeds, and test the differences.

    python -m nanouft.compare sft dpo mine.py                   # NanoWorld
    python -m nanouft.compare sft "dpo --beta 1" --data my.jsonl --init DIR --lora 16
    python -m nanouft.compare sft sft+dpo                       # DPO from each seed's SFT model
    python -m nanouft.compare a=sft b=sft                       # noise: one method twice
    python -m nanouft.compare out/compare/sft-dpo/plan.ini      # again, or resume

nanouft.train trains each method (flags of its own in quotes). All have the same batch size, epochs
or steps, and number of learning rates. These are searched on validation prompts with one seed; then
the method's own and the two best with three. Of those no worse than the best by a standard error
the nearest to the method's own is taken. Then other seeds are trained, and evaluated on test
prompts that the search has not seen. --plan stops before them, and says which lead they would
decide.

Your rows are split by prompt: 60 % train, 10 % choose learning rates, 15 % test, 15 % wait for
--confirm. Each seed trains on a bootstrap sample; rows with the same field `group` are drawn as
one. The metric is the mean reward of sampled responses (--reward), or else how often the chosen
response is more likely, the AUC of graded responses, or the loss of demonstrations.

The verdict is better, worse, equivalent (95 % CI within the margin) or undecided; all comparisons
of a table share the 5 % (Bonferroni). Test once: --confirm uses new seeds and prompts. Runs are
kept for the next comparison; one is repeated if its flags, rows, initial model or any Python file
that it imports change.
"""
import sys
import textwrap
from collections.abc import Iterable
from concurrent.futures import Executor
from multiprocessing import current_process
from pathlib import Path
from typing import Any

import numpy as np

from nanouft.compare import printed, report, runs
from nanouft.compare.arms import Arm
from nanouft.compare.executor import ExecutorPool
from nanouft.compare.plan import (
    FACTORS,
    TRIES,
    TRY,
    Comparison,
    Words,
    called,
    plan,
    plan_text,
    read_words,
    short_rate,
)
from nanouft.compare.power import foretold, time_left
from nanouft.compare.progress import RunsBar
from nanouft.compare.testset_reuse import looks, refuse_second
from nanouft.compare.verdicts import MEASURES, judged_by, lead, mean_of, of_tries, verdicts
from nanouft.compare.workers import LocalPool, Pool, alone_in, cards, carry_out
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.files import own_file, write_text
from nanouft.plumbing.printing import ALL, BRIEF, quiet, say

AGAIN = 4           # runs of an arm with two more seeds: the own rate is mostly one of the two best
CLEAR = 1           # standard errors by which a rate must be behind the best to be out


def main(argv: list[str] | None = None) -> int:
    compare(read_words(sys.argv[1:] if argv is None else argv, __doc__))
    return 0


def run(methods: Iterable[str], *, verbose: bool = False, executor: Executor | None = None,
        **flags: Any) -> report.Verdict | None:
    """nanouft.compare.run: what the command does. methods: as they are typed there. flags: those of
    the command; data may be rows. verbose: print what the command prints. executor: it carries the
    runs to other machines (executor.py)."""
    check_guarded()
    with quiet(but_for=ALL if verbose else BRIEF):
        words = called(methods, flags)
        say(f"{', '.join(arm.name for arm in words.arms)}: {words.cfg.seeds} seeds", at=BRIEF)
        return compare(words, executor)


def check_guarded() -> None:
    """UserError for a script that each worker, which reads it anew, would begin again."""
    file = getattr(sys.modules["__main__"], "__file__", None)
    unguarded = file and Path(file).is_file() and "__name__" not in Path(file).read_text(
        "utf-8", "replace")
    if unguarded or getattr(current_process(), "_inheriting", False):
        raise UserError(f"{file or 'this script'}: a comparison starts processes, and each runs "
                        "the script again; call it below `if __name__ == \"__main__\":`")


def compare(words: Words, executor: Executor | None = None) -> report.Verdict | None:
    """Train and judge; None if it is only planned."""
    with alone_in(words.root):
        c = plan(words)
        c.executor = executor
        say(*printed.conditions(c), "", sep="\n")
        train_all(c)
        if c.cfg.plan:
            return None
        results, questions = verdicts(c)
        return report.tell(c, results, questions, looks(c))


def train_all(c: Comparison) -> None:
    """Tries, then seeds unless only planned; of chains the first stages first, because their tries
    come first."""
    refuse_second(c)
    c.place.mkdir(parents=True, exist_ok=True)
    write_text(c.place / "plan.ini", plan_text(c))
    tries = c.cfg.tries if c.cfg.tries > 1 else 0
    done: list[runs.Job] = []
    due = (tries + AGAIN) * bool(tries) + len(c.seeds) * (not c.cfg.plan)
    with RunsBar(len(c.every) * due + (not c.cfg.plan)) as bar:
        for depth in sorted({len(arm.stages) for arm in c.every}):
            arms = [arm for arm in c.every if len(arm.stages) == depth]
            arms.sort(key=lambda arm: not own_file(arm.stages[-1][0]))  # its mistakes first
            rates = {arm: [c.paces[arm.stages[-1]].rate * x for x in FACTORS[:tries or 1]]
                     for arm in arms}
            bar.set_description("learning rates", refresh=False)
            done += try_out(c, rates, bar) if tries else []
            if tries and any(at_edge(c, arm) for arm in arms):
                rates = {arm: [*c.tried[arm], one_more(c, arm)] for arm in arms}
                bar.total += len(arms)
                done += try_out(c, rates, bar)
            if tries:
                done += try_again(c, arms, bar)
            for arm in arms if not tries else ():
                c.rates[arm._replace(label="")] = rates[arm][0]
            begin = folders_of_beginnings(c, depth + 1) if tries else set()
            runs.drop_heavy(job for job in done if job.folder not in begin)
        if told := foretold(c):
            bar.clear()
            told = f"{told} {time_left(c)}" if c.cfg.plan else told
            say(*textwrap.wrap(told, 80), "", sep="\n", at=BRIEF if c.cfg.plan else ALL)
        jobs = judged(c) if not c.cfg.plan else []
        bar.set_description("seeds", refresh=False)
        carry_out(jobs, pool_of(c), bar)
    runs.drop_heavy([*done, *jobs])
    for job in [*done, *jobs]:          # asked anew: a file may have changed since it was trained
        if not runs.is_done(job):
            raise UserError(f"{job.name}: its input changed during the comparison; run the same "
                            "command again to repeat the run")


def pool_of(c: Comparison) -> Pool:
    if c.executor:
        return ExecutorPool(c.executor)
    return LocalPool(c.cfg.workers or 1, cards() if c.device == "cuda" else ())


def judged(c: Comparison) -> list[runs.Job]:
    """All that verdicts are from, the initial model too."""
    return [c.initial_job(), *(c.job(arm, seed) for seed in c.seeds for arm in c.every)]


def try_out(c: Comparison, rates: dict[Arm, list[float]], bar: RunsBar) -> list[runs.Job]:
    """Train with these rates where that is new, and choose. Returns what was trained."""
    jobs = {c.job(arm, TRY, rate): arm for arm, arm_rates in rates.items() for rate in arm_rates
            if rate not in c.tried.get(arm, ())}
    train_tries(c, jobs, bar)
    for arm, arm_rates in rates.items():
        c.rates[arm._replace(label="")] = choose(c, arm, sorted(arm_rates))
    return [*jobs]


def train_tries(c: Comparison, jobs: dict[runs.Job, Arm], bar: RunsBar) -> None:
    """Of each its arm. Heavy weights go, but not those that a chain may begin with."""
    begin = {part._replace(label="") for arm in c.every for part in arm.chain[:-1]}
    own = [job for job, arm in jobs.items() if arm._replace(label="") in begin]
    carry_out(jobs, pool_of(c), bar, keep=[*own, *(x for job in jobs for x in job.needs)])


def folders_of_beginnings(c: Comparison, stages: int) -> set[Path]:
    """Of the models that tries of chains with so many stages begin with."""
    return {x.folder for arm in c.every if len(arm.stages) == stages for seed in TRIES
            for x in c.job(arm, seed, 1.0).needs}


def try_again(c: Comparison, arms: list[Arm], bar: RunsBar) -> list[runs.Job]:
    """The own rate and the two best of each arm with two more seeds, and choose anew. If all of
    these diverge, the others follow. Returns what was trained."""
    left, done = arms, list[runs.Job]()
    bar.total -= AGAIN * len(arms)
    while left:
        for arm in left:
            own, alive = c.paces[arm.stages[-1]].rate, not_diverged(c, arm)
            c.again[arm] = sorted({min(alive, key=lambda rate: far(rate, own)),
                                   *sorted(alive, key=c.tried[arm].__getitem__)[-2:]})
        jobs = {c.job(arm, seed, rate): arm for arm in left for rate in c.again[arm]
                for seed in TRIES[1:]}
        bar.total += len(jobs)
        train_tries(c, jobs, bar)
        done += jobs
        left = [arm for arm in left if not choose_again(c, arm)]
    return done


def choose_again(c: Comparison, arm: Arm) -> bool:
    """Of the rates with three seeds that are no worse than the best by a standard error the nearest
    to the own (Breiman et al. 1984, 3.4.3). False if all of them diverged, but others may not."""
    own, tried = c.paces[arm.stages[-1]].rate, c.tried[arm]
    by_rate = {rate: of_tries(c, arm, rate) for rate in c.again[arm]}
    tried |= {rate: MEASURES[x.measure].sign * x.mean if x else -np.inf
              for rate, x in by_rate.items()}
    best = max(by_rate, key=tried.__getitem__)
    if not (top := by_rate[best]):
        if not not_diverged(c, arm):
            raise diverged(c, arm, [*tried], best)
        return False
    leads = {rate: lead(top, x) for rate, x in by_rate.items() if x}
    close = [rate for rate, (mean, error) in leads.items() if mean <= CLEAR * error]
    c.rates[arm._replace(label="")] = min(
        close, key=lambda rate: (round(far(rate, own), 6), -tried[rate]))
    return True


def not_diverged(c: Comparison, arm: Arm) -> list[float]:
    return [rate for rate, score in c.tried[arm].items() if score > -np.inf]


def far(rate: float, own: float) -> float:
    return abs(np.log(rate / own))


def choose(c: Comparison, arm: Arm, rates: list[float]) -> float:
    """The rate with the best validation score, of equal ones the nearest to the method's own;
    c.tried has all."""
    own, by_rate = c.paces[arm.stages[-1]].rate, dict[float, float]()
    for rate in rates:
        by_rate[rate] = -np.inf
        if scores := runs.values(c.job(arm, TRY, rate)):
            measure = judged_by(c, scores)
            by_rate[rate] = MEASURES[measure].sign * mean_of(scores[measure])
    c.tried[arm] = by_rate
    best = max(by_rate, key=lambda rate: (by_rate[rate], -far(rate, own)))
    if by_rate[best] == -np.inf:
        raise diverged(c, arm, rates, best)
    return best


def diverged(c: Comparison, arm: Arm, rates: list[float], rate: float) -> UserError:
    return UserError(f"{arm.name}: training diverged at each learning rate "
                     f"({', '.join(map(short_rate, rates))}); give it a lower --lr. To see "
                     f"more: {c.job(arm, TRY, rate).command}")


def at_edge(c: Comparison, arm: Arm) -> bool:
    return c.rate(arm) in (min(c.tried[arm]), max(c.tried[arm]))


def one_more(c: Comparison, arm: Arm) -> float:
    """A rate beyond those of an arm: where its best is at the edge, there, and else on the side of
    the better neighbour. So each arm has as many tries."""
    rates = sorted(c.tried[arm])
    best = rates.index(c.rate(arm))
    up = best == len(rates) - 1 or best > 0 and (
        c.tried[arm][rates[best + 1]] > c.tried[arm][rates[best - 1]])
    return rates[-1] * 3 if up else rates[0] / 3


if __name__ == "__main__":
    sys.exit(command(main, needs_less="give --workers 1 or --lora 16"))
