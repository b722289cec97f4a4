"""Lessons 05, 06, 11 and 12: the figures that their texts name, from the pages and their edits."""
import runpy
import sys
from pathlib import Path

import pytest
from pytest import approx

LESSONS = Path(__file__).resolve().parents[2] / "lessons" / "next"


@pytest.fixture
def run(monkeypatch, tmp_path):
    """run("05", ("1e-4", "1.5e-5")): a lesson's variables, after such edits of its file."""
    def run(number: str, *edits: tuple[str, str]) -> dict:
        file, = LESSONS.glob(f"{number}_*.py")
        source = file.read_text("utf-8")
        for old, new in edits:
            assert old in source, f"{file.name} has no line with {old}"
            source = source.replace(old, new, 1)
        (copy := tmp_path / file.name).write_text(source, "utf-8")
        monkeypatch.syspath_prepend(LESSONS)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [str(copy), "--guess", "none"])
        return runpy.run_path(str(copy), run_name="__main__")
    return run


@pytest.mark.slow
def test_05_the_chosen_answer_falls(run):
    found = run("05")
    chosen = found["seen"]["chosen"]
    assert (chosen[0], max(chosen)) == approx((-5.7, -0.3), abs=0.5)
    assert chosen[-1] < -15 and found["seen"]["won"][1:] == [1.0] * 20
    assert found["answers"].count("I do not know.") < 8
    line = "RATE, STEPS, SFT_STEPS = "
    found = run("05", (line + "1e-4, 40, 40", line + "1.5e-5, 40, 40"))
    assert found["seen"]["chosen"][-1] == approx(-0.36, abs=0.3)
    assert found["answers"].count("I do not know.") >= 18 and found["seen"]["won"][-1] == 1
    found = run("05", (line + "1e-4, 40, 40", line + "1e-4, 40, 0"))
    chosen = found["seen"]["chosen"]
    assert (chosen[0], chosen[-1]) == approx((-2.51, -13.3), abs=4)
    assert 4 <= found["answers"].count("I do not know.") <= 16


@pytest.mark.slow
def test_06_a_score_of_one_half_holds_an_answer_where_it_was(run):
    found = run("06")
    ends = found["ends"]
    assert ends["base"] == approx([28, 53], abs=1)
    assert ends["left out"] == approx([63, 24], abs=5)
    assert ends["score 0.5"] == approx([59, 31], abs=5)
    assert ends["score 0"] == approx([42, 15], abs=6)
    assert ends["left out"][1] + 3 < ends["score 0.5"][1]
    assert sum(found["said"]["left out"]) == 40 and sum(found["said"]["score 0"]) < 38
    ends = run("06", ("score=1.0", "score=0.5"))["ends"]
    assert ends["score 0.5"] == approx(ends["base"], abs=0.1)
    ends = run("06", ("ONE = 0.1", "ONE = 1.0"))["ends"]
    assert ends["score 0.5"] == approx([49, 40], abs=4)
    for seed in (1, 2):
        ends = run("06", ("1e-4, 40, 0,", f"1e-4, 40, {seed},"))["ends"]
        assert ends["left out"][1] + 2 < ends["score 0.5"][1], seed
        assert ends["score 0"][0] < ends["left out"][0] - 10, seed


@pytest.mark.slow
def test_11_the_gradients_tell_when_the_chosen_answer_turns(run):
    found = run("11")
    path = found["paths"]
    assert path["beta 0.1"][-1] == approx(-13.3, abs=4)
    assert path["beta 1"][-1] == approx(-0.9, abs=0.4)
    assert found["right"][0.1][0] >= 18 and found["right"][1.0][0] <= 14
    assert found["right"][1.0][1] >= 18 and found["distance"](found["policy"]) < 15
    found = run("11", ("(0.1, 1.0), 1e-4, 40, True", "(1.0,), 1e-4, 40, False"))
    assert found["path"][-1] == approx(-1.1, abs=0.5)
    found = run("11", ("(0.1, 1.0)", "(0.1,)"), ("loss = -F", "loss = -10 * F"))
    assert found["path"][-1] == approx(-13.3, abs=5)


@pytest.mark.slow
def test_12_the_order_of_the_rows_keeps_the_skills(run):
    scores = run("12")["scores"]
    sums = {name: x[0] for name, x in scores.items()}
    assert sums["base"] < 25 and sums["SFT"] > 85
    assert max(sums["SFT, then UNA"], sums["UFT, sorted"]) < 70
    assert min(sums["two losses, mixed"], sums["UFT"]) > 84
    assert min(scores["UFT"][2], scores["two losses, mixed"][2]) > 40
    scores = run("12", ("scored, 1e-4", "scored, 1.25e-4"))["scores"]
    assert scores["SFT, then UNA"][0] < 70
    scores = run("12", ("ONE = 0.1", "ONE = 3.0"))["scores"]
    assert scores["UFT"][1] < scores["SFT, then UNA"][1] - 10
    assert scores["two losses, mixed"][0] > scores["UFT"][0] + 5
    assert min(x[3] for x in scores.values()) > 95
