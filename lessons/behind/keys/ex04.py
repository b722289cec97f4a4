"""The right function of ex04.py, and common mistakes."""
import torch

from lessons.behind.tasks.task import Task


def own_guess(inputs, mask, likeliest):
    guess = inputs.clone()
    guess[:, 1:] = torch.where(mask[:, :-1] == 1, likeliest[:, :-1], inputs[:, 1:])
    return guess


def rows(draw):
    B, T = draw.randint(1, 3), draw.randint(2, 6)
    return draw.ids(B, T), draw.mask(B, T), draw.ids(B, T)


TASKS = {"04a": Task(own_guess, rows, [
    ("mask[:, :-1]", "mask[:, 1:]", "The mask is not shifted: it is about the targets, and the "
     "target at a position is read at the next one."),
    ("guess[:, 1:] = torch.where(mask[:, :-1] == 1, likeliest[:, :-1], inputs[:, 1:])",
     "guess = torch.where(mask == 1, likeliest, inputs)", "Nothing is shifted: guess and mask at a "
     "position belong to the token of the next one."),
    ("torch.where(mask[:, :-1] == 1, likeliest[:, :-1], inputs[:, 1:])", "likeliest[:, :-1]",
     "The question is never guessed. Only tokens of the answer are replaced.")],
    always=[tuple(map(torch.tensor, case)) for case in (
        ([[5, 6, 7, 8]], [[0, 1, 1, 0]], [[1, 2, 3, 4]]),
        ([[5], [6], [7]], [[1], [0], [1]], [[1], [2], [3]]),    # no guess, so no shift to see
        ([[5, 6]], [[1, 1]], [[1, 2]]), ([[5, 6, 7, 8]], [[1, 0, 1, 0]], [[1, 2, 3, 4]]),
        ([[5, 6, 7], [5, 6, 7]], [[0, 1, 0], [1, 0, 1]], [[1, 0, 3], [5, 0, 0]]))])}
