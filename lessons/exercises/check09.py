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
    wanted = right(i, score, form)
    for k in range(N):
        expect(abs(got[k] - wanted[k]) < 1e-4, f'The form is "{form}". Answer {k} has the score '
               f"{score[k]:.3f}, sigmoid(i) is {i[k].sigmoid():.3f} and sigmoid(-i) is "
               f"{(-i[k]).sigmoid():.3f}, so its loss is {wanted[k]:.3f}. Yours is {got[k]:.3f}.")
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
    distance, steep = 1 - s, s * (1 - s)
    wanted = beta * steep * 2 * distance
    expect(abs(got / wanted - 1) < 1e-3, f"At i = {i:.3f} the distance of sigmoid(i) from 1 is "
           f"{distance:.4f}, the derivative of the sigmoid {steep:.4f} and beta {beta}. Minus the "
           "derivative of the squared distance is 2 times the distance, times this derivative, "
           f"times beta: {wanted:.5f}. Yours is {got / wanted:.4f} times as large.")


EXERCISES = {"09a": una_loss, "09b": uft_push}
