"""Claim C8 once more, from its kept cells alone: json and numpy, and nothing of this project."""
import json
from pathlib import Path

import numpy as np
import pytest

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results"


def test_the_verdict_of_c8_again():
    committed = json.loads((RESULTS / "C8.json").read_text(encoding="utf-8"))
    cells = [json.loads(line) for line in
             (RESULTS / "C8.jsonl").read_text(encoding="utf-8").splitlines()]
    words, runs = [], 0
    for told in committed["tasks"]:
        mine = sorted((c for c in cells if c["task"] == told["task"]), key=lambda c: c["seed"])
        assert [c["seed"] for c in mine] == told["seeds"] == [10, 11, 12, 13, 14]
        start = {name: np.array([sum(c["start"][name]) for c in mine])
                 for name in ("think", "right_think", "right_at_once")}
        asked = np.array([8 * len(c["start"]["think"]) for c in mine])
        advantage = (start["right_think"] / start["think"]
                     - start["right_at_once"] / (asked - start["think"]))
        assert told["advantage"][0] == pytest.approx(advantage.mean())
        for how in ("grpo", "dr_grpo"):
            after = np.array([sum(c[how]["think"]) / (8 * len(c[how]["think"])) for c in mine])
            moved = np.sign(advantage) * (after - start["think"] / asked)
            half = 2.776 * moved.std(ddof=1) / np.sqrt(5)
            assert told["moved"][how][:2] == pytest.approx([moved.mean(), half])
            words.append("holds" if moved.mean() > half else
                         "does not hold" if moved.mean() < -half else "undecided")
            assert told["moved"][how][2] == words[-1]
            runs += int((moved > 0).sum())
    assert runs == committed["runs_as_said"] and len(words) == 8
    wanted = ("does not hold" if "does not hold" in words
              else "undecided" if "undecided" in words else "holds")
    assert committed["verdict"] == wanted
