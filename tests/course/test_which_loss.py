"""What C13 and C17 compare: DPO with a term more, and one stage with two on the same rows."""
import pytest
import torch
from made import same

from lessons.evidence import plan
from lessons.evidence.dpo_and import DPOAnd
from nanouft.batch import Batch, Seqs
from nanouft.objectives.dpo import DPO
from nanouft.plumbing.errors import UserError
from nanouft.run.load import load_rows
from nanouft.run.settings import read_flags


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


@pytest.mark.parametrize("condition", ["FEW", "WRONG"])
def test_all_trainings_of_a_condition_read_the_same_demonstrations_and_questions(condition):
    """In C17, with one seed: those of GRPO ask what those of CHORD ask, SFT imitates the same."""
    asked, shown = {}, {}
    for name in plan.read("C17").trainings:
        if name.startswith(condition) and "passed" not in name:
            flags, _ = plan.read("C17").flags(name, 0)
            objective, cfg, _ = read_flags([*flags.split(), "--seed", "5"])
            rows = objective.choose(load_rows(cfg, objective).train)
            shown[name] = frozenset((row.prompt, row.answer) for row in rows
                                    if {"demo", "answer"} & {*row.roles})
            asked[name] = frozenset(row.prompt for row in rows if "prompt" in row.roles)
    assert len({*shown.values()}) == 1 and len(shown) > 10
    assert len({x for name, x in asked.items() if "SFT" not in name}) == 1
