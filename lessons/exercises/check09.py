"""What the functions of ex09.py must do."""
import math

from lessons.check import expect, same, shaped


def bce_push(mine, draw):
    i, score, beta = draw.uniform(-3, 3), draw.uniform(0, 1), draw.choice([0.01, 0.1, 0.5, 2.0])
    s = 1 / (1 + math.exp(-i))
    got = mine(i, score, beta)
    shaped(got, (), "The push is one number.")
    expect(mine(2.0, 0.0, beta) < 0 < mine(-2.0, 1.0, beta), "An answer of score 0 is pushed down, "
           "and one of score 1 up. Yours are not. The push is MINUS the derivative of the loss.")
    square = 2 * beta * (score - s) * s * (1 - s)
    expect(abs(got - square) > 1e-6 or abs(score - s) < 1e-3, "This is the push of the squared "
           "distance, not of the cross-entropy.")
    wanted = beta * (score - s)
    expect(abs(got - wanted) < 1e-3 * beta, f"sigmoid(i) is {s:.4f}, the score {score:.4f} and "
           f"beta {beta}. The derivative of log sigmoid(i) by i is 1 - sigmoid(i), that of i by "
           f"one nat is beta. Together the push is {wanted:.5f}. Yours is {got:.5f}.")
    same(mine(-200.0, 1.0, beta), beta, "i is -200 here, and the push should be beta.", 1e-3)


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


EXERCISES = {"09a": bce_push, "09b": largest_push}
