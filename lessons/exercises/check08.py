"""What the function of ex08.py must do."""
import math

from lessons.check import expect, shaped


def fades_at(mine, draw):
    share, beta = draw.choice([0.02, 0.1, 0.3, 0.6, 0.9]), draw.choice([0.1, 0.5, 2.0, 3.0])
    gamma = draw.choice([0.0, 0.3, 0.8])
    half = mine(0.5, beta, gamma)
    shaped(half, (), "The result is one number, a difference.")
    expect(abs(beta * half - gamma) < 1e-3, "At half of the largest push sigmoid is 1/2, so beta D "
           f"is gamma: D = {gamma / beta:.3f}. Yours is {half:.3f}.")
    expect(mine(0.1, beta, gamma) > mine(0.2, beta, gamma), "The more a pair is won, the less is "
           "left of the push, so a tenth is left at a larger D than a fifth. Not in yours.")
    D = mine(share, beta, gamma).item()
    left = 1 / (1 + math.exp(max(-50.0, min(50.0, beta * D - gamma))))
    expect(abs(left - share) < 1e-3, f"beta is {beta} and gamma {gamma}. At your D = {D:.3f} the "
           f"push, beta sigmoid(gamma - beta D), is {left:.4f} of its largest value, beta. It "
           f"should be {share}.")


EXERCISES = {"08a": fades_at}
