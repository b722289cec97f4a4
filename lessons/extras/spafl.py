"""SpaFL: clients that learn together send one threshold per neuron in place of all weights.

    python -m lessons.extras.spafl              # a table, in about half a minute
    Kim et al. 2024, arXiv:2406.00431

This is federated learning. It aligns nothing and trains no language model, but its question is
related: who learns from whom, and how little has to be sent? Each neuron is used with all the
weights that lead into it or with none of them, as a threshold decides that is trained as well:
    L = -log p_y + a sum_j exp(-tau_j)
    m_j = step(mean_k abs(w_jk) - tau_j)
    p_y: the chance of the right class, by the network with the weights m_j w_jk
    tau_j: the threshold of neuron j
The weights stay with each client. Only thresholds are sent to the server, which averages them and
sends them back. Where a threshold rose, the neuron matters little to the other clients, so the
client shrinks its weights.

Guess before you run: how much of SpaFL's accuracy comes from what is sent? The last two rows of
the table tell, because in one of them nothing is sent.

Simplified: clouds of points in place of pictures, three layers without biases, all clients in all
rounds, plain SGD.
Trap: step(.) is 1 above 0 and has no useful derivative, so one is made up. The paper takes 1 where
the argument is at most 1 in size, and 0 elsewhere. The code released for CIFAR takes the opposite
(WINDOW = "released"), and there the thresholds never learn from the data.
"""
import argparse
import sys

import numpy as np
import torch
from torch import Tensor

from nanouft.plumbing.entry import command
from nanouft.plumbing.printing import say

WINDOW = "paper"                         # or "released": where the thresholds feel the data
SIZES = (32, 48, 48, 10)                # inputs, two hidden layers, classes; no biases
CLIENTS, ROWS, TESTS = 10, 60, 200      # examples of each client, for training and for the test
ROUNDS, EPOCHS, BATCH, LR, A = 20, 5, 20, 0.1, 0.004
SEEDS = 3


class Step(torch.autograd.Function):
    """1[x > 0] with a made-up derivative."""
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return (x > 0).to(x.dtype)

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        inside = ctx.saved_tensors[0].abs() <= 1
        return grad * (inside if WINDOW == "paper" else ~inside)


def pruned(w: Tensor, tau: Tensor) -> Tensor:
    """(K,out,in): the weights of K clients, 0 for every neuron that is not used."""
    return w * Step.apply(w.abs().mean(-1) - tau)[..., None]


def draw_data(seed: int) -> dict[str, tuple[Tensor, Tensor]]:
    """{"train", "test": (x (K,n,32), y (K,n))}: each client sees few classes (Dirichlet of 0.1)."""
    rng = torch.Generator().manual_seed(seed)
    centres = torch.randn(SIZES[-1], SIZES[0], generator=rng)
    shares = torch.tensor(np.random.default_rng(seed).dirichlet([0.1] * SIZES[-1], CLIENTS))
    data = {}
    for name, n in (("train", ROWS), ("test", TESTS)):
        y = torch.multinomial(shares, n, replacement=True, generator=rng)
        data[name] = centres[y] + 2 * torch.randn(*y.shape, SIZES[0], generator=rng), y
    return data


def logits(weights: list[Tensor], taus: list[Tensor], x: Tensor) -> Tensor:
    """(K,n,classes) of all clients at once."""
    for layer, w in enumerate(weights):
        used = pruned(w, taus[layer]) if taus else w
        x = (x.relu() if layer else x) @ used.mT
    return x


def loss_of(weights: list[Tensor], taus: list[Tensor], x: Tensor, y: Tensor) -> Tensor:
    """The mean over each client's rows of L, summed over clients, which share nothing."""
    logp = logits(weights, taus, x).log_softmax(-1).gather(-1, y[..., None])[..., 0]    # (K,n)
    return -logp.mean(-1).sum() + A * sum((-tau).exp().sum() for tau in taus)


def train_at_home(weights: list, taus: list, x: Tensor, y: Tensor, rng) -> None:
    """Epochs of SGD on each client's own data, in place; thresholds stay within [0, 1]."""
    learnt = weights + taus
    for _ in range(EPOCHS):
        for part in torch.randperm(ROWS, generator=rng).split(BATCH):
            for p in learnt:
                p.requires_grad_()
            grads = torch.autograd.grad(loss_of(weights, taus, x[:, part], y[:, part]), learnt)
            for p, grad in zip(learnt, grads):
                p.requires_grad_(False)
                p -= LR * grad
            for tau in taus:
                tau.clamp_(0, 1)


def talk(sends: str, weights, taus, before: list[Tensor]) -> int:
    """Average over clients what is sent, in place; returns the bytes up and down for a client."""
    message = {"weights": weights, "thresholds": taus, "nothing": []}[sends]
    for x in message:
        x.copy_(x.mean(0, keepdim=True).expand_as(x))
    if sends == "thresholds":
        for w, tau, old in zip(weights, taus, before):
            w -= w.sum(-1, keepdim=True).sign() * (tau - old)[..., None] / w.shape[-1]
    return sum(2 * x[0].numel() * x.element_size() for x in message)


def run(sends: str, prunes: bool, seed: int) -> tuple[float, float, float]:
    """(accuracy on own classes after training at home, %, share of weights in use, %, kB sent)."""
    rng, data = torch.Generator().manual_seed(1000 + seed), draw_data(seed)
    weights = [((2 * torch.rand(1, out, n, generator=rng) - 1) / n ** 0.5).repeat(CLIENTS, 1, 1)
               for n, out in zip(SIZES, SIZES[1:])]
    taus = [torch.zeros(w.shape[:-1]) for w in weights] if prunes else []
    sent = 0
    for _ in range(ROUNDS):
        before = [tau.clone() for tau in taus]
        train_at_home(weights, taus, *data["train"], rng)
        x, y = data["test"]
        right = (logits(weights, taus, x).argmax(-1) == y).double().mean().item()
        sent += talk(sends, weights, taus, before)
    used = [pruned(w, tau) for w, tau in zip(weights, taus)] or weights
    share = torch.cat([(w != 0).double().flatten() for w in used]).mean().item()
    return 100 * right, 100 * share, sent / 1000


def main(argv: list[str] | None = None) -> int:
    argparse.ArgumentParser(prog="python -m lessons.extras.spafl", description=__doc__,
                            formatter_class=argparse.RawDescriptionHelpFormatter).parse_args(argv)
    rows = {"FedAvg": ("weights", False), "nothing sent": ("nothing", False),
            "SpaFL": ("thresholds", True), "SpaFL, nothing sent": ("nothing", True)}
    say(f"mean of {SEEDS} seeds      accuracy, %  weights used, %     kB sent")
    for name, how in rows.items():
        found = np.mean([run(*how, seed) for seed in range(SEEDS)], axis=0)
        say(f"{name:20} {found[0]:12.1f} {found[1]:15.0f} {found[2]:12.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
