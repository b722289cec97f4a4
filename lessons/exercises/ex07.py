"""Lesson 07 runs with this function. Replace the `raise`, then: python -m lessons check 07"""
import torch  # noqa: F401
import torch.nn.functional as F  # noqa: F401


def margins_and_losses(now, ref, beta):
    """07a. The loss of DPO.

    Difficulty: easy

    now     (2,B) log p of B chosen answers, then of the B rejected ones, by the policy
    ref     (2,B) the same by the reference
    beta    the price of the distance, above 0
    return  two: (B,) the margin h of each pair, and (B,) its loss, -log sigma(h). h may be some
            hundreds, above 0 or below. Gradient flows to now.

    beta 0.1, now (-2, -9) and ref (-3, -5) give the margin 0.5 and the loss 0.4741.
    """
    raise NotImplementedError
