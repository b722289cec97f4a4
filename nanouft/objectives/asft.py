"""ASFT, Aligned SFT: make `chosen` likely and `rejected` unlikely, each by itself; no reference.

    python -m nanouft.train --objective asft
    Wang et al. 2024, arXiv:2409.10571; form and lam after Gorbatovski et al., arXiv:2502.01237v3

Anchored SFT (arXiv:2509.23753) is another method. Let A be the mean log-prob of an answer's tokens,
p = e^A the geometric mean of their probabilities, and lo the log-odds log p/(1-p):
    L = -A_w + lam ( -log sigmoid(beta lo_w) - log sigmoid(-beta lo_l) )
    lo = A - log(1 - exp(A))
Three things differ from orpo.py. Imitation skips the prompt. It gives each answer, not each token,
the same weight. And the bracket differs: ORPO ranks the two log-odds against each other, so both
may fall together; here each answer has a term of its own and nothing cancels. At beta 1 sigmoid(lo)
is p again, so the bracket is -log p_w - log(1 - p_l), a plain classifier of good and bad answers.

From the second paper: lam 1 (best of .1, .2, .5, 1) and the likelihood of only the response. Not
implemented: its form without the first term, for a model after SFT. We could not read the
original's lam, nor whether its likelihood covers the prompt as ORPO's does.
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
    lam: AtLeast0 = 1.0             # weight of the classifier of good and bad answers
    beta: Positive = 1.0            # sharpness of the log-odds; 1 is the plain classifier

    def loss(self, batch: Batch) -> tuple[Tensor, dict]:
        w, l = batch.seqs["chosen"], batch.seqs["rejected"]
        lo_w, lo_l = self.beta * log_odds(w), self.beta * log_odds(l)
        align = -F.logsigmoid(lo_w) - F.logsigmoid(-lo_l)
        losses = -w.mean(w.logp) + self.lam * align
        metrics = pair_metrics(batch, lo_w, lo_l, self.beta)
        metrics["align"] = align.detach().sum() / batch.n
        return losses.sum() / batch.n, metrics
