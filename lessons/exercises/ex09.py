"""Exercises of lesson 09. Replace each `raise`, then: python -m lessons.check 09"""


def bce_push(i, score, beta):
    """09a. How hard does UNA in its other form, a cross-entropy, push each token of an answer?

    i       the implicit reward of the answer: beta times its log-ratio, summed over its tokens
    score   its score, from 0 to 1
    beta    what one nat of log-ratio counts for
    return  one number: minus the derivative of the loss by the log-probability of one token

    The loss is -score log sigmoid(i) - (1 - score) log sigmoid(-i). Simplify: the result is shorter
    than that of the squared distance.

    i = 0, score 1 and beta 0.1 give 0.05. When you are done, compare the two forms for an answer
    that the policy has given up, i = -10.
    """
    raise NotImplementedError


def largest_push(score):
    """09b. Where does the squared distance push an answer up hardest?

    score   the score of the answer, above 0 and at most 1
    return  the s = sigmoid(i), between 0 and the score, at which the push of
            (sigmoid(i) - score) squared is largest

    Lesson 09 has this push as a function of s. Take its derivative by s.

    The score 1 gives 1/3: a demonstration is pushed hardest when the policy's own score is a third.
    """
    raise NotImplementedError
