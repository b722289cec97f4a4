"""CPO: DPO without a reference; plain imitation of the better answer takes its place.

    python -m nanouft.train --objective cpo
    Xu et al. 2024, arXiv:2401.08417 (its objective L_prefer + L_NLL)
    released code: fe1ixxu/ALMA at 10360c3

With a uniform reference, its log-probs cancel from DPO's margin (up to length), and no second model
is needed. Two things differ from dpo.py: summed log-probs S replace its log-ratios, and imitation
of `chosen` keeps it from falling.
    L = -log sigmoid( beta (S_w - S_l) ) + alpha NLL(chosen)

beta .1 and alpha 1 are the authors' (runs/cpo_ft.sh:12, utils/cpo_config.py:73) and TRL's
(experimental/cpo/cpo_config.py:111, 133).
Trap: S is a sum, so if rejected answers are longer, the margin is large before anything is learned.
"""
import torch.nn.functional as F
from torch import Tensor

from nanouft.batch import Batch
from nanouft.objective import AtLeast0, Objective, Positive
from nanouft.objectives.dpo import pair_metrics
from nanouft.objectives.sft import nll


class CPO(Objective):
    data = "pairs"
    lr = 1e-4
    beta: Positive = 0.1            # scale of the difference of summed log-probs
    alpha: AtLeast0 = 1.0           # weight of imitating the chosen answer

    def loss(self, batch: Batch) -> tuple[Tensor, dict]:
        w, l = batch.seqs["chosen"], batch.seqs["rejected"]
        r_w, r_l = self.beta * w.sum(w.logp), self.beta * l.sum(l.logp)
        losses = -F.logsigmoid(r_w - r_l)
        imitate = nll(batch, "chosen")
        metrics = pair_metrics(batch, r_w, r_l, self.beta) | {"nll": imitate.detach()}
        return losses.sum() / batch.n + self.alpha * imitate, metrics
