"""What the function of ex15.py must do."""
import torch

from lessons.check import expect, same, shaped


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


EXERCISES = {"15a": gae}
