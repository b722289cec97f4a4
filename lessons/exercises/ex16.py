"""The exercise of lesson 16. Replace the `raise`, then: python -m lessons check 16"""


def push_on_steps(s, delta, long, short):
    """16a. How hard does GRPO push a model towards steps? On paper, without sampling.

    Difficulty: medium

    s            the share of answers with steps, between 0 and 1
    delta        the benefit of steps
    long, short  the number of tokens of an answer with steps, and of one without
    return       the mean push on x, where s = sigmoid(x)

    The first token decides whether an answer has steps: its log p is log s or log(1 - s). GRPO
    pushes log p of a token by the advantage of its answer, divided by the answer's tokens. The
    lesson has the mean advantage of both kinds; take it for a group so large that (K - 1) / K is 1,
    and do not divide by the standard deviation. A push on log p is one on x, times the derivative
    of log p by x. Take the mean over all answers.

    s = 0.5, delta = 0.4, 10 and 2 tokens give 0.03. When you are done: can the lengths alone
    reverse the push?
    """
    raise NotImplementedError
