"""The right function of ex10.py, and common mistakes."""
import math

import torch

from lessons.behind.tasks.task import Task


def wrong_shares(r, r_bar, wrong, k):
    trust = torch.sigmoid(r_bar - r)
    kept = trust.argsort()[k:]
    return wrong.mean(), (trust * wrong).sum() / trust.sum(), wrong[kept].mean()


def demonstrations(draw):
    n = draw.randint(3, 6)
    wrong = draw.numbers(0, 1, n).round()
    wrong[:2] = torch.tensor([0.0, 1.0])                # one of each kind
    return draw.numbers(-3, 0, n), draw.numbers(-3, 0, n), wrong, draw.randint(0, n - 1)


# the lowest weight, the highest, the lowest r, the lowest r_bar
LOWEST_AND_HIGHEST = torch.tensor([-1, -1.5, -3, -2.5]), torch.tensor([-2, -0.5, -2.5, -2.9])
TASKS = {"10a": Task(wrong_shares, demonstrations, [
    ("r_bar - r", "r - r_bar", "The weight is upside down. It is high where the helper finds the "
     "demonstration more likely than the policy does."),
    ("torch.sigmoid(r_bar - r)", "(r_bar - r).exp()", "The sigmoid is missing in the weight."),
    ("(trust * wrong).sum() / trust.sum()", "(trust * wrong).mean()", "PoFT's share is divided "
     "by the number of demonstrations. Divide by the sum of all its pushes."),
    ("trust.argsort()[k:]", "trust.argsort(descending=True)[k:]", "The filter throws out the k "
     "with the highest weight and keeps the lowest."),
    ("trust.argsort()[k:]", "trust.argsort()[:k]", "The filter keeps the k of lowest weight. "
     "These are the ones to throw out."),
    ("trust.argsort()[k:]", "trust.argsort(descending=True)[:-k]", "With k = 0 the filter keeps "
     "all demonstrations. Yours keeps none: a slice such as [:-0] is empty.")], always=[
         (torch.zeros(2), torch.tensor([math.log(3), -math.log(3)]), torch.tensor([0.0, 1.0]), 1),
         (torch.tensor([-1.0, -2.0]), torch.tensor([-2.0, -1.0]), torch.zeros(2), 0),
         (torch.tensor([-1.0]), torch.tensor([-2.0]), torch.ones(1), 0),
         (torch.tensor([-99.0, 0]), torch.tensor([0.0, -99]), torch.tensor([0.0, 1]), 0),
         (torch.tensor([-3.0, 0, 0]), torch.tensor([-2.0, -1, 0]), torch.tensor([0.0, 1, 1]), 1),
         (*LOWEST_AND_HIGHEST, torch.tensor([1.0, 0, 1, 0]), 1),
         (*LOWEST_AND_HIGHEST, torch.tensor([1.0, 0, 0, 1]), 1)])}
