"""The right function of ex16.py, and common mistakes."""
from lessons.check import Exercise


def advantage_of_thinking(right, thinks):
    found = []
    for row, by in zip(right, thinks > 0):
        if by.any() and not by.all():
            found.append(row[by].mean() - row[~by].mean())
    return sum(found) / len(found) if found else None


def rollouts(draw):
    P, K = draw.randint(1, 3), draw.randint(2, 3)
    return draw.ids(P, K, 2).float(), draw.ids(P, K, 2)


EXERCISES = {"16a": Exercise(advantage_of_thinking, rollouts, [
    (" if found else None", " if found else 0", "If every prompt has answers of one kind only, "
     "there is nothing to compare and the result is None."),
    ("row[~by].mean()", "row.mean()", "Compare with the answers that do not think, not with all."),
    ("sum(found) / len(found)", "sum(found) / len(right)", "A prompt whose answers are all of one "
     "kind is left out, also from the number by which you divide."),
    ("zip(right, thinks > 0)", "[(right, thinks > 0)]", "Answers to all prompts are compared at "
     "once. Compare those to one prompt: the model may think more often about hard ones.")])}
