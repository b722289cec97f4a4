"""SFT whose optimizer sees only the last micro-batch of each step (C17), as if by a fault.

    python -m nanouft.train --objective lessons/evidence/sft_dropped.py --accumulate 4

Limozin et al. 2026 (arXiv:2604.23747) found an optimizer that loses all micro-batches of a step but
the last. It weakened the SFT stage with which several papers compared their one stage. The loss is
still divided by the tokens of the whole step.
"""
from torch import Tensor

from nanouft.batch import Batch
from nanouft.objective import Objective
from nanouft.objectives.sft import nll


class SFTDropped(Objective):
    def loss(self, batch: Batch) -> tuple[Tensor, dict]:
        value = nll(batch)
        is_last = batch.offset + len(batch.seqs["answer"].inputs) == batch.n
        return value * float(is_last), {"nll": value.detach()}
