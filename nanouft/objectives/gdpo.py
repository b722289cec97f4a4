"""GDPO, geometric DPO: weight each pair by how sure its preference is; an even one has no gradient.

    python -m nanouft.train --objective gdpo
    Furuta et al. 2024, arXiv:2409.06691 (geometric averaging); GDPO in TRL is another method

A soft label p is the probability that `chosen` (w) is the better answer. GDPO puts geometric
mixtures of the two into DPO, pi_w^p pi_l^(1-p) against pi_w^(1-p) pi_l^p. Two things differ from
dpo.py: `choose` adds p, and `each` multiplies the margin by 2p - 1:
    L = -log sigmoid( beta (2p - 1) (r_w - r_l) )
p = 1 is DPO, and at p = .5 the gradient is 0. cDPO with the same p mixes the two LOSSES instead. It
pulls an even pair back to a margin of 0, and so fits the annotators' doubt.

A pair without "p" in its file counts as sure (p = 1). In NanoWorld p = (1 + difference of the two
exact scores) / 2. We know the factor 2p - 1 from a summary of the paper; the equation follows by
algebra.
"""
import torch.nn.functional as F
from torch import Tensor

from nanouft.batch import Batch
from nanouft.data.selection import both_answers, real_pairs
from nanouft.objectives.dpo import Pairs


class GDPO(Pairs):
    about = ("gdpo is geometric (arXiv:2409.06691) and learns from pairs; Group reward-Decoupled "
             "normalization (arXiv:2601.05242), GDPO in TRL, is another method")

    def choose(self, rows: list) -> list:
        """pair_rows with p, which is 1 where the file has none."""
        return [row.with_roles(both_answers(row), p=1.0 if row.p is None else row.p)
                for row in real_pairs(rows)]

    def each(self, i_w: Tensor, i_l: Tensor, batch: Batch) -> tuple[Tensor, dict]:
        p = batch.per_row["p"]
        return -F.logsigmoid((2 * p - 1) * (i_w - i_l)), {"p": p.sum() / batch.n}
