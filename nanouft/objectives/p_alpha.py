"""p_alpha, one exponent from SFT to DFT and beyond: how much gradient has an unlikely token?

    python -m nanouft.train --objective p_alpha --alpha 0.5
    Li et al. 2025, arXiv:2510.00526v3: f(p) = (1 - p^alpha) / alpha

Only the function of the probability differs from sft.py:
    L = mean (1 - p_t^alpha) / alpha
Its push on log p_t (minus the gradient) is p_t^alpha: SFT's is 1, DFT's is p_t. So alpha 0, the
limit, is SFT, and alpha 1 has DFT's gradient, though not its loss. The larger alpha is, the smaller
the gradient of an unlikely token. The authors find that alpha 0 (-log p) suits a model that knows
little of the task, and alpha 1 (-p) one that knows much.

Traps: a model that knows little has no token with a high p, so with a large alpha it hardly moves
at first. Losses at two alphas are on two scales, so compare the metric `nll`.
"""
import torch
from torch import Tensor

from nanouft.batch import Batch
from nanouft.objective import AtLeast0, Objective


class PAlpha(Objective):
    alpha: AtLeast0 = 0.5   # 0 is SFT, 1 has DFT's gradient; larger = unlikely tokens teach less

    def loss(self, batch: Batch) -> tuple[Tensor, dict]:
        s, n = batch.seqs["answer"], batch.tokens["answer"]
        logp = s.logp.masked_fill(s.mask == 0, 0)       # filled first: 0 * inf would be NaN
        losses = -logp if self.alpha == 0 else one_minus_exp(self.alpha * logp) / self.alpha
        return s.sum(losses).sum() / n, {"nll": -s.sum(logp).sum().detach() / n}


def one_minus_exp(x: Tensor) -> Tensor:
    """1 - e^x for x <= 0. 1 - exp(x) loses the digits of the value at a small x, and expm1 those of
    the gradient e^x at a large one, because PyTorch computes it as expm1(x) + 1."""
    return torch.where(x > -1, -x.expm1(), 1 - x.exp())
