"""Lessons 09, 15 and 16: the figures that their texts name, with the named edits."""
import re
import runpy
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


@pytest.mark.parametrize("number, part", [("09", "poft_loss"), ("15", "pass_at_k"),
                                          ("16", "best_of_n")])
def test_a_lesson_has_its_form(number, part):
    file, = LESSONS.glob(f"{number}_*.py")
    text = file.read_text("utf-8")
    assert len(text.splitlines()) <= 176
    assert len(re.findall(r"^guess = ask\(", text, re.M)) == text.count("tell(guess") == 1
    assert "assert " not in text and "optimizer.step()" in text
    assert f"#     def {part}(" in text
    for title in ("What happened", "Change one thing", "To hand in", "Your own program",
                  "Two questions"):
        assert text.count(f"# ## {title}\n") == 1, title
    for fold in ("After your runs", "Answers"):
        assert text.count(f"<details><summary>{fold}</summary>") == 1, fold


@pytest.mark.slow
def test_09_a_helper_finds_wrong_demonstrations(run):
    def means(page):
        return [scores.mean() for scores in page["scores"].values()]
    page = run("09")
    assert page["wrong"].sum() == 240
    assert page["found"] == approx([45, 88, 99], abs=4)
    assert means(page) == approx([58, 71, 78, 84], abs=6), "SFT, PoFT, filter, helper"
    tau, wrong = page["tau"], page["wrong"]
    assert (tau[wrong].sum() / tau.sum()).item() == approx(0.29, abs=0.03)
    assert wrong[tau < 0.5 - 0.02].float().mean() > 0.9, "nearly all below the diagonal are wrong"
    page = run("09", ("NOISE, SET = 0.0, 0", "NOISE, SET = 0.4, 0"))
    assert page["found"][1] == approx(54, abs=6)
    sft, poft, filtered, _ = means(page)
    assert abs(poft - sft) < 8 and filtered < sft - 3
    page = run("09", ("likely = r_bar.argsort()[240:]", "likely = torch.where(~wrong)[0]"))
    assert means(page)[2] == approx(77, abs=6)


@pytest.mark.slow
def test_15_rounds_of_checked_samples_teach(run):
    page = run("15")
    alone, checked = page["scores"].values()
    assert alone == approx([63, 55, 53, 52], abs=6)
    assert checked == approx([63, 72, 75, 71], abs=6)
    assert [len(kept) for _, kept in page["samples"].values()] == approx([175, 223, 241], abs=20)
    assert page["shares"] == approx([33, 44, 54, 62], abs=7)
    assert len(page["new"]) >= 4
    page = run("15", ("np.flatnonzero(right)", "np.flatnonzero(ended)"))
    assert page["scores"]["and kept samples"][-1] == approx(49, abs=6)
    assert page["shares"][0] == approx(12, abs=5)


@pytest.mark.slow
def test_16_the_true_score_falls_as_the_reward_rises(run):
    page = run("16")
    score = [points.mean() for points in page["by_task"]]
    assert (score[0], score[2], score[-1]) == approx((65, 54, 35), abs=7)
    assert all(b >= a for a, b in zip(page["raised"], page["raised"][1:]))
    sort, truth, unknown, fact = zip(*page["by_task"])
    assert sort[2] > sort[0] > sort[-1] + 15 and unknown[-1] > 95
    assert max(truth[-1], fact[-1]) < 10
    assert page["right"].float().mean().item() == approx(0.66, abs=0.06)
    assert page["kl"][-1] == approx(3.174, abs=0.001) and page["kl"][2] == approx(0.636, abs=0.001)
    page = run("16", ("liked = learned", "liked = score"))
    assert page["by_task"][-1].mean() > 95
