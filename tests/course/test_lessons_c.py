"""Lessons 04 and 10: the figures that their texts name."""
import pytest
from pytest import approx


@pytest.mark.slow
def test_04_a_placebo_corrects_as_much(run):
    found = run("04")
    assert found["of_hundred"] == approx({"SFT": 4.6, "IFT": 4.4, "placebo": 4.3}, abs=0.05)
    assert (found["nearer"], found["farther"]) == (45, 54)
    after = {name: gaps[2] for name, gaps in found["mean"].items()}
    assert after["SFT"] == approx(6.0, abs=1) and abs(after["IFT"] - after["placebo"]) < 0.5
    found = run("04", ("LAM, UPDATES, RATE, LAKES = 0.2", "LAM, UPDATES, RATE, LAKES = 1.0"))
    assert found["of_hundred"] == approx({"SFT": 4.6, "IFT": 1.4, "placebo": 2.0}, abs=0.05)
    assert (found["nearer"], found["farther"]) == (50, 49)
    found = run("04", ('"habit", lake', '"fresh", lake'))
    after = [gaps[2] for gaps in found["mean"].values()]
    assert after[0] > 2 and max(after) - min(after) < 0.1


@pytest.mark.slow
def test_10_a_gradient_through_the_weights_teaches_not_to_stop(run):
    found = run("10")
    assert (found["da"], found["db"]) == approx((1, -1), abs=1e-4)
    assert found["low"] == approx(1.40, abs=0.1)
    assert found["paths"]["IFT released"][-1] == approx(1.44, abs=0.35)
    assert found["ends"]["IFT released"] < 20
    assert min(found["ends"][form] for form in ("SFT early", "SFT", "IFT detached")) > 80
    found = run("10", ("GAMMA, DIVIDED, STEPS, ROWS, RATE = 0.95, True",
                       "GAMMA, DIVIDED, STEPS, ROWS, RATE = 0.95, False"))
    assert found["db"] == approx(1.19, abs=0.01) and found["ends"]["IFT released"] > 90
