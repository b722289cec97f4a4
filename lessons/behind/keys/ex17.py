"""The right function of ex17.py, and common mistakes."""
from lessons.behind.tasks.task import Task


def tokens_until(share, gamma):
    if share <= 1 - gamma:                              # where the weight goes as N grows
        return None
    N, v, total = 1, 1.0, 1.0                           # v: of the first token
    while N / total >= share:
        N, v = N + 1, 1 + gamma * v
        total += v
    return N


def share_and_discount(draw):
    return draw.choice([0.07, 0.23, 0.45, 0.5, 0.5, 0.62, 0.86]), draw.choice([0.5, 0.8, 0.95, 1.0])


TASKS = {"17a": Task(tokens_until, share_and_discount, [
    ("1 + gamma * v", "1 + v", "Later losses are not discounted by gamma."),
    ("N / total", "1 / total", "These weights add up to 1. Their mean should be 1, as in SFT."),
    ("share <= 1 - gamma", "gamma < 1", "With gamma below 1 the weight falls as well, towards "
     "1 - gamma. Only a share that is not above it is never reached.")],
    always=[(0.5, 1), (0.4, 0.5), (0.62, 0.5), (0.5, 0.5),              # its limit
            (0.99, 1), (0.0505, 0.95), (0.001, 1)])}                    # two tokens, and many
