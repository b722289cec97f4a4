"""TPO, triple preference optimization: imitate the best of three answers and rank the other two.

    python -m nanouft.train --objective tpo
    Saeidi et al. 2024, arXiv:2405.16681 (not TPO of preference trees, arXiv:2410.12854)
    released code: sahsaeedi/triple-preference-optimization at 6b98466

In CPO `chosen` is both imitated and preferred. But the answer to imitate may be better than any
answer of a model, so there is a third one, which the paper calls gold. Two things differ from
cpo.py: the loss imitates gold, and `choose` adds that role:
    L = -log sigmoid( beta (S_w - S_l) ) + alpha NLL(gold)
gold is the row's own answer (a file's `output` beside `chosen` and `rejected`). A row without one
takes `chosen`, and then this is CPO, as for NanoWorld. With means and a margin it is tpo_l.py.

Sources differ tenfold on beta: .1 in the released code (utils/configs.py:205), .01 in TRL
(experimental/tpo/tpo_config.py:153).
"""
import torch.nn.functional as F
from torch import Tensor

from nanouft.batch import Batch
from nanouft.data.row import Row
from nanouft.data.selection import both_answers, real_pairs
from nanouft.objective import AtLeast0, Objective, Positive
from nanouft.objectives.dpo import pair_metrics
from nanouft.objectives.sft import nll


class TPO(Objective):
    data = "pairs"
    lr = 1e-4
    beta: Positive = 0.1            # scale of the difference of summed log-probs
    alpha: AtLeast0 = 1.0           # weight of imitating the third answer, gold

    def choose(self, rows: list[Row]) -> list[Row]:
        return triples(rows)

    def loss(self, batch: Batch) -> tuple[Tensor, dict]:
        w, l = batch.seqs["chosen"], batch.seqs["rejected"]
        r_w, r_l = self.beta * w.sum(w.logp), self.beta * l.sum(l.logp)
        losses = -F.logsigmoid(r_w - r_l)
        imitate = nll(batch, "gold")
        metrics = pair_metrics(batch, r_w, r_l, self.beta) | {"nll_gold": imitate.detach()}
        return losses.sum() / batch.n + self.alpha * imitate, metrics


def triples(rows: list[Row]) -> list[Row]:
    """pair_rows with the role "gold": the row's demonstration if it has one, else chosen."""
    out = []
    for row in real_pairs(rows):
        demo = row.answer if row.score is None and row.label != 0 else None
        gold = (row.prompt, demo or row.chosen or ())
        out.append(row.with_roles(both_answers(row) | {"gold": gold}))
    return out
