"""The right function of ex07.py, and common mistakes."""
from functools import partial

import torch
import torch.nn.functional as F

from lessons.behind.tasks.call import with_gradient
from lessons.behind.tasks.task import Task


def margins_and_losses(now, ref, beta):
    chosen, rejected = now - ref
    h = beta * (chosen - rejected)
    return h, -F.logsigmoid(h)


def pairs(draw):
    """Now and then far apart, on either side."""
    B, far = draw.randint(1, 3), draw.choice([1, 1, 1, 1000])
    return far * draw.numbers(-9, 0, 2, B), draw.numbers(-9, 0, 2, B), draw.choice([0.1, 0.5, 1.0])


TASKS = {
    "07a": Task(margins_and_losses, pairs, [
        ("= now - ref", "= now", "The reference is missing: both answers are measured from it."),
        ("beta * (chosen - rejected)", "chosen - rejected", "beta is missing from the margin."),
        ("= now - ref", "= now + ref", "The reference is added. Subtract it: a reward is how much "
         "likelier an answer has become."),
        ("= now - ref", "= ref - now", "The sign of both rewards is wrong: now minus reference."),
        ("= now - ref\n    h = beta * (chosen - rejected)", "= beta * now - ref\n    h = chosen - "
         "rejected", "A bracket is missing: beta multiplies all four log-probs."),
        ("beta * (chosen - rejected)", "beta * chosen - rejected", "A bracket is missing: beta "
         "multiplies all four log-probs."),
        ("-F.logsigmoid(h)", "-F.logsigmoid(h).mean()", "The losses are averaged. Give one for "
         "each pair."),
        ("F.logsigmoid(h)", "torch.sigmoid(h).log()", "For h = -200 sigma(h) is 0 and has no "
         "logarithm. F.logsigmoid takes both in one step.")], partial(with_gradient, "now"),
        always=[
            (torch.tensor([[-2.0], [-9]]), torch.tensor([[-3.0], [-5]]), 0.1),
            (torch.tensor([[-2.0], [-2]]), torch.tensor([[-2.0], [-2]]), 1.0),      # no margin yet
            (torch.tensor([[-900.0, -2], [-2, -900]]), torch.zeros(2, 2), 0.5)])}
