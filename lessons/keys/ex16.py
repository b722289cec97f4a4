"""The right function of ex16.py, and common mistakes."""
from lessons.tasks.task import Task


def push_on_steps(s, delta, long, short):
    return s * (1 - s) * delta * ((1 - s) / long + s / short)


def model(draw):
    return draw.uniform(0.1, 0.9), draw.uniform(-0.5, 0.5), draw.randint(3, 9), draw.randint(1, 6)


OWN_TOKENS = "Each advantage is divided by the tokens of its own answer, not by a mean length."
TASKS = {"16a": Task(push_on_steps, model, [
    ("(1 - s) / long + s / short", "s / long + (1 - s) / short", "Two things are exchanged, the "
     "lengths or the kinds of answers. Those with steps have `long` tokens, are a share s and have "
     "the mean advantage (1 - s) delta, times the derivative 1 - s."),
    ("((1 - s) / long + s / short)", "1 / (s * long + (1 - s) * short)", OWN_TOKENS),
    ("((1 - s) / long + s / short)", "2 / (long + short)", OWN_TOKENS),
    ("s * (1 - s) * delta * ((1 - s) / long + s / short)",
     "delta * ((1 - s) ** 2 / long + s ** 2 / short)", "The mean over all answers is missing: "
     "answers with steps are a share s of them, and the others a share 1 - s."),
    ("((1 - s) / long + s / short)", "1", "The advantage is not divided by the answer's tokens."),
    ("s / short", "0", "Answers without steps push x as well: they have the advantage -s delta, "
     "and the derivative of log(1 - s) by x is -s."),
    ("return s", "return -s", "The sign is wrong: where thinking has an advantage and both kinds "
     "of answers are equally long, steps become more likely."),
    ("+ s / short", "- s / short", "The sign of one part is wrong. Answers without steps have the "
     "advantage -s delta, and the derivative of log(1 - s) by x is -s: both minus signs go.")],
    tolerance=1e-5, always=[(0.5, 0.4, 10, 2), (0.25, -0.2, 3, 3)])}
