"""The right function of ex04.py, and common mistakes."""
import torch

from lessons.judge import Exercise


def own_guess(inputs, mask, argmax):
    shifted = torch.where(mask[:, :-1] == 1, argmax[:, :-1], inputs[:, 1:])
    return torch.cat([inputs[:, :1], shifted], 1)


def batch(draw):
    B, T = draw.randint(1, 2), draw.randint(4, 6)
    return draw.ids(B, T), draw.mask(B, T), draw.ids(B, T)


UNSHIFTED = ("Nothing is shifted: the guess and the mask at position i belong to the token at "
             "position i + 1.")
EXERCISES = {"04a": Exercise(own_guess, batch, [
    ("argmax[:, :-1]", "argmax[:, 1:]", "argmax at position i is the guess for position i + 1, so "
     "it stands one position too early."),
    ("mask[:, :-1]", "mask[:, 1:]", "The mask belongs to the targets: the token at position i is "
     "in the answer if the mask is 1 at position i - 1."),
    ("argmax[:, :-1], inputs[:, 1:]", "argmax[:, :-1], 0",
     "Outside the answer each position keeps its true token."),
    ("mask[:, :-1] == 1", "mask[:, :-1] < 2", "Outside the answer the true tokens stay."),
    ("mask[:, :-1] == 1, argmax[:, :-1]", "mask[:, 1:] == 1, argmax[:, 1:]", UNSHIFTED),
    ("torch.cat([inputs[:, :1], shifted], 1)", "torch.where(mask == 1, argmax, inputs)",
     UNSHIFTED)])}
