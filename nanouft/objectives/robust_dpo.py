"""Robust DPO: if some labels are flipped by chance, subtract what they add.

    python -m nanouft.train --objective robust_dpo --label-smoothing 0.2        # NanoWorld pairs
    Chowdhury et al. 2024, arXiv:2403.00409; its conservative sister is dpo --label-smoothing (cDPO)

DPO's loss of a pair is -log sigmoid(h), and that of the pair swapped is -log sigmoid(-h). If a
label is flipped with probability eps, then
    L = ( -(1 - eps) log sigmoid(h) + eps log sigmoid(-h) ) / (1 - 2 eps)
    h = beta (r_w - r_l)
    eps: --label-smoothing
has on average over the flips the value of DPO on the true labels, so it is an unbiased loss. From
dpo.py one line differs, `each`: cDPO adds the loss of the swapped pair where this subtracts it.
Therefore cDPO comes to rest at a margin of logit(1 - eps), while this loss has no minimum and its
gradient ends at -beta eps / (1 - 2 eps): it forgives flipped labels on average and pushes on for
ever.

eps 0 is DPO (TRL's default; here it is 0.1, or the name would mean nothing).
"""
from dataclasses import dataclass

from torch import Tensor

from nanouft.objectives.bridge import Objective
from nanouft.objective import Batch
from nanouft.objectives.dpo import check_beta, check_smoothing, dpo_loss, log_ratio, pair_metrics


@dataclass
class RobustDPO:
    beta: float = 0.1               # strength of the KL penalty; larger = stay nearer the reference
    label_smoothing: float = 0.1    # probability that a label is flipped; 0 is DPO

    def check(self) -> None:
        check_beta(self)
        check_smoothing(self.label_smoothing)


def loss(batch: Batch, hp: RobustDPO) -> tuple[Tensor, dict]:
    w, l = batch.seqs["chosen"], batch.seqs["rejected"]
    e = hp.label_smoothing
    as_labelled = dpo_loss(w, l, hp.beta)
    swapped = dpo_loss(l, w, hp.beta)
    each = ((1 - e) * as_labelled - e * swapped) / (1 - 2 * e)
    metrics = pair_metrics(batch, hp.beta * log_ratio(w), hp.beta * log_ratio(l), hp.beta)
    return each.sum() / batch.n, metrics


OBJECTIVE = Objective(data="pairs", hp=RobustDPO, loss=loss, lr=3e-5, reference=True)
