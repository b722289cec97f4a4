"""SLiC: a hinge on the margin of log-probs, and imitation of the better answer; no reference.

    python -m nanouft.train --objective slic
    Zhao et al. 2023, arXiv:2305.10425 (SLiC-HF)
    the same loss: yinyueqin/relative-preference-optimization at c1b5163 (trainers.py:885)

S is the log-prob of an answer, summed over its tokens. The hinge asks for a margin. Likelihood of
`chosen` replaces the reference, since the policy cannot drift away from what it imitates:
    L = max(0, delta - S_w + S_l) - lam S_w
Its parents are hinge.py, without its reference, and cpo.py, without its logistic loss. TRL (its CPO
trainer with "hinge", experimental/cpo/cpo_trainer.py:730, 890) has max(0, 1 - beta (S_w - S_l)) +
NLL(chosen). The hinges are the same up to scale (delta = 1 / beta, so TRL's is 10). But a long
answer weighs more in S_w, while NLL is a mean over all tokens of the step.

The paper imitates the SFT target if there is one; here and in both codes it is `chosen`.
"""
from torch import Tensor

from nanouft.batch import Batch
from nanouft.objective import AtLeast0, Objective
from nanouft.objectives.dpo import pair_metrics


class SLiC(Objective):
    data = "pairs"
    delta: AtLeast0 = 1.0           # margin of summed log-probs to win by, in nats
    lam: AtLeast0 = 0.1             # weight of the chosen answer's summed log-prob

    def loss(self, batch: Batch) -> tuple[Tensor, dict]:
        w, l = batch.seqs["chosen"], batch.seqs["rejected"]
        S_w, S_l = w.sum(w.logp), l.sum(l.logp)
        hinge = (self.delta - S_w + S_l).relu()
        hold = -self.lam * S_w.sum() / batch.n
        done = (hinge == 0).float().sum() / batch.n
        return hinge.sum() / batch.n + hold, pair_metrics(batch, S_w, S_l) | {"done": done}
