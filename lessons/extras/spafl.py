"""Extra: SpaFL. Clients learn together without sharing data. What can they send instead of weights?

    python lessons/extras/spafl.py              # below a minute on one thread: a table and a picture, out/spafl.png

This is NOT alignment and no language model. It is federated learning (Kim et al., arXiv:2406.00431): who learns from
whom, through how small a channel? All weights into a neuron are used or none, by a trainable threshold tau:
    mask = 1[mean |w| > tau],    loss of a client = cross-entropy + a * sum exp(-tau).
Weights stay at home. Only thresholds go to the server, which averages them; coming back they also move the weights.
1[.] has no slope, so one is made up. The paper's is 1 within |mean |w| - tau| <= 1, as usual. The code released for
CIFAR asks for > 1 instead (that for FMNIST for nothing), and mean |w| is small: there the thresholds never hear of the
data, all rise alike, and what is "communicated" could have been computed before. (A pruned hidden neuron hears nothing
with either: it says 0, where ReLU has slope 0.)
Guess before you run: a client has 60 examples of a few classes. How much of SpaFL's accuracy is owed to what is sent?
Compare "nothing sent" and "thresholds stay". Ours: none. The paper's window drops half of the weights for less than a
point, and does so as well when nobody talks. FedAvg sends 40 times as much; its common model is worse at home, but
trained there for one more round it is the best by about 3 points. Simplified: clouds of points, three layers, all
clients in all rounds, plain SGD: no claim about the paper follows.
Break it: --alpha 100 (all see the same classes): what is each method worth now? --a 0.02: who prunes blindly?
"""
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nanouft.look.stats import percent
from nanouft.look import plots
from nanouft.shell import config

import numpy as np
import torch                                                # after nanouft, which sets how threads wait
from torch import Tensor
from tqdm import tqdm

SIZES = (32, 48, 48, 10)            # inputs, two hidden layers, classes; no biases
CLIENTS, ROWS, TESTS = 10, 60, 200  # examples of each client
EPOCHS, BATCH, LR = 5, 20, 0.1      # what a client does between two messages


@dataclass
class SpaFL:
    window: Literal["paper", "released", "both"] = "both"   # where the thresholds feel the gradient of the data
    a: float = 0.004                # weight of sum exp(-tau): how hard all is pushed to be sparse
    alpha: float = 0.1              # of the Dirichlet: 0.1 = a client sees few classes, 100 = all
    rounds: int = 30                # each is a message up and one down
    seeds: int = 5                  # data, start and order are drawn anew
    out: str = "out/spafl.png"      # the picture

    def check(self) -> None:
        for name, value in vars(self).items():
            if not isinstance(value, str) and value <= 0:
                raise config.UserError(f"--{name} {value:g}: must be above 0")


def draw_data(alpha: float, seed: int) -> dict[str, tuple[Tensor, Tensor]]:
    """{split: (x (K,n,32), y (K,n))}: a class is three clouds in the first half of the inputs, the rest is noise. Each
    client has its own mixture of classes; `train` and `own` follow it, `all` has every class."""
    rng, (inputs, classes) = torch.Generator().manual_seed(seed), (SIZES[0], SIZES[-1])
    centres = torch.randn(classes, 3, inputs, generator=rng) * (torch.arange(inputs) < inputs // 2)
    mine = torch.tensor(np.random.default_rng(seed).dirichlet([alpha] * classes, CLIENTS))

    def rows(shares, n):
        y = torch.multinomial(shares, n, replacement=True, generator=rng)
        cloud = torch.randint(3, y.shape, generator=rng)
        return centres[y, cloud] + torch.randn(*y.shape, inputs, generator=rng), y
    return {"train": rows(mine, ROWS), "own": rows(mine, TESTS), "all": rows(torch.ones_like(mine), TESTS)}


class Step(torch.autograd.Function):
    """1[x > 0], with a made-up slope: 1 where |x| <= 1 ("paper"), exactly where it is not ("released"), 0 ("")."""
    @staticmethod
    def forward(ctx, x: Tensor, window: str) -> Tensor:
        ctx.save_for_backward(x)
        ctx.window = window
        return (x > 0).to(x.dtype)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        inside = ctx.saved_tensors[0].abs() <= 1
        return grad * {"paper": inside, "released": ~inside, "": 0}[ctx.window], None


def kept(w: Tensor, tau: Tensor, window: str = "paper") -> Tensor:
    """(...,out): 1 where a row of w (...,out,in) is used."""
    return Step.apply(w.abs().mean(-1) - tau, window)


def logits(weights: list[Tensor], taus: list[Tensor], x: Tensor, window: str = "paper") -> Tensor:
    """(...,n,classes) of all clients at once: weights (...,out,in), taus (...,out), x (...,n,in)."""
    for w, tau in zip(weights, taus):
        x = (x if w is weights[0] else x.relu()) @ (w * kept(w, tau, window)[..., None]).mT
    return x


def loss(weights: list[Tensor], taus: list[Tensor], x: Tensor, y: Tensor, a: float, window: str) -> Tensor:
    """A sum over clients, so that each gets exactly the gradient of its own loss."""
    guess = logits(weights, taus, x, window).log_softmax(-1)
    return -guess.gather(-1, y[..., None]).sum() / y.shape[-1] + a * sum((-tau).exp().sum() for tau in taus)


def train_at_home(weights: list[Tensor], taus: list[Tensor], window: str, x: Tensor, y: Tensor, a: float, rngs) -> None:
    """Epochs of SGD on every client's own data, in place; with no `window` thresholds stay 0. They are kept in [0,1]:
    0 prunes nothing already. A layer of which hardly anything is left begins again at 0, as in the released code."""
    learnt = weights + (taus if window else [])
    for _ in range(EPOCHS):
        order = torch.stack([torch.rand(y.shape[1:], generator=rng) for rng in rngs]).argsort(-1)
        for part in order.split(BATCH, -1):
            for p in learnt:
                p.requires_grad_()
            batch = x.gather(2, part[..., None].expand(*part.shape, x.shape[-1])), y.gather(2, part)
            grads = torch.autograd.grad(loss(weights, taus, *batch, a, window), learnt)
            for p, grad in zip(learnt, grads):
                p.requires_grad_(False).sub_(LR * grad)
            for w, tau in zip(weights, taus):
                tau.clamp_(0, 1).mul_(kept(w, tau).mean(-1, keepdim=True) > 0.01)


class Post:
    """All that passes between clients and server goes through `send`, and is counted there."""
    sent = 0                            # bytes

    def send(self, x: Tensor) -> Tensor:
        self.sent += x.numel() * x.element_size()
        return x.clone()


def talk(sends: str, weights: list[Tensor], taus: list[Tensor], before: list[Tensor], post: Post) -> None:
    """Up, average over clients (dimension 1), down; in place. `before`: the thresholds that the server sent last."""
    for x in {"weights": weights, "thresholds": taus, "nothing": []}[sends]:
        x.copy_(post.send(post.send(x).mean(1, keepdim=True).expand_as(x)))
    if sends == "thresholds":                   # a row whose threshold rose matters little to the others: it shrinks
        for w, tau, old in zip(weights, taus, before):
            w -= w.sum(-1, keepdim=True).sign() * (tau - old)[..., None] / w.shape[-1]


def accuracy(weights: list[Tensor], taus: list[Tensor], data: tuple[Tensor, Tensor]) -> list[float]:
    """Of each seed, the mean over clients."""
    return (logits(weights, taus, data[0]).argmax(-1) == data[1]).double().mean((1, 2)).tolist()


def run(cfg: SpaFL, sends: str, window: str, a: float) -> dict[str, list[float]]:
    """{figure: one value a seed}. All arrays are (seeds, clients, ...): everybody learns at the same time."""
    drawn, rngs = zip(*((draw_data(cfg.alpha, s), torch.Generator().manual_seed(1000 + s)) for s in range(cfg.seeds)))
    data = {split: tuple(map(torch.stack, zip(*(d[split] for d in drawn)))) for split in drawn[0]}
    weights = [torch.stack([(2 * torch.rand(1, out, n, generator=rng) - 1) / n ** 0.5 for rng in rngs])
               .repeat(1, CLIENTS, 1, 1) for n, out in zip(SIZES, SIZES[1:])]       # a common seed: not sent
    taus, post = [torch.zeros(w.shape[:-1]) for w in weights], Post()
    for _ in range(cfg.rounds):
        before = [tau.clone() for tau in taus]
        train_at_home(weights, taus, window, *data["train"], a, rngs)
        home = accuracy(weights, taus, data["own"])
        talk(sends, weights, taus, before, post)
    used = torch.cat([kept(w, tau)[..., None].expand_as(w).flatten(1) for w, tau in zip(weights, taus)], 1)
    return {"home": home, "own": accuracy(weights, taus, data["own"]), "all": accuracy(weights, taus, data["all"]),
            "density": used.mean(1).tolist(), "spread": torch.stack([t.std(-1).mean(1) for t in taus]).mean(0).tolist(),
            "kB": [post.sent / 1000 / cfg.seeds / CLIENTS] * cfg.seeds}


COLUMNS = {"home": "accuracy on a client's own classes after a round's own training; in percent, as all but kB",
           "gain": "over `nothing sent`", "own": "home, after the talk", "all": "then on all classes",
           "density": "weights in use", "spread": "deviation of a layer's taus", "kB": "sent by and to one client"}
LOOKS = {"FedAvg": ("s", plots.GREY), "nothing sent": ("D", "black"), "SpaFL, paper": ("o", plots.UP),
         "SpaFL, released": ("X", plots.DOWN), "thresholds stay": ("^", plots.LINES[2])}


def main(argv=None) -> int:
    cfg, _ = config.parse(SpaFL, argv, "python lessons/extras/spafl.py", __doc__)
    cfg.check(), torch.set_num_threads(1)
    windows = ["paper", "released"] if cfg.window == "both" else [cfg.window]
    methods = {"FedAvg": ("weights", ""), "nothing sent": ("nothing", ""),
               **{f"SpaFL, {w}": ("thresholds", w) for w in windows}, "thresholds stay": ("nothing", windows[0])}
    jobs = [(name, k) for name in methods for k in ([0.5, 1, 2, 4] if name.startswith("SpaFL") else [1])]    # k times a
    found = {(name, k): run(cfg, *methods[name], k * cfg.a) for name, k in tqdm(jobs, leave=False, mininterval=0)}
    print(f"{CLIENTS} clients, alpha {cfg.alpha:g}, a {cfg.a:g}; mean ± 95 % over {cfg.seeds} seeds\n" + 17 * " "
          + "".join(f"{c:>14}" for c in COLUMNS))
    for name in methods:
        row = found[name, 1] | {"gain": np.subtract(found[name, 1]["home"], found["nothing sent", 1]["home"])}
        print(f"{name:<17}" + "".join(f"{percent(row[c]) if c != 'kB' else f'{row[c][0]:.1f}':>14}" for c in COLUMNS))
    print("\n".join(f"  {name:<8} {text}" for name, text in COLUMNS.items()))
    print(f"picture: {picture(found, Path(cfg.out))}")
    return 0


def picture(found: dict[tuple[str, float], dict], file: Path) -> Path:
    """Left: what it costs to be heard. Right: what the gradient of the data is worth to the thresholds (several a)."""
    plt, mean = plots.plt, {key: {c: float(np.mean(x)) for c, x in row.items()} for key, row in found.items()}
    with plt.rc_context({"font.size": 16}):
        fig, (left, right) = plt.subplots(1, 2, figsize=(17, 6.4), sharey=True)
        for name in dict.fromkeys(who for who, _ in found):
            (shape, colour), row = LOOKS[name], mean[name, 1]
            left.plot(row["kB"], row["home"], shape, color=colour, ms=14, label=name)
            points = sorted((row["density"], row["home"]) for (who, _), row in mean.items() if who == name)
            right.plot(*zip(*points), shape + "-", color=colour, ms=12)
        left.set_xscale("symlog", linthresh=1)
        left.set(xlabel="kB sent by and to one client", ylabel="accuracy on a client's own classes", ylim=(0, 1),
                 title="What is sent, and what it buys", xlim=(-0.4, 1e4), xticks=[0, 1, 10, 100, 1000])
        left.xaxis.set_major_formatter("{x:g}"), left.legend(frameon=False, loc="lower right")
        right.set(xlabel="share of the weights in use", title="Pruning with and without an eye on the data")
        return plots.save(fig, file)


if __name__ == "__main__":
    sys.exit(config.run(main))
