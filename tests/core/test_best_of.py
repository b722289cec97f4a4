"""Best-of-n: the estimate against enumeration, the KL against exact policies, and the two commands that use it."""
import itertools
import math

import numpy as np
import pytest
from running import call

from nanouft import sample, world
from nanouft.data.rows import Row, Turn
from nanouft.models.load import start_model
from nanouft.rollout import best_of


def enumerate_best(n: int, rewards, values) -> float:
    """The mean over all subsets of n samples of what the best one is worth, ties drawn by lot."""
    out = []
    for some in itertools.combinations(range(len(rewards)), n):
        top = max(rewards[i] for i in some)
        out.append(np.mean([values[i] for i in some if rewards[i] == top]))
    return float(np.mean(out))


@pytest.mark.parametrize("rewards", [[3, 1, 2, 5, 4, 0], [1, 1, 2, 2, 2, 0], [7, 7, 7, 7, 7, 7]])
def test_the_estimate_is_the_mean_over_all_subsets(rewards):
    values = np.array([0.3, 0.9, -1.0, 0.5, 2.0, 0.25])
    for n in range(1, 7):
        want = enumerate_best(n, rewards, values)
        assert best_of.best_of(n, np.array(rewards), values) == pytest.approx(want, abs=1e-12), \
            f"LAW: the estimate is the mean over all subsets of {n}"


def test_one_is_the_mean_and_all_is_the_best():
    r = np.array([0.1, 0.7, 0.4])
    assert best_of.best_of(1, r, r) == pytest.approx(r.mean()) and best_of.best_of(3, r, r) == pytest.approx(0.7)
    assert best_of.choose(np.array([[1, 3, 3], [2, 0, 1]])).tolist() == [1, 0], "the first of equals"
    for n in (0, 4):
        with pytest.raises(ValueError, match="cannot be told"):
            best_of.best_of(n, r, r)


def test_kl_of_a_policy_with_two_answers():
    """Three of four samples are the worse answer: the best of n is the worse one with chance (3/4)^n."""
    rewards = np.array([0.0, 0.0, 1.0, 0.0])
    for n in (1, 2, 5):
        q = np.array([0.75 ** n, 1 - 0.75 ** n])
        assert best_of.kl(n, rewards) == pytest.approx((q * np.log(q / [0.75, 0.25])).sum(), abs=1e-12)
    assert best_of.kl(64, np.ones(5)) == pytest.approx(0), "one answer only: there is nowhere to go"


def test_kl_stays_below_its_bound_and_reaches_it_where_no_answer_comes_twice():
    rng = np.random.default_rng(0)
    assert best_of.kl_bound(1) == 0 and best_of.kl_bound(4) == pytest.approx(math.log(4) - 0.75)
    for n in (2, 4, 16):
        assert (best_of.kl(n, rng.integers(0, 5, (50, 64))) <= best_of.kl_bound(n)).all()
        assert best_of.kl(n, rng.random(2000)) == pytest.approx(best_of.kl_bound(n), abs=0.02)


def test_the_best_answer_is_the_one_that_the_scorer_likes(tiny_base):
    model, tok = start_model(str(tiny_base))
    rows = [Row((Turn("user", text),)) for text in ("Say fig twice.", "What?", "Sort bee ant.")]
    seen = {}

    def longest(prompts, answers):
        for p, a in zip(prompts, answers):
            seen.setdefault(p, []).append(len(a))
        return np.array([len(a) for a in answers], float)

    best = best_of.best_answers(model, tok, rows, 5, longest)
    assert [len(x) for x in seen.values()] == [5, 5, 5]
    assert [len(tok.decode(a.ids).strip()) for a in best] == [max(x) for x in seen.values()]
    assert len({tuple(x) for x in seen.values()}) == 3, "samples differ"


def test_sample_shows_the_best(capsys):
    prompt = world.rows("test", "prompts", 1, 0, skills=("list",))[0].prompt[0].text
    assert call(sample.main, "base", "--prompt", prompt, "--best-of", 12) == 0
    out = capsys.readouterr().out
    score, likes = (float(out.split(word)[1].split()[0].rstrip(",")) for word in ("score", "reward"))
    assert score == likes and "mean of 12" in out, out
