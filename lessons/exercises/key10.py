"""The right function of ex10.py, and common mistakes."""
import torch
import torch.nn.functional as F

from lessons.judge import Exercise, gradient


def poft_loss(logp, mask, others):
    r = (logp * mask).sum() / mask.sum()
    r_bar = sum(x.mean() for x in others) / len(others)
    return -F.logsigmoid(r - r_bar), torch.sigmoid(r_bar - r).detach()


def demonstration(draw):
    others = [draw.numbers(-3, 0, draw.randint(1, 4)) for _ in range(draw.randint(1, 3))]
    logp = draw.numbers(-3, 0, 5) - draw.choice([0, 0, 300])
    return logp, draw.mask(1, 5)[0].float(), others


EXERCISES = {"10a": Exercise(poft_loss, demonstration, [
    ("(logp * mask).sum() / mask.sum()", "(logp * mask).mean()", "r is the mean over the tokens of "
     "the answer, not over all positions."),
    ("(logp * mask).sum() / mask.sum()", "(logp * mask).sum()", "r is a mean, not a sum."),
    ("sum(x.mean() for x in others) / len(others)", "torch.cat(others).mean()", "Each aligned "
     "model has the same share in r_bar, however many tokens it has."),
    ("torch.sigmoid(r_bar - r)", "torch.sigmoid(r - r_bar)", "tau is sigmoid(r_bar - r): the trust "
     "is small where the policy finds the row likelier than the others do."),
    ("-F.logsigmoid(r - r_bar)", "-torch.log(torch.sigmoid(r - r_bar))", "Where r is far below "
     "r_bar, the sigmoid is rounded to 0 and its logarithm is -inf. Use logsigmoid."),
    (".detach()", "", "tau carries gradient. Detach it.")], gradient("logp"))}
