"""TOFU, the tempered focal loss: learn rare patterns without sharpening what is already known.

    python -m nanouft.train --objective tofu
    Klypa & Cherednichenko 2026, arXiv:2605.00195 (not TOFU, the benchmark of unlearning)
    released code: rsklypa/TOFU at 1bf062c (train/tofu_loss.py)

Two things differ from sft.py, for a token with logits z, target y and p_t = softmax(z)_y.
1. Focal: a token has the weight that it has in the gradient of the focal loss (1-p)^gamma (-log p).
   This nearly switches off tokens that the model is sure of (.004 at p = .9 and gamma 3):
       g_t = (1 - p_t)^gamma - gamma p_t (1 - p_t)^(gamma - 1) log p_t
2. Tempered: softmax(z / beta) is trained to fit the data. With beta < 1 it is a sharpened copy of
   the model's own distribution, so the model itself ends up flatter than the data.
Together:
       L = -mean sg(g_t) beta log q_t
       q_t: softmax(z / beta) of the token; z: the logits
gamma = 0 and beta = 1 is SFT.

`logp` is the TEMPERED log-prob here, and the plain one is stored beside it, detached. The loss is
improper on purpose: if the data have "a" 70 % of the time, P(a) ends at .55, so watch `nll`.
Traps: p inside g is not tempered. The authors' log(softmax(z)) is NaN once p underflows
(tofu_loss.py:18). For 0 < gamma < 1 the weight is infinite at p = 1.
"""
import torch
from torch import Tensor

from nanouft.batch import Batch
from nanouft.gpt import GPT, scatter_at, select_at
from nanouft.objective import AtLeast0, Objective, Positive
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.fast_ops import logp_


class TOFU(Objective):
    gamma: AtLeast0 = 3.0           # focus: 0 = all tokens alike; larger = less on what is known
    beta: Positive = 0.8  # temperature at which the data are fitted; below 1 = a flatter model

    def check(self) -> None:
        super().check()
        if not (self.gamma == 0 or self.gamma >= 1):
            raise UserError(f"--gamma {self.gamma}: must be 0 or at least 1 "
                            "(between, the weight is infinite at p = 1)")

    def forward(self, model: GPT, batch: Batch) -> None:
        s = batch.seqs["answer"]
        at = s.positions
        z = model.head(select_at(model(s.inputs), at))              # (N,V), response tokens only
        z = z if z.dtype == torch.float64 else z.float()
        targets = select_at(s.targets, at)
        s.logp = scatter_at(logp_(z / self.beta, targets), at, s.mask.shape)
        plain = logp_(z.detach(), targets)      # comes last: it overwrites z
        s.extra["plain_logp"] = scatter_at(plain, at, s.mask.shape)

    def loss(self, batch: Batch) -> tuple[Tensor, dict]:
        s, n = batch.seqs["answer"], batch.tokens["answer"]
        off = s.mask == 0
        plain = s.extra["plain_logp"].masked_fill(off, 0)
        weighted = -focal_weight(plain, self.gamma) * self.beta * s.logp.masked_fill(off, 0)
        return s.sum(weighted).sum() / n, {"nll": -s.sum(plain).sum() / n}


def focal_weight(logp: Tensor, gamma: float) -> Tensor:
    """g(p) from log p, exact at both ends: 1 - p by expm1, and p log p instead of log(softmax)."""
    if gamma == 0:
        return torch.ones_like(logp)
    p = logp.exp()
    rest = -torch.expm1(logp)                                   # 1 - p
    return rest ** gamma - gamma * p * logp * rest ** (gamma - 1)
