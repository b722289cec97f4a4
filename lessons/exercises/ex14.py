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


def verdict(mean, half, threshold):
    """14b. A verdict by a rule that was fixed before anybody looked at the result.

    mean, half  an estimate and the half width of its interval
    threshold   what the claim says: the true number is above it
    return      "holds"          if the whole interval lies above the threshold
                "does not hold"  if the whole interval lies below it
                "undecided"      otherwise, also if the interval only touches the threshold

    0.4 with the half width 0.6 is undecided for the threshold 0.
    """
    raise NotImplementedError
