"""Lesson 12 runs with the first function, and 12b with the last. Replace each `raise`, then:

    python -m lessons check ex12
"""
import torch  # noqa: F401


def advantages(method, R):
    """12a. How hard does each method push an answer, before any training?

    Difficulty: easy

    method  "REINFORCE", "RLOO", "GRPO" or "online UNA"
    R       (P,K) the scores of K answers to each of P prompts; K is at least 2
    return  (P,K) REINFORCE: the score minus the mean of all scores. RLOO: the score minus the mean
            of the K - 1 other answers to its prompt. GRPO: the score minus the mean of its group,
            divided by their standard deviation (whose sum of squares is divided by K - 1) plus
            0.0001. Online UNA: the score minus one half, the score that the model implies

    R = [[1, 0], [1, 1]] gives [[0.25, -0.75], [0.25, 0.25]], then [[1, -1], [0, 0]], [[0.707,
    -0.707], [0, 0]] and [[0.5, -0.5], [0.5, 0.5]].
    """
    raise NotImplementedError


def grpo_push(logp, old, ref, A, eps, beta):
    """12b. How hard does GRPO push each token? On paper, without autograd.

    Difficulty: hard

    logp    (T,) the log-probabilities of the tokens by the policy as it is now
    old     (T,) the same when they were sampled
    ref     (T,) the same by the reference
    A       (T,) their advantages
    eps     the clip: ratios gain nothing beyond 1 - eps and 1 + eps
    beta    the weight of the penalty k3
    return  (T,) minus the derivative of each token's loss by its logp

    The loss of a token is -min(rho A, clip(rho) A) + beta (e^d - d - 1) with rho = e^(logp - old)
    and d = ref - logp. Where the clipped gain is the smaller one, it is a constant.

    A token with logp = old = -1, ref = -2, A = 0.5 and beta 0.1 has the push 0.4368.
    """
    raise NotImplementedError


def gae(R, V, gamma, lam):
    """12c. How good was each token, by rewards and by the critic?

    Difficulty: easy

    R           (B,T) the reward of each of the T tokens of B answers
    V           (B,T) the critic's prediction before each token; after the last one it is 0
    gamma, lam  numbers from 0 to 1
    return      (B,T) the advantage of each token: A_t = delta_t + gamma lam A_{t+1}, where
                delta_t = R_t + gamma V_{t+1} - V_t, and A is 0 after the last token

    R = 0 1, V = 0.5 0.6, gamma 1 and lam 0.5 give 0.3 0.4.
    """
    raise NotImplementedError
