"""docs/results/losses.png: the scores of all losses, from planted results of C13."""
import numpy as np
import pytest

from lessons.evidence import losses, stats, which_loss
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
    found = losses.by_group(planted("C13", before))
    listed = [line for of_group in found.values() for line in of_group]
    assert sorted(loss for loss, _ in listed) == sorted({*which_loss.FROM_BASE} - {"ts_dpo"})
    for loss, score in listed:
        assert score.mean == pytest.approx(before[loss], abs=0.01)
    for of_group in found.values():
        assert [x[1].mean for x in of_group] == sorted((x[1].mean for x in of_group), reverse=True)


def test_the_interval_over_two_bases_is_that_of_the_mean_of_two_independent_means(planted):
    kept = planted("C13", {"dpo": 0.4})
    one = [stats.moments(*gaps) for gaps in halves(kept, "dpo")]
    found = losses.score("C13", "dpo", kept)
    assert found.mean == pytest.approx(np.mean([x[0] for x in one]))
    freedom = [x[2] for x in one]                   # of both together: from the least to the sum
    least, most = (stats.half_width(sum(x[1] for x in one) / 4, of)
                   for of in (sum(freedom), min(freedom)))
    assert 0.999 * least < found.half < 1.001 * most and most > 1.01 * least


def halves(kept, row: str):
    """What stats.moments takes, of each base: the families have equal shares of the score."""
    i, share = [*CLAIMS["C13"].rows].index(row), 1 / len(kept["groups"])
    for base in kept["scores"][i]:
        yield [share * base[:, family] / UNIT for family in range(base.shape[1])], [*kept["groups"]]
