"""SimPO: the mean log-prob of an answer is its reward; no reference model at all.

    python -m nanouft.train --objective simpo               # NanoWorld pairs
    Meng et al. 2024, arXiv:2405.14734 (Eq. 6), and the code released with it

What decides greedy answers is how likely a token is on average, so that is what SimPO ranks, with
a margin gamma on top. From dpo.py two lines differ: mean log-probs A stand where its log-ratios
stood, and gamma is taken off.
    L = -log sigmoid( beta (A_w - A_l) - gamma )                                            (Eq. 6)
With sums in place of means the longer answer would lose for its length alone. Nothing but a small
learning rate holds the policy near its start, and only the difference counts, so both answers may
fall. Two common additions: --alpha adds likelihood of `chosen` (TRL's CPO-SimPO), and
--label-smoothing doubts the labels, as cDPO does.

The released code writes gamma / beta = .25, hence gamma .5 at beta 2 here. TRL's defaults (its CPO
trainer: beta .1, gamma .5, alpha 1) are not SimPO.
Trap: smoothing flips the sign of the whole logit, margin included, so a flipped pair counts as
right until chosen leads by gamma.
"""
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from nanouft.errors import in_range
from nanouft.objectives.bridge import Objective
from nanouft.objective import Batch
from nanouft.objectives.cpo import add_nll
from nanouft.objectives.dpo import check_beta, check_smoothing


@dataclass
class SimPO:
    beta: float = 2.0               # scale of the mean log-prob
    gamma: float = 0.5              # margin to win by, in units of beta x mean log-prob
    label_smoothing: float = 0.0    # probability that a label is flipped
    alpha: float = 0.0              # weight of NLL(chosen); 0 is SimPO

    def check(self) -> None:
        check_beta(self)
        check_smoothing(self.label_smoothing)
        in_range(self, "alpha", "gamma")


def simpo_loss(r_w: Tensor, r_l: Tensor, gamma: float, label_smoothing: float = 0.0) -> Tensor:
    """(B,) loss of each pair of rewards beta A."""
    x = r_w - r_l - gamma
    return -(1 - label_smoothing) * F.logsigmoid(x) - label_smoothing * F.logsigmoid(-x)    # Eq. 6


def loss(batch: Batch, hp: SimPO) -> tuple[Tensor, dict]:
    w, l = batch.seqs["chosen"], batch.seqs["rejected"]
    r_w = hp.beta * w.mean(w.logp)
    r_l = hp.beta * l.mean(l.logp)
    return add_nll(batch, hp, simpo_loss(r_w, r_l, hp.gamma, hp.label_smoothing), r_w, r_l)


OBJECTIVE = Objective(data="pairs", hp=SimPO, loss=loss, lr=3e-5)
