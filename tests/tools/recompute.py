"""The mean of every contrast once more, from the committed cells alone: json, base64 and numpy, no code of the project.

    python tests/tools/recompute.py               # prints each contrast: as written, as recomputed here

It reads docs/results/claims/results.json and cells.jsonl. That the cells of a row are what the row says (one command,
the named base, test prompts, the same seeds in every row) is checked here, too.
"""
import base64
import json
import sys
from pathlib import Path

import numpy as np

SEEDS = 5
FOLDER = Path(__file__).resolve().parents[2] / "docs" / "results" / "claims"


def read(folder: Path) -> tuple[dict, dict[str, dict]]:
    """(results, {key: cell})."""
    cells = map(json.loads, (folder / "cells.jsonl").read_text(encoding="utf-8").splitlines())
    return json.loads((folder / "results.json").read_text(encoding="utf-8")), {c["key"]: c for c in cells}


def row_mean(row: dict, base: str, parts: list[list[str]], cells: dict[str, dict]) -> float:
    """Mean over the seeds of a row of: the mean over parts of the mean over families of the mean over answers."""
    found = [cells[key] for key in row["keys"]]
    assert {(c["flags"], c["base"], c["split"]) for c in found} == {(row["flags"], base, "test")}, row["flags"]
    assert [c["seed"] for c in found] == list(range(SEEDS)), row["flags"]
    total = 0.0
    for cell in found:
        for part in parts:
            for family in part:
                if "failed" not in cell:
                    answers = np.frombuffer(base64.b64decode(cell["each"][family]), np.uint8)
                    total += answers.sum() / 240 / len(answers) / len(part) / len(parts) / len(found)
    return total


def recomputed(folder: Path = FOLDER) -> list[tuple[str, str, float, float]]:
    """[(contrast, base, its mean in results.json, its mean from the cells)]."""
    results, cells = read(folder)
    out = []
    for claim in results["claims"].values():
        for c in claim["contrasts"]:
            for base, written in c["bases"].items():
                def mean(row):
                    return row_mean(claim["bases"][base]["rows"][row], base, c["parts"], cells)
                gap = mean(c["row"]) - mean(c["other"])
                if c["minus"]:
                    gap -= mean(c["minus"][0]) - mean(c["minus"][1])
                out.append((c["text"], base, written["mean"], gap))
    return out


if __name__ == "__main__":
    rows = recomputed()
    for text, base, written, mine in rows:
        print(f"{written:+.6f} {mine:+.6f} {'same' if abs(written - mine) < 6e-7 else 'DIFFERENT'}  {text} ({base})")
    sys.exit(any(abs(written - mine) >= 6e-7 for _, _, written, mine in rows))
