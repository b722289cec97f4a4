"""The exercise of lesson 08. Replace the `raise`, then: python -m lessons check 08"""


def fades_at(share, beta, gamma):
    """08a. How large must the difference be until the push of a loss over pairs has faded?

    Difficulty: easy

    share   a number between 0 and 1
    beta    the scale of the difference D, above 0
    gamma   the margin by which a pair should be won; 0 in DPO
    return  the difference D at which the push has faded to this share of its largest value

    The loss is -log sigmoid(beta D - gamma). The push on D is minus its derivative with
    respect to D. It is largest where the pair is hopelessly lost, and falls towards 0 as the pair
    is won.

    share 1/2, beta 2 and gamma 0.5 give 0.25. When you are done: SimPO has beta 2 and gamma 0.5 in
    nats per token, DPO beta 0.1 and gamma 0 in nats. At which D is a fiftieth of each push left?
    """
    raise NotImplementedError
