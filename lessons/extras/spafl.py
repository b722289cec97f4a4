"""Extra: SpaFL. Clients learn together without sharing data. What can they send instead of weights?

    python lessons/extras/spafl.py      # below a minute on one thread: a table and out/spafl.png

This is NOT alignment and no language model. It is federated learning (Kim et al.,
arXiv:2406.00431): who learns from whom, and how little do they have to send? All weights into a
neuron are used, or none of them. A trainable threshold tau decides:
    mask = 1[mean |w| > tau],    loss of a client = cross-entropy + a * sum exp(-tau).
Weights stay at home. Only thresholds go to the server, and the server averages them. When they
come back, they also move the weights.

The step 1[.] has no useful derivative, so one is made up: 1 inside a *window* and 0 outside. The
paper's window is |mean |w| - tau| <= 1, as usual. The code released for CIFAR takes > 1 instead
(the code for FMNIST takes 1 everywhere). But mean |w| is small. So in that code the thresholds
never hear of the data: all of them rise by the same amount, and what is "communicated" could have
been computed before. (A pruned hidden neuron hears nothing with either window: its output is 0,
where ReLU has derivative 0.)

Guess before you run: a client has 60 examples of a few classes. How much of SpaFL's accuracy
comes from what is sent? Compare "nothing sent" and "thresholds stay".
Our answer: none. The paper's window drops half of the weights and loses less than a point,
and it does so as well when nobody talks. FedAvg sends 40 times as much. Its common model is worse
at home, but after one more round of training at home it is the best, by about 3 points.
Simplified: clouds of points, three layers, all clients in all rounds, plain SGD. No claim about
the paper follows.

Break it: --alpha 100 (all clients see the same classes): what is each method worth now? --a 0.02:
who prunes blindly?
"""
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nanouft.errors import UserError
from nanouft.eval import plots
from nanouft.eval.stats import interval
from nanouft.run import config

import numpy as np
import torch                            # after nanouft, which sets how threads wait
from torch import Tensor
from tqdm import tqdm

SIZES = (32, 48, 48, 10)                # inputs, two hidden layers, classes; no biases
CLIENTS = 10
ROWS, TESTS = 60, 200                   # examples of each client
EPOCHS, BATCH, LR = 5, 20, 0.1          # what a client does between two messages


@dataclass
class SpaFL:
    window: Literal["paper", "released", "both"] = "both"   # where the thresholds feel the data
    a: float = 0.004                # weight of sum exp(-tau): how hard all is pushed to be sparse
    alpha: float = 0.1              # of the Dirichlet: 0.1 = a client sees few classes, 100 = all
    rounds: int = 30                # each is a message up and one down
    seeds: int = 5                  # data, start and order are drawn again
    out: str = "out/spafl.png"      # the picture

    def check(self) -> None:
        for name, value in vars(self).items():
            if not isinstance(value, str) and value <= 0:
                raise UserError(f"--{name} {value:g}: must be above 0")


# ---- data --------------------------------------------------------------------------------------
def percent(values: list[float]) -> str:
    """"79.9 ± 2.3": shares over seeds, in percent; one seed has no interval."""
    mean, half = interval(values)
    return f"{100 * mean:.1f}" + (f" ± {100 * half:.1f}" if np.isfinite(half) else "")


def draw_data(alpha: float, seed: int) -> dict[str, tuple[Tensor, Tensor]]:
    """{split: (x (K,n,32), y (K,n))} for K clients with n examples each.

    A class is three clouds of points in the first half of the inputs. The other half is noise.
    Each client has its own mixture of classes. `train` and `own` follow it, `all` has every class.
    """
    rng = torch.Generator().manual_seed(seed)
    inputs, classes = SIZES[0], SIZES[-1]
    first_half = torch.arange(inputs) < inputs // 2
    centres = torch.randn(classes, 3, inputs, generator=rng) * first_half
    mine = torch.tensor(np.random.default_rng(seed).dirichlet([alpha] * classes, CLIENTS))

    def rows(shares: Tensor, n: int) -> tuple[Tensor, Tensor]:
        y = torch.multinomial(shares, n, replacement=True, generator=rng)
        cloud = torch.randint(3, y.shape, generator=rng)
        return centres[y, cloud] + torch.randn(*y.shape, inputs, generator=rng), y

    return {"train": rows(mine, ROWS), "own": rows(mine, TESTS),
            "all": rows(torch.ones_like(mine), TESTS)}


# ---- the model: weights and thresholds ---------------------------------------------------------
class Step(torch.autograd.Function):
    """1[x > 0], with a made-up derivative.

    "paper": 1 where |x| <= 1. "released": 1 exactly where it is not. "": 0 everywhere.
    """
    @staticmethod
    def forward(ctx, x: Tensor, window: str) -> Tensor:
        ctx.save_for_backward(x)
        ctx.window = window
        return (x > 0).to(x.dtype)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        inside = x.abs() <= 1
        derivative = {"paper": inside, "released": ~inside, "": 0}
        return grad * derivative[ctx.window], None


def kept(w: Tensor, tau: Tensor, window: str = "paper") -> Tensor:
    """(...,out): 1 where a row of w (...,out,in) is used."""
    return Step.apply(w.abs().mean(-1) - tau, window)


def logits(weights: list[Tensor], taus: list[Tensor], x: Tensor, window: str = "paper") -> Tensor:
    """(...,n,classes), all clients at once; weights (...,out,in), taus (...,out), x (...,n,in)."""
    for layer, (w, tau) in enumerate(zip(weights, taus)):
        if layer > 0:
            x = x.relu()
        mask = kept(w, tau, window)[..., None]
        x = x @ (w * mask).mT
    return x


def loss(weights: list[Tensor], taus: list[Tensor], x: Tensor, y: Tensor, a: float,
         window: str) -> Tensor:
    """A sum over clients, so that each gets exactly the gradient of its own loss."""
    logp = logits(weights, taus, x, window).log_softmax(-1)
    cross_entropy = -logp.gather(-1, y[..., None]).sum() / y.shape[-1]
    return cross_entropy + a * sum((-tau).exp().sum() for tau in taus)


def train_at_home(weights: list[Tensor], taus: list[Tensor], window: str, x: Tensor, y: Tensor,
                  a: float, rngs: list[torch.Generator]) -> None:
    """Epochs of SGD on every client's own data, in place; with no `window` thresholds stay 0.

    Thresholds are kept in [0,1]: 0 prunes nothing already. A layer of which hardly anything is left
    begins again at 0, as in the released code.
    """
    learnt = weights + (taus if window else [])
    for _ in range(EPOCHS):
        order = torch.stack([torch.rand(y.shape[1:], generator=rng) for rng in rngs]).argsort(-1)
        for part in order.split(BATCH, -1):                         # (seeds, clients, BATCH)
            for p in learnt:
                p.requires_grad_()
            some_x = x.gather(2, part[..., None].expand(*part.shape, x.shape[-1]))
            some_y = y.gather(2, part)
            grads = torch.autograd.grad(loss(weights, taus, some_x, some_y, a, window), learnt)
            for p, grad in zip(learnt, grads):
                p.requires_grad_(False)
                p -= LR * grad
            for w, tau in zip(weights, taus):
                tau.clamp_(0, 1)
                tau *= kept(w, tau).mean(-1, keepdim=True) > 0.01


# ---- what is sent ------------------------------------------------------------------------------
class Post:
    """All that passes between clients and server goes through `send`, and is counted there."""
    sent = 0                            # bytes

    def send(self, x: Tensor) -> Tensor:
        self.sent += x.numel() * x.element_size()
        return x.clone()


def talk(sends: str, weights: list[Tensor], taus: list[Tensor], before: list[Tensor],
         post: Post) -> None:
    """Up to the server, average over clients (dimension 1), down to the clients; in place.

    `before`: the thresholds that the server sent last. If a threshold rose, its row matters
    little to the other clients: the row shrinks.
    """
    message = {"weights": weights, "thresholds": taus, "nothing": []}[sends]
    for x in message:
        average = post.send(x).mean(1, keepdim=True)
        x.copy_(post.send(average.expand_as(x)))
    if sends == "thresholds":
        for w, tau, old in zip(weights, taus, before):
            risen = (tau - old)[..., None]
            w -= w.sum(-1, keepdim=True).sign() * risen / w.shape[-1]


# ---- one method, all seeds and clients at the same time ----------------------------------------
def accuracy(weights: list[Tensor], taus: list[Tensor], data: tuple[Tensor, Tensor]) -> list[float]:
    """Of each seed, the mean over clients."""
    x, y = data
    right = logits(weights, taus, x).argmax(-1) == y
    return right.double().mean((1, 2)).tolist()


def start(rngs: list[torch.Generator]) -> list[Tensor]:
    """Weights (seeds, clients, out, in). All clients of a seed draw the same: nothing is sent."""
    weights = []
    for n, out in zip(SIZES, SIZES[1:]):
        drawn = [(2 * torch.rand(1, out, n, generator=rng) - 1) / n ** 0.5 for rng in rngs]
        weights.append(torch.stack(drawn).repeat(1, CLIENTS, 1, 1))
    return weights


def run(cfg: SpaFL, sends: str, window: str, a: float) -> dict[str, list[float]]:
    """{figure: one value a seed}. All arrays are (seeds, clients, ...)."""
    drawn = [draw_data(cfg.alpha, seed) for seed in range(cfg.seeds)]
    rngs = [torch.Generator().manual_seed(1000 + seed) for seed in range(cfg.seeds)]
    data = {}
    for split in ("train", "own", "all"):
        x, y = zip(*[d[split] for d in drawn])
        data[split] = torch.stack(x), torch.stack(y)
    weights = start(rngs)
    taus = [torch.zeros(w.shape[:-1]) for w in weights]
    post = Post()
    for _ in range(cfg.rounds):
        before = [tau.clone() for tau in taus]
        train_at_home(weights, taus, window, *data["train"], a, rngs)
        home = accuracy(weights, taus, data["own"])
        talk(sends, weights, taus, before, post)
    used = []
    for w, tau in zip(weights, taus):
        used.append(kept(w, tau)[..., None].expand_as(w).flatten(1))
    spread = torch.stack([tau.std(-1).mean(1) for tau in taus])         # (layers, seeds)
    return {"home": home,
            "own": accuracy(weights, taus, data["own"]),
            "all": accuracy(weights, taus, data["all"]),
            "density": torch.cat(used, 1).mean(1).tolist(),
            "spread": spread.mean(0).tolist(),
            "kB": [post.sent / 1000 / cfg.seeds / CLIENTS] * cfg.seeds}


# ---- table and picture -------------------------------------------------------------------------
COLUMNS = {
    "home": "accuracy on a client's own classes after training at home; in percent, as all but kB",
    "gain": "home, minus that of `nothing sent`",
    "own": "as home, but after the talk",
    "all": "then on all classes",
    "density": "weights in use",
    "spread": "standard deviation of a layer's taus",
    "kB": "sent by and to one client",
}
LOOKS = {
    "FedAvg": ("s", plots.GREY),
    "nothing sent": ("D", "black"),
    "SpaFL, paper": ("o", plots.UP),
    "SpaFL, released": ("X", plots.DOWN),
    "thresholds stay": ("^", plots.LINES[2]),
}
Found = dict[tuple[str, float], dict]   # (method, k) -> what `run` found with k times a


def main(argv=None) -> int:
    cfg, _ = config.parse(SpaFL, argv, "python lessons/extras/spafl.py", __doc__)
    cfg.check()
    torch.set_num_threads(1)
    windows = ["paper", "released"] if cfg.window == "both" else [cfg.window]
    methods = {"FedAvg": ("weights", ""), "nothing sent": ("nothing", "")}      # sends what, window
    for window in windows:
        methods[f"SpaFL, {window}"] = ("thresholds", window)
    methods["thresholds stay"] = ("nothing", windows[0])
    jobs = []
    for name in methods:
        for k in [0.5, 1, 2, 4] if name.startswith("SpaFL") else [1]:
            jobs.append((name, k))
    found: Found = {}
    for name, k in tqdm(jobs, leave=False, mininterval=0):
        found[name, k] = run(cfg, *methods[name], k * cfg.a)
    print(f"{CLIENTS} clients, alpha {cfg.alpha:g}, a {cfg.a:g}; "
          f"mean ± 95 % over {cfg.seeds} seeds")
    print(table(found, list(methods)))
    print(f"picture: {picture(found, Path(cfg.out))}")
    return 0


def table(found: Found, methods: list[str]) -> str:
    """A line for each method, and what the columns mean."""
    lines = [" " * 17 + "".join(f"{column:>14}" for column in COLUMNS)]
    alone = np.array(found["nothing sent", 1]["home"])
    for name in methods:
        row = dict(found[name, 1])
        row["gain"] = row["home"] - alone
        texts = {column: percent(row[column]) for column in COLUMNS if column != "kB"}
        texts["kB"] = f"{row['kB'][0]:.1f}"
        lines.append(f"{name:<17}" + "".join(f"{texts[column]:>14}" for column in COLUMNS))
    for column, text in COLUMNS.items():
        lines.append(f"  {column:<8} {text}")
    return "\n".join(lines)


def picture(found: Found, file: Path) -> Path:
    """Left: what it costs to be heard. Right: what the data tell the thresholds (several a)."""
    mean = {}
    for key, row in found.items():
        mean[key] = {column: float(np.mean(values)) for column, values in row.items()}
    with plots.plt.rc_context({"font.size": 16}):
        fig, (left, right) = plots.plt.subplots(1, 2, figsize=(17, 6.4), sharey=True)
        for name, (shape, colour) in LOOKS.items():
            rows = [row for (who, _), row in mean.items() if who == name]
            if not rows:
                continue
            row = mean[name, 1]
            left.plot(row["kB"], row["home"], shape, color=colour, ms=14, label=name)
            rows.sort(key=lambda row: row["density"])
            right.plot([row["density"] for row in rows], [row["home"] for row in rows],
                       shape + "-", color=colour, ms=12)
        left.set_title("What is sent, and what it brings")
        left.set_xlabel("kB sent by and to one client")
        left.set_xscale("symlog", linthresh=1)
        left.set(xlim=(-0.4, 1e4), xticks=[0, 1, 10, 100, 1000])
        left.xaxis.set_major_formatter("{x:g}")
        left.set(ylabel="accuracy on a client's own classes", ylim=(0, 1))
        left.legend(frameon=False, loc="lower right")
        right.set_title("Pruning that looks at the data, and pruning that does not")
        right.set_xlabel("share of the weights in use")
        return plots.save(fig, file)


if __name__ == "__main__":
    sys.exit(config.run(main))
