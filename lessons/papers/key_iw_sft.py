"""The right program of iw_sft.md.

    python -m nanouft.train --objective lessons/papers/key_iw_sft.py
"""
from torch import Tensor

from nanouft.batch import Batch
from nanouft.objective import Objective


class IWSFT(Objective):
    reference = True
    temp: float = 1.0           # sharpness of the weights; 0 is SFT
    cap: float = 16.0           # the largest weight

    def loss(self, batch: Batch) -> tuple[Tensor, dict]:
        s, n = batch.seqs["answer"], batch.tokens["answer"]
        lead = s.mean(s.logp.detach() - s.ref_logp)                             # (B,) nats
        weight = (self.temp * lead).exp().clamp(max=self.cap)
        return -(weight * s.sum(s.logp)).sum() / n, {"weight": weight.sum() / batch.n}
