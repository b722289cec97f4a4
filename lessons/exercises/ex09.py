"""Exercises of lesson 09. Replace each `raise`, then: python -m lessons.check 09"""


def una_loss(i, score, form):
    """09a. The loss of each answer in UNA: how far is sigmoid(i) from the answer's score?

    i       (N,) the implicit rewards of N answers, which may be as low as -1000
    score   (N,) the scores of the answers, from 0 to 1
    form    "mse": the squared distance
            "bce": the cross-entropy -score log sigmoid(i) - (1 - score) log sigmoid(-i)
    return  (N,) one loss for each answer

    i = 0 with the score 1 gives 0.25 in the form "mse" and 0.6931 in the form "bce".
    """
    raise NotImplementedError


def uft_push(i, beta):
    """09b. How hard does UFT, with the form "mse", push each token of a demonstration?

    i       the implicit reward of the demonstration: beta times its log-ratio, summed over its
            tokens
    beta    what one nat of log-ratio counts for
    return  one number: minus the derivative of the loss by the log-probability of one token

    A demonstration is an answer with the score 1, so its loss is (sigmoid(i) - 1) squared.

    i = 0 and beta = 0.01 give 0.0025. When you are done, find the sigmoid(i) with the largest push.
    """
    raise NotImplementedError
