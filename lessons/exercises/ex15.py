"""The exercise of lesson 15. Replace the `raise`, then: python -m lessons check 15"""


def parts_of_advantage(T, gamma, lam):
    """15a. How much of the first advantage comes from rewards, and how much from the critic? On
    paper, without going through the answer from its end.

    Difficulty: hard

    T           the number of tokens of an answer, at least 1
    gamma, lam  numbers from 0 to 1
    return      two lists of T numbers, c and v, with which the advantage of the first token is
                c_0 R_0 + ... + c_{T-1} R_{T-1} + v_0 V_0 + ... + v_{T-1} V_{T-1}, whatever rewards
                and values are

    A_t = delta_t + gamma lam A_{t+1} and delta_t = R_t + gamma V_{t+1} - V_t, where A and V are 0
    after the last token. Replace A_{t+1} by its own sum until none is left, and collect what stands
    before each R and each V.

    T 2, gamma 1 and lam 0.5 give c = 1 0.5 and v = -1 0.5: half of the reward after the second
    token counts, and what the critic expects there stands in for the other half.
    """
    raise NotImplementedError
