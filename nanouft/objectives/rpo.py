"""RPO: compare each good answer with the bad answers to other prompts, too.

    python -m nanouft.train --objective rpo
    Yin et al. 2024, arXiv:2402.10958 (relative preference optimization; not TRL's rpo_alpha)
    released code: yinyueqin/relative-preference-optimization at c1b5163

DPO compares two answers to ONE prompt, but B pairs in a step allow B x B comparisons. The margin
of good answer i over bad answer j is
    M_ij = r_w[i] - r_l[j]
DPO is the diagonal. The loss of a pair differs from dpo.py: it compares row i with all j:
    L = -mean_j log sigmoid( beta W_ij M_ij )
    W_ij = softmax_j( cos(e_i, e_j) / temperature )
    e_i: the embedding of prompt i
The weight is INSIDE the sigmoid (trainers.py:826). Off the diagonal the part of r that belongs to
the prompt does not cancel, so answers to dissimilar prompts are hard to compare.

e is the mean hidden state of the initial model over the prompt (the authors: a sentence encoder,
rpo-paired.yaml:16). A step of one pair is DPO. If all prompts are the same, W = 1/B, and beta
shrinks to beta/B. The loss couples the rows of a step, so the batch size is part of the method, and
--accumulate is refused. Not implemented: the unpaired form, and fixed weights instead of W. Two
others are called RPO: DPO with likelihood (rpo_alpha) and reward-aware preference optimization.
"""
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from nanouft.batch import Batch
from nanouft.objective import Objective, Positive, row_by_row
from nanouft.objectives.dpo import log_ratio, pair_metrics


class RPO(Objective):
    data = "pairs"
    lr = 3e-5
    reference = True
    coupled = True
    beta: Positive = 0.1            # strength of the KL penalty; larger = closer to the reference
    temperature: Positive = 0.5  # of the weights of other prompts; small = only similar ones count

    @row_by_row
    @torch.no_grad()
    def prepare(self, data: list, models: Any, seed: int) -> list:
        """Write prompt_embedding, (C,) of each row: the mean of the initial model's last hidden
        states over the prompt's tokens, headers included."""
        for picked, batch in models.batches(data):
            s = next(iter(batch.seqs.values()))
            hidden = models.start(s.inputs)                             # (B,T,C)
            prompt = (s.mask.cumsum(1) - s.mask == 0) * s.not_padding   # (B,T) up to the answer
            mean = (hidden * prompt[..., None]).sum(1) / prompt.sum(1, keepdim=True)
            for i, x in zip(picked, mean.float().cpu().numpy()):
                data[i].per_row["prompt_embedding"] = x
        return data

    def loss(self, batch: Batch) -> tuple[Tensor, dict]:
        r_w, r_l = log_ratio(batch.seqs["chosen"]), log_ratio(batch.seqs["rejected"])
        M = r_w[:, None] - r_l[None, :]                                 # (B,B) margins
        e = F.normalize(batch.per_row["prompt_embedding"].to(M.dtype), dim=-1)      # (B,C)
        W = (-(1 - e @ e.T) / self.temperature).softmax(-1)             # (B,B) rows sum to 1
        losses = -F.logsigmoid(self.beta * W * M).mean(-1)
        metrics = pair_metrics(batch, self.beta * r_w, self.beta * r_l, self.beta)
        metrics["own_weight"] = W.diagonal().sum() / batch.n
        return losses.sum() / batch.n, metrics
