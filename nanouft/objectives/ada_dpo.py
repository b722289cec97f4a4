"""Ada-DPO: each pair gets a temperature that suits the size of its margin.

    python -m nanouft.train --objective ada_dpo
    Hong et al. 2024, arXiv:2406.02764 (APS)
    released code: IlgeeHong/Adaptive-Preference-Scaling at fd1da08, llm_dpo/

DPO puts the margin z of every pair through the same sigmoid. Here each pair first gets a scale tau
in [tau_min, tau_max] by distributionally robust optimization: it minimises -tau log sigmoid(z /
tau) + (rho - log 2) tau. Only `each` differs from dpo.py, which then uses that scale:
    L = -tau log sigmoid(z / tau)
    z = beta (r_w - r_l)
A small tau makes the loss hard (a hinge), a large tau soft (linear). The released code finds tau
by five Newton steps (dpo_trainer.py:876). We use a closed form: with u = |z| / tau the condition
log(2 sigmoid(u)) - u sigmoid(-u) = rho has ONE root u for all pairs:
    tau = sg(clip(abs(z) / u, tau_min, tau_max))
    u: 1.419 at rho .2
tau grows with |z| of EITHER sign, so a pair that is badly wrong is treated as softly as one that
is clearly right.

rho .2 is the released code's default (dpo_trainer.py:169). Not implemented: a form with rho tau^2.
Trap: the loss is multiplied by tau, so its value cannot be compared with DPO's.
"""
import math
from functools import lru_cache
from typing import Annotated

import torch.nn.functional as F
from torch import Tensor

from nanouft.batch import Batch
from nanouft.objective import Positive, Range
from nanouft.objectives.dpo import Pairs
from nanouft.plumbing.errors import UserError

BelowLog2 = Annotated[float, Range(above=0, at_most=0.69)]    # from log 2 upwards tau is tau_min


class AdaDPO(Pairs):
    rho: BelowLog2 = 0.2            # larger = smaller scales of all pairs
    tau_min: Positive = 0.1         # smallest scale of a pair
    tau_max: Positive = 5.0         # largest scale of a pair; if both are 1, this is DPO

    def check(self) -> None:
        super().check()
        if self.tau_min > self.tau_max:
            raise UserError(f"--tau-min {self.tau_min}: must be at most --tau-max")

    def each(self, i_w: Tensor, i_l: Tensor, batch: Batch) -> tuple[Tensor, dict]:
        z = i_w - i_l
        tau = (z.detach().abs() / root(self.rho)).clamp(self.tau_min, self.tau_max)     # (B,)
        return -tau * F.logsigmoid(z / tau), {
            "tau": tau.sum() / batch.n,
            "tau_at_min": (tau <= self.tau_min).float().sum() / batch.n,
            "tau_at_max": (tau >= self.tau_max).float().sum() / batch.n}


@lru_cache
def root(rho: float) -> float:
    """u* > 0 with log(2 sigmoid(u)) - u sigmoid(-u) = rho, by bisection."""
    low, high = 0.0, 100.0
    for _ in range(60):
        u = (low + high) / 2
        down = 1 / (1 + math.exp(u))                                # sigmoid(-u)
        if math.log(2 * (1 - down)) - u * down < rho:
            low = u
        else:
            high = u
    return low
