"""Lessons 07, 08 and 13: the figures that their texts name, on the page and after its edits."""
import runpy
import subprocess
import sys
from pathlib import Path

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
def test_07_praise_lowers_a_wrong_answer(run):
    found = run("07")
    assert [x[3].item() for x in found["p"]] == approx([17.2, 1.8, 4.6], abs=1)
    assert [x[1].item() for x in found["p"]] == approx([8.6, 9.2, 7.1], abs=0.5), "blamed, rises"
    base, step, praise = found["wrong"][:, found["wrong"][0] > 5].mean(1).tolist()
    assert 0.5 < (base - praise) / (base - step) < 0.85, "two thirds"
    scores = found["scores"]
    assert scores["praise and blame"][0] == approx(0.42, abs=0.01)
    assert [scores[name][-1] for name in scores] == approx([0.72, 0.70], abs=0.06)
    scores = run("07", ("A = A.clamp(min=0)  ", "A = A.clamp(max=0)  "))["scores"]
    assert scores["praise only"][-1] == approx(0.57, abs=0.08)


@pytest.mark.slow
def test_08_rejection_sampling_pays(run):
    found = run("08")
    points, gain = found["points"], found["gain"]
    assert points["base"] == approx(17, abs=1) and points["SFT"] == approx(59, abs=3)
    assert max(gain, key=gain.get) == "b" and gain["d"] < 0 and points["GRPO"] > 66
    found = run("08", ("DEMOS, SKILLS = 20, 20", "DEMOS, SKILLS = 20, 320"))
    assert found["points"]["GRPO"] < found["more"] + 2 and found["gain"]["a"] < -3
    assert run("08", ('"SFT", "DPO",', '"SFT",'))["points"]["GRPO"] > 69, "DPO is not needed"


@pytest.mark.slow
def test_08_its_last_lines_make_mine_a_program(tmp_path):
    lesson, = LESSONS.glob("08_*.py")
    lines = [line[6:] for line in lesson.read_text("utf-8").splitlines() if line[:6] == "#     "]
    mine = tmp_path / "mine.py"
    mine.write_text((LESSONS / "mine.py").read_text("utf-8") + "\n".join(lines), "utf-8")
    ran = subprocess.run([sys.executable, mine], capture_output=True, text=True, check=True)
    assert ran.stdout.count("step   0") == 3 and "mean score" in ran.stdout


@pytest.mark.slow
def test_13_old_answers_do_harm_without_the_ratio(run):
    found = run("13")
    ends, start = found["ends"], found["start"]
    assert start == approx(0.42, abs=0.01) and found["after_8"]["lesson 07"] > start + 0.05
    for batch in range(3):
        of = {name: ends[name, batch] for name in found["objectives"]}
        assert min(of, key=of.get) == "lesson 07" and of["ratio, clip"] > start + 0.02
    assert ends["lesson 07", 0] < start - 0.03 and ends["ratio", 0] > start + 0.1
    rho, on, k = found["rho"], found["on"], found["k"]
    gone = rho[k][on[k]].argmin()
    assert rho[k][on[k]][gone] < 1e-3 and rho[k][on[k]][gone + 1:].min() > 0.9, "those behind stay"
    ends = run("13", ("0.2, False", "0.2, True"))["ends"]
    assert min(ends.values()) > 0.6, "fresh answers do no harm"
    assert ends["lesson 07", 0] == approx(ends["ratio", 0], abs=0.03), "and need no ratio"
    ends = run("13", ("rho = (logp - old).exp()",
                      "rho = ((logp - old) * mask).cumsum(1).exp()"))["ends"]
    assert min(ends["ratio", batch] for batch in range(3)) > start
