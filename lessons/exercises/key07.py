"""The right functions of ex07.py, and common mistakes."""
import torch
import torch.nn.functional as F

from lessons.judge import Exercise, as_tensor, gradient


def dpo_loss(pi_w, ref_w, pi_l, ref_l, beta):
    chosen = (pi_w - ref_w.detach()).sum(1)
    rejected = (pi_l - ref_l.detach()).sum(1)
    return -F.logsigmoid(beta * (chosen - rejected))


def pairs(draw):
    B, T, S = (draw.randint(1, n) for n in (2, 3, 3))
    beta, far = draw.choice([0.1, 0.5, 2]), draw.choice([0, 0, -300])
    pi_w, ref_w, pi_l, ref_l = (draw.numbers(-2, 0, B, n) for n in (T, T, S, S))
    return pi_w + far / beta / T, ref_w, pi_l, ref_l, beta


def both_fall(g_w):
    other = torch.zeros_like(g_w)
    other[g_w.abs().argmin()] = g_w.norm() / 2
    return 2 * g_w + other


def weights(draw):
    """At least three: of two, any direction is now and then nearly that of g_w."""
    g_w = draw.numbers(-2, 2, draw.randint(3, 5))
    g_w[draw.randrange(len(g_w))] += 3
    return (g_w,)


ROUNDING = 1e-6                     # an angle below it is a rounding error: g_w is in fp32


def properties(g_l, g_w):
    """Any right answer has the same three."""
    if g_l is None:
        raise TypeError("It gives None. Is there a `return`?")
    g_w, g_l = g_w.double(), as_tensor(g_l).double()
    step, across = g_w - g_l, g_l - (g_l @ g_w) / (g_w @ g_w) * g_w
    return {"makes the chosen answer less likely:":
                bool(g_w @ step < -ROUNDING * g_w.norm() * step.norm()),
            "makes the rejected answer less likely:":
                bool(g_l @ step < -ROUNDING * g_l.norm() * step.norm()),
            "is not a multiple of g_w:": bool(across.norm() > ROUNDING * g_l.norm())}


EXERCISES = {
    "07a": Exercise(dpo_loss, pairs, [
        ("F.logsigmoid(beta * (chosen - rejected))",
         "torch.log(torch.sigmoid(beta * (chosen - rejected)))", "Where the policy has moved far, "
         "the sigmoid is rounded to 0 and its logarithm is -inf. Use logsigmoid."),
        (".detach()", "", "Gradient reaches the reference, which is a constant."),
        (".sum(1)", ".mean(1)", "The log-ratio of an answer is the sum over its tokens."),
        ("beta * ", "", "beta is missing."),
        ("chosen - rejected", "rejected - chosen", "h is the chosen answer's minus the other's."),
        (" - ref_w.detach()", " + 0 * ref_w", "The reference is missing for the chosen answer.")],
        gradient("pi_w", "ref_w", "pi_l", "ref_l")),
    "07b": Exercise(both_fall, weights, [
        ("2 * g_w + other", "g_w / 2 + other", "log p(chosen) changes by a multiple of "
         "g_w . (g_w - g_l), so g_w . g_l must be larger than g_w . g_w."),
        ("2 * g_w + other", "2 * g_w", "Both fall, but your g_l is a multiple of g_w. Add "
         "something that points elsewhere.")], properties=properties)}
