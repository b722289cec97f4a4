"""A place where claims about losses are tested: `python -m nanouft.compare sft dpo mine.py`.

    comparison.py   what is decided before training: the flags, the plan
    arms.py         methods, and for each the commands of nanouft.train
    parts.py        your rows in four parts: to train on, choose rates by, judge by, confirm by
    asked.py        what a trained model is asked
    runs.py         a training and its scores: is it there, and how it is made
    code.py         which files of code a run has imported; if one has changed, the run is stale
    processes.py    each run in a process of its own; it may be killed at any moment
    verdicts.py     from scores to better, worse, level or undecided
    looks.py        how often these questions were looked at
    report.py       the table and report.md; picture.py draws

stats.py and judge.py have the intervals, for lessons/evidence, too.
"""
