"""What the function of ex09.py must do."""
import math

from lessons.check import expect, shaped


def largest_push(mine, draw):
    c = draw.choice([0.2, 0.4, 0.5, 0.7, 0.9, 1.0])
    got = mine(c)
    shaped(got, (), "The result is one number.")
    expect(0 < got < c, f"The score is {c}. The answer is pushed up only where sigmoid(i) lies "
           f"between 0 and the score. Yours is {got:.4f}.")
    wanted = (1 + c - math.sqrt(1 - c + c * c)) / 3
    push, best = ((c - s) * s * (1 - s) for s in (got, wanted))
    expect(abs(got - wanted) < 5e-3, f"The score is {c}. In units of 2 beta the push is "
           f"{push:.5f} at your s = {got:.4f}, and elsewhere it reaches {best:.5f}.")


EXERCISES = {"09a": largest_push}
