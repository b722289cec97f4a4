"""What the functions of ex06.py must do."""
import torch

from lessons.check import expect, same, shaped, slopes


def right(losses, mask, gamma):
    raw, later = [], 0.0
    for loss in (losses * mask).flip(0):
        later = loss + gamma * later
        raw.insert(0, later)
    raw = torch.stack(raw) * mask                                   # (T,)
    return raw * mask.sum() / raw.sum()


def future_weights(mine, draw):
    T = draw.randint(3, 6)
    losses, mask = draw.numbers(0.5, 3, T), draw.mask(1, T)[0].float()
    gamma = draw.choice([0.3, 0.5, 0.9])
    if mask.sum() > 1 and draw.random() < 0.5:
        losses[mask.argmax()] = 0                                   # this token has been learnt
    got = mine(losses, mask, gamma)
    shaped(got, (T,), "There is one weight for each token.")
    counted = mask.nonzero()[:, 0].tolist()
    last = counted[-1]
    uncounted = (mask == 0).nonzero()[:, 0].tolist()
    for t in uncounted:
        expect(got[t] == 0, f"The mask is 0 at position {t}, so its weight should be 0. Yours is "
               f"{got[t]:.2f}.")
    for t in uncounted:
        other = losses.clone()
        other[t] = 9
        same(mine(other, mask, gamma), got, f"The mask is 0 at position {t}. Yet its loss, changed "
             "to 9, changes your weights. Mask the losses before you add them up.")
    got = mine(losses, mask, gamma)
    expect(got[last] > 0, f"The last counted token has the weight {got[last]:.2f}. Its raw weight "
           "is its own loss, which is above 0.")
    for t in counted[:-1]:
        for k in counted[counted.index(t):]:    # how often is loss k contained in the weight of t?
            other = losses.clone()
            other[k] += 1
            now = mine(other, mask, gamma)
            counts = now[t] / now[last] * other[last] - got[t] / got[last] * losses[last]
            expect(abs(counts - gamma ** (k - t)) < 1e-2,
                   f"Measured by the weight of the last counted token: in the weight of position "
                   f"{t}, the loss of position {k} should count gamma to the power of {k - t}, "
                   f"{gamma ** (k - t):.2f}. In yours it counts {counts:.2f}.")
    got = mine(losses, mask, gamma)
    same(got.sum(), mask.sum(), "The mean of the weights over the counted tokens must be 1, so "
         f"they add up to the number of these tokens, {mask.sum():.0f}. Yours add up to "
         f"{got.sum():.2f}.")
    same(got, right(losses, mask, gamma), "The weights have the right mean and the right parts, "
         "but other values.")
    side = draw.numbers(-1, 1, T)
    (mixed,) = slopes(lambda x: mine(x, mask, gamma) * side, losses)
    (wanted,) = slopes(lambda x: right(x, mask, gamma) * side, losses)
    expect(len(counted) < 2 or mixed.any(), "The values are right, but no gradient flows through "
           "your weights: they are detached. The released weights carry gradient.")
    same(mixed, wanted, "The values are right, but not the gradient. Is a part of it, such as the "
         "mean, detached?")


def released_loss(a, b, gamma):
    return (a * (a + gamma * b) + b * b) / (a + gamma * b + b)


def two_token_slopes(mine, draw):
    a, b = draw.uniform(0.5, 3), draw.uniform(0.1, 2)
    gamma = draw.choice([0.3, 0.6, 0.95])
    got = mine(a, b, gamma)
    shaped(got, (2,), "The result is two numbers, the derivatives by a and by b.")
    weights = torch.tensor([a + gamma * b, b])
    constant = weights / weights.sum()
    step = 1e-5                                 # of losses, for a derivative by measurement
    for k, letter in enumerate("ab"):
        up, down = ([x + side * step * (j == k) for j, x in enumerate((a, b))] for side in (1, -1))
        slope = (released_loss(*up, gamma) - released_loss(*down, gamma)) / (2 * step)
        same(got[k], slope, f"L changes by {slope:.4f} times a small step in {letter}, while your "
             f"derivative by {letter} is {got[k]:.4f}. (If the weights were constants, it would be "
             f"{constant[k]:.4f}.)", tolerance=1e-3)
    same(mine(a, 0.0, gamma), [1.0, -1.0], "With b = 0 the derivatives are 1 and -1.")


EXERCISES = {"06a": future_weights, "06b": two_token_slopes}
