"""Exercises of lesson 07. Replace each `raise`, then: python -m lessons.check 07"""


def dpo_loss(pi_w, ref_w, pi_l, ref_l, beta):
    """07a. The loss of DPO, one number for each pair.

    pi_w    (B,T) the policy's log-probability of each token of the chosen answer
    ref_w   (B,T) the reference's log-probability of the same tokens
    pi_l, ref_l  (B,S) the same two for the rejected answer
    beta    the strength of the KL penalty
    return  (B,) -log sigmoid(h), where h is beta times the difference between the log-ratio of the
            chosen answer and that of the rejected one. The log-ratio of an answer is log pi - log
            ref, added up over its tokens. Gradient flows to pi_w and pi_l, and none reaches the
            reference. The absolute value of h may be some hundreds.

    With pi_w -1 -1, ref_w -2 -3, pi_l -1, ref_l -1 and beta 0.1, h is 0.1 (3 - 0) = 0.3, and the
    loss is 0.5544.
    """
    raise NotImplementedError


def both_fall(g_w):
    """07b. A counterexample to "what DPO pushes up goes up".

    g_w     (n,) the gradient of log p(chosen) by the n weights, not 0; n is at least 3
    return  (n,) a gradient g_l of log p(rejected) for which a small step of DPO makes BOTH answers
            less likely. g_l may not be a multiple of g_w. All three are judged by angles, and an
            angle below a millionth counts as a rounding error

    A small step moves the weights along g_w - g_l, and it changes a number with the gradient g by
    a multiple of g . (g_w - g_l). The margin cannot fall: it changes by a multiple of the square of
    the length of g_w - g_l. First find out which of the two gradients has to be the longer one.
    """
    raise NotImplementedError
