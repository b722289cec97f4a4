"""What the function of ex14.py must do."""
from lessons.check import expect, shaped


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


EXERCISES = {"14a": seeds_needed}
