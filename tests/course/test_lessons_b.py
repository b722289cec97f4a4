"""Lessons 00 to 02: the figures that their texts name, with each edit that they propose."""
import runpy
import sys
from pathlib import Path

import pytest
from pytest import approx

LESSONS = Path(__file__).resolve().parents[2] / "lessons" / "next"
COUNTED = "mask = mask * (targets != tok.end)   "


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
def test_00_dpo_hardly_teaches_to_stop(run):
    found = run("00")
    assert found["stops"] == approx({"SFT": 100, "DPO": 32}, abs=8)
    assert min(found["words"].values()) > 90
    assert found["gain"] == approx([0.002, -0.124], abs=0.01), "of all pushes"
    fixed = run("00", ("COUNT_END = 0.1, True", "COUNT_END = 0.1, False"))
    assert fixed["stops"]["DPO"] == approx(88, abs=8)
    assert run("00", ('"DPO": 1.5e-5', '"DPO": 1.25e-4'))["stops"]["DPO"] > 90


@pytest.mark.slow
def test_01_what_does_not_count_is_unlearned(run):
    found = run("01")
    assert found["stops"]["usual mask"] > 95 and found["stops"]["other mask"] < 35
    assert min(found["words"]["usual mask"], found["words"]["other mask"]) > 85
    p_end = found["p_end"]
    assert p_end["base"] == approx(38, abs=1) and p_end["usual mask"] > 95
    assert p_end["other mask"] < p_end["base"] - 10, "it is unlearned"
    question = run("01", (COUNTED, "mask = (targets != tok.pad).float()   "))
    assert question["stops"]["other mask"] > 95 and question["words"]["other mask"] > 85
    early = run("01", (COUNTED, "mask = torch.cat([mask[:, 1:], 0 * mask[:, :1]], 1)   "))
    assert early["stops"]["other mask"] < 40 and early["p_end"]["other mask"] < 30
    other_rows = run("01", ("ROWS, SEED = 3e-4, 40, 32, 0", "ROWS, SEED = 3e-4, 40, 32, 1"))
    assert other_rows["stops"]["other mask"] < 35 and other_rows["p_end"]["other mask"] < 30


@pytest.mark.slow
def test_02_one_decision_and_the_knowledge_is_there(run):
    found = run("02")
    score = {name: x.tolist() for name, x in found["score"].items()}
    assert score["base"] == [0, 100]
    assert score["SFT"] == approx([70, 57], abs=12)
    assert score["base, begun by SFT"] == approx(score["SFT"], abs=5)
    for name in ("SFT, begun by the base", "SFT, its own second choice"):
        assert score[name][0] < 5 and score[name][1] > 90
    the = {tuple(ids) for ids in found["first"]["base"][60:]}
    assert the == {tuple(found["tok"].encode(" The"))}, "which gives no answer away"
    assert (sum(found["refused"][:60]), sum(found["refused"][60:])) == approx((42, 25), abs=7)
    rules = run("02", ('TAUGHT, SEED = "unknown"', 'TAUGHT, SEED = "rules"'))["score"]
    assert rules["SFT"][0] > rules["base"][0] + 40 > rules["base, begun by SFT"][0] + 30
    gentle = run("02", ("-(logp * mask)", "-(logp.detach().exp() * logp * mask)"))["score"]
    assert gentle["SFT"][0] < 5 and gentle["SFT"][1] > 90, "DFT learns nothing and forgets nothing"
    other_rows = run("02", ('SEED = "unknown", 0', 'SEED = "unknown", 1'))["score"]
    assert other_rows["SFT"][1] < 90 < 97 < other_rows["SFT, its own second choice"][1]
