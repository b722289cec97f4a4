"""TPO: three answers to one prompt. Imitate the best one, rank the other two; no reference model.

    python -m nanouft.train --objective tpo                 # NanoWorld pairs
    Saeidi et al. 2024, arXiv:2405.16681, and the code released with it

In CPO one answer plays two parts: it is imitated, and it has to win. But what should be imitated
may be better than any answer of a model, so there is a third one, which the paper calls gold. From
cpo.py one argument differs, the role that is imitated:
    L = -log sigmoid( beta (S_w - S_l) ) + alpha NLL(gold)
gold is the row's own answer (a file's `output` beside `chosen` and `rejected`), else `chosen`, and
then this is CPO, as it is for NanoWorld. With means and a margin it is tpo_l.py.

Sources differ tenfold on beta: .1 in the defaults of the released code (.2 with alpha .9 in its
script), .01 in TRL. Another method is called TPO (preference trees, arXiv:2410.12854).
"""
from dataclasses import dataclass

from torch import Tensor

from nanouft.errors import in_range
from nanouft.objectives.bridge import Objective
from nanouft.objective import Batch
from nanouft.objectives.cpo import loss as cpo_loss
from nanouft.objectives.dpo import check_beta
from nanouft.rows import Row
from nanouft.selection import both_answers, real_pairs


@dataclass
class TPO:
    beta: float = 0.1               # scale of the difference of summed log-probs
    alpha: float = 1.0              # weight of NLL(gold)

    def check(self) -> None:
        check_beta(self)
        in_range(self, "alpha")


def triple_rows(data: list[Row], hp) -> list[Row]:
    """pair_rows with the role "gold": the row's demonstration if it has one, else its chosen."""
    out = []
    for row in real_pairs(data):
        demo = row.answer if row.score is None and row.label != 0 else None
        gold = (row.prompt, demo or row.chosen or ())
        out.append(row.with_roles(both_answers(row) | {"gold": gold}))
    return out


def loss(batch: Batch, hp: TPO) -> tuple[Tensor, dict]:
    return cpo_loss(batch, hp, role="gold")


OBJECTIVE = Objective(data="pairs", choose=triple_rows, hp=TPO, loss=loss, lr=1e-4)
