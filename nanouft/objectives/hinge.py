"""Hinge: DPO's margin, but a pair that is won by enough is left alone.

    python -m nanouft.train --objective hinge
    Liu et al. 2023, arXiv:2309.06657 (RSO, its loss "hinge-norm")
    TRL's DPO loss_type "hinge" (dpo_trainer.py:1390)

DPO is a logistic regression; this is a support-vector machine on the same margin h of log-ratios.
From dpo.py `each` differs:
    L = max(0, 1 - beta h)
    h = r_w - r_l
Below beta h = 1 every pair pushes equally hard, however wrong it is. Above that the pair is done
and pushes nothing. DPO's push fades smoothly and never ends. Without a reference it is slic.py.
"""
from torch import Tensor

from nanouft.batch import Batch
from nanouft.objective import Positive
from nanouft.objectives.dpo import Pairs


class Hinge(Pairs):
    beta: Positive = 0.1            # a pair is won at a margin of 1 / beta nats

    def each(self, i_w: Tensor, i_l: Tensor, batch: Batch) -> tuple[Tensor, dict]:
        each = (1 - (i_w - i_l)).relu()
        return each, {"done": (each == 0).float().sum() / batch.n}
