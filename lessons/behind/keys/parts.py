"""The right functions of those parts of mine.py that are no part of nanouft/simple.py, and common
mistakes."""
import math
from functools import partial
from itertools import combinations

import torch

from lessons.behind.keys.mine import AT_ONCE
from lessons.behind.tasks.call import own_attention, with_gradient
from lessons.behind.tasks.task import Task

FILE = "mine.py"


def numbers(*some) -> torch.Tensor:
    return torch.tensor(some, dtype=torch.float)


# ---- 13 ------------------------------------------------------------------------------------------
def clipped_loss(logp, old, A, mask, eps):
    rho = (logp - old).exp()
    gain = torch.min(rho * A, rho.clamp(1 - eps, 1 + eps) * A)
    return -((gain * mask).sum(1) / mask.sum(1)).mean()


def answers_again(draw):
    N, T = draw.randint(1, 3), draw.randint(1, 4)
    old = draw.numbers(-3, -1, N, T)
    return (old + draw.numbers(-0.6, 0.6, N, T), old, draw.numbers(-2, 2, N, 1),
            draw.mask(N, T).float(), draw.choice([0.1, 0.2]))


FOUR = numbers([1.0], [1], [-1], [-1])
NEAR = numbers([1.22], [1.18], [0.82], [0.78]).log()            # beyond and within a clip of .2
CLIPPED = Task(clipped_loss, answers_again, [
    ("torch.min(rho * A, rho.clamp(1 - eps, 1 + eps) * A)", "rho * A", "Nothing is clipped."),
    ("torch.min(rho * A, rho.clamp(1 - eps, 1 + eps) * A)", "rho.clamp(1 - eps, 1 + eps) * A",
     "The ratio is clipped on both sides. The smaller of both gains counts, so a push back towards "
     "the old model is never clipped."),
    ("torch.min", "torch.max", "The larger of both gains is taken. Take the smaller one."),
    ("clamp(1 - eps, 1 + eps)", "clamp(max=1 + eps)", "The ratio is clipped above alone. For A < 0 "
     "the push ends below 1 - eps."),
    ("return -", "return ", "The sign is wrong: answers with A > 0 become less likely."),
    ("((gain * mask).sum(1) / mask.sum(1)).mean()", "(gain * mask).sum() / mask.sum()", AT_ONCE),
    ("((gain * mask).sum(1) / mask.sum(1)).mean()", "gain.mean()", "The tokens outside the answers "
     "count as well. Use the mask."),
    ("(gain * mask).sum(1) / mask.sum(1)", "(gain * mask).sum(1)", "The gains of an answer are "
     "added up. Take their mean."),
    ("(gain * mask).sum(1) / mask.sum(1)", "(gain * mask).mean(1)", "The mean is that over all "
     "positions. Take that over the answer's tokens."),
    ("logp - old", "old - logp", "The ratio is upside down. It is e^(logp - old)."),
    ("(logp - old).exp()", "(logp - old)", "This is the logarithm of the ratio. The ratio is "
     "e^(logp - old)."),
    ("rho = (logp - old).exp()", "rho = (logp - old).exp().detach()", "No gradient flows through "
     "the ratio. It should flow to logp."),
    ], partial(with_gradient, "logp"), rounds=30, always=[
        (NEAR, 0 * NEAR, FOUR, 1 + 0 * NEAR, 0.2),
        (NEAR.flip(0), 0 * NEAR, FOUR, 1 + 0 * NEAR, 0.2),
        (numbers([-1.0]), numbers([-1.0]), numbers([0.5]), numbers([1]), 0.2),      # rho is 1
        (numbers([-1.0, -2, -9]), numbers([-1.5, -1.5, -0.1]), numbers([1.0]), numbers([1, 1, 0]),
         0.1),
        (numbers([-1.0, -2, -9]), numbers([-1.5, -1.5, -0.1]), numbers([-1.0]), numbers([1, 1, 0]),
         0.1)])


# ---- 15 ------------------------------------------------------------------------------------------
def pass_at_k(n, c, k):
    return 1 - math.comb(n - c, k) / math.comb(n, k)


def samples(draw):
    n = draw.randint(1, 9)
    return n, draw.randint(0, n), draw.randint(1, n)


PASS = Task(pass_at_k, samples, [
    ("math.comb(n - c, k) / math.comb(n, k)", "(1 - c / n) ** k", "The same sample may be drawn "
     "again here, which is too low on average. The samples of a set are different."),
    ("1 - math", "math", "This is the share of the sets without a right sample."),
    ("return 1 - math.comb(n - c, k) / math.comb(n, k)", "return min(1, k * c / n)", "Sets with "
     "two right samples are counted twice. Count those without any.")],
    always=[(4, 1, 1), (4, 1, 2), (4, 0, 2), (4, 4, 1), (4, 2, 2), (4, 3, 2), (200, 1, 100)])


# ---- 16 ------------------------------------------------------------------------------------------
def best_of_n(n, likes, scores):
    sets = list(combinations(range(len(likes)), n))
    return sum(scores[max(some, key=lambda k: likes[k])] for some in sets) / len(sets)


def answers_of_a_prompt(draw):
    N = draw.randint(2, 5)
    likes = [float(x) for x in draw.sample(range(-9, 10), N)]
    return draw.randint(1, N), likes, [draw.randint(0, 20) / 20 for _ in range(N)]


BEST = Task(best_of_n, answers_of_a_prompt, [
    ("key=lambda k: likes[k]", "key=lambda k: scores[k]", "The kept answer is the one that the "
     "reward model likes best, not the one with the best score."),
    ("combinations(range(len(likes)), n)", "__import__('itertools').product(range(len(likes)), "
     "repeat=n)", "The n answers of a set are different: nothing is drawn twice."),
    ("scores[max", "likes[max", "This is the mean reward of the kept answers. Take the mean of "
     "their true scores."),
    ], always=[
        (1, [1, 2, 3, 0], [0, 1, 0.5, 0.2]), (2, [1, 2, 3, 0], [0, 1, 0.5, 0.2]),
        (1, [2.0], [0.5]), (2, [-1.0, -2.0], [0.5, 0.5]),           # all of them; equal scores
        (2, [3, 2, 1], [0.5, 0, 0.5]), (2, [3.0, 1, 2], [0, 1, 0.5]),       # the first is the best
        (3, [*range(20)], [k / 20 for k in range(20)])])


# ---- 17 ------------------------------------------------------------------------------------------
def gae(R, V, gamma, lam):
    following = later = torch.zeros(len(R))             # V and A of the next token
    out = []
    for t in reversed(range(R.shape[1])):
        later = R[:, t] + gamma * following - V[:, t] + gamma * lam * later
        following = V[:, t]
        out.insert(0, later)
    return torch.stack(out, 1)


def rewards(draw):
    B, T = draw.randint(1, 3), draw.randint(1, 4)
    return (draw.numbers(-1, 1, B, T), draw.numbers(-1, 1, B, T), draw.choice([0.0, 0.7, 0.9, 1.0]),
            draw.choice([0.0, 0.3, 0.5, 1.0]))


R, V = numbers([0, 1]), numbers([0.5, 0.6])
GAE = Task(gae, rewards, [
    ("gamma * following", "following", "The critic's next prediction is multiplied by gamma."),
    ("reversed(range(R.shape[1]))", "range(R.shape[1])", "It runs forward in time. An advantage "
     "needs the one after it, so begin at the last token."),
    (" + gamma * lam * later", "", "The advantage of the next token is missing: this is delta "
     "alone, which is right for lam = 0 only."),
    ("gamma * lam * later", "lam * later", "The next advantage is multiplied by gamma and by lam."),
    ("gamma * lam * later", "gamma * later", "The next advantage is multiplied by gamma and by "
     "lam. Here lam is missing."),
    (" - V[:, t]", "", "The critic's prediction before the token is not subtracted."),
    ("R[:, t] + gamma * following - V[:, t]", "R[:, t] - V[:, t]", "The critic's next prediction "
     "is missing in delta."),
    ("following = later = torch.zeros(len(R))", "following, later = V[:, -1], torch.zeros(len(R))",
     "After the last token the critic's prediction is 0: nothing is to come.")],
    always=[(R, V, *x) for x in ((1, 0.5), (1, 0), (1, 1), (0.9, 0.5), (0, 0.5))]
    + [(R[:, 1:], V[:, 1:], 0.9, 0.5),
       (numbers([0, 0, 1], [1, 0, 0]), numbers([0.5, 0.6, 0.1], [2, 0, -1]), 0.9, 0.5)])


# ---- 19 ------------------------------------------------------------------------------------------
def attention(q, k, v):
    seen = torch.ones(q.shape[1], k.shape[1]).tril(k.shape[1] - q.shape[1]) > 0     # (T,n+T)
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    return scores.masked_fill(~seen, -math.inf).softmax(-1) @ v


def queries_keys_values(draw):
    B, T, n = draw.randint(1, 2), draw.randint(1, 3), draw.randint(0, 2)
    h, c = draw.choice([2, 3, 16]), draw.randint(1, 3)
    return tuple(draw.numbers(-2, 2, B, *shape) for shape in ((T, h), (n + T, h), (n + T, c)))


EXAMPLE = (numbers([[2 * math.log(3), 0, 0, 0]]), numbers([[1, 0, 0, 0], [0, 0, 0, 0]]),
           numbers([[1, 0], [0, 1]]))
VALUES, ONE = numbers([[1], [2]]), torch.ones(1, 1, 1)
LOW = numbers([[30], [30]]), numbers([[-10], [-8]]), VALUES             # scores of -300 and -240
HIGH = numbers([[20], [20]]), numbers([[20], [15]]), VALUES             # of 400 and 300
ROWS = numbers([[1]], [[2]]), numbers([[1], [0]], [[0], [1]]), numbers([[1], [2]], [[3], [5]])
ATTENTION = Task(attention, queries_keys_values, [
    (" / math.sqrt(q.shape[-1])", "", "The scores are not divided by the square root of h."),
    ("math.sqrt(q.shape[-1])", "q.shape[-1]", "The scores are divided by h. Divide by its square "
     "root."),
    (".tril(k.shape[1] - q.shape[1])", ".tril()",
     "Query i belongs to position n + i of the row, so it sees the keys 0 to n + i."),
    ("scores.masked_fill(~seen, -math.inf)", "scores", "A query sees later positions. Set their "
     "scores to minus infinity."),
    ("scores.masked_fill(~seen, -math.inf).softmax(-1)", "(scores.softmax(-1) * seen)",
     "Later positions are taken out after the softmax, so the weights of those that are left do "
     "not add up to 1. Set their scores to minus infinity before the softmax.")],
    own_attention, tolerance=1e-3, always=[EXAMPLE, (ONE, ONE, ONE), LOW, HIGH, ROWS])


# ---- 21 ------------------------------------------------------------------------------------------
def with_lora(x, W, A, B, alpha):
    return x @ (W + alpha / len(A) * B @ A).T


def layer(draw):
    N, d, m, r = (draw.randint(1, 3) for _ in range(4))
    return (draw.numbers(-2, 2, N, d), draw.numbers(-2, 2, m, d), draw.numbers(-2, 2, r, d),
            draw.numbers(-2, 2, m, r), draw.choice([1, 4, 16]))


x, W, A, B = numbers([1, 2]), numbers([1, 0]), numbers([1, 1]), numbers([2])
LORA = Task(with_lora, layer, [
    ("alpha / len(A)", "alpha", "alpha is not divided by the rank."),
    ("alpha / len(A) * ", "", "The factor alpha / r is missing."),
    ("alpha / len(A)", "alpha / len(W)", "alpha is divided by the rows of W. Divide by the rank "
     "r, the rows of A."),
    ("(W + alpha", "(alpha", "The frozen W is missing. LoRA adds to it.")],
    always=[(x, W, A, B, 1), (x, W, A, 0 * B, 1), (x, W, torch.cat([A, A]), B.repeat(1, 2), 4),
            (100 * x, W, A, B, 16)])


# ---- 22 ------------------------------------------------------------------------------------------
def paired_interval(a, b, t):
    lead = a - b
    return lead.mean(), t * lead.std() / len(lead) ** 0.5


def scores_of_seeds(draw):
    n = draw.randint(2, 5)
    luck = draw.numbers(40, 80, n)                              # of the seed, in both methods
    return luck + draw.numbers(-3, 5, n), luck, [12.706, 4.303, 3.182, 2.776][n - 2]


PAIRED = Task(paired_interval, scores_of_seeds, [
    ("a - b", "b - a", "The sign of the mean is wrong: it is that of a - b."),
    ("t * lead.std()", "t * (a.var() + b.var()).sqrt()", "The seeds are not paired. Take the "
     "standard deviation of the differences a - b."),
    ("lead.std()", "lead.std(unbiased=False)", "The standard deviation is that divided by n. "
     "Divide the sum of squares by n - 1 (numpy: ddof=1)."),
    ("lead.std()", "lead.var()", "This is the variance. Take its root."),
    (" / len(lead) ** 0.5", "", "The standard deviation is not divided by the root of n."),
    ("len(lead) ** 0.5", "len(lead)", "The standard deviation is divided by n. Divide by the root "
     "of n."),
    ("t * lead", "1.96 * lead", "This is 1.96, which is right for many seeds. Take the t that is "
     "given."),
    ("t * lead", "lead", "The factor t is missing."),
    ("t * lead", "2 * t * lead", "This is the whole width of the interval. Return half of it."),
    ], always=[(numbers(3, 5), numbers(1, 1), 12.706), (numbers(3, 5, 4), numbers(3, 5, 4), 4.303),
               (numbers(1, 2, 6), numbers(2, 4, 3), 4.303),
               (numbers(1, 2, 4), numbers(2, 4, 8), 4.303)])

TASKS = {task.name: task for task in (CLIPPED, PASS, BEST, GAE, ATTENTION, LORA, PAIRED)}
