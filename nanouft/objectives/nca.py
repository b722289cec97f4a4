"""NCA: raise the better answer up to a limit and lower the worse one, each by itself.

    python -m nanouft.train --objective nca
    Chen et al. 2024, arXiv:2402.05369 (noise contrastive alignment)
    TRL's DPO loss_type "nca_pair" (dpo_trainer.py:1419)

DPO classifies which of two answers is better, so it learns only a difference. Noise contrastive
estimation classifies each answer: is it from the ideal policy or from the reference? Only `each`
differs from dpo.py, the loss of a pair:
    L = -log sigmoid(beta r_w) - 1/2 log sigmoid(-beta r_w) - 1/2 log sigmoid(-beta r_l)
`chosen` (w) counts once as data and half as noise, so its equilibrium is a log-ratio of log 2 /
beta (6.9 nats at beta .1), and above that it is pulled back. `rejected` (l) is only noise, and is
pushed down without end, less and less. The loss at the reference is 2 log 2.

In terms of una.py (bce), chosen has the score 2/3 and weight 3/2, rejected the score 0 and weight
1/2. Not implemented: more than two answers with graded rewards.
"""
import torch.nn.functional as F
from torch import Tensor

from nanouft.batch import Batch
from nanouft.objectives.dpo import Pairs


class NCA(Pairs):
    lr = 2.5e-4

    def each(self, i_w: Tensor, i_l: Tensor, batch: Batch) -> Tensor:
        return -F.logsigmoid(i_w) - (F.logsigmoid(-i_w) + F.logsigmoid(-i_l)) / 2
