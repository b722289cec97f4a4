"""TPO-L: TPO on mean log-probs, with a margin: SimPO, and likelihood of a third answer.

    python -m nanouft.train --objective tpo_l               # NanoWorld pairs
    Saeidi et al. 2024, arXiv:2405.16681; gamma after TRL's TPO trainer, beta after SimPO

With A the mean log-prob of an answer's tokens, and the third answer `gold` of tpo.py:
    L = -log sigmoid( beta (A_w - A_l) - gamma ) + alpha NLL(gold)
From simpo.py one argument differs, the role that is imitated: with gold = chosen this is SimPO
with --alpha. The released code has no TPO-L; TRL's gamma is .5, beta 2 is SimPO's.
"""
from dataclasses import dataclass

from torch import Tensor

from nanouft.errors import in_range
from nanouft.objectives.bridge import Objective
from nanouft.objective import Batch
from nanouft.objectives.cpo import add_nll
from nanouft.objectives.dpo import check_beta
from nanouft.objectives.simpo import simpo_loss
from nanouft.objectives.tpo import triple_rows


@dataclass
class TPOL:
    beta: float = 2.0               # scale of the difference of mean log-probs
    gamma: float = 0.5              # margin to win by, in units of beta x mean log-prob
    alpha: float = 1.0              # weight of NLL(gold)

    def check(self) -> None:
        check_beta(self)
        in_range(self, "alpha", "gamma")


def loss(batch: Batch, hp: TPOL) -> tuple[Tensor, dict]:
    w, l = batch.seqs["chosen"], batch.seqs["rejected"]
    r_w = hp.beta * w.mean(w.logp)
    r_l = hp.beta * l.mean(l.logp)
    return add_nll(batch, hp, simpo_loss(r_w, r_l, hp.gamma), r_w, r_l, role="gold")


OBJECTIVE = Objective(data="pairs", choose=triple_rows, hp=TPOL, loss=loss, lr=2.5e-4)
