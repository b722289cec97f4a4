"""The right functions of ex11.py, and common mistakes."""
import math
from itertools import combinations

from lessons.behind.tasks.task import Task


def best_of_n(n, likes, scores):
    sets = list(combinations(range(len(likes)), n))
    return sum(scores[max(some, key=lambda k: likes[k])] for some in sets) / len(sets)


def answers(draw):
    N = draw.randint(2, 5)
    likes = [float(x) for x in draw.sample(range(-9, 10), N)]
    return draw.randint(1, N), likes, [draw.randint(0, 20) / 20 for _ in range(N)]


def pass_at_k(n, c, k):
    return 1 - math.comb(n - c, k) / math.comb(n, k)


def samples(draw):
    n = draw.randint(1, 9)
    return n, draw.randint(0, n), draw.randint(1, n)


TASKS = {"11a": Task(best_of_n, answers, [
    ("key=lambda k: likes[k]", "key=lambda k: scores[k]", "The kept answer is the one that the "
     "reward model likes best, not the one with the best score."),
    ("combinations(range(len(likes)), n)", "__import__('itertools').product(range(len(likes)), "
     "repeat=n)", "The n answers of a set are different: nothing is drawn twice.")],
    always=[(1, [1, 2, 3, 0], [0, 1, 0.5, 0.2]), (2, [1, 2, 3, 0], [0, 1, 0.5, 0.2]),
            (1, [2.0], [0.5]), (2, [-1.0, -2.0], [0.5, 0.5]),           # all of them; equal scores
            (2, [3, 2, 1], [0.5, 0, 0.5]),
            (2, [3.0, 1, 2], [0, 1, 0.5]),                              # the first is the best
            (3, [*range(20)], [k / 20 for k in range(20)])]),
    "11b": Task(pass_at_k, samples, [
        ("math.comb(n - c, k) / math.comb(n, k)", "(1 - c / n) ** k", "The same sample may be "
         "drawn again here, which is too low on average. The samples of a set are different."),
        ("1 - math", "math", "This is the share of the sets without a right sample."),
        ("return 1 - math.comb(n - c, k) / math.comb(n, k)", "return min(1, k * c / n)", "Sets "
         "with two right samples are counted twice. Count those without any.")],
        always=[(4, 1, 1), (4, 1, 2), (4, 0, 2), (4, 4, 1), (4, 2, 2), (4, 3, 2), (200, 1, 100)])}
