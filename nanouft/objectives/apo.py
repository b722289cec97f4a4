"""APO: each answer on its own should rise or fall, relative to the reference.

    python -m nanouft.train --objective apo
    D'Oosterlinck et al. 2024, arXiv:2408.06266 (Eq. 7, 8)
    TRL's DPO loss_types "apo_zero", "apo_down" (dpo_trainer.py:1467, 1475)

DPO rewards a difference, so `chosen` may fall as long as `rejected` falls further. Here each
answer has its own term. Only `each` differs from dpo.py:
    --form zero     L = 1 - sigmoid(beta r_w) + sigmoid(beta r_l)
    --form down     L = sigmoid(beta r_w) + 1 - sigmoid(beta (r_w - r_l))
zero moves `chosen` up and `rejected` down, for pairs whose chosen answer is better than the model's
own. down lowers both, `rejected` more, for a model that is better than both answers. Each term is
between 0 and 1, and its gradient vanishes on BOTH sides, so a hopeless answer is pushed as little
as a learned one.

zero is kto.py with its reference point k fixed at 0, so rows are not coupled.
"""
from typing import Literal

from torch import Tensor

from nanouft.batch import Batch
from nanouft.objective import Positive
from nanouft.objectives.dpo import Pairs


class APO(Pairs):
    lr = 2.5e-4
    form: Literal["zero", "down"] = "zero"  # zero if chosen beats the model's answers, down if not
    beta: Positive = 0.1            # how quickly gains and losses saturate

    def each(self, i_w: Tensor, i_l: Tensor, batch: Batch) -> Tensor:
        if self.form == "zero":
            return (-i_w).sigmoid() + i_l.sigmoid()             # 1 - sigmoid(x) = sigmoid(-x)
        return i_w.sigmoid() + (i_l - i_w).sigmoid()
