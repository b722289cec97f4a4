"""What the functions of ex12.py must do."""
import torch

from lessons.check import same, shaped


def rloo(mine, draw):
    P, K = draw.randint(1, 3), draw.randint(2, 5)
    R = draw.numbers(0, 1, P, K)
    got = mine(R)
    shaped(got, (P, K), "There is one advantage for each answer.")
    same(mine(torch.ones(P, K)), torch.zeros(P, K), "All scores are equal here, so no answer is "
         "better than the others.")
    for k in range(K):
        other = R.clone()
        other[0, k] += 1
        wanted = torch.zeros(P, K)
        wanted[0] = -1 / (K - 1)
        wanted[0, k] = 1
        same(mine(other) - got, wanted, f"K is {K}. Answer {k} to prompt 0 scored 1 more. Its own "
             f"advantage should rise by 1, those of the other {K - 1} answers to this prompt "
             f"should fall by 1/{K - 1}, and other prompts should not change.")
    same(got, (R - R.mean(1, keepdim=True)) * K / (K - 1), "The advantages react to each score as "
         "they should, but have other values.")


EXERCISES = {"12a": rloo}
