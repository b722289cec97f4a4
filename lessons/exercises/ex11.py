"""Lesson 11b runs with the second function. Replace each `raise`, then:

    python -m lessons check ex11
"""


def best_of_n(n, likes, scores):
    """11a. How good is, on average, the answer that a reward model likes best of n?

    Difficulty: easy

    n       how many of N answers to one prompt are drawn, from 1 to N
    likes   a list of N numbers: the reward of each answer, all different
    scores  a list of N numbers: their exact scores, which the reward model does not see
    return  one number. Take every set of n different answers, and keep the answer of each set that
            is liked best. The result is the mean score of the kept answers, one for each set.

    likes 1 2 3 0 and scores 0 1 0.5 0.2 give 0.425 with n = 1 and 0.5833 with n = 2.
    """
    raise NotImplementedError


def pass_at_k(n, c, k):
    """11b. Of n samples c are right: how probable is it that one of k is? (pass@k)

    Difficulty: easy

    n       how many answers to one question were sampled
    c       how many of them are right, from 0 to n
    k       from 1 to n
    return  the share of the sets of k different samples in which at least one is right

    n 4 and c 1 give 0.25 with k = 1 and 0.5 with k = 2.
    """
    raise NotImplementedError
