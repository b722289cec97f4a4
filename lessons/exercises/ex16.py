"""The exercise of lesson 16. Replace the `raise`, then: python -m lessons.check 16"""


def advantage_of_thinking(right, thinks):
    """16a. The advantage of thinking: P(right | thinks) - P(right | at once), from rollouts.

    right   (P,K) 1 if the answer is right, else 0, for K sampled answers to each of P prompts
    thinks  (P,K) 1 if the answer writes its steps first, 0 if it gives the result at once
    return  one number, or None where it is undefined

    Answers to one prompt are compared, since the model may think more often about hard prompts. For
    each prompt take the share of right ones among its answers that think, minus that share among
    its other answers. A prompt with answers of one kind only has no such difference and is left
    out. The result is the mean over the remaining prompts. If no prompt remains, it is undefined.

    right 1 1 1 0 and 1 0 0 0, thinks 1 0 0 0 and 1 1 1 0: the differences are 1 - 2/3 and 1/3 - 0,
    so the result is 0.3333.
    """
    raise NotImplementedError
