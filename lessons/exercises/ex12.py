"""Exercises of lesson 12. Replace each `raise`, then: python -m lessons.check 12"""


def rloo(R):
    """12a. RLOO's advantages: each score minus the mean score of the OTHER answers to its prompt.

    R       (P,K) the scores of K answers to each of P prompts; K is at least 2
    return  (P,K) the advantages

    The scores 1 0 0 0 of one prompt become 1 -0.3333 -0.3333 -0.3333.
    """
    raise NotImplementedError
