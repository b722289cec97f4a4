"""The figures that lessons 14, 17 and 18 name, in their own runs and after their named edits."""
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
def test_14_steps_spread_where_they_help(run):
    """Shares in %: answers with steps, right ones of these, right ones of the others."""
    found = run("14")
    before, after = found["before"], found["after"]
    assert before["sum"][:3] == approx([21, 25, 3], abs=6)
    assert before["reverse"][:3] == approx([27, 60, 82], abs=8)
    assert after["sum"][0] > 75 and after["reverse"][0] < 10
    assert after["sum"][3] == approx(24, abs=6) and after["reverse"][3] > 92
    found = run("14", ("K = 0.3, 40", "K = 0.0, 40"))
    assert max(x[0] for x in found["after"].values()) < 5, "what is never sampled is not rewarded"
    found = run("14", ("K = 0.3, 40", "K = 0.3, 6"))
    assert found["before"]["sum"][1] < 2 and found["after"]["sum"][0] < 12


@pytest.mark.slow
def test_17_a_right_critic_pays_in_longer_steps(run):
    def ends(*edits):
        found = run("17", *edits)
        table = {name: (noise.item(), bias.item()) for name, (noise, bias) in
                 found["found"].items()}
        return {name: x[-1] for name, x in found["scores"].items()}, table, found["expected"]
    scores, table, expected = ends()
    assert expected.tolist() == approx([0.10, 0.29, 0.45, 0.30, 0.67], abs=0.12)
    assert list(scores.values()) == approx([68, 75, 75, 35, 70], abs=3)
    assert table["one number an answer"][0] == approx(1.83, abs=0.1)
    assert table["perfect, lam 0"] == approx((0.43, 0.01), abs=0.05)
    assert table["always 0, lam 0"][1] == approx(1, abs=0.05)
    assert table["always 0, lam 1"][1] < 0.1
    scores, _, _ = ends(("10, 8.0, 0.0", "10, 32.0, 0.0"))
    assert list(scores.values())[:2] == approx([77, 95], abs=3)
    scores, table, _ = ends(("10, 8.0, 0.0", "10, 8.0, 0.5"))
    assert list(scores.values())[1:3] == approx([74, 48], abs=3)
    assert table["perfect, lam 0"][1] < 0.1 and table["perfect, lam 1"][0] == approx(4, abs=0.2)
    scores, _, _ = ends(("torch.zeros(500, T)", "values(torch.full((500, T), 0.6))"))
    assert scores["learned, lam 0"] == approx(72, abs=3)


@pytest.mark.slow
def test_18_right_examples_stop_exploration(run):
    """Scores of 100 (sort, truth, unknown), and the % of refusals on known creatures."""
    def scores(*edits):
        found = run("18", *edits)
        return {name: [float(x) for x in found["scores"][name]] for name in found["scores"]}, \
            list(found["mean"].values())
    found, mean = scores()
    assert mean == approx([10.0, 16.7, 7.9, 8.6], abs=1)
    assert found["CHORD"][2] < 10 and found["SFT"][2] < 10
    assert found["GRPO"][2] > 85 and found["GRPO"][3] > 60
    found, mean = scores(("REFUSALS_SHOWN = 0", "REFUSALS_SHOWN = 1"))
    assert mean[2] == approx(12.2, abs=1)
    assert found["CHORD"][2] == approx(70, abs=18) and found["SFT"][2] < 25
    found, _ = scores(('row.task != "unknown"', 'row.task == "sort"'))
    assert found["CHORD"][2] > 80 and found["CHORD"][3] > 55
    for seed in (1, 2):
        found, _ = scores(("SEED = 24, 4, 2.5e-4, 0", f"SEED = 24, 4, 2.5e-4, {seed}"))
        assert found["CHORD"][2] < 10 and found["GRPO"][2] > 80
