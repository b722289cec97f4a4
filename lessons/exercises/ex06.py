"""Lesson 06 runs with this function. Replace the `raise`, then: python -m lessons check 06"""
import torch  # noqa: F401


def weights_of(losses, mask, gamma, divided):
    """06a. The weights that IFT gives to the tokens of an answer.

    Difficulty: medium

    losses   (B,T) the losses of the tokens, 0 where the mask is 0. Each row has one answer
    mask     (B,T) 1 on the tokens of the answer, else 0
    gamma    the discount of each step into the future, above 0 and at most 1
    divided  True or False
    return   (B,T) a token's own loss plus gamma times the next one's, gamma^2 times that after it,
             and so on; 0 outside the answer. If divided: these, divided by their mean over the
             answer, so that the new mean is 1. Gradient flows to losses.

    The losses 2.5 and 1 with gamma 0.5 give 3 and 1; divided, 1.5 and 0.5.
    """
    raise NotImplementedError
