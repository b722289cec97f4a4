"""What the functions of ex02.py must do."""
import torch

from lessons.check import expect, same, shaped, slopes

HEADERS = "user", "assistant"


def response_mask(mine, draw):
    row = "user hi assistant yo end user hi assistant yo end".split()
    got = mine(row)
    shaped(got, (len(row) - 1,), "The mask has one number for each target. The targets are the row "
           "without its first token.")
    expect(got.tolist() != [0, 0, 0, 1, 1, 0, 0, 0, 1], "There is no shift. This is the mask of "
           "the tokens themselves; target i is token i + 1, so leave out the first number, not the "
           "last.")
    tokens = [draw.choice(HEADERS)]
    for _ in range(draw.randint(2, 9)):
        tokens.append(draw.choice(["hi", "yo", "end", "end", *HEADERS]))
    speaker, counts = "", []
    for token in tokens:
        speaker = token if token in HEADERS else speaker
        counts.append(int(speaker == "assistant" and token not in HEADERS))
    got = mine(tokens)
    for i, token in enumerate(tokens[1:], 1):
        who = [word for word in tokens[:i] if word in HEADERS][-1]
        what = "a header" if token in HEADERS else f"said by the {who}"
        expect(got[i - 1] == counts[i], f"Target {i - 1} is {token!r}, {what}, so the mask should "
               f"be {counts[i]} there. Yours is {got[i - 1]:g}.")


def sft_loss(mine, draw):
    B, T, reduction = draw.randint(1, 3), draw.randint(2, 5), draw.choice(["token", "sequence"])
    logp, mask = draw.numbers(-3, 0, B, T), draw.mask(B, T).float()
    got = mine(logp, mask, reduction)
    shaped(got, (), "The loss is one number for the whole batch.")
    n = mask.sum() if reduction == "token" else B * mask.sum(1, keepdim=True)
    share = mask / n                                        # what each target contributes
    for b in range(B):
        for t in range(T):
            other = logp.clone()
            other[b, t] -= 1
            moved = mine(other, mask, reduction) - got
            expect(abs(moved - share[b, t]) < 1e-3, f'The reduction is "{reduction}". One nat more '
                   f"loss at position {t} of row {b}, where the mask is {mask[b, t]:.0f}, should "
                   f"change the result by {share[b, t]:.3f}. It changes yours by {moved:.3f}.")
    same(mine(logp, mask, reduction), -(share * logp).sum(), "Each token has the right share in "
         "the result, but the result as a whole has another value.")
    (slope,) = slopes(lambda x: mine(x, mask, reduction), logp)
    same(slope, -share, "The value is right, but not its gradient by logp. Stay in torch: .item() "
         "and float() cut the gradient off.")
    hidden = logp.masked_fill(mask == 0, -torch.inf)
    same(mine(hidden, mask, reduction), got, "logp was set to -inf where the mask is 0, and the "
         "result changed.")


EXERCISES = {"02a": response_mask, "02b": sft_loss}
