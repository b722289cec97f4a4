"""The right function of ex15.py, and common mistakes."""
from lessons.tasks.task import Task


def parts_of_advantage(T, gamma, lam):
    rewards = [(gamma * lam) ** t for t in range(T)]
    values = [gamma * (1 - lam) * (gamma * lam) ** (t - 1) for t in range(1, T)]
    return rewards, [-1, *values]


def answer(draw):
    return draw.randint(1, 4), draw.choice([0.0, 0.7, 0.9, 1.0]), draw.choice([0.0, 0.3, 0.5, 1.0])


TASKS = {"15a": Task(parts_of_advantage, answer, [
    ("[(gamma * lam) ** t", "[lam ** t", "A reward t tokens later counts gamma times less for each "
     "of them as well."),
    ("[(gamma * lam) ** t", "[gamma ** t", "A reward t tokens later has come through t factors "
     "gamma lam, not gamma."),
    ("[(gamma * lam) ** t", "[(gamma * lam) ** (t + 1)", "Before R_0 stands 1: it is in the first "
     "delta, which has no factor gamma lam. R_t has t of them."),
    ("(gamma * lam) ** (t - 1)", "(gamma * lam) ** t", "V_t comes first in the delta of token "
     "t - 1, so there are t - 1 factors gamma lam before it."),
    ("gamma * (1 - lam) *", "gamma *", "V_t stands in two deltas: with gamma in the one before, "
     "and with -1 in its own."),
    ("gamma * (1 - lam) *", "(1 - lam) *", "In the delta before it V_t is multiplied by gamma."),
    ("gamma * (1 - lam) * (gamma * lam) ** (t - 1)", "-(gamma * lam) ** t", "V_t stands in two "
     "deltas. Only the -V_t of its own is there; the one before has + gamma V_t."),
    ("[-1, *values]", "[1, *values]", "V_0 is subtracted.")], always=[(2, 1, 0.5)])}
