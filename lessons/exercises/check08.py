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
    moved = -mine(*answers.values(), beta, gamma + 1).double().expm1().log() - z
    expect(abs(moved + 1) < 1e-2, f"beta is {beta}. If gamma grows by 1, z should change by -1. "
           f"Yours changes by {moved:.3f}.")
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


def kto_loss(mine, draw):
    n, m, beta = draw.randint(1, 3), draw.randint(1, 3), draw.choice([0.3, 0.5, 1.5])
    ratios, good = draw.numbers(-2, 2, n), draw.ids(1, n)[0] % 2
    mismatched = draw.numbers(-2, 2, m)
    mismatched += 0.3 * mismatched.mean().sign()
    k = mismatched.mean().clamp(min=0)
    got = mine(ratios, good, mismatched, beta)
    shaped(got, (n,), "There is one loss for each answer.")
    expect(((got > 0) & (got < 1)).all(), "1 minus a sigmoid lies between 0 and 1.")
    same(mine(ratios * 0, good, mismatched * 0, beta), torch.full((n,), 0.5), "All ratios are 0 "
         "here, so k is 0 and each loss is 1 - sigmoid(0) = 1/2.")
    same(mine(ratios, 1 - good, mismatched, beta), 1 - got, "Good and bad were exchanged. Since "
         "sigmoid(-x) is 1 - sigmoid(x), each loss should become 1 minus what it was.")
    gain = (good * 2 - 1) * beta                    # what one more in r - k adds in the sigmoid

    def moved(*args):
        return got.double().logit() - mine(*args, beta).double().logit()

    i, j = draw.randrange(n), draw.randrange(m)
    more, wanted = ratios.clone(), torch.zeros(n)
    more[i] += 1
    wanted[i] = gain[i]
    now = moved(more, good, mismatched)
    same(now, wanted, f"beta is {beta}, and the loss is 1 - sigmoid(x). One more in ratio {i}, of "
         f"a {'good' if good[i] else 'bad'} answer, should change x by {rounded(wanted)}. It "
         f"changes yours by {rounded(now)}.", tolerance=1e-2)
    more = mismatched.clone()
    more[j] += 1
    wanted = -gain * (more.mean().clamp(min=0) - k)
    now = moved(ratios, good, more)
    same(now, wanted, f"beta is {beta}, and the loss is 1 - sigmoid(x). mismatched has the length "
         f"{m} and the mean {mismatched.mean():.2f}. One more in its number {j} should change x by "
         f"{rounded(wanted)}. It changes yours by {rounded(now)}.", tolerance=1e-2)
    wanted = 1 - torch.sigmoid(gain * (ratios - k))
    same(mine(ratios, good, mismatched, beta), wanted, "The loss changes as it should, but has "
         "another value.")
    slope, of_k = slopes(lambda x, y: mine(x, good, y, beta), ratios, mismatched)
    same(slope, -gain * got * (1 - got), "The values are right, but not the gradient by ratios.")
    expect(not of_k.any(), "The values are right, but gradient flows through k to mismatched.")


def rounded(x):
    return [round(number, 3) + 0.0 for number in x.tolist()]


EXERCISES = {"08a": simpo_loss, "08b": kto_loss}
