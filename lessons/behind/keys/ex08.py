"""The right function of ex08.py, and common mistakes."""
import math

from lessons.behind.tasks.task import Task


def fades_at(share, beta, gamma):
    return (gamma + math.log((1 - share) / share)) / beta


def loss(draw):
    return (draw.choice([0.02, 0.1, 0.3, 0.5, 0.9]), draw.choice([0.1, 0.5, 2.0, 3.0]),
            draw.choice([0.0, 0.3, 0.8]))


TASKS = {"08a": Task(fades_at, loss, [
    ("(1 - share) / share", "share / (1 - share)", "The more a pair is won, the less is left of "
     "the push. So a smaller share is left at a larger D."),
    ("(gamma + ", "(-gamma + ", "At half of the largest push sigmoid is 1/2, so beta D is gamma."),
    ("(1 - share) / share", "(1 + math.exp(-gamma)) / share - 1", "The share is taken of the push "
     "at D = 0. The push is largest where the pair is hopelessly lost, at a D far below 0.")],
    tolerance=1e-3, always=[(0.5, 2, 0.5), (0.5, 1, 0.0), (0.9, 0.5, 0.0), (0.02, 0.1, 0.3),
                            (0.001, 1e-3, 0.0), (0.999, 1e-3, 0.0)])}
