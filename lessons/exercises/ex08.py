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


def kto_loss(ratios, good, mismatched, beta):
    """08b. The loss of KTO, which needs single answers with a label and no pairs.

    ratios      (n,) the log-ratio of each answer: log-probability by the policy minus that by
                the reference
    good        (n,) 1 for a good answer, 0 for a bad one
    mismatched  (m,) log-ratios of answers that belong to other questions
    beta        how quickly gains and losses saturate
    return      (n,) the loss of each answer; its gradient flows to the ratios only

    The reference point k says how far the policy has moved in general. It is the mean of
    mismatched, or 0 if this mean is negative, and no gradient flows through it. A good answer with
    the ratio r has the loss 1 - sigmoid(beta (r - k)), and a bad one 1 - sigmoid(beta (k - r)).

    ratios 2 2, good 1 0, mismatched 1 1 and beta 0.5 give 0.3775 0.6225.
    """
    raise NotImplementedError
