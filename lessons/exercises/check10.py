"""What the function of ex10.py must do."""
import torch
from torch.nn.functional import softplus

from lessons.check import expect, margin, same, shaped, slopes


def poft_loss(mine, draw):
    T, mask = 5, draw.mask(1, 5)[0].float()
    logp = draw.numbers(-3, 0, T)
    others = [draw.numbers(-3, 0, draw.randint(1, 4)) for _ in range(draw.randint(1, 3))]
    got = mine(logp, mask, others)
    shaped(got, (2,), "The result is two numbers, the loss and tau.")
    same(got[1], 1 - (-got[0]).exp(), "The two numbers do not fit together. The loss is -log "
         "sigmoid(z) and tau is sigmoid(-z), with the same z = r - r_bar.")

    def one_nat_more(where, logp, others, share):
        moved = margin(mine(logp, mask, others)[0]) - margin(got[0])
        same(moved, share, f"One nat more {where} should change r - r_bar by {share:.2f}. Yours "
             f"changes by {moved:.2f}.", tolerance=1e-2)

    for k in range(len(others)):
        more = [x + 1.0 * (j == k) for j, x in enumerate(others)]
        one_nat_more(f"on each token of aligned model {k} of {len(others)}", logp, more,
                     -1 / len(others))
    for t in range(T):
        more = logp.clone()
        more[t] += 1
        one_nat_more(f"at position {t}, where the mask is {mask[t]:.0f},", more, others,
                     mask[t] / mask.sum())
    for k, other in enumerate(others):
        more = list(others)
        more[k] = other + torch.tensor([1.0] + [0.0] * (len(other) - 1))
        one_nat_more(f"on the first of {len(other)} tokens of aligned model {k} of {len(others)}",
                     logp, more, -1 / len(others) / len(other))
    r_bar = torch.stack([x.mean() for x in others]).mean()
    r = (logp * mask).sum() / mask.sum()
    loss = mine(logp, mask, others)[0]
    same(loss, softplus(r_bar - r), "The loss is not -log sigmoid(r - r_bar).")
    same(mine(logp - 300, mask, others)[0], softplus(r_bar - r + 300), "All log-probabilities of "
         "the policy are 300 lower here. log(sigmoid(z)) is -inf for such a z, so use logsigmoid.")
    loss, tau = (slopes(lambda x, n=n: mine(x, mask, others)[n], logp)[0] for n in (0, 1))
    same(loss, -got[1] * mask / mask.sum(), "The values are right, but not the loss's gradient.")
    expect(not tau.any(), "The values are right, but tau carries gradient. Detach it.")


EXERCISES = {"10a": poft_loss}
