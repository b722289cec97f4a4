"""What the function of ex16.py must do."""
import torch

from lessons.check import expect, same, shaped


def mean_difference(right, thinks):
    found = []
    for row, by in zip(right, thinks == 1):
        if by.any() and not by.all():
            found.append(row[by].mean() - row[~by].mean())
    return sum(found) / len(found) if found else None


def advantage_of_thinking(mine, draw):
    P, K = draw.randint(1, 3), draw.randint(2, 5)
    right, thinks = (draw.ids(P, K) % 2 for _ in range(2))
    thinks[0, :2] = torch.tensor([0, 1])                # so that prompt 0 has answers of both kinds
    right = right.float()
    for kind, name in enumerate(("gives its result at once", "thinks")):
        nothing = mine(right, torch.full((P, K), kind))
        expect(nothing is None, f"Every answer {name} here, so there is nothing to compare and the "
               f"result is None. Yours is {nothing}.")
    got = mine(right, thinks)
    expect(got is not None, "Prompt 0 has answers of both kinds, so the result is a number. Yours "
           "is None.")
    shaped(got, (), "The result is one number.")
    of_one_kind = torch.cat([thinks, torch.full((1, K), draw.randint(0, 1))])
    more = torch.cat([right, torch.full((1, K), float(draw.randint(0, 1)))])
    same(mine(more, of_one_kind), got, "A prompt was added whose answers are all of one kind, and "
         "the result changed. Such a prompt is left out.")
    same(mine(right, 1 - thinks), -got, "Thinking and answering at once were exchanged, so the "
         "result should change its sign.")
    used = [p for p in range(P) if 0 < thinks[p].sum() < K]
    for k in range(K):
        other = right.clone()
        other[0, k] = 1 - other[0, k]
        alike = int((thinks[0] == thinks[0, k]).sum())
        wanted = (other[0, k] - right[0, k]) * (2 * thinks[0, k] - 1) / alike / len(used)
        moved = mine(other, thinks) - got
        does = "thinks" if thinks[0, k] else "answers at once"
        expect(abs(moved - wanted) < 1e-3, f"Answer {k} to prompt 0 {does}, as {alike} of its "
               f"{K} answers do, and {len(used)} of {P} prompts have answers of both kinds. If it "
               f"becomes {'right' if other[0, k] else 'wrong'}, the result should change by "
               f"{wanted:.3f}. Yours changes by {moved:.3f}.")
    wanted = mean_difference(right, thinks)
    same(mine(right, thinks), wanted, "The result is not the mean difference.")


EXERCISES = {"16a": advantage_of_thinking}
