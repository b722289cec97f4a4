"""IPO: regress the margin on a fixed target, instead of raising it without end.

    python -m nanouft.train --objective ipo
    Azar et al. 2023, arXiv:2310.12036 (identity preference optimisation)

If every annotator prefers the same answer, DPO's margin grows without end, and its KL penalty beta
no longer limits it. IPO is a regression of the margin h on a number. Two things differ from dpo.py:
`reward` is the log-ratio without beta, and `each` is
    --reduction mean    L = (h - 1/(2 beta))^2                              (Eq. 17, its pair form)
    h = r_w/n_w - r_l/n_l
The loss is 0 at h = 1/(2 beta), and a larger h is pulled BACK. At the reference the loss is 1/(4
beta^2): 25 at beta .1 is large, but correct. A larger beta means a smaller target.

Implementations disagree on what h adds up, so a margin of 5 means different things:
    mean    r/n, log-ratios are means over the tokens of each answer
            (TRL, which says that the authors confirmed it: dpo_trainer.py:1397)
    sum     r, as in DPO (eric-mitchell/direct-preference-optimization at f8b8c0f, trainers.py:217,
            and code built on it)
"""
from typing import Literal

from torch import Tensor

from nanouft.batch import Batch, Seqs
from nanouft.objective import Positive
from nanouft.objectives.dpo import Pairs, log_ratio


class IPO(Pairs):
    beta: Positive = 0.1            # the target margin is 1 / (2 beta); larger = stay closer
    reduction: Literal["mean", "sum"] = "mean"  # an answer's log-ratio: mean or sum over its tokens

    def reward(self, s: Seqs) -> Tensor:
        return log_ratio(s, self.reduction)

    def each(self, i_w: Tensor, i_l: Tensor, batch: Batch) -> Tensor:
        return (i_w - i_l - 1 / (2 * self.beta)) ** 2                   # Eq. 17, its pair form
