"""What the function of ex11.py must do."""
from math import comb

from lessons.check import expect, same, shaped


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


EXERCISES = {"11a": best_of_n}
