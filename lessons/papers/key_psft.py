"""The right program of psft.md.

    python -m nanouft.train --objective lessons/papers/key_psft.py
"""
import copy
from typing import Any

import torch
from torch import Tensor

from nanouft.batch import Batch, write_logp
from nanouft.objective import Objective


class PSFT(Objective):
    eps: float = 0.28           # a token that has gained more than this share is left alone
    renew: int = 8              # steps for which an old policy stays

    def setup(self, model, seed: int) -> None:
        self.old: Any = None
        self.steps = 0

    def forward(self, model, batch: Batch) -> None:
        trains = torch.is_grad_enabled()                        # not so for held-out rows
        begins = trains and batch.offset == 0                   # the first micro-batch of a step
        if self.old is None or begins and self.steps % self.renew == 0:
            self.old = copy.deepcopy(model)
        self.steps += begins
        s = batch.seqs["answer"]
        with torch.no_grad():
            s.extra["old_logp"] = self.old(s.inputs, want="logp", targets=s.targets,
                                           at=s.positions)
        write_logp(model, batch)

    def loss(self, batch: Batch) -> tuple[Tensor, dict]:
        s, n = batch.seqs["answer"], batch.tokens["answer"]
        rho = (s.logp - s.extra["old_logp"]).masked_fill(s.mask == 0, 0).exp()
        each = -torch.minimum(rho, rho.clamp(1 - self.eps, 1 + self.eps))
        held = (rho > 1 + self.eps).to(rho)
        return s.sum(each).sum() / n, {"left_alone": s.sum(held).sum() / n}
