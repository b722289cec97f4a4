"""Lesson 02 runs with this function. Replace the `raise`, then: python -m lessons check 02"""


def response_mask(tokens):
    """02a. Which targets of a row count towards the loss?

    Difficulty: easy

    tokens  a list of words, such as ["user", "hi", "assistant", "yo", "end"]
    return  a list with one number less than tokens: 1 where the loss counts the target, else 0

    "user" and "assistant" are headers, which say who speaks from there on. The loss counts what the
    assistant says in all of its turns, each "end" (EOS) included. It counts neither the headers nor
    anything that the user says, even if that is the word "end". The targets are the row without its
    first token, because nothing predicts the first one.

    The targets of the row above are hi, assistant, yo, end, so the mask is [0, 0, 1, 1].
    """
    raise NotImplementedError
