"""SimPO: the mean log-prob of an answer is its reward; no reference model at all.

    python -m nanouft.train --objective simpo                          # NanoWorld pairs
    Meng et al. 2024, arXiv:2405.14734 (Eq. 6) and the code released with it

What decides greedy answers is how likely a token is on average, so that is what SimPO ranks, with a margin on top:
    L = -log sigmoid( beta (A_w - A_l) - gamma ),      A = mean log-prob of the answer's tokens
A is a mean: with sums, the longer answer would lose for its length alone. Nothing holds the policy near its start but a
small learning rate, and nothing pays for a likely `chosen`: only the difference counts, so both may fall. Two common
additions: --alpha pays for it after all (TRL's CPO-SimPO), --label-smoothing doubts the labels as cDPO does.

Needs pairs. The released code writes gamma / beta = .25, hence gamma .5 at beta 2 here. TRL's defaults (its CPO
trainer: beta .1, gamma .5, alpha 1) are not SimPO. At equal means the loss is log(1 + e^gamma). Trap: smoothing turns
the sign of the whole logit, margin included: a flipped pair counts as right until chosen leads by gamma.
Same letter elsewhere: IFT's gamma is a discount; beta is no leash here, since there is nothing to be leashed to.
"""
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from nanouft.shell.config import UserError
from nanouft.data.rows import pair_rows
from nanouft.objective import Batch, Objective
from nanouft.objectives.cpo import check_alpha, nll
from nanouft.objectives.dpo import check_beta, check_smoothing, pair_metrics


@dataclass
class SimPO:
    beta: float = 2.0               # scale of the mean log-prob
    gamma: float = 0.5              # margin that the chosen answer should win by, in units of beta x mean log-prob
    label_smoothing: float = 0.0    # probability that a label is flipped
    alpha: float = 0.0              # weight of NLL(chosen); 0 is SimPO

    def check(self, given: set[str]) -> None:
        check_beta(self.beta)
        check_smoothing(self.label_smoothing)
        check_alpha(self.alpha)
        check_margin(self.gamma)


def check_margin(gamma: float) -> None:
    if gamma < 0:
        raise UserError(f"--gamma {gamma}: must not be below 0; it is the margin to win by")


def simpo_loss(r_w: Tensor, r_l: Tensor, gamma: float, label_smoothing: float = 0.0) -> Tensor:
    """(B,) loss of each pair of rewards beta A."""
    x = r_w - r_l - gamma
    return -(1 - label_smoothing) * F.logsigmoid(x) - label_smoothing * F.logsigmoid(-x)      # Eq. 6


def loss(batch: Batch, hp: SimPO) -> tuple[Tensor, dict]:
    r_w, r_l = (hp.beta * s.mean(s.logp) for s in (batch.seqs["chosen"], batch.seqs["rejected"]))
    hold = nll(batch, "chosen")
    prefer = simpo_loss(r_w, r_l, hp.gamma, hp.label_smoothing).sum() / batch.rows
    return prefer + hp.alpha * hold, {**pair_metrics(batch, r_w, r_l, hp.beta), "nll": hold.detach()}


OBJECTIVE = Objective(
    paper="SimPO: Simple Preference Optimization with a Reference-Free Reward, "
          "arXiv:2405.14734, Eq. 6",
    data="pairs", rows=pair_rows, hp=SimPO, loss=loss, lr=3e-5)
