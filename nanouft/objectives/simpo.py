"""SimPO: the mean log-prob of an answer is its reward, without a reference model.

    python -m nanouft.train --objective simpo
    Meng et al. 2024, arXiv:2405.14734 (Eq. 6)
    released code: princeton-nlp/SimPO at 1b3e8f3

SimPO ranks answers by the mean log-prob of a token, the quantity that guides decoding, and asks for
a margin gamma. Two things differ from dpo.py: mean log-probs A replace its log-ratios, and gamma is
subtracted.
    L = -log sigmoid( beta (A_w - A_l) - gamma )                                            (Eq. 6)
With sums instead of means the longer answer would lose just by its length. Only a small learning
rate keeps the policy close to the initial model, and only the difference counts, so both answers
may fall. A common addition: --alpha adds likelihood of `chosen` (CPO-SimPO).

The released code has gamma / beta = .25 by default (scripts/simpo_config.py:56), so gamma is .5 at
beta 2 here; its runs have .1 to .8 (training_configs/). TRL's defaults (its CPO trainer: beta .1,
gamma .5, alpha 1; experimental/cpo/cpo_config.py:111, 133, 137) are not SimPO.
"""
import torch.nn.functional as F
from torch import Tensor

from nanouft.batch import Batch
from nanouft.objective import AtLeast0, Objective, Positive
from nanouft.objectives.dpo import pair_metrics
from nanouft.objectives.sft import nll


class SimPO(Objective):
    data = "pairs"
    lr = 3e-5
    beta: Positive = 2.0            # scale of the mean log-prob
    gamma: AtLeast0 = 0.5           # margin to win by, in units of beta times the mean log-prob
    alpha: AtLeast0 = 0.0           # weight of imitating the chosen answer; 0 is SimPO

    def loss(self, batch: Batch) -> tuple[Tensor, dict]:
        w, l = batch.seqs["chosen"], batch.seqs["rejected"]
        r_w, r_l = self.beta * w.mean(w.logp), self.beta * l.mean(l.logp)
        losses = -F.logsigmoid(r_w - r_l - self.gamma)                                  # Eq. 6
        imitate = nll(batch, "chosen")
        metrics = pair_metrics(batch, r_w, r_l, self.beta) | {"nll": imitate.detach()}
        return losses.sum() / batch.n + self.alpha * imitate, metrics
