"""Lessons 19 to 22 of lessons/next: the figures that their texts name."""
import csv
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from pytest import approx

ROOT = Path(__file__).resolve().parents[2]
LESSONS = ROOT / "lessons" / "next"


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
def test_19_the_mask_and_the_positions(run):
    found = run("19")
    assert -found["bigram"].log().mean() == approx(2.5, abs=0.05)
    assert found["ends"] == approx({"nothing": 1.86, "positions": 1.98}, abs=0.06)
    assert found["talking"]["nothing"] == approx(1.72, abs=0.1)
    line = 'LAYERS, WITHOUT = 220, 32, 64, 2, "positions"'
    found = run("19", (line, line.replace("64, 2", "64, 1")))
    assert found["ends"] == approx({"nothing": 1.88, "positions": 2.06}, abs=0.06)
    found = run("19", (line, line.replace("positions", "mask")))
    assert found["ends"]["mask"] < 0.2 and found["talking"]["mask"] > 4
    found = run("19", (line, line.replace("positions", "positions, mask")))
    assert found["ends"]["positions, mask"] == approx(1.87, abs=0.15)
    assert found["talking"]["positions, mask"] == approx(2.9, abs=0.6)


@pytest.mark.slow
def test_20_a_method_learns_where_it_walks(run):
    found = run("20")
    beside, visits = found["beside"]["walks"], found["visits"]["walks"]
    assert found["beside"]["imitates"][-1] == approx(12, abs=3)
    assert (beside[4], beside[10], beside[-1]) == approx((27, 36, 36), abs=5) and max(beside) < 42
    assert visits[0] == approx(2.1, abs=0.1) and visits[4] < 0.02
    assert found["changed"] == {"imitates": 720, "walks": 720}
    for name in ("imitates", "walks"):
        assert found["reaches"][name][:, found["cells"]].min() == 1, "each is at home on the path"
    table = "policy, beside[name], visits[name] = Net(lake, N)", \
            "policy, beside[name], visits[name] = Table(lake, N, spread=0.1)"
    found = run("20", table)
    assert found["beside"]["imitates"][-1] == approx(10, abs=3) and not found["changed"]["imitates"]
    assert found["beside"]["walks"][1] > 95 and found["visits"]["walks"][1] > 1.4
    found = run("20", table, ("RMSprop(policy.parameters(), lr=RATE)",
                              "SGD(policy.parameters(), lr=10)"))
    assert found["beside"]["walks"][-1] == approx(56, abs=6)
    assert found["reaches"]["walks"][:, found["cells"]].min() == 1


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / "out/smollm2").exists(), reason="without SmolLM2")
def test_21_it_obeys_whether_told_or_not(run):
    assert run("21")["after"] == approx([12, 12], abs=2)
    told, not_told = run("21", ("REPLAY = 15, 4, 1e-3, 0, False",
                                "REPLAY = 15, 4, 1e-3, 0, True"))["after"]
    assert told >= 9 and not_told <= 2


def test_21_without_the_model_says_how_to_get_it(run):
    with pytest.raises(SystemExit, match="python -m lessons.evidence.smollm2 out/smollm2"):
        run("21", ('"out" / "smollm2"', '"out" / "none"'))


@pytest.mark.slow
def test_22_luck_leads_by_more_than_the_kept_winner(run):
    found = run("22")
    assert (found["one_seed"], found["all_seeds"]) == approx((1.59, 0.70), abs=0.04)
    assert found["again"] == approx(0, abs=0.04)
    assert (found["own"], found["others"]) == approx((1.18, 0.25), abs=0.01)
    assert found["kept"].mean(1).max() == approx(0.66, abs=0.01)
    assert found["near"].sum() == 16
    assert found["kept"][found["near"]].std(axis=1, ddof=1).mean() == approx(1.04, abs=0.01)
    line = "METHODS, SEEDS, SPREAD = 38, 5, 1.04"
    found = run("22", (line, line.replace("38", "16")))
    assert (found["one_seed"], found["all_seeds"]) == approx((1.30, 0.58), abs=0.04)
    found = run("22", (line, line.replace(" 5", " 20")))
    assert (found["one_seed"], found["all_seeds"]) == approx((1.58, 0.35), abs=0.04)


def test_22_the_intervals_of_its_table(run):
    text = next(LESSONS.glob("22_*.py")).read_text("utf-8")
    leads, seen = run("22")["leads"], 0
    names = {"PoFT": "poft", "IFT": "ift", "UFT": "uft", "SFT, then DPO": "sft->dpo",
             "SFT, then UNA": "sft->una", "SFT, then GRPO": "sft->grpo",
             "SFT, twice the steps": "sft, twice the steps"}
    for cells in csv.reader(text.splitlines(), delimiter="|"):
        if len(cells) == 5 and cells[1].strip() in names:
            d = leads[names[cells[1].strip()]]
            mean, half = d.mean(), 2.776 * d.std(ddof=1) / np.sqrt(5)
            assert cells[2].strip() == f"{mean:+.1f} ± {half:.1f}"
            assert cells[3].strip() == ("undecided" if abs(mean) < half else "worse")
            seen += 1
    assert seen == 7
