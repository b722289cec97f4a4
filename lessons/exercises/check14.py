"""What the functions of ex14.py must do."""
from statistics import mean, pstdev, stdev

from lessons.check import expect, same, shaped

T = {2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447}         # Student's t by degrees of freedom


def interval(mine, draw):
    d = [round(draw.uniform(-3, 3), 1) for _ in range(draw.randint(3, 6))]
    d[0] += 0.05                                                # they are never all equal
    n, t, sd = len(d), T[len(d) - 1], stdev(d)
    got = mine(d)
    shaped(got, (2,), "The result is two numbers, the mean and the half width.")
    same(got[0], mean(d), "The first number is not the mean of the differences.")
    same(mine([x + 5 for x in d])[1], got[1], "All differences were made 5 larger, which must not "
         "change the half width.")
    same(mine([3 * x for x in d])[1], 3 * got[1], "All differences were made three times as large, "
         "so the half width should be three times as large. (A variance is nine times as large.)")
    ratio = float(got[1]) * n ** 0.5 / (t * sd)
    slips = {pstdev(d) / sd: " Is the sum of squares divided by n? It should be n - 1.",
             T[n] / t: " Are n degrees of freedom taken? There are n - 1.",
             1.96 / t: " Is t taken to be 1.96? This is right for many seeds only.",
             n ** 0.5: " Is the division by the root of n missing?",
             1 / n ** 0.5: " Is it divided by n, not by the root of n?",
             2: " Is it the whole width of the interval?"}
    slip = [text for wrong, text in slips.items() if abs(ratio - wrong) < 1e-3]
    expect(abs(ratio - 1) < 1e-3, f"n is {n}, t is {t} and the standard deviation {sd:.4f}, so the "
           f"half width t sd / root of n is {t * sd / n ** 0.5:.4f}. Yours is {ratio:.3f} times as "
           "large." + "".join(slip[:1]))


EXERCISES = {"14a": interval}
