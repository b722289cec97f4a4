"""TPO-L: TPO on mean log-probs with a margin, which is SimPO plus likelihood of a third answer.

    python -m nanouft.train --objective tpo_l
    Saeidi et al. 2024, arXiv:2405.16681; gamma after TRL's TPO trainer, beta after SimPO

With A the mean log-prob of an answer's tokens, and the third answer `gold` of tpo.py:
    L = -log sigmoid( beta (A_w - A_l) - gamma ) + alpha NLL(gold)
Three things differ from simpo.py: the loss imitates gold, `choose` adds that role, and alpha is 1,
not 0. With gold = chosen this is SimPO with --alpha. The code that tpo.py names has no TPO-L
(utils/tpo_trainer.py:324); TRL's gamma is .5 (experimental/tpo/tpo_config.py:171), beta 2 is
SimPO's.
"""
import torch.nn.functional as F
from torch import Tensor

from nanouft.batch import Batch
from nanouft.data.row import Row
from nanouft.objective import AtLeast0, Objective, Positive
from nanouft.objectives.dpo import pair_metrics
from nanouft.objectives.sft import nll
from nanouft.objectives.tpo import triples


class TPOL(Objective):
    data = "pairs"
    beta: Positive = 2.0            # scale of the difference of mean log-probs
    gamma: AtLeast0 = 0.5           # margin to win by, in units of beta times the mean log-prob
    alpha: AtLeast0 = 1.0           # weight of imitating the third answer, gold

    def choose(self, rows: list[Row]) -> list[Row]:
        return triples(rows)

    def loss(self, batch: Batch) -> tuple[Tensor, dict]:
        w, l = batch.seqs["chosen"], batch.seqs["rejected"]
        r_w, r_l = self.beta * w.mean(w.logp), self.beta * l.mean(l.logp)
        losses = -F.logsigmoid(r_w - r_l - self.gamma)
        imitate = nll(batch, "gold")
        metrics = pair_metrics(batch, r_w, r_l, self.beta) | {"nll_gold": imitate.detach()}
        return losses.sum() / batch.n + self.alpha * imitate, metrics
