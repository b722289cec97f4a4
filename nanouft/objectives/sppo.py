"""SPPO, its loss: the better answer up and the worse one down, each by a fixed number of nats.

    python -m nanouft.train --objective sppo
    Wu et al. 2024, arXiv:2405.00675 (self-play preference optimisation)
    TRL's DPO loss_type "sppo_hard" (dpo_trainer.py:1438)

In a game between policies, a step of multiplicative weights raises the log-prob of an answer by
eta (P - 1/2), where P is the probability that it wins against the policy. With hard labels the
chosen answer always wins and the rejected one never. As a regression, with eta = 1 / beta:
    L = (r_w - 1/(2 beta))^2 + (r_l + 1/(2 beta))^2
Only `each` differs from ipo.py (--reduction sum): IPO has a target for r_w - r_l, while here each
answer has its own, so the two cannot fall together. At the reference the loss is 1/(2 beta^2): 50
at beta .1 is large, but correct. A larger beta means smaller targets, as in IPO.

Not implemented: the self-play itself, which samples new answers in every round and estimates P with
a judge. Here pairs are offline, and there is one round.
"""
from torch import Tensor

from nanouft.batch import Batch, Seqs
from nanouft.objective import Positive
from nanouft.objectives.dpo import Pairs, log_ratio


class SPPO(Pairs):
    lr = 1e-4
    beta: Positive = 0.1  # each answer should move by 1 / (2 beta) nats; larger = stay closer

    def reward(self, s: Seqs) -> Tensor:
        return log_ratio(s)

    def each(self, i_w: Tensor, i_l: Tensor, batch: Batch) -> Tensor:
        target = 1 / (2 * self.beta)
        return (i_w - target) ** 2 + (i_l + target) ** 2
