"""Lesson 04 runs with this function. Replace the `raise`, then: python -m lessons check 04"""
import torch  # noqa: F401


def own_guess(inputs, mask, likeliest):
    """04a. The model's own guess for each token of the answer.

    Difficulty: easy

    inputs     (B,T) ids: the tokens that the model reads
    mask       (B,T) 1 where the target, inputs[:, i + 1], is a token of the answer, else 0
    likeliest  (B,T) ids: the model's most likely next token AT each position, made when it has read
               everything up to there
    return     (B,T) ids: FOR each token of the answer what the model would have put there, for all
               others the true token

    Nothing is guessed for the first token of a row. The row 5 6 7 8 with the mask 0 1 1 0 and the
    likeliest 1 2 3 4 gives 5 6 2 3.
    """
    raise NotImplementedError
