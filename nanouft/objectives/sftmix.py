"""SFTMix: mixup of answers that the model is sure of with others; learn from both and the mixture.

    python -m nanouft.train --objective sftmix              # NanoWorld; two SFT runs first, once
    Xiao et al. 2024, arXiv:2410.05248 (mixup: Zhang et al. 2018, arXiv:1710.09412)

1. Two SFT runs (1 and 2 epochs) give the confidence in each demonstration:
       Conf = -mean over checkpoints of the perplexity of the answer
2. The data is split at the median, and each row of a batch has a confident and an unsure answer.
3. The loss is that of sft.py on both, plus a term on their mixture. It mixes their last hidden
   states h and h', and their labels with the same weight, one lam ~ Beta(1/2, 1/2) per row. Tokens
   are mixed one by one, from the start of each answer to the end of the shorter one:
       z = lam h + (1 - lam) h'
       L = NLL(sure, unsure) - mu mean_t (lam log m_t + (1 - lam) log m'_t)
       m_t, m'_t: the probability of the sure and of the unsure answer's token in state z
Cross-entropy is linear in the label, so the mixed label needs two look-ups and no soft labels.

A step of --batch-size pairs has twice as many answers. We found no code by the authors.
Simplified: two runs replace the checkpoints of one, and pairs are drawn once per run.
Traps: the two answers are aligned at their first ANSWER tokens, not at position 0. lam is one
number per row. The states that are mixed come after the last LayerNorm, as the head reads them.
"""
import math
import random
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nanouft.batch import Batch, Seqs
from nanouft.gpt import GPT, log_probs, scatter_at, select_at
from nanouft.objective import FirstModels, Objective, Positive
from nanouft.plumbing.seeds import uniform_rows


class SFTMix(Objective):
    first_models = FirstModels("runs", "two short SFT runs, made first",
                               ("--objective sft --epochs 1", "--objective sft --epochs 2"))
    mu: Positive = 0.2              # weight of the loss on mixed answers
    runs: list[str] | None = None   # SFT runs for the confidence [trained first: 1 and 2 epochs]

    def prepare(self, data: list, models: Any, seed: int) -> list:
        return pair_up(data, confidence(data, models, self.runs or []), seed)

    def forward(self, model: GPT, batch: Batch) -> None:
        """Write logp of both answers, and add two roles for the mixture: the log-probs that it
        gives to each answer's tokens."""
        a, b = batch.seqs["sure"], batch.seqs["unsure"]
        hidden = []
        for s in (a, b):
            hidden.append(model(s.inputs))                                      # (B,T,C)
            s.logp = log_probs(model, hidden[-1], s.targets, s.positions)
        shorter = torch.minimum(a.mask.sum(-1), b.mask.sum(-1))                 # (B,) tokens
        n = int(shorter.max())
        mask = (a.mask.new_ones(n).cumsum(0) <= shorter[:, None]).to(a.mask)    # (B,n) of both
        at = mask.flatten().nonzero()[:, 0]
        draw = uniform_rows(batch, len(a.mask), 1, a.mask.device)
        lam = torch.sin(draw * math.pi / 2).square().to(a.logp)                 # (B,1) Beta
        # (B,n) each: where the first n answer tokens are (any ones in a row that has fewer)
        positions = [s.mask.argsort(dim=1, descending=True, stable=True)[:, :n] for s in (a, b)]
        h, h2 = [x.gather(1, i[..., None].expand(-1, -1, x.shape[-1]))          # (B,n,C)
                 for x, i in zip(hidden, positions)]
        mixed = lam[..., None] * h + (1 - lam[..., None]) * h2                  # (B,n,C)
        z = model.head(select_at(mixed, at))                                # (M,V) the head, once
        z = z if z.dtype == torch.float64 else z.float()
        for role, s, i, share in (("mix_sure", a, positions[0], lam),
                                  ("mix_unsure", b, positions[1], 1 - lam)):
            inputs, targets = s.inputs.gather(1, i), s.targets.gather(1, i)
            nll = F.cross_entropy(z, select_at(targets, at), reduction="none")
            logp = scatter_at(-nll, at, mask.shape)
            batch.seqs[role] = Seqs(inputs, targets, mask, mask, logp, positions=at,
                                    extra={"share": share * mask})

    def loss(self, batch: Batch) -> tuple[Tensor, dict]:
        a, b = batch.seqs["sure"], batch.seqs["unsure"]
        n = batch.tokens["sure"] + batch.tokens["unsure"]
        nll = -(a.sum(a.logp).sum() + b.sum(b.logp).sum()) / n
        mix = torch.zeros(())
        for s in (batch.seqs["mix_sure"], batch.seqs["mix_unsure"]):        # a mixed label
            share = s.extra["share"].masked_fill(s.mask == 0, 0)            # lam, then 1 - lam
            mix = mix - s.mean(share * s.logp).sum() / batch.n
        return nll + self.mu * mix, {"nll": nll.detach(), "nll_mix": mix.detach()}


# ---- which rows are mixed ------------------------------------------------------------------------
def confidence(data: list, models: Any, runs: list[str]) -> np.ndarray:
    """(rows,) Conf: minus the perplexity of each answer, averaged over the models in `runs`."""
    perplexity = np.zeros(len(data))
    for folder in runs:
        perplexity += [np.exp(-logp["answer"].sum() / e.seqs["answer"].mask[1:].sum())
                       for e, logp in zip(data, models.logps(data, folder))]
    return (-perplexity / len(runs)).astype(np.float32)


def pair_up(data: list, sureness: np.ndarray, seed: int) -> list:
    """Rows -> pairs of a confident and an unsure one.
    They are split at the median and matched at random. If their number is odd, the middle row is
    its own partner."""
    ranked = [data[i] for i in np.argsort(-sureness, kind="stable")]
    half = len(ranked) // 2
    unsure, middle = ranked[len(ranked) - half:], ranked[half:len(ranked) - half]
    random.Random(seed).shuffle(unsure)
    return [replace(a, seqs={"sure": a.seqs["answer"], "unsure": b.seqs["answer"]}, per_row={})
            for a, b in zip(ranked, unsure + middle)]       # the sure ones come first
