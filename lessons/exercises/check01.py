"""What the functions of ex01.py must do."""
import torch
from torch.nn.functional import scaled_dot_product_attention

from lessons.check import expect, same, shaped, slopes


def attention(mine, draw):
    B, T, h, c = draw.randint(1, 2), draw.randint(2, 4), draw.choice([2, 3, 16]), draw.randint(1, 3)
    q, k, v = (draw.numbers(-2, 2, B, T, n) for n in (h, h, c))
    got = mine(q, k, v)
    shaped(got, (B, T, c), "The result has c numbers for each position.")
    same(got[:, 0], v[:, 0], "Position 0 sees only itself, so its result is its own value.")
    for j in range(1, T):
        other = [x.clone() for x in (q, k, v)]
        for x in other:
            x[:, j] += 1
        same(mine(*other)[:, :j], got[:, :j], f"Query, key and value of position {j} were changed, "
             "and a position before it got another result. It must not see what comes later: set "
             "these scores to minus infinity before the softmax.")
    same(mine(q, k, torch.ones_like(v)), torch.ones(B, T, c), "All values are 1 here, so each "
         "weighted mean should be 1: the weights of a position add up to 1.")
    same(mine(q[:1], k[:1], v[:1]), got[:1], "Row 0 of the batch was given alone, and its result "
         "changed. The rows of a batch do not see each other.")
    same(got, scaled_dot_product_attention(q, k, v, is_causal=True), "The weights are not the "
         "softmax over j of q_i . k_j / sqrt(h). Is the scale right? Which index belongs to q?")
    far = scaled_dot_product_attention(9 * q, 9 * k, v, is_causal=True)
    same(mine(9 * q, 9 * k, v), far, "The result is right for small scores but not for large ones, "
         "where exp overflows. torch.softmax takes care of that.")
    for name, slope in zip("qkv", slopes(lambda *x: mine(*x)[..., 0], q, k, v)):
        expect(slope.any(), f"The values are right, but no gradient reaches {name}.")


EXERCISES = {"01a": attention}
