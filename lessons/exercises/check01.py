"""What the function of ex01.py must do."""
import torch
from torch.nn.functional import scaled_dot_product_attention

from lessons.check import expect, same, shaped, slopes


def attention(mine, draw):
    B, T, n = draw.randint(1, 2), draw.randint(1, 3), draw.randint(0, 2)
    h, c = draw.choice([2, 3, 16]), draw.randint(1, 3)
    q, k, v = (draw.numbers(-2, 2, B, *shape) for shape in ((T, h), (n + T, h), (n + T, c)))
    got = mine(q, k, v)
    shaped(got, (B, T, c), "The result has c numbers for each query.")
    near = q / 9                                # small scores: every position that is seen counts
    before = mine(near, k, v)
    for j in range(n + T):
        other_k, other_v = k.clone(), v.clone()
        other_k[:, j] += 1
        other_v[:, j] += 1
        moved = (mine(near, other_k, other_v) - before).abs().sum((0, 2)) > 1e-5      # (T,)
        for i in range(T):
            sees = j <= n + i
            expect(moved[i] == sees, f"n is {n} and T is {T}. Query {i} belongs to position "
                   f"{n + i} of the row, so it should {'' if sees else 'not '}see position {j}. "
                   f"Key and value of position {j} were changed, and your result for this query "
                   f"{'changed' if moved[i] else 'did not change'}. Set the scores of later "
                   "positions to minus infinity before the softmax.")
    seen = torch.ones(T, n + T).tril(n) > 0
    wanted = scaled_dot_product_attention(q, k, v, attn_mask=seen)
    same(mine(q, k, v), wanted, "The weights are not the "
         "softmax over j of q_i . k_j / sqrt(h). Is the scale right? Which index belongs to q?")
    far = scaled_dot_product_attention(9 * q, 9 * k, v, attn_mask=seen)
    same(mine(9 * q, 9 * k, v), far, "The result is right for small scores but not for large ones, "
         "where exp overflows. torch.softmax takes care of that.")
    for name, slope in zip("qkv", slopes(lambda *x: mine(*x)[..., 0], q, k, v)):
        expect(slope.any() or n + T == 1, f"The values are right, but no gradient reaches {name}.")


EXERCISES = {"01a": attention}
