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
