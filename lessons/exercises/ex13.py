"""Exercises of lesson 13. Replace each `raise`, then: python -m lessons.check 13"""


def dft_loss(logp, mask):
    """13a. The loss of DFT, in which the loss -log p of each token is multiplied by p itself.

    logp    (B,T) the policy's log-probability of each token
    mask    (B,T) 1 on the tokens of the answers, else 0
    return  one number, the mean over all answer tokens of all rows. The factor p is a constant, so
            that gradient flows through log p only.

    An answer with p 0.5 and 0.1 and another one with p 0.25 have the loss 0.3078. Its gradient by
    logp is -p / 3 on each of the three tokens.
    """
    raise NotImplementedError
