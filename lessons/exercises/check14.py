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


def seeds_needed(mine, draw):
    t = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
    t = {k: t[k] for k in range(1, draw.randint(3, 9) + 1)}
    half = {k + 1: t[k] / (k + 1) ** 0.5 for k in t}        # half widths for n seeds, in sd
    size, sd = draw.uniform(0.5, 4), draw.choice([0.5, 1.0, 2.0])
    difference = draw.choice([-1, 1]) * size * sd
    enough = [n for n in half if half[n] < size]
    got = mine(difference, sd, t)
    if not enough:
        expect(got is None, f"With {len(half) + 1} seeds, the most that t is given for, the half "
               f"width is {sd * half[len(half) + 1]:.3f}, more than the difference, so the result "
               f"is None. Yours is {got}.")
        return
    expect(got is not None, f"{enough[0]} seeds are enough: the half width t[{enough[0] - 1}] sd / "
           f"root of {enough[0]} is {sd * half[enough[0]]:.3f}, and the difference "
           f"{difference:.3f}. Yours is None.")
    shaped(got, (), "The result is one number.")
    n = int(got)
    expect(n == got and n in half, f"The number of seeds is from 2 to {len(half) + 1}. Yours is "
           f"{got:g}.")
    expect(n in enough, f"The difference is {difference:.3f}. With {n} seeds the half width, "
           f"t[{n - 1}] sd / root of {n}, is {sd * half[n]:.3f}, so the interval contains 0.")
    expect(n == enough[0], f"{n} seeds are enough, but {enough[0]} are as well: the half width, "
           f"t[{enough[0] - 1}] sd / root of {enough[0]}, is {sd * half[enough[0]]:.3f}.")


EXERCISES = {"14a": interval, "14b": seeds_needed}
