"""Lesson 07 runs with the second function. Replace the `raise`, then: python -m lessons check 07"""
import torch  # noqa: F401
import torch.nn.functional as F  # noqa: F401


def both_fall(g_w):
    """07a. A counterexample to "what DPO pushes up goes up".

    Difficulty: medium

    g_w     (n,) the gradient of log p(chosen) by the n weights, not 0; n is at least 3
    return  (n,) a gradient g_l of log p(rejected) for which a small step of DPO makes BOTH answers
            less likely. g_l may not be a multiple of g_w. All three are judged by angles, and an
            angle below a millionth counts as a rounding error

    A small step moves the weights along g_w - g_l, and it changes a number with the gradient g by
    a multiple of g . (g_w - g_l). The margin cannot fall: it changes by a multiple of the square of
    the length of g_w - g_l. First find out which of the two gradients has to be the longer one.
    """
    raise NotImplementedError


def margins_and_losses(now, ref, beta):
    """07b. The loss of DPO.

    Difficulty: easy

    now     (2,B) log p of B chosen answers, then of the B rejected ones, by the policy
    ref     (2,B) the same by the reference
    beta    the price of the distance, above 0
    return  two: (B,) the margin h of each pair, and (B,) its loss, -log sigma(h). h may be some
            hundreds, above 0 or below. Gradient flows to now.

    beta 0.1, now (-2, -9) and ref (-3, -5) give the margin 0.5 and the loss 0.4741.
    """
    raise NotImplementedError
