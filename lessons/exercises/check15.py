"""What the functions of ex15.py must do."""
import torch

from lessons.check import expect, same, shaped, slopes


def gae(mine, draw):
    T = draw.randint(1, 4)
    R, V = draw.numbers(-1, 1, T), draw.numbers(0, 1, T)
    lam, gamma = draw.choice([0.3, 0.5, 1.0]), draw.choice([0.7, 0.9])
    got = mine(R, V, gamma, lam)
    shaped(got, (T,), "There is one advantage for each token.")
    same(mine(R * 0, V * 0, gamma, lam), torch.zeros(T), "All rewards and all expected values are "
         "0 here, so the advantages are 0.")
    decay = gamma * lam
    for k in range(T):                              # what reward k and value k add to advantage t
        for t in range(T):
            of_reward = decay ** (k - t) if t <= k else 0.0
            of_value = gamma * decay ** (k - t - 1) - decay ** (k - t) if t < k else -float(t == k)
            one = torch.eye(T)[k]
            for name, wanted in (("R", of_reward), ("V", of_value)):
                more = (R + one, V) if name == "R" else (R, V + one)
                moved = mine(*more, gamma, lam)[t] - got[t]
                expect(abs(moved - wanted) < 1e-3, f"lam is {lam} and gamma {gamma}. One more in "
                       f"{name} at position {k} of {T} should change the advantage at position {t} "
                       f"by {wanted:.3f}. It changes yours by {moved:.3f}.")


def clip_loss(mine, draw):
    T, eps, far = draw.randint(1, 3), draw.choice([0.1, 0.2, 0.3]), draw.choice([1.2, 3.0])
    old, A = draw.numbers(-3, -0.5, T), draw.numbers(-2, 2, T)
    logp = old + draw.numbers(-far, far, T)
    got = mine(logp, old, A, eps)
    shaped(got, (T,), "There is one loss for each token.")
    ratio = (logp - old).exp()
    near = ratio.clamp(1 - eps, 1 + eps)
    for t in range(T):
        other = logp.clone()
        other[t] = old[t]
        now = mine(other, old, A, eps)
        expect(abs(now - got)[torch.arange(T) != t].sum() < 1e-4, f"logp of token {t} was changed, "
               "and the loss of another token changed with it. Each token has its own ratio.")
    got = mine(logp, old, A, eps)
    for t in range(T):
        wanted = -min(ratio[t] * A[t], near[t] * A[t])
        expect(abs(got[t] - wanted) < 1e-3, f"Token {t} has the ratio {ratio[t]:.3f}, which is "
               f"{near[t]:.3f} when clipped to 1 - {eps} and 1 + {eps}, and the advantage "
               f"{A[t]:.3f}. The two gains are {ratio[t] * A[t]:.3f} and {near[t] * A[t]:.3f}, so "
               f"its loss is {wanted:.3f}. Yours is {got[t]:.3f}.")
    slope, of_old, _ = slopes(lambda x, y, A: mine(x, y, A, eps), logp, old, A)
    expect(not of_old.any(), "The values are right, but gradient flows into the old log-probs.")
    wanted = -A * ratio * (ratio * A <= near * A)
    same(slope, wanted, "The values are right, but not the gradient by logp. It is -A times the "
         "ratio, or 0 where the clipped gain is the smaller one.")


EXERCISES = {"15a": gae, "15b": clip_loss}
