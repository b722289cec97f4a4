"""The right program of eaft.md.

    python -m nanouft.train --objective lessons/papers/key_eaft.py
"""
import math

import torch
from torch import Tensor

from nanouft.batch import Batch
from nanouft.gpt import scatter_at
from nanouft.objective import Objective


class EAFT(Objective):
    logit_copies = 2
    top: int = 20               # likeliest tokens whose entropy is taken

    def forward(self, model, batch: Batch) -> None:
        s = batch.seqs["answer"]
        logits = model(s.inputs, want="logits", at=s.positions).float()         # (N,V)
        target = s.targets.flatten()[s.positions]
        logp = logits.log_softmax(-1).gather(1, target[:, None])[:, 0]          # (N,)
        with torch.no_grad():
            few = logits.topk(self.top).values.log_softmax(-1)                  # (N,top)
            entropy = -(few.exp() * few).sum(-1) / math.log(self.top)           # 0 to 1
        s.logp = scatter_at(logp, s.positions, s.mask.shape)
        s.extra["unsure"] = scatter_at(entropy, s.positions, s.mask.shape)

    def loss(self, batch: Batch) -> tuple[Tensor, dict]:
        s, n = batch.seqs["answer"], batch.tokens["answer"]
        unsure = s.extra["unsure"]
        return -s.sum(unsure * s.logp).sum() / n, {"unsure": s.sum(unsure).sum().detach() / n}
