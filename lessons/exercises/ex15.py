"""Lesson 15 runs with this function. Replace the `raise`, then: python -m lessons check 15"""
import torch  # noqa: F401


def gae(R, V, gamma, lam):
    """15a. How good was each token, by rewards and by the critic?

    Difficulty: easy

    R           (B,T) the reward of each of the T tokens of B answers
    V           (B,T) the critic's prediction before each token; after the last one it is 0
    gamma, lam  numbers from 0 to 1
    return      (B,T) the advantage of each token: A_t = delta_t + gamma lam A_{t+1}, where
                delta_t = R_t + gamma V_{t+1} - V_t, and A is 0 after the last token

    R = 0 1, V = 0.5 0.6, gamma 1 and lam 0.5 give 0.3 0.4.
    """
    raise NotImplementedError
