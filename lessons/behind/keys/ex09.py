"""The right function of ex09.py, and common mistakes."""
import math

from lessons.behind.tasks.task import Task


def largest_push(score):
    return (1 + score - math.sqrt(1 - score + score ** 2)) / 3


def score_of_an_answer(draw):
    return (round(draw.uniform(0.2, 1), 3),)


TASKS = {"09a": Task(largest_push, score_of_an_answer, [
    ("score - math", "score + math", "This is the other zero of the derivative. There the answer "
     "is pushed down hardest."),
    ("return (1 + score - math.sqrt(1 - score + score ** 2)) / 3", "return score / 2",
     "The push is (score - s) s (1 - s). You have left out the factor 1 - s."),
    ("return (1 + score - math.sqrt(1 - score + score ** 2)) / 3", "return score / 3",
     "A third is right for the score 1 alone: with a smaller one it is more than a third of it.")],
    tolerance=1e-3, always=[(1,), (0.99,), (0.5,), (0.25,), (0.1,), (0.01,)])}
