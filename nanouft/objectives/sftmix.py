"""SFTMix: mix answers that the model is sure of with answers that it is not, and learn from the mixture too.

    python -m nanouft.train --objective sftmix                         # NanoWorld; first 1 + 2 epochs of SFT, once
    Lesson 16 · Xiao et al. 2024, arXiv:2410.05248 (mixup: Zhang et al. 2018, arXiv:1710.09412)

A first SFT run says how confident it is of each demonstration: Conf = -mean over its checkpoints of the perplexity of
the answer. The data is cut at the median into a confident and an unsure half, and a row of a step is a PAIR, one of
each. Besides SFT's loss on both, their last hidden states are mixed, one lam ~ Beta(1/2, 1/2) a pair, token by token
from the start of each answer up to the end of the shorter one; the label is mixed by the same lam:
    z_n = lam h_n + (1 - lam) h'_n,     L_mix = mean_n  -[lam log p(y_n | z_n) + (1 - lam) log p(y'_n | z_n)],
    L = L_SFT(both) + mu L_mix,         mu = .2: a regulariser, not the main loss.
Cross entropy is linear in the label, so the mixed label needs two look-ups and no soft labels. mu = 0 is SFT.

Traps: aligned at the first ANSWER token of each, not at position 0; lam is one number a pair; the head reads the same
tensor as always, here the state after the last LayerNorm. A step of --batch-size pairs holds twice as many answers.
Needs demonstrations. No code of the authors was found: what is here follows descriptions of the paper. Simplified: two
runs of 1 and 2 epochs stand for the checkpoints of one run; pairs are drawn once a run, not anew for each batch.
"""
import math
import random
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from nanouft.shell.config import UserError
from nanouft.data.rows import demo_rows
from nanouft.objective import Batch, Columns, First, Objective, Seqs


@dataclass
class SFTMix:
    mu: float = 0.2                 # weight of the mixture's loss; 0 = SFT
    runs: list[str] | None = None   # SFT runs that say what is easy [two are made, once: 1 and 2 epochs]

    def check(self, given: set[str]) -> None:
        if self.mu < 0:
            raise UserError(f"--mu {self.mu}: must not be negative (it would reward confusion)")


def pair_up(encoded: list, seed: int) -> list:
    """Rows with a `confidence` -> pairs of a confident and an unsure one, cut at the median, matched at random. With an
    odd number the row in the middle is its own partner."""
    ranked = sorted(encoded, key=lambda e: -float(e.col.confidence))
    half = (len(ranked) + 1) // 2
    sure, unsure = ranked[:half], ranked[len(ranked) - half:]
    if len(ranked) % 2:
        middle, sure, unsure = ranked[half - 1], sure[:-1], unsure[1:]
    random.Random(seed).shuffle(unsure)
    pairs = [*zip(sure, unsure), *([(middle, middle)] if len(ranked) % 2 else [])]
    return [replace(a, seqs={"sure": a.seqs["answer"], "unsure": b.seqs["answer"]}, col=Columns()) for a, b in pairs]


def answer_places(s: Seqs, n: int) -> Tensor:
    """(B,n) positions of the first n answer tokens of each row (any place where it has fewer)."""
    return s.mask.argsort(dim=1, descending=True, stable=True)[:, :n]


def forward(model, batch: Batch, hp: SFTMix) -> None:
    """Writes logp of both answers; and two roles of the mixture, its log-probs of either answer's tokens."""
    a, b = batch.seqs["sure"], batch.seqs["unsure"]
    hidden = []
    for s in (a, b):
        hidden.append(model(s.inputs, want="hidden"))                                           # (B,T,C)
        s.logp = model(hidden=hidden[-1], want="logp", targets=s.targets, at=s.mask.bool())
    if hp.mu == 0:
        return
    N = torch.stack([a.mask.sum(-1), b.mask.sum(-1)])                                           # (2,B) lengths
    n = min(int(N.max()), a.mask.shape[1], b.mask.shape[1])
    lam = torch.sin(batch.uniform(len(a.mask), 1) * math.pi / 2).square().to(hidden[0])         # (B,1) Beta(1/2, 1/2)
    at = torch.arange(n, device=lam.device) < N.min(0).values[:, None]                   # (B,n) up to the shorter
    places = [answer_places(s, n) for s in (a, b)]
    h, h2 = (x.gather(1, i[..., None].expand(-1, -1, x.shape[-1])) for x, i in zip(hidden, places))
    z = model(hidden=lam[..., None] * h + (1 - lam[..., None]) * h2, want="logits", at=at)      # (M,V) head, once
    z = z if z.dtype == torch.float64 else z.float()
    for role, s, i, share in (("mix_sure", a, places[0], lam), ("mix_unsure", b, places[1], 1 - lam)):
        y, mask = s.targets.gather(1, i), at.to(s.mask.dtype)
        nll = F.cross_entropy(z, y[at], reduction="none")
        logp = torch.zeros(at.shape, dtype=z.dtype, device=z.device).masked_scatter(at, -nll)
        batch.seqs[role] = Seqs(s.inputs.gather(1, i), y, mask, mask, logp, second=share * mask)


def loss(batch: Batch, hp: SFTMix) -> tuple[Tensor, dict]:
    a, b = batch.seqs["sure"], batch.seqs["unsure"]
    nll = -(a.sum(a.logp).sum() + b.sum(b.logp).sum()) / (batch.tokens["sure"] + batch.tokens["unsure"])
    metrics = {"nll": nll.detach()}
    if hp.mu == 0:
        return nll, metrics
    mix = 0
    for s in (batch.seqs["mix_sure"], batch.seqs["mix_unsure"]):
        share, logp = (x.masked_fill(s.mask == 0, 0) for x in (s.second, s.logp))
        mix = mix - s.mean(share * logp).sum() / batch.rows         # lam and 1 - lam: the mixed label, in two parts
    return nll + hp.mu * mix, metrics | {"nll_mix": mix.detach()}


OBJECTIVE = Objective(
    paper="SFTMix, arXiv:2410.05248",
    data="demos", rows=demo_rows, hp=SFTMix, loss=loss, lr=2.5e-4, forward=forward,
    columns=("confidence",),
    first=First("runs", ("--objective sft --epochs 1", "--objective sft --epochs 2")),
    arrange=pair_up)
