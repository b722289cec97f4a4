"""The right function of ex14.py, and common mistakes."""
import math

from lessons.behind.tasks.task import Task

T = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}


def seeds_needed(difference, sd, t):
    for n in range(2, len(t) + 2):
        if t[n - 1] * sd / math.sqrt(n) < abs(difference):
            return n


def expected(draw):
    sd = draw.choice([0.5, 1.0, 2.0])
    difference = draw.choice([-1, 1]) * draw.uniform(0.3, 3) * sd
    if draw.random() < 0.2:             # four seeds, whose interval ends at 0: root 4 is exact
        difference = draw.choice([-1, 1]) * T[3] * sd / 2
    return difference, sd, {k: T[k] for k in range(1, draw.randint(1, 9) + 1)}


FOUR = {1: 12.71, 2: 4.303, 3: 3.182, 4: 2.776}
TASKS = {"14a": Task(seeds_needed, expected, [
    ("abs(difference)", "difference", "The difference may be negative."),
    ("t[n - 1]", "t[n]", "n seeds have n - 1 degrees of freedom, so the interval takes t[n - 1]."),
    (" < abs", " <= abs", "An interval that ends exactly at 0 touches it, so one more seed is "
     "needed.")],
    always=[(1, 0.8, FOUR), (-1, 0.8, FOUR), (20, 1, {1: 12.71}), (1, 1, {1: 12.71}),
            (1.0, 1.0, dict.fromkeys(range(1, 5), 2.0)),                # it ends at 0
            (0.19, 1.0, dict.fromkeys(range(1, 121), 2.0))])}            # a long search
