"""Hinge: DPO's margin, but a pair that is won by enough is left alone.

    python -m nanouft.train --objective hinge               # NanoWorld pairs
    Liu et al. 2023, arXiv:2309.06657 (RSO, its loss "hinge-norm"); TRL's DPO loss_type "hinge"

DPO is a logistic regression; this is a support-vector machine on the same margin h of log-ratios.
From dpo.py one line differs, `each`:
    L = max(0, 1 - beta h)
    h = r_w - r_l
Below beta h = 1 every pair pushes equally hard, however wrong it is, and above that the pair is
done and pushes nothing. DPO's push fades smoothly instead and never ends. Since max(0, 1 - beta h)
is beta max(0, 1/beta - h), beta sets where a pair is done and, but for the step size, nothing
else. Without a reference it is slic.py.
"""
from dataclasses import dataclass

from torch import Tensor

from nanouft.objectives.bridge import Objective
from nanouft.objective import Batch
from nanouft.objectives.dpo import check_beta, log_ratio, pair_metrics


@dataclass
class Hinge:
    beta: float = 0.1               # a pair is done at a margin of 1 / beta nats
    check = check_beta


def loss(batch: Batch, hp: Hinge) -> tuple[Tensor, dict]:
    r_w = hp.beta * log_ratio(batch.seqs["chosen"])
    r_l = hp.beta * log_ratio(batch.seqs["rejected"])
    each = (1 - (r_w - r_l)).relu()
    done = (each == 0).float().sum() / batch.n
    return each.sum() / batch.n, pair_metrics(batch, r_w, r_l, hp.beta) | {"done": done}


OBJECTIVE = Objective(data="pairs", hp=Hinge, loss=loss, lr=3e-5, reference=True)
