"""The right function of ex09.py, and common mistakes."""
import math

from lessons.classroom.exercise import Exercise


def largest_push(score):
    return (1 + score - math.sqrt(1 - score + score ** 2)) / 3


EXERCISES = {"09a": Exercise(largest_push, lambda draw: (draw.choice([0.2, 0.4, 0.5, 0.9, 1.0]),), [
    ("score - math", "score + math", "This is the other zero of the derivative. There the answer "
     "is pushed down hardest."),
    ("return (1 + score - math.sqrt(1 - score + score ** 2)) / 3", "return score / 2",
     "The push is (score - s) s (1 - s). You have left out the factor 1 - s.")], tolerance=5e-3)}
