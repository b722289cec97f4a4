"""Which loss is better? `python -m nanouft.compare sft sft+dpo mine.py`, read in this order:

    __main__.py     the whole comparison on a page
    plan.py         flags; what is the same for all; the run of a method, a seed and a learning rate
    arms.py         methods as they are typed, and what nanouft.train would do for each
    splits.py       your rows in four parts; data_notes.py says what is known of them
    runs.py         a training and its scores; inputs.py has all that they depend on
    scoring.py      what a trained model is asked
    jobs.py         who makes the runs: processes, here or elsewhere
    search.py       the learning rate of each method
    verdicts.py     from scores to better, worse, equivalent or undecided; stats.py has the interval
    notes.py        what an interval does not say: lost tasks, failed runs, unfair conditions
    table.py        what is printed; report.py what is written, picture.py draws

In Python:

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


def __dir__() -> list[str]:
    """With run, for completion."""
    return [*globals(), "run"]
