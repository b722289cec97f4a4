"""Robust DPO: DPO for noisy labels, of which a known share is flipped; their effect is subtracted.

    python -m nanouft.train --objective robust_dpo --label-smoothing 0.2
    Chowdhury et al. 2024, arXiv:2403.00409; conservative DPO (cDPO) is dpo --label-smoothing

DPO's loss of a pair is -log sigmoid(h), and that of the swapped pair is -log sigmoid(-h). If a
label is flipped with probability eps, then
    L = ( -(1 - eps) log sigmoid(h) + eps log sigmoid(-h) ) / (1 - 2 eps)
    h = beta (r_w - r_l)
    eps: --label-smoothing
equals, on average over the flips, the loss of DPO on the true labels: it is unbiased. The loss of a
pair differs from dpo.py: cDPO adds the loss of the swapped pair, and this subtracts it. So cDPO has
its minimum at a margin of logit(1 - eps), while this loss has none, and its gradient tends to
-beta eps / (1 - 2 eps).

eps 0 is DPO. The default is 0.1, so that the method differs from DPO.
"""
from torch import Tensor

from nanouft.batch import Batch
from nanouft.objective import Objective, Positive
from nanouft.objectives.dpo import BelowHalf, dpo_loss, log_ratio, pair_metrics


class RobustDPO(Objective):
    data = "pairs"
    lr = 3e-5
    reference = True
    beta: Positive = 0.1            # strength of the KL penalty; larger = closer to the reference
    label_smoothing: BelowHalf = 0.1    # probability that a label is flipped; 0 is DPO

    def loss(self, batch: Batch) -> tuple[Tensor, dict]:
        w, l = batch.seqs["chosen"], batch.seqs["rejected"]
        e = self.label_smoothing
        r_w, r_l = log_ratio(w), log_ratio(l)
        as_labelled, swapped = dpo_loss(r_w, r_l, self.beta), dpo_loss(r_l, r_w, self.beta)
        losses = ((1 - e) * as_labelled - e * swapped) / (1 - 2 * e)
        metrics = pair_metrics(batch, self.beta * r_w, self.beta * r_l, self.beta)
        return losses.sum() / batch.n, metrics
