"""What the functions of ex01.py must do."""
import math

import torch
from torch.nn.functional import cross_entropy, scaled_dot_product_attention

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


def next_token_loss(mine, draw):
    B, T, V = draw.randint(1, 2), draw.randint(2, 4), draw.randint(3, 4)
    logits, ids = draw.numbers(-2, 2, B, T, V), draw.ids(B, T) % V
    logp = logits[:, :-1].log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0]     # (B,T-1)
    got = mine(logits, ids)
    shaped(got, (), "The loss is one number for all predictions.")
    own = -logits[:, :-1].log_softmax(-1).gather(-1, ids[:, :-1, None]).mean()
    expect(abs(got - own) > 1e-5 or abs(own + logp.mean()) < 1e-5, "This is the loss of each "
           "position's own token, which the model has read. The logits at position t are about the "
           "token at position t + 1: shift the ids by one.")
    level = mine(torch.zeros_like(logits), ids)
    same(level, math.log(V), f"All logits are 0 here, so each of the {V} tokens has the "
         f"probability 1/{V}, and the loss is ln {V}. Yours is {level / math.log(V):.3f} "
         "times as large.")
    other = logits.clone()
    other[:, -1] = other[:, -1].flip(-1) + torch.arange(V)
    same(mine(other, ids), got, "The logits of the last position were changed, and the loss with "
         "them. They are about a token that the row does not contain.")
    other = logits + draw.numbers(-2, 2, B, T, 1)
    same(mine(other, ids), got, "To all logits of a position the same number was added. This does "
         "not change its softmax over the tokens, and must not change the loss.")
    for b in range(B):
        for t in range(T - 1):
            sure = logits.clone()
            sure[b, t, ids[b, t + 1]] += 50
            fall = got - mine(sure, ids)
            wanted = -logp[b, t] / logp.numel()
            expect(abs(fall - wanted) < 1e-3, f"Position {t} of row {b} was made certain that the "
                   f"next token is {ids[b, t + 1]}. This prediction, one of {logp.numel()} in the "
                   f"mean, had the loss {-logp[b, t]:.3f}, so the mean should fall by "
                   f"{wanted:.3f}. Yours falls by {fall:.3f}.")
    same(mine(logits, ids), -logp.mean(), "The loss is not the mean of -log p.")
    (slope,) = slopes(lambda x: mine(x, ids), logits)
    (wanted,) = slopes(lambda x: cross_entropy(x[:, :-1].transpose(1, 2), ids[:, 1:]), logits)
    same(slope, wanted, "The value is right, but not its gradient by the logits.")


EXERCISES = {"01a": attention, "01b": next_token_loss}
