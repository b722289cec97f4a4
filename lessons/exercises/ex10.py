"""The exercise of lesson 10. Replace the `raise`, then: python -m lessons.check 10"""


def poft_loss(logp, mask, others):
    """10a. PoFT's loss of one demonstration, and tau, the trust in it.

    logp    (T,) the policy's log-probability of each token, the prompt included
    mask    (T,) 1 on the tokens of the answer, else 0
    others  a list with one tensor for each aligned model: the log-probabilities of ITS tokens of
            the answer. Each model has its own tokenizer, so that the lengths differ.
    return  (loss, tau): -log sigmoid(r - r_bar), from which gradient flows to logp, and
            sigmoid(r_bar - r) without gradient. r is the policy's mean log-probability of the
            tokens of the answer. r_bar is the mean over the other models of their mean
            log-probabilities.

    logp -7 -2 -2 with the mask 0 1 1, and one other model with -1 -1 -1 -1, give the loss 1.3133
    and tau 0.7311.
    """
    raise NotImplementedError
