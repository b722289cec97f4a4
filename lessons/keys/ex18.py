"""The right function of ex18.py, and common mistakes."""
from statistics import mean, stdev

from lessons.tasks.task import Task


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
    ("right <= gate", "right < gate", "A prompt is failed if at most the share gate of its answers "
     "is right, so with gate 0 as well."),
    ("right <= gate", "right > gate", "The gate is the wrong way round: imitate where the model "
     "fails."),
    ("shown and right <= gate:\n        return [0.0] * K + [1 / shown]",
     "right <= gate:\n        return [0.0] * K + [1 / shown if shown else 0.0]",
     "Without a demonstration there is nothing to imitate: such a prompt is explored."),
    ("shown and right <= gate", "False", "No prompt is imitated. A failed one with a demonstration "
     "should be."),
    ("shown and right <= gate", "shown", "Each prompt with a demonstration is imitated. One that "
     "is not failed should be explored."),
    ("x == 1 for x", "x for x", "The gate counts answers that are wholly right, not their mean "
     "score."),
    ("x == 1 for x", "x > 0 for x", "The gate counts answers that are wholly right, not those "
     "with any score."),
    ("[0.0] * K + [1 / shown]", "[0.0] * K + [1.0]", "SFT's loss is a mean over the tokens of the "
     "demonstration: divide by their number."),
    ("[0.0] * K + [1 / shown]", "[0.0] * K + [1 / (K * shown)]", "The demonstration stands for the "
     "whole prompt, not for one of its K answers: do not divide by K."),
    ("a / (K * n)", "a / n", "The mean over the K answers is missing."),
    ("a / (K * n)", "a / K", "The mean over an answer's tokens is missing."),
    ("(stdev(scores) + 1e-4)", "1", "The standard deviation is missing."),
    ("stdev(scores)", "stdev(scores) * ((K - 1) / K) ** 0.5", "In the standard deviation the sum "
     "of squares is divided by K - 1, not by K."),
    ("(stdev(scores) + 1e-4)", '(stdev(scores) or float("nan"))', "The 0.0001 is missing. Without "
     "it equal scores are divided by a standard deviation of 0."),
    ("a / (K * n)", "a / sum(lengths)", "GRPO takes a mean over each answer's tokens first, and "
     "then one over the answers. Yours is a mean over all tokens."),
    ("(x - mean(scores))", "x", "The scores are not compared with their mean.")],
    tolerance=1e-5, always=[([0.0, 0.0], [4, 2], 5, 0), ([1.0, 0.0], [4, 2], 5, 0),
                            ([0.0, 0.3], [4, 2], 0, 0.5),
                            ([0.0, 0.3], [4, 2], 5, 0), ([0.3, 0.0], [4, 2], 5, 0.25),
                            ([1.0, 1.0], [4, 2], 5, 1)])}
