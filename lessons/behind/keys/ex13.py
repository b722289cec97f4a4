"""The right function of ex13.py, and common mistakes."""
import math

from lessons.behind.tasks.task import Task


def pushes(p):
    return p, p * (1 + math.log(p))


TASKS = {"13a": Task(pushes, lambda draw: (draw.uniform(0.02, 0.98),), [
    ("p * (1 + math.log(p))", "1 + math.log(p)", "The second number is the derivative with "
     "respect to p. The push is that with respect to log p; p changes by p times a small step in "
     "log p."),
    ("return p,", "return 1,", "With the stop-gradient p is a constant factor, so the push of "
     "-p log p by log p is p itself."),
    ("p * (1 + math.log(p))", "p * math.log(p)", "The rule for a product has two parts: x e^x has "
     "the derivative e^x + x e^x.")], tolerance=1e-6,
    always=[(0.5,), (0.02,), (1e-6,), (0.3,), (0.999,)])}
