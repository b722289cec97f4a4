"""Exercises of lesson 15. Replace each `raise`, then: python -m lessons.check 15"""


def gae(R, V, gamma, lam):
    """15a. The advantages of the tokens of one answer, by generalized advantage estimation.

    R           (T,) the reward after each token
    V           (T,) what the critic expects before each token; after the last token it expects 0
    gamma, lam  numbers from 0 to 1
    return      (T,) the advantages A_t = delta_t + gamma lam A_{t+1}, where A is 0 after the last
                token and delta_t = R_t + gamma V_{t+1} - V_t

    R 0 0 1, V 0.5 0.5 0.5, gamma 1 and lam 0.5 give 0.125 0.25 0.5.
    """
    raise NotImplementedError


def clip_loss(logp, old, A, eps):
    """15b. PPO's clipped loss of each token.

    logp    (T,) the log-probabilities of the tokens by the policy as it is now
    old     (T,) their log-probabilities when they were sampled, into which no gradient flows
    A       (T,) their advantages
    eps     how far the ratio of the two probabilities may go from 1 until nothing more is gained
    return  (T,) minus the gain of each token. The gain is the smaller one of two: ratio times A,
            and the ratio clipped to 1 - eps and 1 + eps, times A.

    A ratio of 1.5 with advantage 1 and eps 0.2 has the loss -1.2 and no gradient. With advantage -1
    its loss is 1.5.
    """
    raise NotImplementedError
