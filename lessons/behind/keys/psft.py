"""The right program of psft.md, and common mistakes."""
import copy
from typing import Any

import torch
from torch import Tensor

from lessons.behind.tasks.papers import BY_ROW, OF_PART, SIGN, Paper
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


GAIN = "torch.minimum(rho, rho.clamp(1 - self.eps, 1 + self.eps))"
TASKS = {"psft": Paper(PSFT,
    {"eps": [0.1, 0.28], "renew": [3, 1]},
    [("self.steps % self.renew == 0", "False", "The old policy is never renewed, so it is the "
      "initial model for ever, and soon every token is left alone."),
     (" and self.steps % self.renew == 0", "", "The old policy is renewed in each step, so no "
      "ratio is ever far from 1. It stays for `renew` steps."),
     ("trains and batch.offset == 0 ", "trains ", "Each micro-batch is counted as a step. The "
      "first one of a step has batch.offset 0."),
     ("trains and batch.offset == 0 ", "batch.offset == 0 ", "Held-out rows are counted as a step. "
      "In one that trains gradients are on: torch.is_grad_enabled()."),
     (GAIN, "rho", "Nothing is clipped."),
     (GAIN, "rho.clamp(1 - self.eps, 1 + self.eps)", "A token that has become less likely is left "
      "alone as well. Take the smaller one of rho and its clip, which pushes it back up."),
     (GAIN, "torch.maximum(rho, rho.clamp(1 - self.eps, 1 + self.eps))", "The loss holds the "
      "smaller one of rho and its clip, not the larger."),
     ("-" + GAIN, "-s.logp * (rho <= 1 + self.eps)", "The loss holds rho, not log p."),
     ("each = -", "each = ", SIGN),
     ('rho = (s.logp - s.extra["old_logp"])', 'rho = (s.extra["old_logp"] - s.logp)',
      "The ratio is upside down: rho is p / old."),
     ("return s.sum(each).sum() / n", "return s.mean(each).sum() / batch.n", BY_ROW),
     OF_PART], steps=5)}
