"""Hinge: DPO's margin, but a pair that wins by enough has no gradient.

    python -m nanouft.train --objective hinge
    Liu et al. 2023, arXiv:2309.06657 (RSO, its loss "hinge-norm")
    TRL's DPO loss_type "hinge" (dpo_trainer.py:1390)

DPO is a logistic regression; this is a support-vector machine on the same margin h of log-ratios.
Only `each` differs from dpo.py:
    L = max(0, 1 - beta h)
    h = r_w - r_l
Below beta h = 1 all pairs have a gradient of the same size, however wrong they are; above it the
gradient is 0. DPO's saturates smoothly and is never 0. Without a reference this is slic.py.
"""
from torch import Tensor

from nanouft.batch import Batch
from nanouft.objective import Positive
from nanouft.objectives.dpo import Pairs


class Hinge(Pairs):
    beta: Positive = 0.1            # a pair is won at a margin of 1 / beta nats

    def each(self, i_w: Tensor, i_l: Tensor, batch: Batch) -> tuple[Tensor, dict]:
        losses = (1 - (i_w - i_l)).relu()
        return losses, {"done": (losses == 0).float().sum() / batch.n}
