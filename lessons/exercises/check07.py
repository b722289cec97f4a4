"""What the functions of ex07.py must do."""
import torch
from torch.nn.functional import softplus

from lessons.check import expect, margin, same, shaped, slopes


def dpo_loss(mine, draw):
    B, T, S = (draw.randint(1, n) for n in (2, 3, 3))
    beta = draw.choice([0.1, 0.5, 2])
    shapes = {"pi_w": T, "ref_w": T, "pi_l": S, "ref_l": S}
    args = [draw.numbers(-0.5, 0, B, n) for n in shapes.values()]
    got = mine(*args, beta)
    shaped(got, (B,), "There is one loss for each pair; the mean over pairs comes later.")
    expect((got > 0).all(), "-log sigmoid(h) is above 0, whatever h is.")
    zero = [x * 0 for x in args]
    same(mine(*zero, beta), torch.full((B,), 2).log(), "All log-probabilities are 0 here, so h is "
         "0 and each loss is log 2.")
    h = margin(got)
    for k, (name, sign) in enumerate(zip(shapes, (1, -1, -1, 1))):
        b, t = draw.randrange(B), draw.randrange(shapes[name])
        other = [x.clone() for x in args]
        other[k][b, t] += 1
        moved = margin(mine(*other, beta)) - h
        wanted = torch.zeros(B).double()
        wanted[b] = sign * beta
        same(moved, wanted, f"beta is {beta}, and the loss of a pair is -log sigmoid(h). One nat "
             f"more on a token of {name} in pair {b} should change h of the pairs by "
             f"{wanted.tolist()}. It changes yours by {moved.round(decimals=2).tolist()}.",
             tolerance=2e-2)
    far = [args[0] - 300 / beta / T, *args[1:]]
    far_h = beta * ((far[0] - far[1]).sum(1) - (far[2] - far[3]).sum(1))
    same(mine(*far, beta), softplus(-far_h), "The policy has moved far here, h is about -300. "
         "There the sigmoid is rounded to 0 and its logarithm is -inf, and an h that is cut off "
         "has no gradient. Use logsigmoid.")
    pi_w, ref_w, pi_l, ref_l = slopes(lambda *x: mine(*x, beta), *args)
    push = beta * torch.sigmoid(-h).float()[:, None]
    expect(not ref_w.any() and not ref_l.any(), "The values are right, but gradient reaches the "
           "reference, which is a constant.")
    same(pi_w, -push.expand_as(pi_w), "The values are right, but not the gradient by pi_w.")
    same(pi_l, push.expand_as(pi_l), "The values are right, but not the gradient by pi_l.")
    start = slopes(lambda w, l: mine(w, args[0], l, args[2], beta), args[0], args[2])
    same(start[0], torch.full_like(start[0], -beta / 2), "At the start, where h is 0, the gradient "
         "by each token of pi_w is -beta / 2.")


def both_fall(mine, draw):
    n = draw.randint(2, 4)
    g_w = draw.numbers(-2, 2, n)
    g_w[draw.randrange(n)] += 3
    g_l = mine(g_w)
    shaped(g_l, (n,), "A gradient has one number for each weight.")
    chosen, rejected = g_w @ (g_w - g_l), g_l @ (g_w - g_l)
    expect(chosen < -1e-6, f"A step along g_w - g_l changes log p(chosen) by a multiple of "
           f"g_w . (g_w - g_l), which is {chosen:+.3f} with your g_l. It has to be below 0, so "
           "g_w . g_l must be larger than g_w . g_w.")
    expect(rejected < -1e-6, f"log p(chosen) falls, but log p(rejected) changes by a multiple of "
           f"{rejected:+.3f} and does not.")
    across = g_l - (g_l @ g_w) / (g_w @ g_w) * g_w
    expect(across.norm() > 1e-3 * g_l.norm(), "Both fall, but your g_l is a multiple of g_w. Add "
           "something that points elsewhere.")


EXERCISES = {"07a": dpo_loss, "07b": both_fall}
