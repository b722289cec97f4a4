"""What the function of ex04.py must do."""
from lessons.check import expect, same, shaped


def own_guess(mine, draw):
    B, T = draw.randint(1, 2), draw.randint(4, 6)
    inputs, mask, argmax = draw.ids(B, T), draw.mask(B, T), draw.ids(B, T)
    got = mine(inputs, mask, argmax)
    shaped(got, (B, T), "The result has one token for each position.")

    def reached(b, t):
        """Which positions of the result change with the guess that is made at position t?"""
        other = argmax.clone()
        other[b, t] = 0
        found = (mine(inputs, mask, other) != got).nonzero().tolist()
        return found, " and ".join(f"position {i} of row {row}" for row, i in found) or "nothing"

    for b, t in mask[:, :-1].nonzero().tolist():
        found, where = reached(b, t)
        expect(found == [[b, t + 1]], f"argmax at position {t} of row {b} is the guess for "
               f"position {t + 1}, which belongs to the answer. When this guess was changed to 0, "
               f"{where} changed in your result.")
    for b, t in (mask[:, :-1] == 0).nonzero().tolist():
        found, where = reached(b, t)
        expect(not found, f"The mask is 0 at position {t} of row {b}, so position {t + 1} is not "
               f"in the answer. Yet its guess, changed to 0, changes {where} in your result.")
    got = mine(inputs, mask, argmax)
    same(got[:, 0], inputs[:, 0], "Position 0 keeps its token, because no position stands before "
         "it that could have guessed it.")
    answer = mask[:, :-1] == 1
    same(got[:, 1:][answer], argmax[:, :-1][answer], "In the answer the result is the guess.")
    same(got[:, 1:][~answer], inputs[:, 1:][~answer], "Outside the answer each position keeps its "
         "true token.")


EXERCISES = {"04a": own_guess}
