"""TIS-DPO: a bad answer is not bad in every token, so weight the tokens.

    python -m nanouft.train --objective tis_dpo             # NanoWorld; two short DPO runs first
    Liu et al. 2024, arXiv:2410.04350
    released code: exlaw/TIS-DPO at cbad7c1

DPO pushes every token of `rejected` down alike, even those that were right. To see which tokens
matter, two models are trained first: pi+ by DPO, and pi- by DPO on the same pairs SWAPPED. The
tokens on which they disagree carry the preference. Two things differ from dpo.py: `prepare` reads
the log-probs of the two models, and a log-ratio weights its tokens.
    d_t: log-prob by pi+ minus log-prob by pi-
    u = sum_t c_t (log p_t - log ref_t)
    L = -log sigmoid( beta (u_w - u_l) )
The weight c_t is a constant computed from d_t, so bad tokens of the rejected answer count more:
    c_t = exp(mu clip(d_t, -.5, 1.5))
    mu: 1 in chosen, -1 in rejected
If all weights are c, this is DPO with beta c. The constants come from three secondary sources; we
did not read them in the paper. The released code has no exp form (preference_datasets.py:66): its
default weighs every token 1 (config/transform/default.yaml:8) and drops <|end|>, kept here
(preference_datasets.py:296). Not implemented: weights by rank (README.md:122) and its KL term.
"""
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from nanouft.batch import Batch, Seqs
from nanouft.objective import FirstModels, Objective, Positive, row_by_row
from nanouft.objectives.dpo import pair_metrics


class TISDPO(Objective):
    data = "pairs"
    lr = 3e-5
    reference = True
    first_models = FirstModels("estimates", "two DPO runs, made first",
                               ("--objective dpo --epochs 1", "--objective dpo --epochs 1 --swap"))
    beta: Positive = 0.1            # strength of the KL penalty; larger = closer to the reference
    estimates: list[str] | None = None      # runs of dpo and of dpo --swap [trained first]

    @row_by_row
    def prepare(self, data: list, models: Any, seed: int) -> list:
        """d_t of every response token, in nats: log pi+ - log pi-."""
        plus, minus = (models.logps(data, folder) for folder in self.estimates or ())
        for e, p, m in zip(data, plus, minus):
            for role, t in e.seqs.items():
                t.extra["token_reward"] = p[role] - m[role]
        return data

    def loss(self, batch: Batch) -> tuple[Tensor, dict]:
        w, l = batch.seqs["chosen"], batch.seqs["rejected"]
        c_w, c_l = token_weights(w, 1), token_weights(l, -1)
        r_w, r_l = (self.beta * s.sum(c * (s.logp - s.ref_logp)) for s, c in ((w, c_w), (l, c_l)))
        metrics = pair_metrics(batch, r_w, r_l, self.beta)
        for role, s, c in (("chosen", w, c_w), ("rejected", l, c_l)):
            metrics[f"weight_{role}"] = s.sum(c).sum() / batch.tokens[role]
        return -F.logsigmoid(r_w - r_l).sum() / batch.n, metrics


def token_weights(s: Seqs, mu: int) -> Tensor:
    """(B,T) weight of each response token, a constant; 0 elsewhere."""
    d = s.extra["token_reward"].clamp(-0.5, 1.5)
    return (mu * d).exp().masked_fill(s.mask == 0, 0)
