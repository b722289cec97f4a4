"""Exercises of lesson 08. Replace each `raise`, then: python -m lessons.check 08"""


def simpo_loss(chosen, rejected, beta, gamma):
    """08a. The loss of SimPO for one pair. There is no reference model.

    chosen    (n,) the log-probabilities of the tokens of the chosen answer
    rejected  (m,) the same for the rejected answer, where m can differ from n
    beta      the scale of the difference
    gamma     the margin by which a pair should be won, above 0
    return    one number; its gradient flows to chosen and rejected

    The reward of an answer is the MEAN log-probability of its own tokens. The loss is -log
    sigmoid(z), where z is beta times the difference of the two rewards, minus gamma. Gamma is not
    multiplied by beta. (The released code has another setting, gamma / beta.) An answer may be so
    unlikely that z is -1000.

    chosen -1 -3, rejected -2, beta 2 and gamma 0.5 have equal means, and the loss is 0.9741.
    """
    raise NotImplementedError
