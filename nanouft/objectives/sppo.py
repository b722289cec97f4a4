"""SPPO, its loss: the better answer up and the worse one down, each by a fixed number of nats.

    python -m nanouft.train --objective sppo
    Wu et al. 2024, arXiv:2405.00675 (self-play preference optimisation)
    TRL's DPO loss_type "sppo_hard" (dpo_trainer.py:1438)

In a game between policies, a step of multiplicative weights raises the log-prob of an answer by
eta (P - 1/2), where P is the probability that it wins against the policy. With hard labels the
chosen answer always wins and the rejected one never. As a regression, with eta = 1 / beta:
    L = (r_w - 1/(2 beta))^2 + (r_l + 1/(2 beta))^2
From ipo.py (--reduction sum) `each` differs: IPO asks for a difference r_w - r_l, while here each
side has its own target, so the two cannot fall together. At the reference the loss is 1/(2
beta^2): 50 at beta .1 is large, but no mistake. A larger beta asks for less, as in IPO.

Left out: the self-play itself, which draws new answers in every round and estimates P by a judge.
These are offline pairs and one round.
"""
from torch import Tensor

from nanouft.batch import Batch, Seqs
from nanouft.objective import Positive
from nanouft.objectives.dpo import Pairs, log_ratio


class SPPO(Pairs):
    lr = 1e-4
    beta: Positive = 0.1  # each answer is to move by 1 / (2 beta) nats; larger = stay closer

    def reward(self, s: Seqs) -> Tensor:
        return log_ratio(s)

    def each(self, i_w: Tensor, i_l: Tensor, batch: Batch) -> Tensor:
        aim = 1 / (2 * self.beta)
        return (i_w - aim) ** 2 + (i_l + aim) ** 2
