"""The right function of ex03.py, and common mistakes."""
import torch

from lessons.behind.tasks.task import Task


def policy_gradient(p, r):
    return p * (r - (p * r).sum())


def state(draw):
    n = draw.randint(2, 4)
    p = draw.numbers(0.2, 1, n)
    return p / p.sum(), draw.numbers(-1, 3, n)


TASKS = {"03a": Task(policy_gradient, state, [
    ("(p * r).sum()", "r.mean()", "The reward is compared with the mean over all actions. Compare "
     "it with the expected one, in which likely actions count more."),
    (" - (p * r).sum()", "", "Raising one logit also makes the other actions less likely."),
    ("return p * (r", "return (r", "This is the advantage. A likely action's logit changes more, "
     "so multiply by p.")], always=[
        (torch.tensor([0.5, 0.5]), torch.tensor([1.0, 0.0])),
        (torch.tensor([1.0]), torch.tensor([2.0])),                     # no choice
        (torch.tensor([0.25, 0.75]), torch.tensor([-2.0, -2.0])),       # nothing is better
        (torch.tensor([0.5, 0.25, 0.25]), torch.tensor([-1.0, 0, 300]))])}
