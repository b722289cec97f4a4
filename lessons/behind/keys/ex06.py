"""The right function of ex06.py, and common mistakes."""
from functools import partial

import torch

from lessons.behind.tasks.call import with_gradient
from lessons.behind.tasks.task import Task


def weights_of(losses, mask, gamma, divided):
    later, weights = torch.zeros(len(losses)), list(losses.T)
    for t in reversed(range(losses.shape[1])):
        later = losses[:, t] + gamma * later
        weights[t] = later
    weights = torch.stack(weights, dim=1) * mask
    mean = weights.sum(1, keepdim=True) / mask.sum(1, keepdim=True)
    return weights / mean if divided else weights


def answers(draw):
    """A question, an answer, padding. Learned tokens are among them."""
    B, T = draw.randint(1, 2), draw.randint(2, 5)
    ends = [sorted(draw.sample(range(T + 1), 2)) for _ in range(B)]
    mask = torch.tensor([[float(low <= t < high) for t in range(T)] for low, high in ends])
    losses = draw.numbers(0.3, 3, B, T) * (draw.numbers(0, 1, B, T) > 0.2)
    losses[range(B), [low for low, _ in ends]] += 0.5           # no answer is wholly learned
    return losses * mask, mask, draw.choice([0.3, 0.6, 0.95, 1.0]), draw.choice([True, True, False])


EXAMPLE = torch.tensor([[2.5, 1.0]]), torch.ones(1, 2), 0.5
ROWS = torch.tensor([[3.0, 0, 0, 0], [0, 2, 0, 1]]), torch.tensor([[1.0, 1, 0, 0], [0, 1, 1, 1]])
TASKS = {"06a": Task(weights_of, answers, [
    ("reversed(range(losses.shape[1]))", "range(losses.shape[1])", "The sum runs over what came "
     "before. A token weighs by what follows it."),
    ("mask.sum(1, keepdim=True)", "mask.shape[1]", "The mean is taken over the whole row. Take it "
     "over the answer."),
    ("losses[:, t] +", "losses[:, t].detach() +", "No gradient flows through the weights.")],
    partial(with_gradient, "losses"), always=[
        (*EXAMPLE, False), (*EXAMPLE, True), (torch.ones(1, 1), torch.ones(1, 1), 0.5, True),
        (torch.tensor([[0.0, 300, 1]]), torch.tensor([[0.0, 1, 1]]), 1.0, True),
        (*ROWS, 0.3, True), (*ROWS, 1.0, False),
        (torch.ones(1, 30), torch.ones(1, 30), 0.01, True)])}       # gamma^t is 0 in float32
