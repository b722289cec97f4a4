"""Exercises of lesson 06. Replace each `raise`, then: python -m lessons.check 06"""


def future_weights(losses, mask, gamma):
    """06a. The weights of the released IFT, for one answer.

    losses  (T,) the loss of each target
    mask    (T,) 1 where the loss counts the target, else 0; there is at least one 1
    gamma   the discount, above 0 and at most 1
    return  (T,) the weights, 0 where the mask is 0. Gradient flows through them to the losses.

    The raw weight of a token is its own loss, plus gamma times the next loss, plus gamma squared
    times the one after that, and so on to the end of the row. A loss where the mask is 0 counts as
    0. Then all raw weights are divided by their mean over the counted tokens.

    The losses 2 1 0 9 with the mask 1 1 1 0 and gamma 0.5 have the raw weights 2.5 1 0. Their mean
    is 3.5 / 3, so the weights are 2.1429 0.8571 0 0.
    """
    raise NotImplementedError


def two_token_slopes(a, b, gamma):
    """06b. The derivatives of the released loss of two tokens, by hand and not by autograd.

    a, b    the losses of the hard word and of <|end|> after it; a is above 0
    gamma   the discount, above 0
    return  (derivative of L by a, derivative of L by b)

    L = (w_1 a + w_2 b) / (w_1 + w_2)   with the weights   w_1 = a + gamma b   and   w_2 = b

    The weights change with a and b. So write L as one fraction in a, b and gamma, and take the
    derivatives of this fraction.

    a = 2.5, b = 0 and gamma = 0.95 give (1, -1): the loss falls if <|end|> becomes LESS likely.
    """
    raise NotImplementedError
