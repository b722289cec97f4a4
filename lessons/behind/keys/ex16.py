"""The right function of ex16.py, and common mistakes."""
from lessons.behind.tasks.task import Task


def push_on_steps(s, delta, long, short):
    return s * (1 - s) * delta * ((1 - s) / long + s / short)


def model(draw):
    return draw.uniform(0.1, 0.9), draw.uniform(-0.5, 0.5), draw.randint(3, 9), draw.randint(1, 6)


TASKS = {"16a": Task(push_on_steps, model, [
    ("(1 - s) / long + s / short", "s / long + (1 - s) / short", "Two things are exchanged, the "
     "lengths or the kinds of answers. Those with steps have `long` tokens, are a share s and have "
     "the mean advantage (1 - s) delta, times the derivative 1 - s."),
    ("((1 - s) / long + s / short)", "1 / (s * long + (1 - s) * short)", "Each advantage is "
     "divided by the tokens of its own answer, not by a mean length."),
    ("s / short", "0", "Answers without steps push x as well: they have the advantage -s delta, "
     "and the derivative of log(1 - s) by x is -s.")],
    tolerance=1e-5, always=[(0.5, 0.4, 10, 2), (0.25, -0.2, 3, 3), (0.9, 0.5, 1, 6),
                            (0.5, 0.0, 2, 1), (0.1, 1.0, 400, 1)])}
