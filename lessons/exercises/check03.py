"""What the function of ex03.py must do."""
from lessons.check import same, shaped


def policy_gradient(mine, draw):
    n = draw.randint(2, 4)
    p, r = draw.numbers(0.2, 1, n), draw.numbers(-1, 3, n)
    p = p / p.sum()
    got = mine(p, r)
    shaped(got, (n,), "There is one derivative for each logit.")
    for k in range(n):
        more = r.clone()
        more[k] += 1
        wanted = -p * p[k]
        wanted[k] += p[k]
        moved = mine(p, more) - got
        same(moved, wanted, f"The reward of action {k} was raised by 1. The derivatives should "
             f"change by those of its probability by each logit, {rounded(wanted)}. Yours change "
             f"by {rounded(moved)}.", tolerance=1e-3)
    same(mine(p, r), p * (r - (p * r).sum()), "The derivatives react to each reward as they "
         "should, but have other values.")


def rounded(x):
    return [round(number, 3) for number in x.tolist()]


EXERCISES = {"03a": policy_gradient}
