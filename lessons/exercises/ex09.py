"""The exercise of lesson 09. Replace the `raise`, then: python -m lessons check 09"""


def largest_push(score):
    """09a. Where does the squared distance push an answer up hardest?

    Difficulty: medium

    score   the score of the answer, above 0 and at most 1
    return  the s = sigmoid(i), between 0 and the score, at which the push of
            (sigmoid(i) - score) squared is largest

    Lesson 09 has this push as a function of s. Take its derivative with respect to s.

    The score 1 gives 1/3: a demonstration is pushed hardest when the policy's own score is a third.
    """
    raise NotImplementedError
