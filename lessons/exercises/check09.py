"""What the functions of ex09.py must do."""
import math

import torch
from torch.nn.functional import softplus

from lessons.check import expect, same, shaped, slopes


def right(i, score, form):
    if form == "mse":
        return (i.sigmoid() - score) ** 2
    return score * softplus(-i) + (1 - score) * softplus(i)


def una_loss(mine, draw):
    N, form = draw.randint(1, 3), draw.choice(["mse", "bce"])
    i, score = draw.numbers(-3, 3, N), draw.numbers(0, 1, N)
    got = mine(i, score, form)
    shaped(got, (N,), "There is one loss for each answer; the mean comes later.")
    at_start = 0.25 if form == "mse" else 0.6931
    same(mine(torch.zeros(N), torch.ones(N), form), torch.full((N,), at_start), "The form is "
         f'"{form}", i is 0 and the score 1. sigmoid(0) is 1/2, so that the loss is {at_start}.')
    same(mine(-i, 1 - score, form), got, f'The form is "{form}". The signs of i were turned, and '
         "each score became 1 - score. This must not change the loss.")
    same(mine(i, score, form), right(i, score, form), f'The form is "{form}", with scores between '
         "0 and 1. The loss has another value.")
    (slope,) = slopes(lambda x: mine(x, score, form), i)
    same(slope, slopes(lambda x: right(x, score, form), i)[0], "The values are right, but not the "
         "gradient by i.")
    far = torch.full((N,), -1000.0)
    same(mine(far, score, form), right(far, score, form), "These answers are very unlikely, i = "
         "-1000. There log(sigmoid(i)) is -inf, while logsigmoid(i) is -1000.")


def uft_push(mine, draw):
    i, beta = draw.uniform(-3, 3), draw.choice([0.01, 0.1, 0.5, 2.0])
    s = 1 / (1 + math.exp(-i))
    got = mine(i, beta)
    shaped(got, (), "The push is one number.")
    expect(got > 0, f"A demonstration is always pushed up, so the push is above 0. Yours is "
           f"{got:.4f}.")
    same(mine(i, 2 * beta), 2 * got, "beta was doubled and i left as it is, since it contains beta "
         "already. A nat then changes i twice as much, so the push should double.", tolerance=1e-3)
    got = mine(i, beta)
    distance, steep = 1 - s, s * (1 - s)
    wanted = beta * steep * 2 * distance
    expect(abs(got / wanted - 1) < 1e-3, f"At i = {i:.3f} the distance of sigmoid(i) from 1 is "
           f"{distance:.4f}, the derivative of the sigmoid {steep:.4f} and beta {beta}. Minus the "
           "derivative of the squared distance is 2 times the distance, times this derivative, "
           f"times beta: {wanted:.5f}. Yours is {got / wanted:.4f} times as large.")


EXERCISES = {"09a": una_loss, "09b": uft_push}
