"""The extra on federated learning: what the thresholds learn, what is sent, and what never leaves a
client."""
import math
import sys

import numpy as np
import pytest
import torch
from running import ROOT, call, one_error
from tiny import same

sys.path.insert(0, str(ROOT / "lessons" / "extras"))
import spafl  # noqa: E402


def world(scale: float = 1.0, seed: int = 0, tau: float = 0.05):
    """(weights, thresholds, x, y) of one seed with three clients, in double precision; some rows
    are pruned."""
    rng = torch.Generator().manual_seed(seed)
    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=rng, dtype=torch.float64)
    weights = [scale * normal(1, 3, 4, 5) / 5, scale * normal(1, 3, 3, 4) / 4]
    taus = [(w.abs().mean(-1) + tau * normal(*w.shape[:-1])).clamp_min(0) for w in weights]
    return weights, taus, normal(1, 3, 6, 5), torch.randint(3, (1, 3, 6), generator=rng)


def gradients(weights, taus, x, y, window: str, a: float = 0.3) -> tuple[list, list]:
    leaves = [t.clone().requires_grad_() for t in weights + taus]
    n = len(weights)
    found = torch.autograd.grad(spafl.loss(leaves[:n], leaves[n:], x, y, a, window), leaves)
    return found[:n], found[n:]


def test_a_threshold_prunes_the_whole_row_or_nothing():
    weights, taus, x, _ = world()
    rows = torch.cat([spafl.kept(w, t).flatten() for w, t in zip(weights, taus)])
    assert 0 < rows.sum() < len(rows), "some rows are in use and some are not, or nothing is shown"
    by_hand = x
    for i, (w, t) in enumerate(zip(weights, taus)):
        alive = w * (w.abs().mean(-1, keepdim=True) > t[..., None])
        by_hand = (by_hand.relu() if i else by_hand) @ alive.transpose(-1, -2)
    same(spafl.logits(weights, taus, x), by_hand,
         "mask = 1[mean |w| > tau], for all clients at once")
    zero = [torch.zeros_like(t) for t in taus]
    assert all(bool(spafl.kept(w, t).all()) for w, t in zip(weights, zero)), \
        "LAW: threshold 0 prunes nothing"


def test_the_threshold_gradient_in_closed_form():
    """dL/dtau_i = -sum_j g_ij w_ij - a exp(-tau_i), where g is the loss's gradient in the masked
    weights."""
    weights, taus, x, y = world()
    masked = [(w * spafl.kept(w, t)[..., None]).requires_grad_() for w, t in zip(weights, taus)]
    # prunes nothing: the masked weights as they are
    zero = [torch.full_like(t, -1.0) for t in taus]
    g = torch.autograd.grad(spafl.loss(masked, zero, x, y, 0.0, ""), masked)
    _, paper = gradients(weights, taus, x, y, "paper")
    for layer, (w, t) in enumerate(zip(weights, taus)):
        same(paper[layer], -(g[layer] * w).sum(-1) - 0.3 * (-t).exp(),
             "through the window, and the pull of exp(-tau)")


def test_blind_thresholds_are_known_in_advance():
    """Training with the released window on any data gives one and the same number."""
    def after(seed: int, window: str) -> torch.Tensor:
        x, y = (t[None] for t in spafl.draw_data(0.1, seed)["train"])
        rng = torch.Generator().manual_seed(seed)
        weights = [torch.randn(1, 10, out, n, generator=rng) / n ** 0.5
                   for n, out in zip(spafl.SIZES, spafl.SIZES[1:])]
        taus = [torch.zeros(w.shape[:-1]) for w in weights]
        spafl.train_at_home(weights, taus, window, x, y, 0.02, [rng])
        return torch.cat([t.flatten() for t in taus])
    tau = 0.0
    for _ in range(spafl.EPOCHS * math.ceil(spafl.ROWS / spafl.BATCH)):
        tau += spafl.LR * 0.02 * math.exp(-tau)
    for seed in (0, 1):
        same(after(seed, "released"), torch.full((1060,), tau),
             "tau <- tau + lr a exp(-tau), and nothing else", 1e-6)
    assert after(0, "paper").std() > 0.005, "with the paper's window neurons and clients differ"
    assert (after(0, "") == 0).all(), "without a window there is no threshold"


@pytest.mark.parametrize("scale, tau, window, pull, least, most",
                         [(3, 0.5, "paper", 50.0, 0, 1), (0.1, 0.9, "released", 1e-9, 0, 0.01)])
def test_thresholds_stay_between_0_and_1_and_an_empty_layer_begins_again(
        scale, tau, window, pull, least, most):
    x, y = (t[None] for t in spafl.draw_data(0.1, 0)["train"])
    rng = torch.Generator().manual_seed(0)
    weights = [scale * torch.randn(1, 10, out, n, generator=rng)
               for n, out in zip(spafl.SIZES, spafl.SIZES[1:])]
    taus = [torch.full(w.shape[:-1], tau) for w in weights]
    spafl.train_at_home(weights, taus, window, x, y, pull, [rng])
    ends = torch.cat([t.flatten() for t in taus])
    assert least <= ends.min() and ends.max() <= most and (most < 1 or ends.max() == 1)


# ---- what is sent --------------------------------------------------------------------------------
class Open(spafl.Post):
    """A post that keeps what it carries."""
    def __init__(self):
        self.letters = []

    def send(self, x):
        self.letters.append(x)
        return super().send(x)


def client_state(seed: int = 0):
    weights, taus, *_ = world(seed=seed)
    return weights, taus, [torch.zeros_like(t) for t in taus]


@pytest.mark.parametrize("sends", ["weights", "thresholds", "nothing"])
def test_bytes_are_those_of_what_is_sent(sends):
    weights, taus, before = client_state()
    own = {"weights": weights, "thresholds": taus, "nothing": []}[sends]
    want, post = [t.clone() for t in own], Open()
    spafl.talk(sends, weights, taus, before, post)
    assert len(post.letters) == 2 * len(own), "each layer once up, once down"
    assert [x.shape for x in post.letters[::2]] == [x.shape for x in own], \
        "up goes that, and nothing else"
    assert post.sent == 8 * 2 * sum(t.numel() for t in own), \
        "LAW: bytes = numbers x 8 (double), up and down"
    for x, start in zip(own, want):
        same(x, start.mean(1, keepdim=True).expand_as(x), "every client holds the average")


def test_global_thresholds_move_the_weights():
    weights, taus, before = client_state()
    old = [w.clone() for w in weights]
    spafl.talk("thresholds", weights, taus, before, spafl.Post())
    for w, was, t in zip(weights, old, taus):
        want = was - was.sum(-1, keepdim=True).sign() * (t / was.shape[-1])[..., None]
        same(w, want, "w - sign(sum w) (tau_new - tau_old) / inputs")
        same(w.sum(-1).abs(), (was.sum(-1).abs() - t).abs(),
             "LAW: |sum w| falls by exactly what the threshold rose")
    weights, taus, before = client_state()
    old = [w.clone() for w in weights]
    spafl.talk("nothing", weights, taus, before, spafl.Post())
    assert all(torch.equal(a, b) for a, b in zip(weights, old)), \
        "LAW: who hears nothing changes nothing"


# ---- data and the whole run ----------------------------------------------------------------------
def test_clients_differ_as_alpha_says():
    def classes(alpha: float, split: str = "train") -> np.ndarray:
        return np.array([len(set(row.tolist())) for row in spafl.draw_data(alpha, 3)[split][1]])
    assert classes(0.1).mean() < 5 < 9 < classes(100).mean(), \
        "0.1: few classes each; 100: nearly all"
    assert (classes(0.1, "all") == 10).all()
    some, again = spafl.draw_data(0.1, 3), spafl.draw_data(0.1, 3)
    shares = {split: torch.stack([row.bincount(minlength=10) / len(row) for row in y])
              for split, (_, y) in some.items()}
    apart = {split: float((shares["train"] - shares[split]).abs().sum(-1).mean() / 2)
             for split in ("own", "all")}
    assert apart["own"] < 0.15 < 0.5 < apart["all"], \
        "a client is tested on the mixture that it trains on, then on all"
    assert all(torch.equal(a, b) for s in some for a, b in zip(some[s], again[s])), \
        "a pure function of its seed"
    assert not torch.equal(some["train"][0], spafl.draw_data(0.1, 4)["train"][0])


def test_the_command(here, capsys):
    assert call(spafl.main, "--rounds", 1, "--seeds", 2, "--out", here / "x" / "s.png") == 0
    out = capsys.readouterr().out
    assert all(name in out for name in (*spafl.LOOKS, *spafl.COLUMNS)) \
        and (here / "x" / "s.png").exists()
    assert call(spafl.main, "--rounds", 1, "--seeds", 1, "--window", "released", "--out",
                here / "s.png") == 0
    assert "paper" not in capsys.readouterr().out
    for flag, value, word in (("--window", "papr", "paper?"), ("--alpha", "0", "--alpha"),
                              ("--a", "-1", "--a")):
        one_error(call(spafl.main, flag, value), capsys.readouterr().err, word)
