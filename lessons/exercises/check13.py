"""What the function of ex13.py must do."""
import math

from lessons.check import expect, shaped


def pushes(mine, draw):
    p = draw.uniform(0.02, 0.98)
    got = mine(p)
    shaped(got, (2,), "The result is two numbers.")
    expect(abs(got[0] - p) < 1e-3, f"With the stop-gradient p is a constant factor, so the push of "
           f"-p log p by log p is p itself, {p:.4f}. Yours is {got[0]:.4f}.")
    by_p = 1 + math.log(p)
    wanted = p * by_p
    right = abs(got[1] - wanted) < 1e-3                 # at p = 1/e both derivatives are 0
    expect(right or abs(got[1] - by_p) > 1e-4, "The second number is the derivative by p. The "
           "push is that by log p; p changes by p times a small step in log p.")
    expect(right, f"p is {p:.4f}. Without the stop-gradient a small step in "
           f"x = log p also changes the factor e^x. The derivative of x e^x is {wanted:.4f}. Yours "
           f"is {got[1]:.4f}.")


EXERCISES = {"13a": pushes}
