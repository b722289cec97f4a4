"""The exercise of lesson 17. Replace the `raise`, then: python -m lessons check 17"""


def tokens_until(share, gamma):
    """17a. How long must an answer be before IFT pushes its end little? On paper.

    Difficulty: medium

    share   a number above 0 and below 1
    gamma   the discount, above 0 and at most 1
    return  the smallest number N of tokens for which IFT pushes the last one less than `share`
            times as hard as SFT, or None if there is no such N

    Let all N tokens of an answer have the same loss. SFT gives each of them the weight 1. IFT gives
    token t, for t from 1 to N, a multiple of 1 + gamma + gamma^2 + ... + gamma^(N - t), and these
    weights have the mean 1 as well. First find out where the weight of the last token goes as N
    grows: a search that does not know it may have no end.

    share 0.5 and gamma 1 give 4; share 0.4 and gamma 0.5 give None. When you are done: in the
    lesson the end has about a quarter of SFT's push. How long is such an answer with gamma 0.95?
    """
    raise NotImplementedError
