"""The figures that the texts of lessons 00, 05, 07 and 13 name, and those of their edits."""
import pytest
from pytest import approx


@pytest.mark.slow
def test_00_dpo_hardly_teaches_to_stop(run):
    found = run("00")
    assert found["stops"] == approx({"SFT": 100, "DPO": 32}, abs=8)
    assert min(found["words"].values()) > 90
    assert run("00", ("COUNT_END = 0.1, True", "COUNT_END = 0.1, False"))["stops"]["DPO"] > 80
    assert run("00", ('"DPO": 1.5e-5', '"DPO": 1.25e-4'))["stops"]["DPO"] > 90


@pytest.mark.slow
def test_05_the_chosen_answer_falls(run):
    found = run("05")
    chosen = found["seen"]["chosen"]
    assert (chosen[0], max(chosen), chosen[-1]) == approx((-2.51, -0.06, -13.3), abs=3)
    assert found["seen"]["won"][1:] == [1.0] * 20 and found["seen"]["KL"][-1] > 40
    found = run("05", ("RATE, STEPS, ROWS = 0.1, 1e-4", "RATE, STEPS, ROWS = 0.1, 1.5e-5"))
    assert found["seen"]["chosen"][-1] > -0.3 and found["answers"].count("I do not know.") == 20


@pytest.mark.slow
def test_07_praise_lowers_a_wrong_answer(run):
    found = run("07")
    assert [x[3].item() for x in found["p"]] == approx([17.2, 1.8, 4.6], abs=1)
    base, step, praise = found["wrong"][:, found["wrong"][0] > 5].mean(1).tolist()
    assert 0.5 < (base - praise) / (base - step) < 0.85, "two thirds"
    assert found["scores"]["praise and blame"][-1] == approx(0.72, abs=0.06)
    found = run("07", ("A = A.clamp(min=0)  ", "A = A.clamp(max=0)  "))
    assert found["scores"]["praise only"][-1] == approx(0.57, abs=0.08)


@pytest.mark.slow
def test_13_old_answers_do_harm_without_the_ratio(run):
    found = run("13")
    ends = {name: x[-1] for name, x in found["scores"].items()}
    assert ends["lesson 07"] < 0.42 < min(ends["ratio"], ends["ratio, clip"]) - 0.05
    rho, on, k = found["rho"][found["k"]], found["on"], found["k"]
    gone = rho[on[k]].argmin()
    assert rho[on[k]][gone] < 1e-3 and rho[on[k]][gone + 1:].min() > 0.9, "those behind it stay"
    assert run("13", ("0, False", "0, True"))["scores"]["lesson 07"][-1] > 0.6
