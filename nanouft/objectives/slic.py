"""SLiC: rank the two answers by a margin of log-probs, and hold on to the good one; no reference.

    python -m nanouft.train --objective slic                # NanoWorld pairs
    Zhao et al. 2023, arXiv:2305.10425 (SLiC-HF); --form trl: TRL's CPO trainer with "hinge"

S is the log-prob of an answer, summed over its tokens. A hinge asks for a margin, and likelihood
of `chosen` stands in for a reference, because what is held on to cannot drift away:
    --form paper    L = max(0, delta - S_w + S_l) - lam S_w
    --form trl      L = max(0, 1 - beta (S_w - S_l)) + alpha NLL(chosen)
Its parents are hinge.py, from which `hinge` loses the reference, and cpo.py, whose logistic loss
it replaces. The two hinges are the same up to scale (delta = 1 / beta): delta 1 asks for one nat,
TRL's beta .1 for ten. What really differs is how hard each holds on, since a long answer weighs
more in S_w, and NLL is a mean over all tokens of the step.

The paper holds on to the SFT target where there is one; here and in both codes it is `chosen`.
"""
from typing import Literal

from torch import Tensor

from nanouft.errors import in_range
from nanouft.objective import Batch, Objective
from nanouft.objectives.dpo import check_beta, pair_metrics
from nanouft.objectives.sft import nll


class SLiC(Objective):
    data = "pairs"
    form: Literal["paper", "trl"] = "paper"     # which published form
    delta: float = 1.0              # paper: the margin asked for, in nats
    lam: float = 0.1                # paper: weight of the chosen answer's summed log-prob
    beta: float = 0.1               # trl: a pair is done at a margin of 1 / beta nats
    alpha: float = 1.0              # trl: weight of NLL(chosen)

    def check(self) -> None:
        check_beta(self)
        in_range(self, "delta", "lam", "alpha")

    def loss(self, batch: Batch) -> tuple[Tensor, dict]:
        w, l = batch.seqs["chosen"], batch.seqs["rejected"]
        S_w, S_l = w.sum(w.logp), l.sum(l.logp)
        if self.form == "paper":
            hinge = (self.delta - S_w + S_l).relu()
            hold = -self.lam * S_w.sum() / batch.n
        else:
            hinge = (1 - self.beta * (S_w - S_l)).relu()
            hold = self.alpha * nll(batch, "chosen")
        done = (hinge == 0).float().sum() / batch.n
        return hinge.sum() / batch.n + hold, pair_metrics(batch, S_w, S_l) | {"done": done}
