"""The right function of ex04.py, and common mistakes."""
from lessons.tasks.task import Task


def depends_on_blend(tokens, guesses, mask):
    out, mixed = [], False
    for i, counts in enumerate(mask):
        if i and mask[i - 1] and guesses[i - 1] != tokens[i]:
            mixed = True                                # two different words have been mixed
        out.append(int(mixed and counts == 1))
    return out


def row(draw):
    T = draw.randint(2, 6)
    return draw.choices("xyz", k=T + 1), draw.choices("xyz", k=T), draw.one_mask(T)


TASKS = {"04a": Task(depends_on_blend, row, [
    ("guesses[i - 1]", "guesses[i]", "The guess made AT a position is FOR the next one, so it has "
     "to move to the right by one."),
    ("i and mask[i - 1] and guesses[i - 1] != tokens[i]", "counts and guesses[i] != tokens[i]",
     "Nothing is shifted: guess and mask at a position belong to the token of the next one."),
    ("i and mask[i - 1] and guesses[i - 1] != tokens[i]", "counts and guesses[i] != tokens[i + 1]",
     "A target is not read before it is predicted. Only guesses for earlier words have been read."),
    ("i and mask[i - 1]", "i", "The question is never guessed. Only words of the answer are mixed "
     "with a guess."),
    ("mask[i - 1]", "mask[i]", "The mask is about targets: the token at position i is in the "
     "answer if the mask is 1 at position i - 1."),
    ("        if i and", "        mixed = False\n        if i and", "A blend that was read earlier "
     "is still there: each target is predicted from all positions before it."),
    (" and guesses[i - 1] != tokens[i]", "", "Where the guess is the word itself, the blend is "
     "that word, whatever lambda is."),
    ("mixed and counts == 1", "mixed", "Targets outside the answer have no loss.")], always=[
        (["q", "x", "y", "end"], ["x", "z", "end"], [1, 1, 1]), (["q", "end"], ["x"], [1]),
        (["q", "x", "y", "end"], ["z", "y", "end"], [1, 1, 1]),
        *((["q", "x", "y", "end"], ["z", "y", "end"], mask) for mask in ([0, 0, 1], [0, 1, 1])),
        *((["q", "x", "y", "z", "end"], [*guessed, "z", "end"], mask) for guessed, mask in (
            ("zy", [1, 0, 1, 1]), ("zy", [1, 1, 0, 1]), ("xx", [1, 0, 1, 1])))])}
