"""The exercise of lesson 13. Replace the `raise`, then: python -m lessons check 13"""


def pushes(p):
    """13a. What does the stop-gradient of DFT do? Both pushes on paper, without autograd.

    Difficulty: medium

    p       the probability of a token, between 0 and 1
    return  two numbers: the push on log p by DFT, whose loss is -sg(p) log p, and the push if the
            stop-gradient sg is forgotten, so that the loss is -p log p

    A push is minus the derivative of the loss by log p. Let x be log p, so that p is e^x.

    p = 0.5 gives 0.5 and 0.1534. When you are done, find the p below which the second push is
    negative: there the loss would make an unlikely right token still less likely.
    """
    raise NotImplementedError
