"""Which method is better? Train several on the same rows and seeds, and test the differences.

    python -m nanouft.compare sft sft+dpo "sft+mine.py"  # NanoWorld; DPO, yours after SFT
    python -m nanouft.compare sft "sft+dpo --beta 1" --data my.jsonl --init DIR --lora 16
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
from concurrent.futures import Executor, ThreadPoolExecutor
from multiprocessing import current_process
from pathlib import Path
from typing import Any

import numpy as np

from nanouft.compare import printed, report, runs
from nanouft.compare.arms import Arm
from nanouft.compare.executor import ExecutorPool
from nanouft.compare.plan import (
    RATE_FACTORS,
    SEARCH_SEED,
    SEARCH_SEEDS,
    Comparison,
    ParsedCommand,
    command_of_call,
    parse_command,
    plan,
    plan_text,
    short_lr,
)
from nanouft.compare.power import power_statement, time_left
from nanouft.compare.progress import RunsBar
from nanouft.compare.testset_reuse import refuse_second_confirm
from nanouft.compare.verdicts import (
    MEASURES,
    lead_and_error,
    mean_over_tasks,
    metric_of,
    search_result,
    verdicts,
)
from nanouft.compare.workers import LocalPool, Pool, lock_comparisons, run_jobs, visible_gpus
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.files import own_file, write_text
from nanouft.plumbing.isolation import isolated
from nanouft.plumbing.printing import ALL, BRIEF, quiet, say

FINALIST_RUNS = 4   # runs of an arm with two more seeds: the own rate is mostly one of the two best
ERRORS_BEHIND = 1   # standard errors by which a rate must be behind the best to be out


def main(argv: list[str] | None = None) -> int:
    compare(parse_command(sys.argv[1:] if argv is None else argv, __doc__))
    return 0


@isolated()
def run(methods: Iterable[str], *, verbose: bool = False, executor: Executor | None = None,
        **flags: Any) -> report.Verdict | None:
    """nanouft.compare.run: what the command does. methods: as they are typed there. flags: those of
    the command; data may be rows. verbose: print what the command prints. executor: it carries the
    runs to other machines (executor.py)."""
    check_guarded()
    with quiet(but_for=ALL if verbose else BRIEF):
        words = command_of_call(methods, flags)
        say(f"{', '.join(arm.name for arm in words.arms)}: {words.cfg.seeds} seeds", at=BRIEF)
        return compare(words, executor)


def check_guarded() -> None:
    """UserError for a script that would begin again where it is read: as a method, or by another
    process that you start."""
    file = getattr(sys.modules["__main__"], "__file__", None)
    unguarded = file and Path(file).is_file() and "__name__" not in Path(file).read_text(
        "utf-8", "replace")
    if unguarded or getattr(current_process(), "_inheriting", False):
        raise UserError(f"{file or 'this script'}: a comparison in it begins again "
                        "wherever it is imported; call it below `if __name__ == \"__main__\":`")


def compare(words: ParsedCommand, executor: Executor | None = None) -> report.Verdict | None:
    """Train and test; None if it is only planned."""
    with lock_comparisons(words.root):
        c = plan(words)
        c.executor = executor
        say(*printed.setup_lines(c), "", sep="\n")
        for text in c.row_notes:
            say(*printed.note_lines(text), "", sep="\n", at=BRIEF)
        train_all(c)
        if c.cfg.plan:
            return None
        results, questions = verdicts(c)
        return report.write_report(c, results, questions)


def train_all(c: Comparison) -> None:
    """Tries, then seeds unless only planned; of chains the first stages first, because their tries
    come first."""
    refuse_second_confirm(c)
    c.folder.mkdir(parents=True, exist_ok=True)
    write_text(c.folder / "plan.ini", plan_text(c))
    tries = c.cfg.tries if c.cfg.tries > 1 else 0
    done: list[runs.Job] = []
    due = (tries + FINALIST_RUNS) * bool(tries) + len(c.seeds) * (not c.cfg.plan)
    with RunsBar(len(c.all_arms) * due + (not c.cfg.plan)) as bar:
        for depth in sorted({len(arm.stages) for arm in c.all_arms}):
            arms = [arm for arm in c.all_arms if len(arm.stages) == depth]
            arms.sort(key=lambda arm: not own_file(arm.stages[-1][0]))  # its mistakes first
            lrs = {arm: [c.stage_plans[arm.stages[-1]].lr * x for x in RATE_FACTORS[:tries or 1]]
                   for arm in arms}
            bar.set_description("learning rates", refresh=False)
            done += search_rates(c, lrs, bar) if tries else []
            if tries and any(best_is_at_edge(c, arm) for arm in arms):
                lrs = {arm: [*c.search_scores[arm], next_learning_rate(c, arm)] for arm in arms}
                bar.total += len(arms)
                done += search_rates(c, lrs, bar)
            if tries:
                done += search_finalists(c, arms, bar)
            for arm in arms if not tries else ():
                c.lrs[arm._replace(label="")] = lrs[arm][0]
            begin = first_stage_folders(c, depth + 1) if tries else set()
            runs.delete_heavy_weights(job for job in done if job.folder not in begin)
        if statement := power_statement(c):
            bar.clear()
            statement = f"{statement} {time_left(c)}" if c.cfg.plan else statement
            say(*textwrap.wrap(statement, 80), "", sep="\n", at=BRIEF if c.cfg.plan else ALL)
        jobs = evaluated_jobs(c) if not c.cfg.plan else []
        bar.set_description("seeds", refresh=False)
        run_jobs(jobs, pool_of(c), bar)
    runs.delete_heavy_weights([*done, *jobs])
    for job in [*done, *jobs]:          # asked anew: a file may have changed since it was trained
        if not runs.is_done(job):
            raise UserError(f"{job.name}: its input changed during the comparison; run the same "
                            "command again to repeat the run")


def pool_of(c: Comparison) -> Pool:
    if c.executor:
        return ExecutorPool(c.executor)
    if current_process().daemon:        # of Celery or a Pool: multiprocessing may start no process
        return ExecutorPool(ThreadPoolExecutor(c.cfg.workers))
    return LocalPool(c.cfg.workers or 1, visible_gpus() if c.device == "cuda" else ())


def evaluated_jobs(c: Comparison) -> list[runs.Job]:
    """All that verdicts are from, the initial model too."""
    return [c.initial_job(), *(c.job(arm, seed) for seed in c.seeds for arm in c.all_arms)]


def search_rates(c: Comparison, lrs: dict[Arm, list[float]], bar: RunsBar) -> list[runs.Job]:
    """Train with these rates where that is new, and choose. Returns what was trained."""
    jobs = {c.job(arm, SEARCH_SEED, lr): arm for arm, arm_lrs in lrs.items() for lr in arm_lrs
            if lr not in c.search_scores.get(arm, ())}
    train_tries(c, jobs, bar)
    for arm, arm_lrs in lrs.items():
        c.lrs[arm._replace(label="")] = choose_rate(c, arm, sorted(arm_lrs))
    return [*jobs]


def train_tries(c: Comparison, jobs: dict[runs.Job, Arm], bar: RunsBar) -> None:
    """Of each its arm. Heavy weights go, but not those that a chain may begin with."""
    begin = {part._replace(label="") for arm in c.all_arms for part in arm.chain[:-1]}
    own = [job for job, arm in jobs.items() if arm._replace(label="") in begin]
    run_jobs(jobs, pool_of(c), bar, keep=[*own, *(x for job in jobs for x in job.needs)])


def first_stage_folders(c: Comparison, stages: int) -> set[Path]:
    """Of the models that tries of chains with so many stages begin with."""
    return {x.folder for arm in c.all_arms if len(arm.stages) == stages for seed in SEARCH_SEEDS
            for x in c.job(arm, seed, 1.0).needs}


def search_finalists(c: Comparison, arms: list[Arm], bar: RunsBar) -> list[runs.Job]:
    """The own rate and the two best of each arm with two more seeds, and choose anew. If all of
    these diverge, the others follow. Returns what was trained."""
    left, done = arms, list[runs.Job]()
    bar.total -= FINALIST_RUNS * len(arms)
    while left:
        for arm in left:
            own, alive = c.stage_plans[arm.stages[-1]].lr, converged_rates(c, arm)
            c.finalists[arm] = sorted({min(alive, key=lambda lr: log_distance(lr, own)),
                                       *sorted(alive, key=c.search_scores[arm].__getitem__)[-2:]})
        jobs = {c.job(arm, seed, lr): arm for arm in left for lr in c.finalists[arm]
                for seed in SEARCH_SEEDS[1:]}
        bar.total += len(jobs)
        train_tries(c, jobs, bar)
        done += jobs
        left = [arm for arm in left if not choose_finalist(c, arm)]
    return done


def choose_finalist(c: Comparison, arm: Arm) -> bool:
    """Of the rates with three seeds that are no worse than the best by a standard error the nearest
    to the own (Breiman et al. 1984, 3.4.3). False if all of them diverged, but others may not."""
    own, tried = c.stage_plans[arm.stages[-1]].lr, c.search_scores[arm]
    by_lr = {lr: search_result(c, arm, lr) for lr in c.finalists[arm]}
    tried |= {lr: MEASURES[x.measure].sign * x.mean if x else -np.inf
              for lr, x in by_lr.items()}
    best = max(by_lr, key=tried.__getitem__)
    if not (top := by_lr[best]):
        if not converged_rates(c, arm):
            raise divergence_error(c, arm, [*tried], best)
        return False
    leads = {lr: lead_and_error(top, x) for lr, x in by_lr.items() if x}
    close = [lr for lr, (mean, error) in leads.items() if mean <= ERRORS_BEHIND * error]
    c.lrs[arm._replace(label="")] = min(
        close, key=lambda lr: (round(log_distance(lr, own), 6), -tried[lr]))
    return True


def converged_rates(c: Comparison, arm: Arm) -> list[float]:
    return [lr for lr, score in c.search_scores[arm].items() if score > -np.inf]


def log_distance(lr: float, own: float) -> float:
    return abs(np.log(lr / own))


def choose_rate(c: Comparison, arm: Arm, lrs: list[float]) -> float:
    """The rate with the best validation score, of equal ones the nearest to the method's own;
    c.search_scores has all."""
    own, by_lr = c.stage_plans[arm.stages[-1]].lr, dict[float, float]()
    for lr in lrs:
        by_lr[lr] = -np.inf
        if scores := runs.scores_of(c.job(arm, SEARCH_SEED, lr)):
            measure = metric_of(c, scores)
            by_lr[lr] = MEASURES[measure].sign * mean_over_tasks(scores[measure])
    c.search_scores[arm] = by_lr
    best = max(by_lr, key=lambda lr: (by_lr[lr], -log_distance(lr, own)))
    if by_lr[best] == -np.inf:
        raise divergence_error(c, arm, lrs, best)
    return best


def divergence_error(c: Comparison, arm: Arm, lrs: list[float], lr: float) -> UserError:
    typed = c.job(arm, SEARCH_SEED, lr).command
    return UserError(f"{arm.name}: training diverged at each learning rate "
                     f"({', '.join(map(short_lr, lrs))}); give it a lower --lr"
                     + f". To see more: {typed}" * bool(typed))


def best_is_at_edge(c: Comparison, arm: Arm) -> bool:
    return c.lr(arm) in (min(c.search_scores[arm]), max(c.search_scores[arm]))


def next_learning_rate(c: Comparison, arm: Arm) -> float:
    """A rate beyond those of an arm: where its best is at the edge, there, and else on the side of
    the better neighbour. So each arm has as many tries."""
    lrs = sorted(c.search_scores[arm])
    best = lrs.index(c.lr(arm))
    up = best == len(lrs) - 1 or best > 0 and (
        c.search_scores[arm][lrs[best + 1]] > c.search_scores[arm][lrs[best - 1]])
    return lrs[-1] * 3 if up else lrs[0] / 3


if __name__ == "__main__":
    sys.exit(command(main, needs_less="give --workers 1 or --lora 16"))
