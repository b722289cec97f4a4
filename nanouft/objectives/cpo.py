"""CPO: DPO without its reference, and plain imitation of the better answer instead.

    python -m nanouft.train --objective cpo                 # NanoWorld pairs
    Xu et al. 2024, arXiv:2401.08417 (its objective L_prefer + L_NLL), TRL's CPO trainer

If the reference were uniform, its log-probs would cancel from DPO's margin (up to length), and no
second model is needed. From dpo.py two lines differ: summed log-probs S stand where its log-ratios
stood, and imitation of `chosen` keeps it from falling.
    L = -log sigmoid( beta (S_w - S_l) ) + alpha NLL(chosen)

beta .1 and alpha 1 are TRL's; we could not read the authors' own values.
Trap: S is a sum, so where rejected answers are longer the margin is won by length before anything
is learnt.
"""
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from nanouft.errors import in_range
from nanouft.objectives.bridge import Objective
from nanouft.objective import Batch
from nanouft.objectives.dpo import check_beta, pair_metrics


@dataclass
class CPO:
    beta: float = 0.1               # scale of the difference of summed log-probs
    alpha: float = 1.0              # weight of NLL(chosen)

    def check(self) -> None:
        check_beta(self)
        in_range(self, "alpha")


def nll(batch: Batch, role: str) -> Tensor:
    """This micro-batch's share of the role's mean loss over response tokens of the whole step."""
    s = batch.seqs[role]
    return -s.sum(s.logp).sum() / batch.tokens[role]


def add_nll(batch: Batch, hp, each: Tensor, r_w: Tensor, r_l: Tensor,
            role: str = "chosen") -> tuple[Tensor, dict]:
    """The loss of each pair (B,), and alpha times the NLL of the answers of a role."""
    imitate = nll(batch, role)
    name = "nll" if role == "chosen" else f"nll_{role}"
    metrics = pair_metrics(batch, r_w, r_l, hp.beta) | {name: imitate.detach()}
    return each.sum() / batch.n + hp.alpha * imitate, metrics


def loss(batch: Batch, hp, role: str = "chosen") -> tuple[Tensor, dict]:
    w, l = batch.seqs["chosen"], batch.seqs["rejected"]
    r_w = hp.beta * w.sum(w.logp)
    r_l = hp.beta * l.sum(l.logp)
    return add_nll(batch, hp, -F.logsigmoid(r_w - r_l), r_w, r_l, role)


OBJECTIVE = Objective(data="pairs", hp=CPO, loss=loss, lr=1e-4)
