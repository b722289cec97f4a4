"""What the functions of ex08.py must do."""
import torch
from torch.nn.functional import softplus

from lessons.check import expect, same, shaped, slopes


def simpo_loss(mine, draw):
    n, m = draw.randint(1, 4), draw.randint(1, 4)
    beta, gamma = draw.choice([0.5, 2.0, 3.0]), draw.choice([0.3, 0.8])
    answers = {"chosen": draw.numbers(-2, 0, n), "rejected": draw.numbers(-2, 0, m)}
    got = mine(*answers.values(), beta, gamma)
    shaped(got, (), "The loss of a pair is one number.")
    expect(got > 0, "-log sigmoid(z) is above 0, whatever z is.")
    equal = mine(torch.full((n,), -1.0), torch.full((m,), -1.0), beta, gamma)
    z = -equal.double().expm1().log()               # the z that belongs to this loss
    expect(abs(z + gamma) < 1e-3, f"Each of the {n} and {m} tokens has the log-probability -1 "
           f"here, so both rewards are equal and z is -gamma = {-gamma}. Your loss, {equal:.4f}, "
           f"is that of z = {z:.3f}; beta is {beta}.")
    z = -got.double().expm1().log()
    for name, sign, length in (("chosen", 1, n), ("rejected", -1, m)):
        t = draw.randrange(length)
        other = {key: x.clone() for key, x in answers.items()}
        other[name][t] += 1
        moved = -mine(*other.values(), beta, gamma).double().expm1().log() - z
        wanted = sign * beta / length
        expect(abs(moved - wanted) < 1e-2, f"beta is {beta}, gamma {gamma}, and {name} has the "
               f"length {length}. One nat more on one of its tokens should change z by "
               f"{wanted:.3f}. It changes yours by {moved:.3f}.")
    z = beta * (answers["chosen"].mean() - answers["rejected"].mean()) - gamma
    same(mine(*answers.values(), beta, gamma), softplus(-z), "z changes as it "
         "should, but the loss is not -log sigmoid(z).")
    far = mine(answers["chosen"] - 1000, answers["rejected"], beta, gamma)
    same(far, softplus(1000 * beta - z), "The chosen answer is very unlikely here. The sigmoid is "
         "rounded to 0 and its logarithm is -inf, so use logsigmoid.")
    chosen, rejected = slopes(lambda *x: mine(*x, beta, gamma), *answers.values())
    push = beta * torch.sigmoid(-z)
    same(chosen, -push.expand(n) / n, "The values are right, but not the gradient by chosen.")
    same(rejected, push.expand(m) / m, "The values are right, but not the gradient by rejected.")


EXERCISES = {"08a": simpo_loss}
