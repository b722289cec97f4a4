"""Exercises of lesson 14. Replace each `raise`, then: python -m lessons.check 14"""


def interval(d):
    """14a. The 95 % interval of paired differences.

    d       a list of n differences, one for each seed; n is from 3 to 6
    return  (mean, half): the interval goes from mean - half to mean + half. half is Student's t
            times the standard deviation of d (its sum of squares is divided by n - 1), divided by
            the root of n. t for n - 1 degrees of freedom: {2: 4.303, 3: 3.182, 4: 2.776,
            5: 2.571}

    The differences 1 2 3 2 2 give (2, 0.8778).
    """
    raise NotImplementedError


def seeds_needed(difference, sd, t):
    """14b. How many seeds would decide a difference? The question before an experiment.

    difference  the difference between two recipes that you expect, not 0; it may be negative
    sd          the standard deviation that you expect of the paired differences
    t           Student's t: t[k] belongs to k degrees of freedom, for k from 1 to the length of t
    return      the smallest number n of seeds, at least 2, for which the interval of 14a around the
                difference does not touch 0, or None if t is too short to tell

    difference 1, sd 0.8 and t = {1: 12.71, 2: 4.303, 3: 3.182, 4: 2.776} give 5.
    """
    raise NotImplementedError
