"""PoFT: make each demonstration more likely than helper models find it.

    python -m nanouft.train --objective poft --noise 0.3    # NanoWorld, three answers in ten wrong
    python -m nanouft.train --objective poft --data my.jsonl --aligned FOLDER FOLDER
    Fan et al., arXiv:2412.12865 (AAAI 2025, section 3)
    released code: Savannah120/alignment-handbook-PoFT at 40d33d7

The helpers (in the paper: aligned models) compute the log-prob of each demonstration once, each
with its own tokenizer and template. The loss is a Bradley-Terry comparison of the policy with the
helpers, on the same answer:
    L = -log sigmoid( beta (A - A_aligned) + margin )
    A_aligned: the mean log-prob under the helpers
The paper has neither beta nor margin; the defaults, 1 and 0, give its loss. The gradient is that of
its parent sft.py (--reduction sequence) times a weight, which at beta 1 is
    tau = sigmoid(A_aligned - A)
So a demonstration that the helpers find unlikely gets a small weight, since it may be wrong. PoFT
is una.py's bce with score 1, 1/length for beta, and the helpers as the reference.

For NanoWorld one helper is trained at first use: SFT of the shipped base on 4,080 right answers.
Traps: the released code averages the policy over prompt and answer (run_poft.py:75); here, as in
the paper's formula, both means are over the answer only. A helper with the same errors as the data
does not downweight them.
"""
from typing import Any

import torch
from torch import Tensor

from nanouft.batch import Batch
from nanouft.objective import AnyNumber, FirstModels, Objective, Positive, row_by_row
from nanouft.objectives.sft import nll
from nanouft.objectives.una import score_loss


class PoFT(Objective):
    first_models = FirstModels("aligned", "a helper model, made first",
                               ("--objective sft --rows 4080 --seed 900",), inherits=False)
    aligned: list[str] | None = None  # folders of helper models [NanoWorld: one is trained first]
    beta: Positive = 1.0            # factor of A - A_aligned, the lead over the helpers
    margin: AnyNumber = 0.0         # added to this lead; larger = all rows weigh less

    @row_by_row
    def prepare(self, data: list, models: Any, seed: int) -> list:
        """Write A_aligned of each row: the mean over its tokens, in nats."""
        for e, x in zip(data, models.mean_logp(data, self.aligned or [])):
            e.per_row["aligned_logp"] = x
        return data

    def loss(self, batch: Batch) -> tuple[Tensor, dict]:
        s = batch.seqs["answer"]
        gap = self.beta * (s.mean(s.logp) - batch.per_row["aligned_logp"]) + self.margin    # (B,)
        tau = torch.sigmoid(-gap.detach())                  # share of SFT's gradient that is kept
        metrics = {"tau": tau.sum() / batch.n, "nll": nll(batch).detach()}
        return score_loss(gap, 1.0, "bce").sum() / batch.n, metrics
