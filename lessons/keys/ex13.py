"""The right function of ex13.py, and common mistakes."""
import math

from lessons.tasks.task import Task


def pushes(p):
    return p, p * (1 + math.log(p))


TASKS = {"13a": Task(pushes, lambda draw: (draw.uniform(0.02, 0.98),), [
    ("p * (1 + math.log(p))", "1 + math.log(p)", "The second number is the derivative with "
     "respect to p. The push is that with respect to log p; p changes by p times a small step in "
     "log p."),
    ("return p,", "return 1,", "With the stop-gradient p is a constant factor, so the push of "
     "-p log p by log p is p itself."),
    ("p * (1 + math.log(p))", "p * math.log(p)", "The rule for a product has two parts: x e^x has "
     "the derivative e^x + x e^x."),
    ("p * (1 + math.log(p))", "p", "Without the stop-gradient a small step in x = log p also "
     "changes the factor e^x. Take the derivative of x e^x."),
    ("return p, p * (1", "return -p, -p * (1", "The sign of both is wrong. A push is minus the "
     "derivative of the loss, and the loss is minus p log p."),
    ("p * (1 + math.log(p))", "-p * (1 + math.log(p))", "The sign of the second number is wrong. A "
     "push is minus the derivative of the loss, and the loss is minus p log p.")], tolerance=1e-3,
    always=[(0.5,), (0.02,)])}
