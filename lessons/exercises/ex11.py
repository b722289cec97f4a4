"""The exercise of lesson 11. Replace the `raise`, then: python -m lessons check 11"""


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
