"""A place where claims about losses are tested: `python -m nanouft.compare sft dpo mine.py`.

    comparison.py   what is decided before training: the flags, the plan
    arms.py         methods, and for each the commands of nanouft.train
    parts.py        your rows in four parts: to train on, choose rates by, test, confirm
    asked.py        what a trained model is asked
    runs.py         a training and its scores: is it there, and how it is made
    code.py         which files of code a run has imported; if one has changed, the run is stale
    processes.py    each training and each scoring in a process of its own, killed at any moment
    verdicts.py     from scores to better, worse, equivalent or undecided
    foretell.py     which lead the seeds would decide
    looks.py        how often these prompts were tested on
    printed.py      the lines that are printed
    report.py       report.md and two csv files; picture.py draws

stats.py and judge.py have the intervals, for lessons/evidence, too. In Python:

    verdict = nanouft.compare.run(["sft", "dpo", "my_loss.py"], data="my.jsonl", seeds=3)
    verdict.table, verdict.differences
"""
import sys
from collections.abc import Iterable
from multiprocessing import current_process
from pathlib import Path
from typing import Any


def run(methods: Iterable[Any], *, verbose: bool = False, **flags: Any) -> Any:
    """Compare as the command does, and return a Verdict (report.py). methods: texts as they are
    typed there, classes or objects of Objective that a file has. flags: those of the command; data
    may be rows. verbose: print what the command prints."""
    from nanouft.compare.__main__ import compare
    from nanouft.compare.comparison import called
    from nanouft.plumbing.printing import ALL, BRIEF, quiet, say
    check_guarded()
    with quiet(but_for=ALL if verbose else BRIEF):
        words = called(methods, flags)
        say(f"{', '.join(arm.name for arm in words.arms)}: {words.cfg.seeds} seeds", at=BRIEF)
        return compare(words)


def check_guarded() -> None:
    """UserError for a script that each worker, which reads it anew, would begin again."""
    from nanouft.plumbing.errors import UserError
    file = getattr(sys.modules["__main__"], "__file__", None)
    unguarded = file and Path(file).is_file() and "__name__" not in Path(file).read_text("utf-8")
    if unguarded or getattr(current_process(), "_inheriting", False):
        raise UserError(f"{file or 'this script'}: a comparison starts processes, and each reads "
                        "the script anew; call it below `if __name__ == \"__main__\":`")
