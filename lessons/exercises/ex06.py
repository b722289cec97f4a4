"""Exercises of lesson 06. Replace each `raise`, then: python -m lessons check 06"""


def balance(losses, gamma):
    """06a. Where does the released loss stop pushing the last token? On paper, without a search.

    Difficulty: hard

    losses  (N,) the losses of the N tokens of an answer; N is at least 2. The last one, that of
            <|end|>, is not used: it is what you look for. The first one is above 0, and L falls if
            b rises from 0
    gamma   the discount, above 0 and at most 1
    return  the loss b >= 0 of the last token at which the derivative of L by b is 0, if all other
            losses stay as they are

    L = (sum of v_t l_t) / (sum of v_t)   with   v_t = l_t + gamma l_{t+1} + gamma^2 l_{t+2} + ...

    Put b in for the last loss. Then the numerator is A + B b + b^2 and the denominator is
    U + (G + 1) b, with numbers A, B, U and G that do not depend on b. Set the derivative of this
    fraction to 0.

    losses 2.5 and 0 with gamma 0.95 give 0.9199, the balance of lesson 06.
    """
    raise NotImplementedError
