"""Exercises of lesson 07. Replace each `raise`, then: python -m lessons.check 07"""


def dpo_loss(pi_w, ref_w, pi_l, ref_l, beta):
    """07a. The loss of DPO, one number for each pair.

    pi_w    (B,T) the policy's log-probability of each token of the chosen answer
    ref_w   (B,T) the reference's log-probability of the same tokens
    pi_l, ref_l  (B,S) the same two for the rejected answer
    beta    the strength of the KL penalty
    return  (B,) -log sigmoid(h), where h is beta times the difference between the log-ratio of the
            chosen answer and that of the rejected one. The log-ratio of an answer is log pi - log
            ref, added up over its tokens. No gradient reaches the reference. The absolute value of
            h may be some hundreds.

    With pi_w -1 -1, ref_w -2 -3, pi_l -1, ref_l -1 and beta 0.1, h is 0.1 (3 - 0) = 0.3, and the
    loss is 0.5544.
    """
    raise NotImplementedError
