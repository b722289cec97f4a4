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
