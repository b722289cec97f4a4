"""What the functions of ex13.py must do."""
from lessons.check import expect, same, shaped, slopes


def dft_loss(mine, draw):
    B, T = draw.randint(1, 3), draw.randint(2, 5)
    p, mask = draw.numbers(0.02, 0.95, B, T), draw.mask(B, T).float()
    logp, N = p.log(), mask.sum()
    got = mine(logp, mask)
    shaped(got, (), "The loss is one number for the whole batch.")
    for b in range(B):
        for t in range(T):
            sure = logp.clone()
            sure[b, t] = 0
            fall = got - mine(sure, mask)
            wanted = -p[b, t] * logp[b, t] * mask[b, t] / N
            expect(abs(fall - wanted) < 1e-3, f"The number of answer tokens is {N:.0f}. The token "
                   f"at position {t} of row {b} has p = {p[b, t]:.3f} and the mask "
                   f"{mask[b, t]:.0f}. If it becomes certain, the result should fall by "
                   f"{wanted:.4f}. Yours falls by {fall:.4f}.")
    same(mine(logp, mask), -(p * logp * mask).sum() / N, "Each token has the right share in the "
         "result, but the result as a whole has another value.")
    (slope,) = slopes(lambda x: mine(x, mask), logp)
    for b, t in mask.nonzero().tolist():
        wanted = -p[b, t] / N
        expect(abs(slope[b, t] - wanted) < 1e-4, f"The value is right. The gradient on the token "
               f"at position {t} of row {b}, with p = {p[b, t]:.3f}, should be -p / {N:.0f} = "
               f"{wanted:.4f}, since the factor p is a constant. Yours is {slope[b, t]:.4f}.")
    expect(not slope[mask == 0].any(), "The value is right, but a token outside of the mask has a "
           "gradient.")


EXERCISES = {"13a": dft_loss}
