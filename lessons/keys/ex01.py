"""The right function of ex01.py, and common mistakes."""
import math

import torch

from lessons.tasks.call import own_attention
from lessons.tasks.task import Task


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
LOW = (torch.tensor([[[30.0], [30]]]), torch.tensor([[[-10.0], [5]]]), torch.tensor([[[1.0], [2]]]))
HIGH = torch.tensor([[[20.0], [20]]]), torch.tensor([[[20.0], [15]]]), torch.tensor([[[1.0], [2]]])
TASKS = {"01a": Task(attention, queries_keys_values, [
    (" / math.sqrt(q.shape[-1])", "", "The scores are not divided by the square root of h."),
    ("math.sqrt(q.shape[-1])", "q.shape[-1]", "The scores are divided by h itself. Divide by its "
     "square root."),
    ("q.shape[-1])", "v.shape[-1])", "The scores are divided by the root of c, the length of a "
     "value. Divide by the root of h, the length of a query."),
    (".tril(k.shape[1] - q.shape[1])", ".tril()",
     "Query i belongs to position n + i of the row, so it sees the keys 0 to n + i."),
    (".tril(k.shape[1] - q.shape[1])", ".tril(k.shape[1] - q.shape[1] - 1)",
     "A position does not see itself. Query i sees the keys up to and including n + i."),
    (".tril(k.shape[1] - q.shape[1])", ".triu(k.shape[1] - q.shape[1])", "The mask is the wrong "
     "way round: a query sees itself and what is later, and nothing that it has read."),
    (".softmax(-1)", ".softmax(1)", "The softmax runs over the queries. The weights of each query "
     "should add up to 1 over its keys, the last dimension of the scores."),
    ("scores.masked_fill(~seen, -math.inf).softmax(-1)", "(scores.softmax(-1) * seen)",
     "Later positions are taken out after the softmax, so the weights of those that are left do "
     "not add up to 1. Set their scores to minus infinity before the softmax."),
    (".masked_fill(~seen, -math.inf)", "", "The queries see later positions. Set their scores to "
     "minus infinity before the softmax."),
    ("-math.inf", "0", "Later positions get the score 0, which still has a weight. Set them to "
     "minus infinity."),
    ("-math.inf", "-100", "Later positions get the score -100, and those in view may have less. "
     "Set them to minus infinity."),
    ("k.transpose(-1, -2)", "k.detach().transpose(-1, -2)", "No gradient reaches k."),
    ("scores.masked_fill(~seen, -math.inf).softmax(-1)",
     "(seen * scores.exp() / (seen * scores.exp()).sum(-1, keepdim=True))",
     "The results are right for small scores, but exp overflows for large ones. torch.softmax does "
     "not.")], own_attention, tolerance=1e-3, always=[EXAMPLE, LOW, HIGH])}
