"""Exercises of lesson 12. Replace each `raise`, then: python -m lessons.check 12"""


def rloo(R):
    """12a. RLOO's advantages: each score minus the mean score of the OTHER answers to its prompt.

    R       (P,K) the scores of K answers to each of P prompts; K is at least 2
    return  (P,K) the advantages

    The scores 1 0 0 0 of one prompt become 1 -0.3333 -0.3333 -0.3333.
    """
    raise NotImplementedError


def grpo(R):
    """12b. GRPO's advantages: the scores of each prompt, centred and divided by their spread.

    R       (P,K) the scores of K answers to each of P prompts; K is at least 2
    return  (P,K) the advantages, without gradient, because R may contain a KL penalty

    The scores of a prompt minus their mean are divided by their standard deviation (whose sum of
    squares is divided by K - 1) plus 0.0001.

    The scores 1 0 0 become 1.1545 -0.5773 -0.5773, and 0.5 0.5 0.5 become 0 0 0.
    """
    raise NotImplementedError
