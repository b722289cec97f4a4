"""Exercises of lesson 12. Replace each `raise`, then: python -m lessons check 12"""


def answers_needed(p, share):
    """12a. How large must a group be, so that RLOO and GRPO learn something from most of them?

    Difficulty: easy

    p       the probability that a sampled answer to this prompt is right, between 0 and 1. An
            answer scores 1 or 0
    share   a number between 0 and 1
    return  the smallest group of at least two answers whose scores are not all equal with at least
            this probability

    p = 1/2 and share 0.5 give 2; p = 0.1 and share 0.5 give 7.
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
