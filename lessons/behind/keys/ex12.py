"""The right functions of ex12.py, and common mistakes."""
import torch

from lessons.behind.tasks.task import Task


def advantages(method, R):
    centred = R - R.mean(1, keepdim=True)
    if method == "REINFORCE":
        return R - R.mean()
    if method == "RLOO":
        return centred * R.shape[1] / (R.shape[1] - 1)
    if method == "GRPO":
        return centred / (R.std(1, keepdim=True) + 1e-4)
    return R - 0.5


METHODS = "REINFORCE", "RLOO", "GRPO", "online UNA"


def scores(draw):
    P, K = draw.randint(1, 3), draw.randint(2, 4)
    R = torch.tensor(draw.choices([0.0, 0.0, 0.25, 1.0], k=P * K)).view(P, K)
    return draw.choice(METHODS), R


def grpo_push(logp, old, ref, A, eps, beta):
    rho = (logp - old).exp()
    plain = rho * A <= rho.clamp(1 - eps, 1 + eps) * A
    return rho * A * plain + beta * ((ref - logp).exp() - 1)


def tokens(draw):
    T = draw.randint(1, 3)
    old, A = draw.numbers(-3, -1, T), draw.numbers(-2, 2, T)
    return (old + draw.numbers(-0.6, 0.6, T), old, old + draw.numbers(-1, 1, T), A,
            draw.choice([0.1, 0.2]), draw.choice([0.04, 0.3]))


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


R, V = torch.tensor([[0.0, 1.0]]), torch.tensor([[0.5, 0.6]])
TASKS = {
    "12a": Task(advantages, scores, [
        ("return R - R.mean()", "return centred", "REINFORCE has one baseline for all answers, not "
         "one for each group."),
        ("* R.shape[1] / (R.shape[1] - 1)", "", "RLOO compares with the other answers. A mean that "
         "contains the answer's own score makes it too short."),
        ("R.shape[1] / (R.shape[1] - 1)", "(R.shape[1] - 1) / R.shape[1]", "RLOO's factor is "
         "upside down. It is K / (K - 1), above 1."),
        ("R.std(1, keepdim=True)", "R.std(1, keepdim=True, unbiased=False)", "This is the standard "
         "deviation of a population, as numpy has it. The sum of squares is divided by K - 1 here "
         "(numpy: ddof=1)."),
        ("R.std(1, keepdim=True)", "R.std()", "GRPO divides by the standard deviation of each "
         "group, not by that of the batch.")],
        always=[(method, torch.tensor(R)) for method in METHODS for R in (
            [[1.0, 0], [1, 1]], [[1.0, 0.25, 0]], [[0.0, 0, 0], [1, 0, 0]], [[-1.0, 0.5]])]
        + [("GRPO", torch.tensor([[0.0, 0.001]]))]),
    "12b": Task(grpo_push, tokens, [
        ("((ref - logp).exp() - 1)", "(1 - (ref - logp).exp())", "The derivative of e^d - d - 1 by "
         "d is e^d - 1, and d falls as logp rises. So a token that the reference finds more likely "
         "is pushed up."),
        ("rho * A <= rho.clamp(1 - eps, 1 + eps) * A", "(rho - 1).abs() <= eps", "A clipped ratio "
         "is not always a constant: the smaller of both gains counts."),
        ("return rho * A * plain + beta * ((ref - logp).exp() - 1)", "return (rho * A + beta * "
         "((ref - logp).exp() - 1)) * plain", "Where the gain is clipped, the penalty still "
         "pushes.")], always=[
            tuple(torch.tensor([x]) for x in (-1.0, -1.0, -2.0, 0.5)) + (0.2, 0.1),
            tuple(torch.tensor([x]) for x in (-4.0, -4.5, -1.0, 0.0)) + (0.2, 0.1),
            tuple(torch.tensor([x]) for x in (-1.0, -1.0, -2.0, 0.5)) + (0.2, 0.0),
            (torch.tensor([1.202, 1.198, 0.802, 0.798]).log(), torch.zeros(4), torch.zeros(4),
             torch.tensor([1.0, 1.0, -1.0, -1.0]), 0.2, 0.1),           # near the clip
            (torch.tensor([-1.35, -1.65]), torch.full((2,), -1.5), torch.full((2,), -1.2),
             torch.tensor([1.0, -1.0]), 0.1, 0.3),
            (torch.tensor([-1.0, -1, -2, -2]), torch.full((4,), -1.5), torch.full((4,), -1.2),
             torch.tensor([1.0, -1, 1, -1]), 0.1, 0.3)]),              # far beyond it
    "12c": Task(gae, rewards, [
        ("gamma * following", "following", "The critic's next prediction is multiplied by gamma."),
        ("reversed(range(R.shape[1]))", "range(R.shape[1])", "It runs forward in time. An "
         "advantage needs the one after it, so begin at the last token."),
        ("gamma * lam * later", "lam * later", "The next advantage is multiplied by gamma and by "
         "lam."),
        ("following = later = torch.zeros(len(R))", "following, later = V[:, -1], "
         "torch.zeros(len(R))", "After the last token the critic's prediction is 0: nothing is to "
         "come.")],
        always=[(R, V, *x) for x in ((1, 0.5), (1, 0), (1, 1), (0.9, 0.5), (0, 0.5))]
        + [(R[:, 1:], V[:, 1:], 0.9, 0.5), (torch.tensor([[0.0, 0, 1], [1, 0, 0]]), torch.tensor(
            [[0.5, 0.6, 0.1], [2, 0, -1]]), 0.9, 0.5)])}
