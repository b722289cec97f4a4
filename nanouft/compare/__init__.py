"""A place where claims about losses are tested: `python -m nanouft.compare sft dpo mine.py`.

    comparison.py   what is decided before training: the flags, the plan
    arms.py         methods, and for each the commands of nanouft.train
    parts.py        your rows in three parts: to train on, to choose rates by, to judge by
    runs.py         trains and scores what is missing, in several processes
    judge.py        from scores to verdicts; lessons/evidence judges by it and by stats.py, too
    report.py       the table, report.md and the picture
"""
