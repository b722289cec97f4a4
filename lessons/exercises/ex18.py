"""The exercise of lesson 18. Replace the `raise`, then: python -m lessons check 18"""


def pushes_of_hpt(scores, lengths, shown, gate):
    """18a. Which tokens does HPT push, and how hard? One prompt, on paper, without autograd.

    Difficulty: medium

    scores   a list with the scores of K sampled answers, from 0 to 1. An answer is right if its
             score is 1
    lengths  a list with the number of tokens of each
    shown    the number of tokens of the demonstration, or 0 if the prompt has none
    gate     the prompt is failed if at most this share of its answers is right
    return   a list of K + 1 numbers: the push on each token of each sampled answer, and last that
             on each token of the demonstration

    A failed prompt with a demonstration has the loss of SFT: minus the mean of log p over the
    tokens of the demonstration. Every other prompt has the loss of GRPO without its penalty: the
    mean over the K answers of minus A times the mean of log p over an answer's tokens. Here A is
    the score minus the mean of the K scores, divided by their standard deviation (whose sum of
    squares is divided by K - 1) plus 0.0001. A push is minus the derivative of the loss of this
    prompt by the log p of a token; what is left out has the push 0.

    Scores [0, 0], lengths [4, 2], 5 tokens shown and gate 0 give [0, 0, 0.2]. Scores [1, 0] give
    [0.0884, -0.1768, 0]. When you are done: what does a failed prompt without a demonstration teach
    if all its scores are 0?
    """
    raise NotImplementedError
