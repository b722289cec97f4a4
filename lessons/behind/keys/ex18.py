"""The right function of ex18.py, and common mistakes."""
from statistics import mean, stdev

from lessons.behind.tasks.task import Task


def pushes_of_hpt(scores, lengths, shown, gate):
    K = len(scores)
    right = sum(x == 1 for x in scores) / K
    if shown and right <= gate:
        return [0.0] * K + [1 / shown]
    advantage = [(x - mean(scores)) / (stdev(scores) + 1e-4) for x in scores]
    return [a / (K * n) for a, n in zip(advantage, lengths)] + [0.0]


def a_prompt(draw):
    K = draw.choice([2, 4, 4, 8])
    scores = [draw.choice([0.0, 0.3, 0.3, 0.75, 1.0]) for _ in range(K)]
    return (scores, [draw.randint(2, 9) for _ in range(K)], draw.choice([0, 3, 6, 7]),
            draw.choice([0.0, 0.0, 0.25, 0.5, 0.5, 1.0]))


TASKS = {"18a": Task(pushes_of_hpt, a_prompt, [
    ("x == 1 for x", "x > 0 for x", "The gate counts answers that are wholly right, not those "
     "with any score."),
    ("[0.0] * K + [1 / shown]", "[0.0] * K + [1.0]", "SFT's loss is a mean over the tokens of the "
     "demonstration: divide by their number."),
    ("a / (K * n)", "a / n", "The mean over the K answers is missing.")],
    tolerance=1e-5, always=[([0.0, 0.0], [4, 2], 5, 0), ([1.0, 0.0], [4, 2], 5, 0),
                            ([0.0, 0.3], [4, 2], 0, 0.5), ([0.0, 0.0], [4, 2], 0, 0),
                            ([0.0, 0.3], [4, 2], 5, 0), ([0.3, 0.0], [4, 2], 5, 0.25),
                            ([1.0, 0.0], [4, 2], 5, 0.5), ([0.3, 0.99], [4, 2], 1, 0),
                            ([1.0, 0.9], [400, 2], 5, 0), ([1.0, 1.0], [4, 2], 5, 1),
                            ([1.0, 0.3, 0.0, 0.3], [4, 2, 3, 3], 5, 0.25)])}
