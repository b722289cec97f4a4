"""The right program of anchored.md.

    python -m nanouft.train --objective lessons/papers/key_anchored.py
"""
import copy

import torch
from torch import Tensor

from nanouft.batch import Batch
from nanouft.gpt import scatter_at
from nanouft.objective import Objective


class AnchoredSFT(Objective):
    logit_copies = 4
    lam: float = 0.05           # weight of the KL to the start model

    def setup(self, model, seed: int) -> None:
        self.start = copy.deepcopy(model).requires_grad_(False)

    def forward(self, model, batch: Batch) -> None:
        s = batch.seqs["answer"]
        logp = model(s.inputs, want="logits", at=s.positions).float().log_softmax(-1)   # (N,V)
        with torch.no_grad():
            start = self.start.to(s.inputs.device)
            ref = start(s.inputs, want="logits", at=s.positions).float().log_softmax(-1)
        kl = (ref.exp() * (ref - logp)).sum(-1)                                         # (N,)
        target = s.targets.flatten()[s.positions]
        s.logp = scatter_at(logp.gather(1, target[:, None])[:, 0], s.positions, s.mask.shape)
        s.extra["kl"] = scatter_at(kl, s.positions, s.mask.shape)

    def loss(self, batch: Batch) -> tuple[Tensor, dict]:
        s, n = batch.seqs["answer"], batch.tokens["answer"]
        imitate = -s.logp * s.logp.detach().exp()                                       # DFT
        kl = s.extra["kl"]
        each = imitate + self.lam * kl
        return s.sum(each).sum() / n, {"kl_start": s.sum(kl).sum().detach() / n}
