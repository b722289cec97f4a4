"""GDPO: how sure is the preference? Nearly equal pairs push little, equal ones not at all.

    python -m nanouft.train --objective gdpo                # NanoWorld pairs
    Furuta et al. 2024, arXiv:2409.06691 (geometric averaging)

A soft label p says how probable it is that `chosen` (w) is the better answer. Let each side stand
for a geometric mixture of the two, pi_w^p pi_l^(1-p) against pi_w^(1-p) pi_l^p, and put that into
DPO. From dpo.py one line differs, `each`, in which the margin is multiplied by 2p - 1:
    L = -log sigmoid( beta (2p - 1) (r_w - r_l) )
p = 1 is DPO, and at p = .5 the gradient is 0. cDPO with the same p mixes two LOSSES instead and
pulls an undecided pair back to a margin of 0: it fits the annotators' doubt, where GDPO is silent.

A pair without "p" in its file counts as sure (p = 1). In NanoWorld p = (1 + difference of the two
exact scores) / 2. The factor 2p - 1 we know from a digest of the paper; the equation follows by
algebra. Other methods of this name (group- and diversity-) are not this one.
"""
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from nanouft.objectives.bridge import Objective
from nanouft.objective import Batch
from nanouft.objectives.dpo import check_beta, log_ratio, pair_metrics
from nanouft.rows import Row
from nanouft.selection import both_answers, real_pairs


@dataclass
class GDPO:
    beta: float = 0.1               # strength of the KL penalty; larger = stay nearer the reference
    check = check_beta


def soft_rows(data: list[Row], hp: GDPO) -> list[Row]:
    """pair_rows with p, which is 1 where the file has none."""
    return [row.with_roles(both_answers(row), p=1.0 if row.p is None else row.p)
            for row in real_pairs(data)]


def loss(batch: Batch, hp: GDPO) -> tuple[Tensor, dict]:
    r_w = hp.beta * log_ratio(batch.seqs["chosen"])
    r_l = hp.beta * log_ratio(batch.seqs["rejected"])
    p = batch.per_row["p"]
    each = -F.logsigmoid((2 * p - 1) * (r_w - r_l))
    metrics = pair_metrics(batch, r_w, r_l, hp.beta) | {"p": p.sum() / batch.n}
    return each.sum() / batch.n, metrics


OBJECTIVE = Objective(data="pairs", choose=soft_rows, hp=GDPO, loss=loss, lr=3e-5, reference=True)
