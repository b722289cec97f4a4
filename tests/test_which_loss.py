"""Claims C13 to C17, R7 to R9: groups, tries, DPO with a term more, KL, the mechanism."""
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from made import same, tiny

from lessons.evidence import claim as entry
from lessons.evidence import measures, mechanism, one_stage, which_loss
from lessons.evidence.claims import CLAIMS
from lessons.evidence.dpo_and import DPOAnd
from nanouft.batch import Batch, Seqs
from nanouft.objectives import OBJECTIVES
from nanouft.objectives.dpo import DPO
from nanouft.plumbing.errors import UserError
from nanouft.run.load import load_rows
from nanouft.run.settings import read_flags

SEARCHED = {name: claim for name, claim in CLAIMS.items() if claim.tries}


# ---- the plan ------------------------------------------------------------------------------------
def test_a_claimed_method_is_in_one_group_and_learns_from_rows():
    """A method that came after the runs is in none."""
    groups = (which_loss.IMITATE, which_loss.ANCHORED, which_loss.CONTRAST, which_loss.GRADED,
              which_loss.LATER)
    together = [name for group in groups for name in group]
    assert len(together) == len(set(together))
    assert not any(OBJECTIVES[name]().on_policy for name in together)


@pytest.mark.parametrize("condition", one_stage.BOTH)
def test_all_rows_of_a_condition_read_the_same_demonstrations_and_questions(condition):
    """In C17, with one seed: those of GRPO ask what those of CHORD ask, SFT imitates the same."""
    asked, shown = {}, {}
    for name, line in one_stage.rows_of(condition, 60).items():
        if line:
            objective, cfg, _ = read_flags([*line.split(), "--seed", "5"])
            rows = objective.choose(load_rows(cfg, objective).train)
            asked[name] = {row.prompt for row in rows if "prompt" in row.roles}
            shown[name] = {(row.prompt, row.answer) for row in rows
                           if {"demo", "answer"} & set(row.roles)}
    sampled = {name: x for name, x in asked.items() if "SFT" not in name}
    assert len(sampled) == 7 and len({*map(frozenset, sampled.values())}) == 1
    assert len(shown) == 11 and len({*map(frozenset, shown.values())}) == 1
    assert len(shown[f"{condition} SFT"]) <= (64 if condition == "FEW" else 1020)


@pytest.mark.parametrize("name", SEARCHED)
def test_each_arm_of_a_claim_has_equally_many_tries(name):
    claim = SEARCHED[name]
    assert claim.name == name and len({len(tried) for tried in claim.tries.values()}) == 1
    assert all(row in claim.rows for row in claim.tries)


def test_a_try_may_say_from_which_row_it_starts_and_serve_another_claim(monkeypatch):
    """C17's split of two stages; C17b takes what was best there."""
    monkeypatch.setattr(entry, "read_tries", lambda: [
        {"claim": "C17", "row": row, "base": "base", "setting": setting, "score": i}
        for row in ("FEW chain", "FEW chord")
        for i, setting in enumerate(CLAIMS["C17"].tries[row])])
    flags, start = CLAIMS["C17"].parts_of("FEW chain", 0)
    assert start == "FEW SFT 50" and flags.endswith("--beta 0 --lr 3e-4 --steps 10")
    assert CLAIMS["C17b"].parts_of("FEW chord", 0)[0].endswith("--steps 180 --lr 8e-4 --mu-end 0.9")
    with pytest.raises(UserError, match="C17b, FEW chain: .*--search C17b"):
        CLAIMS["C17b"].command("FEW chain", 0)
    with pytest.raises(UserError, match="C17b, FEW hpt: .*--search C17$"):
        CLAIMS["C17b"].command("FEW hpt", 0)


def test_the_best_try_is_taken_and_a_missing_one_is_told(monkeypatch):
    claim = CLAIMS["C13"]
    lines = [{"claim": "C13", "row": "dpo", "base": base, "setting": setting, "score": score}
             for base, best in (("base", "--lr 1e-5"), ("base-1", "--lr 3e-6"))
             for setting in which_loss.RATES
             for score in ["0.9" if setting == best else "0.5"]]
    monkeypatch.setattr(entry, "read_tries", lambda: lines)
    assert claim.command("dpo", 0) == "--objective dpo --lr 1e-5"
    assert claim.command("dpo", 1) == "--objective dpo --lr 3e-6"
    fixed = claim.with_setting("dpo", "--lr 7")
    assert fixed.command("dpo", 0) == "--objective dpo --lr 7" and "dpo" not in fixed.tries
    lines.pop()
    with pytest.raises(UserError, match="not all been tried.*--search C13"):
        claim.command("dpo", 1)


def test_a_setting_stands_before_the_row_that_it_starts_from():
    after = CLAIMS["C14"].with_setting("sft, dpo", "--lr 7")
    assert after.command("sft, dpo", 0) == "--objective dpo --lr 7 <- --objective sft"


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


# ---- what is measured ----------------------------------------------------------------------------
def test_kl_of_an_answer_is_the_sum_of_that_of_its_tokens():
    here, there = tiny(0).double(), tiny(1).double()
    prompt, answer = [3, 5, 7], [2, 9, 4, 1]
    got = measures.kl_of_answer(prompt, answer, here, there)
    want = 0.0
    for t in range(len(answer)):
        ids = torch.tensor([prompt + answer[:t]])
        p, q = (net(ids)[0, -1].detach().softmax(-1).numpy() for net in (here, there))
        want += float((p * np.log(p / q)).sum())
    same(got, want, 1e-5)
    assert measures.kl_of_answer(prompt, answer, here, here) == 0


# ---- the mechanism -------------------------------------------------------------------------------
def kept(scores: list[float], logps: list[float]) -> dict:
    """Five seeds, two families, forty prompts of each; both bases alike."""
    rng = np.random.default_rng(0)
    n = len(scores)
    x = np.array(scores)[:, None, None, None, None] + rng.normal(0, 0.05, (n, 2, 5, 2, 40))
    p = np.array(logps)[:, None, None, None] + rng.normal(0, 0.01, (n, 2, 5, 2))
    return {"scores": 240 * x, "logp": np.stack([p, p - 1], -1),
            "groups": np.arange(80).reshape(2, 40)}


@pytest.mark.parametrize("scores, logps, verdict", [
    ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [-6, -5, -4, -3, -2, -1], "holds"),
    ([0.1, 0.2, 0.3, 0.4, 0.6, 0.5], [-6, -5, -4, -3, -2, -1], "does not hold"),
    ([0.3, 0.3, 0.3, 0.3, 0.3, 0.3], [-6, -5, -4, -3, -2, -1], "undecided"),
    ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [-2, -2, -2, -2, -2, -2], "undecided")])
def test_the_mechanism_is_judged_by_order_and_by_contradiction(scores, logps, verdict, monkeypatch):
    rows = list("abcdef")
    monkeypatch.setattr(mechanism, "CLAIMS", {"C13": SimpleNamespace(names=["base", "base-1"])})
    monkeypatch.setattr("lessons.evidence.judge.place",
                        lambda kept, claim, row, base: rows.index(row))
    assert mechanism.verdict_of(rows, kept(scores, logps))[0] == verdict


def test_spearman_by_hand():
    """Five points, two neighbours exchanged: 1 - 6 * 2 / (5 * 24) = .9."""
    rho, chance = mechanism.rank_correlation(np.arange(5.0), np.array([0.0, 1, 2, 4, 3]))
    assert rho == pytest.approx(0.9) and chance == pytest.approx(5 / 120, abs=0.01)
