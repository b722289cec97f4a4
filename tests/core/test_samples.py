"""pass@k, majority vote and best of k: against counting all choices by hand, and as a command."""
from itertools import combinations

import numpy as np
import pytest
from running import call, lines, one_error

from nanouft import evaluate
from nanouft.rewards import samples

RIGHT = np.array([[1, 0, 0, 1, 0, 0], [0] * 6, [1] * 6, [0, 0, 0, 0, 0, 1]], bool)


@pytest.mark.parametrize("k", range(1, 7))
def test_pass_at_k_is_the_share_of_choices_with_a_right_one(k):
    by_hand = [np.mean([row[list(chosen)].any() for chosen in combinations(range(6), k)])
               for row in RIGHT]
    assert samples.pass_at(k, RIGHT) == pytest.approx(by_hand)
    assert samples.pass_at(1, RIGHT) == pytest.approx(RIGHT.mean(1))


@pytest.mark.parametrize("k", [0, 7])
def test_more_than_there_are_cannot_be_told(k):
    with pytest.raises(ValueError, match=f"pass@{k}"):
        samples.pass_at(k, RIGHT)


def test_pass_at_k_is_unbiased():
    """From 6 samples of an answer that is right in .3: the mean is 1 - .7^3."""
    draws = np.random.default_rng(0).random((20_000, 6)) < 0.3
    got = samples.pass_at(3, draws)
    assert got.mean() == pytest.approx(1 - 0.7 ** 3, abs=3 * got.std() / len(got) ** 0.5)


def test_votes_by_hand():
    texts = [list("aabbbc")]
    right = np.array([[1, 1, 0, 0, 0, 0]], bool)
    assert samples.majority(6, texts, right) == [0]                     # b has three votes
    assert samples.majority(3, texts, right) == [0.5]                   # aab, bbc
    assert samples.majority(2, texts, right) == pytest.approx([1 / 3])  # aa, bb, and b or c
    assert samples.majority(4, texts, right) == [0.5]                   # aabb (a tie), bcaa, bbbc
    assert samples.vote("aa", np.array([True, False])) == 0.5, "the same text once does not stop"
    assert samples.majority(1, texts, right) == pytest.approx(right.mean(1))


@pytest.mark.parametrize("k", range(1, 8))
def test_every_sample_votes_equally_often(k):
    """Where all say the same, a majority is as right as a sample is on average."""
    right = np.array([[1, 1, 0, 0, 0, 0, 1]], bool)
    assert samples.majority(k, ["aaaaaaa"], right) == pytest.approx([3 / 7])


def test_the_best_of_k_by_a_reward():
    texts = [[str(i) for i in range(6)]] * 4
    found = samples.figures(texts, RIGHT, RIGHT.astype(float))
    assert list(found["pass@k"]) == [1, 2, 4, 6]
    for k, x in found["best of k"].items():
        assert x == pytest.approx(found["pass@k"][k]), "LAW: the truth chooses a right one"
    worst = samples.figures(texts, RIGHT, -RIGHT.astype(float))["best of k"]
    assert worst[6] == pytest.approx([0, 0, 1, 0])
    assert len(samples.lines(found)) == 5 and "best of k" in samples.lines(found)[0]


def test_the_command_on_nanoworld(here, tiny_base, capsys):
    argv = [tiny_base, "--samples", 4, "--items", 1, "--device", "cpu", "--reward", "exact"]
    assert call(evaluate.main, *argv) == 0
    said = capsys.readouterr().out
    assert "9 prompts, 4 samples each" in said and "best of k by exact" in said
    assert [line.split()[0] for line in said.splitlines()[1:5]] == ["k", "1", "2", "4"]
    assert (here / "out" / f"samples-{tiny_base.name}.png").stat().st_size > 10_000


def test_the_command_on_your_data(here, tiny_base, capsys):
    lines(here / "d.jsonl", [{"prompt": f"Say {w}.", "response": w} for w in ("pig", "bee", "ox")])
    (here / "my.py").write_text("def right(prompts, answers):\n    return [True] * len(answers)\n")
    argv = [tiny_base, "--data", "d.jsonl", "--samples", 2, "--device", "cpu"]
    assert call(evaluate.main, *argv, "--reward", "my.py:right") == 0
    assert "3 prompts, 2 samples each" in capsys.readouterr().out


@pytest.mark.parametrize("flags, words", [
    (["--data", "d.jsonl"], ["what is right"]),
    (["--best-of", "4"], ["best of k"]), (["--samples", "1000"], ["at most 256"])])
def test_what_does_not_fit_together(flags, words, here, tiny_base, capsys):
    code = call(evaluate.main, tiny_base, "--samples", 2, *flags)
    one_error(code, capsys.readouterr().err, *words)
