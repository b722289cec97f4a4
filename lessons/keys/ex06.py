"""The right functions of ex06.py, and common mistakes."""
import math

import torch

from lessons.tasks.task import Task


def balance(losses, gamma):
    l, n = losses.tolist()[:-1], len(losses) - 1
    v = [sum(gamma ** (k - t) * l[k] for k in range(t, n)) for t in range(n)]
    A, U = sum(x * y for x, y in zip(v, l)), sum(v)
    B, G = (sum(gamma ** (n - t) * x for t, x in enumerate(y)) for y in (l, [1] * n))
    return (-U + math.sqrt(U * U + (G + 1) * ((G + 1) * A - B * U))) / (G + 1)


def losses_and_discount(draw):
    """Learned tokens are among them. There is a balance where L falls at b = 0."""
    losses, gamma = draw.numbers(0.3, 3, draw.randint(2, 5)), draw.choice([0.3, 0.6, 0.95, 1.0])
    losses[1:] *= draw.numbers(0, 1, len(losses) - 1) > 0.2
    l, n = losses.tolist()[:-1], len(losses) - 1
    v = [sum(gamma ** (k - t) * l[k] for k in range(t, n)) for t in range(n)]
    rises = sum(gamma ** (n - t) * l[t] for t in range(n)) / sum(v)
    falls = sum(x * y for x, y in zip(v, l)) * sum(gamma ** k for k in range(n + 1)) / sum(v) ** 2
    return (losses, gamma) if falls > 1.01 * rises else losses_and_discount(draw)


OWN = "The last loss is what you look for, so its own value is not used."
TASKS = {
    "06a": Task(balance, losses_and_discount, [
        ("return (-U + math.sqrt(U * U + (G + 1) * ((G + 1) * A - B * U))) / (G + 1)",
         "return -B / 2", "This is where the derivative of the numerator is 0. The denominator "
         "depends on b as well."),
        ("(-U + math", "(-U - math", "This is the other root. It is below 0, and a loss is not."),
        ("return (", "return 0 * (", "With detached weights it would be 0. Here the weights are "
         "losses: at b = 0 the loss falls if b rises."),
        ("(gamma ** (n - t) * x", "(gamma ** (n - t - 1) * x", "The last loss comes n - t tokens "
         "after token t, so it counts gamma^(n - t) in v_t."),
        ("range(t, n)) for t", "range(t, n)) + gamma ** (n - t) * losses[n].item() for t", OWN),
        ("losses.tolist()[:-1], len(losses) - 1", "losses.tolist(), len(losses)",
         OWN)], tolerance=1e-3,
        always=[(torch.tensor([2.5, 0.0]), 0.95), (torch.tensor([1.0, 0.0, 2.0]), 1.0)])}
