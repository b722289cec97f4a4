"""PoFT: do better on each demonstration than models that are already aligned.

    python -m nanouft.train --objective poft --noise 0.3    # NanoWorld, three answers in ten wrong
    python -m nanouft.train --objective poft --data my.jsonl --aligned DIR DIR
    Fan et al., arXiv:2412.12865 (its AAAI 2025 text, section 3) and the code released with it

Aligned models are asked once how likely they find each demonstration. The loss is Bradley-Terry
between the policy and them, on the same answer. Each reads with its own tokenizer and template:
    L = -log sigmoid( beta (A - A_aligned) + margin )
    A_aligned: the mean log-prob by the aligned models
Its gradient is SFT's times a weight:
    tau = sigmoid(A_aligned - A)            (at beta 1 and margin 0)
So a demonstration that aligned models find unlikely, and that the policy does not, is doubted and
weighs little. tau also falls as the policy learns, so compare rows at one step.

Needs demonstrations and aligned models, --aligned. For NanoWorld one is made at first use, by the
command that run.json and the screen show: SFT of the shipped base on 4,080 right answers to
training prompts of another seed (--noise 0, never a test prompt; questions about facts and myths
are few, so it has seen many of the same ones).
No start model, no KL, no extra likelihood.
At A = A_aligned the weight is 1/2; Adam does not see such a scale.
PoFT is UNA's bce on score 1, with 1/length for beta and aligned models for the start model: both
call the function score_loss.
Trap: the release averages the policy over prompt and answer, the aligned models over the answer.
Here both read the answer only (the paper's formula).
Trap: an aligned model that shares the errors of the data doubts nothing.
"""
from dataclasses import dataclass

import torch
from torch import Tensor

from nanouft.objective import Batch, Column, Objective
from nanouft.objectives.dpo import check_beta
from nanouft.objectives.una import score_loss


@dataclass
class PoFT:
    aligned: list[str] | None = None    # folders of the models asked [NanoWorld: one is made, once]
    beta: float = 1.0               # scale of A - A_aligned (the release's; the paper has none)
    margin: float = 0.0             # added to it (the release: gamma); larger = every tau smaller
    check = check_beta


def aligned_logp(data, models, hp: PoFT) -> list[float]:
    """A_aligned of each row, in nats on average per token."""
    return models.mean_logp(data, hp.aligned or [])


def gap(batch: Batch, hp: PoFT) -> Tensor:
    """(B,) by how much the policy is ahead of the aligned models: what the sigmoid sees."""
    s = batch.seqs["answer"]
    return hp.beta * (s.mean(s.logp) - batch.per_row["aligned_logp"]) + hp.margin


def tau(batch: Batch, hp: PoFT) -> Tensor:
    """(B,) tau: the share of SFT's gradient (at beta 1) that a row keeps."""
    return torch.sigmoid(-gap(batch, hp))


def loss(batch: Batch, hp: PoFT) -> tuple[Tensor, dict]:
    s = batch.seqs["answer"]
    each = score_loss(gap(batch, hp), 1.0, "bce")
    metrics = {"tau": tau(batch, hp).sum().detach() / batch.rows,
               "nll": -s.sum(s.logp).sum().detach() / batch.tokens["answer"]}
    return each.sum() / batch.rows, metrics


OBJECTIVE = Objective(
    paper="Preference-Oriented Supervised Fine-Tuning, arXiv:2412.12865 (AAAI 2025), section 3",
    data="demos", hp=PoFT, loss=loss, lr=2.5e-4,
    columns=(Column("aligned_logp", "an aligned model, made first", asks="aligned",
                    made_by=("--objective sft --rows 4080 --seed 900",), inherits=False,
                    before=aligned_logp),))
