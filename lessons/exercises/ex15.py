"""The exercise of lesson 15. Replace the `raise`, then: python -m lessons.check 15"""


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
