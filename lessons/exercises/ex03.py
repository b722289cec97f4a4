"""The exercise of lesson 03. Replace the `raise`, then: python -m lessons check 03"""


def policy_gradient(p, r):
    """03a. The policy gradient in one state, over all actions at once, so that nothing is sampled.

    Difficulty: medium

    p       (n,) the probabilities of n actions, which are the softmax of n logits
    r       (n,) the reward of each action
    return  (n,) the derivative of the expected reward, the sum of p r, by each LOGIT

    Raising one logit makes its action more likely and all others less likely, so the derivative
    by a logit is not the one by p. Do it on paper for two actions first. The derivative is positive
    where a larger logit would raise the expected reward.

    p = (0.5, 0.5) and r = (1, 0) give (0.25, -0.25).
    """
    raise NotImplementedError
