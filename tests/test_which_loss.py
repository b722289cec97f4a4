"""DPO with a term more (C13)."""
import pytest
import torch
from made import same

from lessons.evidence.dpo_and import DPOAnd
from nanouft.batch import Batch, Seqs
from nanouft.objectives.dpo import DPO
from nanouft.plumbing.errors import UserError


# ---- DPO with a term more ------------------------------------------------------------------------
def pair(fallen: float) -> Batch:
    """One pair; the chosen answer's tokens are by `fallen` nats less likely than at the start."""
    def seqs(logp, ref_logp):
        ones = torch.ones(1, len(logp))
        return Seqs(ones.long(), ones.long(), ones, ones, ref_logp=torch.tensor([ref_logp]),
                    logp=torch.tensor([logp], dtype=torch.float64).requires_grad_())
    ref = [-1.0, -2.0]
    return Batch({"chosen": seqs([x - fallen for x in ref], ref),
                  "rejected": seqs([-1.5, -0.5, -1.0], [-1.0, -1.0, -1.0])}, n=1,
                 tokens={"chosen": 2, "rejected": 3})


def loss_and_push(objective, batch) -> tuple:
    loss, _ = objective.loss(batch)
    chosen, rejected = (batch.seqs[role].logp for role in ("chosen", "rejected"))
    return loss, *torch.autograd.grad(loss, [chosen, rejected])


@pytest.mark.parametrize("fallen", [0.3, -0.3])
def test_each_term_adds_what_its_equation_says(fallen):
    plain = loss_and_push(DPO(), pair(fallen))
    for got, want in zip(loss_and_push(DPOAnd(), pair(fallen)), plain):
        same(got, want)
    right = loss_and_push(DPOAnd(right=2.0), pair(fallen))
    same(right[0] - plain[0], 2 * (1.5 + fallen), 1e-6)
    same(right[1] - plain[1], torch.full((1, 2), -2 / 2), 1e-7)
    wrong = loss_and_push(DPOAnd(wrong=2.0), pair(fallen))
    same(wrong[0] - plain[0], 2.0)
    same(wrong[2] - plain[2], torch.full((1, 3), -2 / 3), 1e-7)
    floor = loss_and_push(DPOAnd(floor=2.0), pair(fallen))
    same(floor[0] - plain[0], 2 * max(0.0, fallen), 1e-6)
    same(floor[1] - plain[1], torch.full((1, 2), -2 / 2 if fallen > 0 else 0.0), 1e-7)


def test_a_negative_dose_is_refused():
    with pytest.raises(UserError, match="--floor"):
        DPOAnd(floor=-1.0).check()
