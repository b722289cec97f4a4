"""The study of reward over-optimisation: its figures by hand, its table and picture from lines, one
small real piece.
"""

import numpy as np
import pytest
from running import call, lines, one_error

from lab import overoptimise
from lab.cell import Cell
from nanouft import world
from nanouft.run.storage import Lines, read_json


@pytest.fixture
def small(monkeypatch, tiny_base, tmp_path, brief):
    """The study with a tiny start model in place of SFT, and few pairs."""
    monkeypatch.setattr(overoptimise, "sft", lambda seed: Cell((), seed, str(tiny_base)))
    monkeypatch.setattr(overoptimise.reward, "sampled_pairs",
                        lambda *_: world.rows("train", "pairs", 8, 100))
    for name, value in {"SIZES": {4: 1, 8: 2}, "PROMPTS": 8, "SAMPLES": 4,
                        "PPO": (*overoptimise.PPO, "--steps", "8", "--rows", "40", "--max-new",
                                "8")}.items():
        monkeypatch.setattr(overoptimise, name, value)
    return tmp_path / "work"


def test_a_reward_that_is_the_score_agrees_and_its_reverse_does_not():
    scores = np.random.default_rng(0).random((20, 16))
    good, bad = (overoptimise.curve(likes, scores, scores) for likes in (3 * scores + 7, -scores))
    assert good["agreement"] == 1 and bad["agreement"] == 0
    assert overoptimise.curve(scores * 0, scores,
                              scores)["agreement"] == 0.5, "a reward that says nothing is a coin"
    assert [p["n"] for p in good["curve"]] == [1, 2, 4, 8, 16]
    up, down = ([p["score"] for p in x["curve"]] for x in (good, bad))
    assert up == sorted(up) and down == sorted(down, reverse=True)
    plain = overoptimise.curve(scores, scores, scores)["curve"]
    assert [p["reward"] for p in good["curve"]] == pytest.approx([p["reward"] for p in plain]), (
        "no unit, no zero")
    assert good["curve"][0]["reward"] == pytest.approx(0, abs=1e-9)
    assert good["curve"][0]["kl"] == pytest.approx(0)
    spread = [overoptimise.curve(x, scores, scores)["spread"]
              for x in (scores, scores + np.arange(20)[:, None])]
    assert spread[0] == pytest.approx(spread[1]), (
        "a constant of a prompt does not enlarge the unit of the reward")


def line(part: str, source: str, pairs: int, seed: int, scores: list[float]) -> dict:
    points = [{"kl": 0.5 * i, "score": s, "reward": 1.0 * i, "n": 2 ** i, "usual": 0.5, "ends": 1.0}
              for i, s in enumerate(scores)]
    return {**overoptimise.about(part, source, pairs, seed), "agreement": 0.6, "curve": points}


def test_table_and_picture_from_lines(here, capsys):
    found = [line("best-of", "samples", 100, s, [0.6 + 0.01 * s, 0.7, 0.4]) for s in (0, 1)]
    found += [line("best-of", "exact", 0, 0, [0.6, 0.8, 0.9]),
              line("ppo", "samples", 100, 0, [0.6, 0.5, 0.1])]
    (here / "r").mkdir()
    file = lines(here / "r" / "over_optimisation.jsonl", found)
    assert call(overoptimise.main, "--write", "--out", "r") == 0
    row, = (x for x in capsys.readouterr().out.splitlines()
            if x.startswith("| best of 64 | 100 pairs"))
    figures = "60.5 ± 6.4 | 70.0 ± 0.0, 0.5 | 40.0 ± 0.0, 1.0 | -20.5 ± 6.4 | 2.0 ± 0.0 | 50, 50"
    assert f"| {figures} |" in row, row
    assert (here / "r" / "over_optimisation.png").stat().st_size > 10_000
    file.write_text(file.read_text() + '{"part": "ppo"}\n')
    code = call(overoptimise.main, "--write", "--out", "r")
    one_error(code, capsys.readouterr().err, f"line {len(found) + 1}")


def test_best_of_n_in_small(small, monkeypatch):
    read, fit = [], overoptimise.reward.fit
    monkeypatch.setattr(overoptimise.reward, "fit",
                        lambda model, rows, *more: read.append(len(rows)) or fit(
                            model, rows, *more))
    found = overoptimise.best_of_n(0, small)
    assert read == [4, 8], "a reward model of 4 pairs has read 4"
    assert [(x["source"], x["pairs"]) for x in found] == [
        ("exact", 0), ("noise", 0), ("samples", 4), ("samples", 8)]
    for x in found:
        likes = [p["reward"] for p in x["curve"]]
        assert likes == sorted(likes), "by its own measure the best of more is never worse"
        assert (all(0.25 <= p["usual"] <= 1
                    for p in x["curve"])), "at least one of four samples says it"
    again = overoptimise.run_seed(overoptimise.Seed(0, small))
    assert again[:4] == found, "finished models are taken as they are, and samples repeat"
    assert {x["key"] for x in again} == set(overoptimise.Seed(0, small).keys)


def test_ppo_in_small(small):
    x = overoptimise.ppo({"source": "samples", "pairs": 4, "seed": 0, "mean": 1.0, "spread": 2.0},
                         small)
    folder, = {f.parent for f in small.glob("*/spent.json")}
    log, hp = Lines(folder / "metrics.jsonl").read(), read_json(folder / "run.json")["hp"]
    assert (hp["beta"], hp["end_penalty"]) == (0,
                                               0), "no KL term, and nothing is paid but the reward"
    first = x["curve"][0]
    assert len(x["curve"]) == 8 / 2, "two steps are one rollout"
    assert first["kl"] == pytest.approx(0, abs=1e-4)
    assert first["reward"] == pytest.approx((log[0]["reward"] - 1) / 2)


@pytest.mark.parametrize("argv, words", [
    (["--workers", 0], ["--workers"]),
    (["--write", "--out", "nowhere"], ["nowhere", "run the study first"])])
def test_mistakes_are_one_line(argv, words, here, capsys):
    one_error(call(overoptimise.main, *argv), capsys.readouterr().err, *words)
