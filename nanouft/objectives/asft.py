"""ASFT: make `chosen` likely and `rejected` unlikely, each by itself, without a reference.

    python -m nanouft.train --objective asft
    Wang et al. 2024, arXiv:2409.10571; form and lam after Gorbatovski et al., arXiv:2502.01237v3

Let A be the mean log-prob of an answer's tokens. p = e^A is its probability on average per token,
and lo are its log-odds, log p/(1-p):
    L = -A_w + lam ( -log sigmoid(beta lo_w) - log sigmoid(-beta lo_l) )
    lo = A - log(1 - exp(A))
From orpo.py three things differ. Imitation leaves the prompt out. It gives each answer (not each
token) the same weight. And the bracket differs: ORPO ranks the two log-odds against each other, so
both may fall together; here each answer is judged by itself and nothing cancels. At beta 1
sigmoid(lo) is p again, so the bracket is -log p_w - log(1 - p_l), a plain classifier of good and
bad answers on absolute likelihoods.

From the second paper: lam 1 (best of .1, .2, .5, 1), likelihood of the response alone. Left out:
its form without the first term, for a model that has had its SFT. We could not read the original's
lam, nor whether its likelihood covers the prompt as ORPO's does.
"""
import torch.nn.functional as F
from torch import Tensor

from nanouft.batch import Batch
from nanouft.objective import AtLeast0, Objective, Positive
from nanouft.objectives.dpo import pair_metrics
from nanouft.objectives.orpo import log_odds


class ASFT(Objective):
    data = "pairs"
    about = ("asft is Aligned SFT (arXiv:2409.10571), which learns from pairs; Anchored SFT "
             "(arXiv:2509.23753) is another method")
    lam: AtLeast0 = 1.0             # weight of telling good from bad answers, beside imitation
    beta: Positive = 1.0            # sharpness of the log-odds; 1 is the plain classifier

    def loss(self, batch: Batch) -> tuple[Tensor, dict]:
        w, l = batch.seqs["chosen"], batch.seqs["rejected"]
        lo_w, lo_l = self.beta * log_odds(w), self.beta * log_odds(l)
        align = -F.logsigmoid(lo_w) - F.logsigmoid(-lo_l)
        each = -w.mean(w.logp) + self.lam * align
        metrics = pair_metrics(batch, lo_w, lo_l, self.beta)
        metrics["align"] = align.detach().sum() / batch.n
        return each.sum() / batch.n, metrics
