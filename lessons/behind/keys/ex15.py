"""The right function of ex15.py, and common mistakes."""
import torch

from lessons.behind.tasks.task import Task


def gae(R, V, gamma, lam):
    following = later = torch.zeros(len(R))             # V and A of the next token
    out = []
    for t in reversed(range(R.shape[1])):
        later = R[:, t] + gamma * following - V[:, t] + gamma * lam * later
        following = V[:, t]
        out.insert(0, later)
    return torch.stack(out, 1)


def answers(draw):
    B, T = draw.randint(1, 3), draw.randint(1, 4)
    return (draw.numbers(-1, 1, B, T), draw.numbers(-1, 1, B, T), draw.choice([0.0, 0.7, 0.9, 1.0]),
            draw.choice([0.0, 0.3, 0.5, 1.0]))


R, V = torch.tensor([[0.0, 1.0]]), torch.tensor([[0.5, 0.6]])
TASKS = {"15a": Task(gae, answers, [
    ("gamma * following", "following", "The critic's next prediction is multiplied by gamma."),
    ("reversed(range(R.shape[1]))", "range(R.shape[1])", "It runs forward in time. An advantage "
     "needs the one after it, so begin at the last token."),
    ("gamma * lam * later", "lam * later", "The next advantage is multiplied by gamma and by lam."),
    ("following = later = torch.zeros(len(R))", "following, later = V[:, -1], torch.zeros(len(R))",
     "After the last token the critic's prediction is 0: nothing is to come.")],
    always=[(R, V, gamma, lam) for gamma, lam in ((1, 0.5), (1, 0), (1, 1), (0.9, 0.5), (0, 0.5))]
    + [(R[:, 1:], V[:, 1:], 0.9, 0.5), (torch.tensor([[0.0, 0, 1], [1, 0, 0]]),
                                        torch.tensor([[0.5, 0.6, 0.1], [2, 0, -1]]), 0.9, 0.5)])}
