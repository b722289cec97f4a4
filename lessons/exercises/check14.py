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
    same(got[0], mean(d), f"The first number should be the mean of the differences, {mean(d):.4f}. "
         f"Yours is {got[0]:.4f}.")
    same(mine([x + 5 for x in d])[1], got[1], "All differences were made 5 larger, which must not "
         "change the half width.")
    same(mine([3 * x for x in d])[1], 3 * got[1], "All differences were made three times as large, "
         "so the half width should be three times as large. (A variance is nine times as large.)")
    ratio = float(mine(d)[1]) * n ** 0.5 / (t * sd)
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


def verdict(mine, draw):
    threshold, half = draw.choice([0.0, 0.0, -2.0, 2.0]), draw.choice([0.25, 0.5, 1.0])
    near = draw.choice([threshold, threshold, threshold, 0.0, -threshold])
    mean = near + draw.choice([half, -half, draw.randint(-24, 24) / 16])    # some of them touch it
    low, high = mean - half, mean + half
    wanted = "holds" if low > threshold else "does not hold" if high < threshold else "undecided"
    got = mine(mean, half, threshold)
    expect(isinstance(got, str), f"The verdict is a text. Yours is {got}.")
    expect(got == wanted, f"The interval goes from {low:g} to {high:g} and the threshold is "
           f"{threshold:g}, so the verdict is {wanted!r}. Yours is {got!r}.")


EXERCISES = {"14a": interval, "14b": verdict}
