"""The right function of ex01.py, and common mistakes."""
import math

import torch

from lessons.behind.tasks.call import own_attention
from lessons.behind.tasks.task import Task


def attention(q, k, v):
    seen = torch.ones(q.shape[1], k.shape[1]).tril(k.shape[1] - q.shape[1]) > 0     # (T,n+T)
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    return scores.masked_fill(~seen, -math.inf).softmax(-1) @ v


def queries_keys_values(draw):
    B, T, n = draw.randint(1, 2), draw.randint(1, 3), draw.randint(0, 2)
    h, c = draw.choice([2, 3, 16]), draw.randint(1, 3)
    return tuple(draw.numbers(-2, 2, B, *shape) for shape in ((T, h), (n + T, h), (n + T, c)))


EXAMPLE = (torch.tensor([[[2 * math.log(3), 0, 0, 0]]]),
           torch.tensor([[[1.0, 0, 0, 0], [0, 0, 0, 0]]]), torch.tensor([[[1.0, 0], [0, 1]]]))
VALUES = torch.tensor([[[1.0], [2]]])
ONE = torch.ones(1, 1, 1)
LOW = torch.tensor([[[30.0], [30]]]), torch.tensor([[[-10.0], [-8]]]), VALUES    # of -300 and -240
HIGH = torch.tensor([[[20.0], [20]]]), torch.tensor([[[20.0], [15]]]), VALUES   # of 400 and 300
ROWS = torch.tensor([[[1.0]], [[2]]]), torch.tensor([[[1.0], [0]], [[0], [1]]]), torch.tensor(
    [[[1.0], [2]], [[3], [5]]])                                                 # two that differ
TASKS = {"01a": Task(attention, queries_keys_values, [
    (" / math.sqrt(q.shape[-1])", "", "The scores are not divided by the square root of h."),
    (".tril(k.shape[1] - q.shape[1])", ".tril()",
     "Query i belongs to position n + i of the row, so it sees the keys 0 to n + i."),
    ("scores.masked_fill(~seen, -math.inf).softmax(-1)", "(scores.softmax(-1) * seen)",
     "Later positions are taken out after the softmax, so the weights of those that are left do "
     "not add up to 1. Set their scores to minus infinity before the softmax.")],
    own_attention, tolerance=1e-3, always=[EXAMPLE, (ONE, ONE, ONE), LOW, HIGH, ROWS])}
