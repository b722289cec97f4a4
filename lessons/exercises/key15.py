"""The right function of ex15.py, and common mistakes."""
import torch

from lessons.judge import Exercise


def gae(R, V, gamma, lam):
    A, later, following = [], 0, 0
    for reward, value in zip(R.flip(0), V.flip(0)):
        later = reward + gamma * following - value + gamma * lam * later
        following = value
        A.insert(0, later)
    return torch.stack(A)


def answer(draw):
    T = draw.randint(1, 4)
    return (draw.numbers(-1, 1, T), draw.numbers(0, 1, T), draw.choice([0.7, 0.9]),
            draw.choice([0.3, 0.5, 1.0]))


EXERCISES = {"15a": Exercise(gae, answer, [
    ("gamma * lam * later", "lam * later", "The next advantage counts gamma times lam."),
    ("gamma * following", "following", "The next value counts gamma times."),
    ("gamma * following - value", "0", "The critic is missing: delta_t is R_t + gamma V_{t+1} - "
     "V_t."),
    ("gamma * lam * later", "0", "These are the deltas alone.")])}
