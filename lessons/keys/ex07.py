"""The right function of ex07.py, and common mistakes."""
import torch

from lessons.tasks.call import as_tensor
from lessons.tasks.task import Task


def both_fall(g_w):
    other = torch.zeros_like(g_w)
    other[g_w.abs().argmin()] = g_w.norm() / 2
    return 2 * g_w + other


def weights(draw):
    """Short ones and long ones, with one large number or only one. At least three: of two, any
    direction is now and then nearly that of g_w."""
    g_w = draw.numbers(-2, 2, draw.randint(3, 5)) * draw.choice([0, 0.01, 1, 1])
    g_w[draw.randrange(len(g_w))] += draw.choice([-3, 3])
    return (g_w * draw.choice([0.001, 1, 1, 1000]),)


ROUNDING = 1e-6                     # an angle below it is a rounding error: g_w is in fp32


def properties(g_l, g_w):
    """Any right answer has the same three."""
    if g_l is None:
        raise TypeError("It gives None. Is there a `return`?")
    g_w, g_l = g_w.double(), as_tensor(g_l).double()
    step, across = g_w - g_l, g_l - (g_l @ g_w) / (g_w @ g_w) * g_w
    return {"makes the chosen answer less likely:":
                bool(g_w @ step < -ROUNDING * g_w.norm() * step.norm()),
            "makes the rejected answer less likely:":
                bool(g_l @ step < -ROUNDING * g_l.norm() * step.norm()),
            "is not a multiple of g_w:": bool(across.norm() > ROUNDING * g_l.norm())}


LONGER = ("log p(chosen) changes by a multiple of g_w . (g_w - g_l), so g_w . g_l must be larger "
          "than g_w . g_w.")
TASKS = {"07a": Task(both_fall, weights, [
        ("2 * g_w + other", "g_w / 2 + other", LONGER), ("2 * g_w", "-2 * g_w", LONGER),
        ("2 * g_w + other", "2 * g_w", "Both fall, but your g_l is a multiple of g_w. Add "
         "something that points elsewhere.")], properties=properties)}
