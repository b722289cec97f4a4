"""The right function of ex17.py, and common mistakes."""
import torch

from lessons.behind.tasks.task import Task


def with_lora(x, W, A, B, alpha):
    return x @ (W + alpha / len(A) * B @ A).T


def layer(draw):
    N, d, m, r = (draw.randint(1, 3) for _ in range(4))
    return (draw.numbers(-2, 2, N, d), draw.numbers(-2, 2, m, d), draw.numbers(-2, 2, r, d),
            draw.numbers(-2, 2, m, r), draw.choice([1, 4, 16]))


x, W, A, B = (torch.tensor(x) for x in ([[1.0, 2]], [[1.0, 0]], [[1.0, 1]], [[2.0]]))
TASKS = {"17a": Task(with_lora, layer, [
    ("alpha / len(A)", "alpha", "alpha is not divided by the rank."),
    ("alpha / len(A) * ", "", "The factor alpha / r is missing."),
    ("(W + alpha", "(alpha", "The frozen W is missing. LoRA adds to it.")],
    always=[(x, W, A, B, 1), (x, W, A, 0 * B, 1), (x, W, torch.cat([A, A]), B.repeat(1, 2), 4),
            (100 * x, W, A, B, 16)])}
