"""The right functions of ex12.py, and common mistakes."""
import torch

from lessons.tasks.task import Task


def answers_needed(p, share):
    K = 2
    while 1 - p ** K - (1 - p) ** K < share:
        K += 1
    return K


def chance_and_share(draw):
    return (draw.choice([0.05, 0.1, 0.3, 0.5, 0.8, 0.9]),
            draw.choice([0.3, 0.5, 0.6, 0.75, 0.85, 0.95]))


def grpo_push(logp, old, ref, A, eps, beta):
    rho = (logp - old).exp()
    plain = rho * A <= rho.clamp(1 - eps, 1 + eps) * A
    return rho * A * plain + beta * ((ref - logp).exp() - 1)


def tokens(draw):
    T = draw.randint(1, 3)
    old, A = draw.numbers(-3, -1, T), draw.numbers(-2, 2, T)
    return (old + draw.numbers(-0.6, 0.6, T), old, old + draw.numbers(-1, 1, T), A,
            draw.choice([0.1, 0.2]), draw.choice([0.04, 0.3]))


TASKS = {
    "12a": Task(answers_needed, chance_and_share, [
        (" < share", " <= share", "'At least' this probability: a group that has it exactly is "
         "large enough."),
        (" - p ** K - (1 - p) ** K", " - max(p, 1 - p) ** K", "The scores are all equal in two "
         "ways, if all answers are right and if all are wrong. Subtract both probabilities, not "
         "the larger one alone."),
        (" - p ** K", "", "The scores are also all equal if all answers are right."),
        (" - (1 - p) ** K", "", "The scores are also all equal if all answers are wrong."),
        ("while 1", "while K < 100 and 1", "The search gives up too early: some group is always "
         "large enough."),
        ("return K", "return K + 1", "One answer less is enough as well.")],
        always=[(0.5, 0.5), (0.1, 0.5), (0.99, 0.95)]),
    "12b": Task(grpo_push, tokens, [
        ("((ref - logp).exp() - 1)", "(1 - (ref - logp).exp())", "The derivative of e^d - d - 1 by "
         "d is e^d - 1, and d falls as logp rises. So a token that the reference finds more likely "
         "is pushed up."),
        ("return rho * A * plain", "return A * plain", "The derivative of rho by logp is rho."),
        ("rho * A <= rho.clamp(1 - eps, 1 + eps) * A", "(rho - 1).abs() <= eps", "A clipped ratio "
         "is not always a constant: the smaller of both gains counts."),
        ("return rho * A * plain + beta * ((ref - logp).exp() - 1)", "return (rho * A + beta * "
         "((ref - logp).exp() - 1)) * plain", "Where the gain is clipped, the penalty still "
         "pushes."),
        ("((ref - logp).exp() - 1)", "(ref - logp)", "This is d. The derivative of e^d - d - 1 by "
         "d is e^d - 1."),
        (" * plain", "", "Where the clipped gain is the smaller one, it is a constant and pushes "
         "nothing."),
        ("return rho * A * plain", "return -rho * A * plain", "The sign of the first part is "
         "wrong: a push is minus the derivative of the loss, and the loss holds -min."),
        (" + beta * ((ref - logp).exp() - 1)", "", "The penalty's push is missing.")], always=[
            tuple(torch.tensor([x]) for x in (-1.0, -1.0, -2.0, 0.5)) + (0.2, 0.1),
            tuple(torch.tensor([x]) for x in (-1.0, -2.0, -1.0, 0.0)) + (0.2, 0.1),
            (torch.tensor([1.202, 1.198, 0.802, 0.798]).log(), torch.zeros(4), torch.zeros(4),
             torch.tensor([1.0, 1.0, -1.0, -1.0]), 0.2, 0.1)])}
