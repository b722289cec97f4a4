"""Real input that nobody on this project wrote: instructions with pairs, a ladder of answers, Shakespeare.

The files lie beside the checkout of those who have them; without them these tests skip aloud. The short form trains a
few steps and runs everywhere; the long one (`pytest -m slow tests/test_real_data.py`, about 10 minutes) is the claim
itself: 200 steps, three seeds, held-out figures better than before.
"""
import json
from pathlib import Path

import pytest

from nanouft import pretrain, train
from running import call

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
PAIRS, LADDER = DATA / "instructions_with_preference.json", DATA / "dolly_ladder.jsonl"
FIELDS = ("--prompt-field", "instruction", "--response-field", "response")
RUNS = {"ift": (PAIRS, (), "nll"), "dpo": (PAIRS, (), "accuracy"), "sft": (LADDER, FIELDS, "nll")}
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the real files are not on this machine")


def base(folder: Path, steps: int) -> Path:
    assert call(pretrain.main, "--corpus", DATA / "tinyshakespeare.txt", "--steps", steps,
                "--out", folder / "shake") == 0
    return folder / "shake"


def better(folder: Path, init: Path, objective: str, seed: int, steps: int, capsys) -> None:
    file, flags, figure = RUNS[objective]
    out = folder / f"{objective}-{seed}"
    capsys.readouterr()
    assert call(train.main, "--objective", objective, "--data", file, *flags, "--init", init, "--steps", steps,
                "--batch-size", 8, "--seed", seed, "--out", out) == 0
    said, result = capsys.readouterr().out, json.loads((out / "eval.json").read_text())
    before, after = (result[when]["held_out"][figure] for when in ("before", "after"))
    sign = 1 if figure == "accuracy" else -1
    assert sign * (after - before) > 0, f"{objective}, seed {seed}: held-out {figure} {before:.3f} -> {after:.3f}"
    assert "rows read" in said and "serve" in said and (out / "samples.md").stat().st_size > 200
    assert objective != "dpo" or "pairs skipped: chosen equals rejected" in said


def test_a_few_steps_of_each(tmp_path, capsys):
    init = base(tmp_path, 40)
    for objective in RUNS:
        better(tmp_path, init, objective, 0, 30, capsys)


@pytest.mark.slow
def test_two_hundred_steps_three_seeds(tmp_path, capsys):
    init = base(tmp_path, 1200)
    for seed in range(3):
        for objective in RUNS:
            better(tmp_path, init, objective, seed, 200, capsys)
