"""The exercise of lesson 14. Replace the `raise`, then: python -m lessons check 14"""


def seeds_needed(difference, sd, t):
    """14a. How many seeds would decide a difference? The question before an experiment.

    Difficulty: easy

    difference  the difference between two recipes that you expect, not 0; it may be negative
    sd          the standard deviation that you expect of the paired differences
    t           Student's t: t[k] belongs to k degrees of freedom, for k from 1 to the length of t
    return      the smallest number n of seeds, at least 2, for which the interval of the lesson,
                difference ± t[n - 1] sd / root of n, does not touch 0, or None if t is too
                short to tell

    difference 1, sd 0.8 and t = {1: 12.71, 2: 4.303, 3: 3.182, 4: 2.776} give 5.
    """
    raise NotImplementedError
