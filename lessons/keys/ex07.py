"""The right functions of ex07.py, and common mistakes."""
from functools import partial

import torch
import torch.nn.functional as F

from lessons.tasks.call import as_tensor, with_gradient
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


def margins_and_losses(now, ref, beta):
    chosen, rejected = now - ref
    h = beta * (chosen - rejected)
    return h, -F.logsigmoid(h)


def pairs(draw):
    """Now and then far apart, on either side."""
    B, far = draw.randint(1, 3), draw.choice([1, 1, 1, 1000])
    return far * draw.numbers(-9, 0, 2, B), draw.numbers(-9, 0, 2, B), draw.choice([0.1, 0.5, 1.0])


LONGER = ("log p(chosen) changes by a multiple of g_w . (g_w - g_l), so g_w . g_l must be larger "
          "than g_w . g_w.")
TASKS = {
    "07a": Task(both_fall, weights, [
        ("2 * g_w + other", "g_w / 2 + other", LONGER), ("2 * g_w", "-2 * g_w", LONGER),
        ("2 * g_w + other", "2 * g_w", "Both fall, but your g_l is a multiple of g_w. Add "
         "something that points elsewhere.")], properties=properties, always=[
            (torch.tensor([3.0, 0, 0]),), (torch.tensor([-0.001, -0.001, -0.002]),)]),
    "07b": Task(margins_and_losses, pairs, [
        ("= now - ref", "= now", "The reference is missing: both answers are measured from it."),
        ("chosen - rejected", "rejected - chosen", "The margin has the wrong sign: it is positive "
         "where the chosen answer has gained more."),
        ("beta * ", "", "The margin is not multiplied by beta."),
        ("-F.logsigmoid", "F.logsigmoid", "The sign of the loss is wrong: it should fall as h "
         "rises."),
        ("-F.logsigmoid(h)", "torch.sigmoid(-h)", "This is the size of the push. The loss is minus "
         "the logarithm of sigma(h)."),
        ("F.logsigmoid(h)", "torch.sigmoid(h).log()", "For h = -200 sigma(h) is 0 and has no "
         "logarithm. F.logsigmoid takes both in one step."),
        ("h, -F.logsigmoid(h)", "h, -F.logsigmoid(h.detach())", "No gradient flows through the "
         "loss.")], partial(with_gradient, "now"), always=[
            (torch.tensor([[-2.0], [-9]]), torch.tensor([[-3.0], [-5]]), 0.1),
            (torch.tensor([[-900.0, -2], [-2, -900]]), torch.zeros(2, 2), 0.5)])}
