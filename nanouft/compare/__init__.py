"""A place where claims about losses are tested: `python -m nanouft.compare sft sft+dpo mine.py`.

    plan.py         what is decided before training: the flags, the plan
    arms.py         methods, and for each the commands of nanouft.train
    splits.py       your rows in four parts: to train on, choose rates by, test, confirm
    scoring.py      what a trained model is asked, and its scores
    runs.py         a training and its scores: is it there, and how it is made
    fingerprint.py  which files of code a run has imported; if one has changed, the run is stale
    cached_log_probs.py     log-probs of the initial model that several runs need
    progress.py     the bar, which moves by what all runs do
    workers.py      each training and each scoring in a process of its own, killed at any moment
    executor.py     the same on other machines
    verdicts.py     from scores to better, worse, equivalent or undecided
    power.py        which lead the seeds would decide
    testset_reuse.py    how often these prompts were tested on
    printed.py      the lines that are printed
    report.py       report.md and two csv files; picture.py draws

stats.py has the intervals, by_task.py the difference of each task; lessons/evidence uses both. In
Python:

    verdict = nanouft.compare.run(["sft", "dpo", "my_loss.py"], data="my.jsonl", seeds=3)
    verdict.table, verdict.differences
"""
from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    """nanouft.compare.run. What it needs is imported when it is asked for."""
    if name != "run":
        raise AttributeError(name)
    return import_module("nanouft.compare.__main__").run
