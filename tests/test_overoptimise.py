"""The study of reward over-optimisation: its figures by hand, its table and picture from lines, one small real piece.

    python -m pytest tests/test_overoptimise.py       about 10 s
"""
import json

import numpy as np
import pytest
from running import call, one_error

from nanouft import overoptimise, runs


@pytest.fixture
def small(monkeypatch, tiny_base, tmp_path):
    """The study with a tiny start model in place of SFT, and few pairs."""
    monkeypatch.setattr(overoptimise, "sft", lambda seed, work: tiny_base)
    monkeypatch.setattr(overoptimise, "SIZES", {4: 1, 8: 2})
    monkeypatch.setattr(overoptimise, "SOURCES", ("corruptions",))
    return overoptimise.Study(seeds=1, prompts=8, samples=4, ppo_steps=8, out=str(tmp_path / "results"),
                              picture=str(tmp_path / "study.png"), work=str(tmp_path / "work"))


def test_a_reward_that_is_the_score_agrees_and_its_reverse_does_not():
    scores = np.random.default_rng(0).random((20, 16))
    good, bad = overoptimise.curve(3 * scores + 7, scores), overoptimise.curve(-scores, scores)
    assert good["agreement"] == 1 and bad["agreement"] == 0
    assert overoptimise.curve(scores * 0, scores)["agreement"] == 0.5, "a reward that says nothing is a coin"
    assert [p["n"] for p in good["curve"]] == [1, 2, 4, 8, 16]
    up, down = ([p["score"] for p in x["curve"]] for x in (good, bad))
    assert up == sorted(up) and down == sorted(down, reverse=True)
    assert [p["reward"] for p in good["curve"]] == pytest.approx([p["reward"] for p in overoptimise.curve(
        scores, scores)["curve"]]), "rewards are shown without their unit and their zero"
    assert good["curve"][0]["reward"] == pytest.approx(0, abs=1e-9) and good["curve"][0]["kl"] == pytest.approx(0)


def test_differences_between_prompts_are_no_spread():
    """A constant for each prompt says nothing about its answers: it must not enlarge the unit of the reward."""
    scores = np.random.default_rng(0).random((20, 16))
    shifted = scores + np.arange(20)[:, None]
    assert overoptimise.curve(shifted, scores)["spread"] == pytest.approx(overoptimise.curve(scores, scores)["spread"])


def line(part: str, source: str, pairs: int, seed: int, scores: list[float]) -> dict:
    points = [{"kl": 0.5 * i, "score": s, "reward": 1.0 * i, "n": 2 ** i, "step": i, "ends": 1.0}
              for i, s in enumerate(scores)]
    return {"part": part, "source": source, "pairs": pairs, "seed": seed, "agreement": 0.6, "curve": points}


def test_table_and_picture_from_lines(here, capsys):
    found = [line("best-of", "samples", 100, s, [0.6 + 0.01 * s, 0.7, 0.4]) for s in (0, 1)]
    found += [line("best-of", "exact", 0, 0, [0.6, 0.8, 0.9]), line("ppo", "samples", 100, 0, [0.6, 0.5, 0.1])]
    (here / "r").mkdir()
    (here / "r" / "over_optimisation.jsonl").write_text("".join(json.dumps(x) + "\n" for x in found))
    assert call(overoptimise.main, "--part", "table", "--out", "r", "--picture", "p.png") == 0
    out = capsys.readouterr().out
    row, = (x for x in out.splitlines() if x.startswith("| best of 64 | 100 pairs"))
    assert "| 60.5 ± 6.4 | 70.0 ± 0.0, 0.5 | 40.0 ± 0.0, 1.0 | -20.5 ± 6.4 | 2.0 ± 0.0 |" in row, row
    assert (here / "p.png").stat().st_size > 10_000
    assert (here / "r" / "over_optimisation.md").read_text().strip() in out


def test_best_of_n_in_small(small):
    found = overoptimise.best_of_n(0, small)
    assert [(x["source"], x["pairs"]) for x in found] == [("exact", 0), ("corruptions", 4), ("corruptions", 8)]
    for x in found:
        likes = [p["reward"] for p in x["curve"]]
        assert likes == sorted(likes), "by its own measure the best of more is never worse"
    again = overoptimise.best_of_n(0, small)
    assert again == found, "finished models are taken as they are, and samples repeat"


def test_ppo_in_small(small, monkeypatch):
    made = overoptimise.reward_models
    monkeypatch.setattr(overoptimise, "reward_models", lambda seed, source, work: made(seed, "corruptions", work))
    x = overoptimise.ppo(0, 4, {"mean": 1.0, "spread": 2.0}, small)
    log = runs.read_metrics(overoptimise.Path(small.work) / "ppo-4-0" / "metrics.jsonl")
    first = x["curve"][0]
    assert len(x["curve"]) == 1, "eight steps are one rollout"
    assert first["kl"] == pytest.approx(0, abs=1e-4) and first["reward"] == pytest.approx((log[0]["reward"] - 1) / 2)


@pytest.mark.parametrize("argv, words", [
    (["--samples", 1], ["--samples"]),
    (["--seeds", 0], ["--seeds"]),
    (["--part", "tables"], ["did you mean table"]),
    (["--part", "table", "--out", "nowhere"], ["nowhere", "run the study first"]),
])
def test_mistakes_are_one_line(argv, words, here, capsys):
    one_error(call(overoptimise.main, *argv), capsys.readouterr().err, *words)
