"""DPO and one more term: three remedies for a chosen answer that becomes less likely (claim C13).

    python -m nanouft.train --objective lessons/evidence/dpo_and.py --right 1

DPO's loss reads the difference of two log-ratios alone, so both answers may become less likely
together. Each term below stops that in another way, and is measured by how much it helps:
    L = -log sigmoid( beta (r_w - r_l) ) + right nll_w + wrong nll_l + floor max(0, fallen_w)
    nll = -mean_t log p_t
    fallen = -mean_t (log p_t - log ref_t)
`right` imitates the chosen answer (as in Pang et al. 2024, arXiv:2404.19733). `wrong` imitates the
rejected answer in the same dose: it teaches form and where to stop, but not what is right. `floor`
pulls the chosen answer up only while it is less likely than at the start (as Pal et al. 2024,
arXiv:2402.13228, do inside the sigmoid), so it never imitates beyond the reference.
"""
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from nanouft.batch import Batch
from nanouft.objective import AtLeast0
from nanouft.objectives.dpo import Pairs


class DPOAnd(Pairs):
    right: AtLeast0 = 0.0           # weight of imitating the chosen answer
    wrong: AtLeast0 = 0.0           # weight of imitating the rejected answer
    floor: AtLeast0 = 0.0           # weight of the floor under the chosen answer

    def each(self, i_w: Tensor, i_l: Tensor, batch: Batch) -> tuple[Tensor, dict[str, Any]]:
        w, l = batch.seqs["chosen"], batch.seqs["rejected"]
        fallen = w.mean(w.ref_logp - w.logp).clamp_min(0)                       # (B,) nats a token
        extra = self.right * w.mean(-w.logp) + self.wrong * l.mean(-l.logp) + self.floor * fallen
        return -F.logsigmoid(i_w - i_l) + extra, {"fallen": fallen.detach().sum() / batch.n}
