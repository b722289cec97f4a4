"""What the functions of ex11.py must do."""
from math import comb

import torch
from torch.nn.functional import softplus

from lessons.check import expect, same, shaped, slopes


def reward_loss(mine, draw):
    P, T, end = draw.randint(1, 2), draw.randint(3, 5), draw.choice([0, 100])
    lengths = [draw.randint(0, T - 1) for _ in range(2 * P)]        # the position of <|end|>
    ids = draw.ids(2 * P, T)
    for row, n in zip(ids, lengths):
        row[n:] = end
    r = draw.numbers(-2, 2, 2 * P, T)
    got = mine(r, ids, end)
    shaped(got, (P,), "There is one loss for each pair.")
    expect((got > 0).all(), "-log sigmoid(r_w - r_l) is above 0, whatever the rewards are.")
    same(mine(0 * r, ids, end), torch.full((P,), 2).log(), "All rewards are 0 here, so "
         "both answers have the chance 1/2 to be preferred, and each loss is log 2.")
    margin = -got.double().expm1().log()
    for row in range(2 * P):
        for t in range(T):
            other = r.clone()
            other[row, t] += 1
            moved = -mine(other, ids, end).double().expm1().log() - margin
            wanted = torch.zeros(P).double()
            wanted[row // 2] = (t == lengths[row]) * (1 - 2 * (row % 2))
            kind = "rejected" if row % 2 else "chosen"
            same(moved, wanted, f"end is {end}. Row {row} is the {kind} answer of pair {row // 2}, "
                 f"and its first <|end|> is at position {lengths[row]}. One more in r at position "
                 f"{t} should change r_w - r_l of the pairs by {wanted.tolist()}. It changes yours "
                 f"by {moved.round(decimals=2).tolist()}.", tolerance=1e-2)
    at = r[torch.arange(2 * P), lengths].view(P, 2)
    wanted = softplus(at[:, 1] - at[:, 0])
    same(mine(r, ids, end), wanted, "The loss is not -log sigmoid(r_w - r_l).")
    far = softplus(500 * (at[:, 1] - at[:, 0]))
    same(mine(500 * r, ids, end), far, "The rewards are far apart here. log(sigmoid) is -inf for a "
         "very negative number, so use logsigmoid.")
    (slope,) = slopes(lambda x: mine(x, ids, end), r)
    push = torch.sigmoid(at[:, 1] - at[:, 0])
    same(slope[torch.arange(2 * P), lengths].view(P, 2), torch.stack([-push, push], 1), "The "
         "values are right, but not the gradient by r.")


def best_of_n(mine, draw):
    N = draw.randint(2, 5)
    n = draw.randint(1, N)
    likes = [float(x) for x in draw.sample(range(-9, 10), N)]
    scores = [draw.randint(0, 20) / 20 for _ in range(N)]
    got = mine(n, likes, scores)
    shaped(got, (), "The result is one number.")
    order = sorted(range(N), key=likes.__getitem__)
    for k in range(N):
        more = [x + (j == k) for j, x in enumerate(scores)]
        moved = mine(n, likes, more) - got
        worse, sets = order.index(k), comb(N, n)
        kept = comb(worse, n - 1)                   # sets of k and n - 1 answers liked less
        expect(abs(moved - kept / sets) < 1e-3, f"n is {n}. {worse} answers are liked less than "
               f"answer {k}, so {kept} of the {sets} sets keep it. One more in its score should "
               f"change the result by {kept / sets:.3f}. It changes yours by {moved:.3f}.")
    kept = sum(scores[k] * comb(order.index(k), n - 1) for k in range(N)) / comb(N, n)
    same(mine(n, likes, scores), kept, "Each score has the right share in the result, but the "
         "result as a whole has another value.")


EXERCISES = {"11a": reward_loss, "11b": best_of_n}
