"""docs/results/losses.png: the scores of all losses, from planted results of C13."""
import numpy as np
import pytest

from lessons.evidence import pictures, which_loss
from lessons.evidence.claim import UNIT, Claim
from lessons.evidence.claims import CLAIMS

SEEDS, PROMPTS = 5, 12


@pytest.fixture
def planted(monkeypatch):
    """Results in which each row has a true score: kept(name, {row: score})."""
    monkeypatch.setattr(Claim, "best_try", lambda claim, row, base: claim.tries[row][0])

    def kept(name: str, true: dict[str, float]):
        claim, rng = CLAIMS[name], np.random.default_rng(1)
        shape = (len(claim.bases), SEEDS, len(claim.families), PROMPTS)
        scores = [rng.binomial(UNIT, true.get(row, 0.5), shape) for row in claim.rows]
        commands = [[claim.command(row, base) for base in range(len(claim.bases))]
                    for row in claim.rows]
        return {"scores": np.array(scores), "ended": np.ones((len(claim.rows), *shape)),
                "commands": np.array(commands),
                "groups": np.arange(len(claim.families) * PROMPTS).reshape(-1, PROMPTS)}
    return kept


def test_each_loss_stands_once_with_its_own_score(planted):
    """All but TS-DPO, which is part of no question."""
    before = {loss: 0.2 + 0.02 * i for i, loss in enumerate(which_loss.FROM_BASE)}
    found = pictures.by_group(planted("C13", before))
    listed = [line for of_group in found.values() for line in of_group]
    assert sorted(loss for loss, _ in listed) == sorted({*which_loss.FROM_BASE} - {"ts_dpo"})
    for loss, score in listed:
        assert score[0] == pytest.approx(100 * before[loss], abs=1)
    for of_group in found.values():
        assert [x[1][0] for x in of_group] == sorted((x[1][0] for x in of_group), reverse=True)
