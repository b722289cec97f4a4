"""The exercise of lesson 00. Replace the `raise`, then: python -m lessons check 00"""


def net_push(chosen, rejected):
    """00a. What is left of DPO's pushes on the better answer?

    Difficulty: easy

    chosen, rejected  the tokens of the better and of the worse answer to one question, two lists
    return            a list with one number for each token of chosen: 1 if its push up is left, 0
                      if a push down of the same size takes it back

    DPO pushes every token of chosen up by 1 and every token of rejected down by 1. A push belongs
    to a token AFTER all tokens before it. So it is taken back exactly where the other answer has
    the same token after the same tokens, and nowhere else.

    chosen bee cat end and rejected bee end give 0 1 1: both answers begin with bee, but "end" after
    bee and "end" after bee cat are two different pushes.
    """
    raise NotImplementedError
