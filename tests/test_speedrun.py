"""The speedrun: what an entry may not do, its verdict, and the board of docs/speedrun.md."""
import re
from pathlib import Path

import numpy as np
import pytest

from lessons.classroom import speedrun, speedrun_runs
from nanouft.plumbing.errors import UserError

ROOT = Path(__file__).parents[1]
OURS = ROOT / "lessons" / "speedrun" / "quick_sft.py"
ENTRY = '"""Nothing is trained"""\nimport torch\n\ndef train(model, tok, rows, seed):\n    pass\n'


@pytest.mark.parametrize("part, instead, told", [
    ("pass", "torch.set_num_threads(2)", "line 5: set_num_threads is closed .* on one thread"),
    ("pass", "from nanouft.models.folders import start_model", "models is closed .* shipped base"),
    ("pass", "torch.load('weights.pt')", "load is closed .* opens no file"),
    ("pass", "from safetensors import torch", "imports safetensors; an entry imports math, nan"),
    ("pass", "from .other import weights", "imports its neighbour"),
    ("pass", "from nanouft import world", "world is closed .* the rows that it gets"),
    ("pass", "x" * speedrun_runs.LETTERS, "20,000 at most"),
    ("train(", "other(", "no function train.model, tok, rows, seed.")])
def test_a_rule_that_is_broken_is_named_before_anything_runs(part, instead, told, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(ENTRY)
    assert speedrun_runs.check_rules(file) == "Nothing is trained"
    file.write_text(ENTRY.replace(part, instead))
    with pytest.raises(UserError, match=told):
        speedrun_runs.check_rules(file)


@pytest.mark.parametrize("share, word", [(0.85, "reached"), (0.785, "undecided"), (0.7, "missed")])
def test_the_goal_is_reached_if_the_whole_interval_is_above_it(share, word):
    points = (np.random.default_rng(0).random((5, 4, 240)) < share) * 1.0
    mean, low, found = speedrun.judge(points)
    assert found == word and low < mean and abs(mean - 100 * share) < 2


def cells(line):
    """(units, seconds, points, lower end, verdict, entry, idea) of a row."""
    numbers = r" (\d+\.\d+) \|" * 4
    found = re.fullmatch(rf"\|{numbers} (\w+) \| \[\w+\]\((.+?)\) \| (.+?) \| .+ \| \S+ \|", line)
    return (*map(float, found.groups()[:4]), *found.groups()[4:])


def test_the_board_has_rows_of_the_command_the_fastest_first():
    assert cells(speedrun.table_row(OURS, "mine", 9.87, 1.2, (80.1, 79.0, "reached")))[0] == 9.9
    lines = (ROOT / "docs" / "speedrun.md").read_text(encoding="utf-8").splitlines()
    rows = [cells(line) for line in lines if re.match(r"\| \d", line)]
    for _, _, points, low, word, entry, idea in rows:
        assert low <= points and (word == "reached") == (low >= speedrun.GOAL)
        told = speedrun_runs.check_rules(ROOT / "docs" / entry)
        assert word != "reached" or idea == told
    units = [row[0] for row in rows if row[4] == "reached"]
    assert units and units == sorted(units)


@pytest.mark.slow
def test_an_entry_is_timed_and_leaves_a_model(tmp_path):
    file, room = tmp_path / "mine.py", tmp_path / "room"
    file.write_text(ENTRY)
    room.mkdir()
    seconds, unit = speedrun_runs.run_seed(file, 0, room)
    assert 0 <= seconds < 0.2 < 20 * unit and (room / "model").is_dir()
