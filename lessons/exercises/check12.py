"""What the functions of ex12.py must do."""
import torch

from lessons.check import expect, same, shaped, show, slopes


def rloo(mine, draw):
    P, K = draw.randint(1, 3), draw.randint(2, 5)
    R = draw.numbers(0, 1, P, K)
    got = mine(R)
    shaped(got, (P, K), "There is one advantage for each answer.")
    for k in range(K):
        other = R.clone()
        other[0, k] += 1
        wanted = torch.zeros(P, K)
        wanted[0] = -1 / (K - 1)
        wanted[0, k] = 1
        moved = mine(other) - got
        same(moved, wanted, f"K is {K}. Answer {k} to prompt 0 scored 1 more. Its own advantage "
             f"should rise by 1, those of the others to this prompt should fall by 1/{K - 1}, "
             f"and other prompts should not change. Yours change by {show(moved)}.")
    same(mine(R), (R - R.mean(1, keepdim=True)) * K / (K - 1), "The advantages react to each score "
         "as they should, but have other values.")


def grpo(mine, draw):
    P, K = draw.randint(1, 3), draw.randint(2, 5)
    R = draw.numbers(0, draw.choice([0.05, 1]), P, K)       # 0.05: answers that are nearly equal
    got = mine(R)
    shaped(got, (P, K), "There is one advantage for each answer.")
    same(mine(torch.ones(P, K)), torch.zeros(P, K), "All scores are equal here, so no answer is "
         "better than the others.")
    other = R.clone()
    other[1:] = 1 - 3 * other[1:]
    same(mine(other)[0], got[0], "The scores of other prompts were changed, and the advantages of "
         "prompt 0 changed. Each prompt has its own mean and spread.")
    got = mine(R)
    same(got.sum(1), torch.zeros(P), "The scores of each prompt are centred, so their advantages "
         "add up to 0.", tolerance=1e-3)
    centred, sd = R[0] - R[0].mean(), R[0].std()
    best = R[0].argmax()
    wanted = centred[best] / (sd + 1e-4)
    same(got[0, best], wanted, f"Answer {best} to prompt 0 is {centred[best]:.5f} better than the "
         f"mean. Divided by the standard deviation {sd:.5f} plus 0.0001 this is {wanted:.3f}. "
         f"Yours is {got[0, best]:.3f}.", tolerance=1e-3)
    spread = R.std(1, keepdim=True) + 1e-4
    same(got, (R - R.mean(1, keepdim=True)) / spread, "The best answer to prompt 0 has "
         "the right advantage, but not all others have.", tolerance=1e-3)
    (slope,) = slopes(lambda x: mine(x) * torch.arange(K), R)
    expect(not slope.any(), "The values are right, but gradient flows through them to R.")


EXERCISES = {"12a": rloo, "12b": grpo}
