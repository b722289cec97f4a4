"""Exercises of lesson 02. Replace each `raise`, then: python -m lessons check 02"""


def response_mask(tokens):
    """02a. Which targets of a row count towards the loss?

    Difficulty: easy

    tokens  a list of words, such as ["user", "hi", "assistant", "yo", "end"]
    return  a list with one number less than tokens: 1 where the loss counts the target, else 0

    "user" and "assistant" are headers, which say who speaks from there on. The loss counts what the
    assistant says in all of its turns, each "end" included. It counts neither the headers nor
    anything that the user says, even if that is the word "end". The targets are the row without its
    first token, because nothing predicts the first one.

    The targets of the row above are hi, assistant, yo, end, so the mask is [0, 0, 1, 1].
    """
    raise NotImplementedError


def sft_loss(logp, mask, reduction):
    """02b. The loss of supervised fine-tuning, with two kinds of mean.

    Difficulty: medium

    logp       (B,T) the log-probability of each target
    mask       (B,T) 1 where the loss counts the target, else 0; there is a 1 in each row
    reduction  "token": the mean of -logp over all counted tokens of all rows
               "sequence": the mean over the counted tokens of each row, then the mean of the rows
    return     one number. Gradient flows to logp. Where the mask is 0, logp can be anything, even
               -inf.

    If one row has a single token with the loss 2, and another row four tokens with the loss 1, then
    "token" gives 6 / 5 and "sequence" gives (2 + 1) / 2.
    """
    raise NotImplementedError
