"""The arena: a loss of one's own gets the verdict that its scores have."""
import json
from dataclasses import replace

import numpy as np
import pytest

from lessons.classroom import arena, arena_runs
from nanouft.plumbing.errors import UserError

ENTRY = """from nanouft.objective import Objective

class Mine(Objective):
    heavy: float = 3.0              # weight of the end

    def loss(self, batch):
        s = batch.seqs["answer"]
        return -s.mean(s.logp).sum() / batch.n, {}
"""


@pytest.mark.parametrize("part, instead, told", [
    ("def loss", "def choose", "choose may not be changed here"),
    ("heavy: float = 3.0", 'data = "pairs"', "data may not be changed here"),
    ("class Mine", "class One(Objective):\n    pass\n\nclass Mine", "holds 2 classes"),
    ("return", "return (", "cannot be read")])
def test_an_entry_writes_its_loss_alone(part, instead, told, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(ENTRY, encoding="utf-8-sig")                # as Windows' Notepad saves it
    arena.check_entry(file)
    file.write_text(ENTRY.replace(part, instead))
    with pytest.raises(UserError, match=told):
        arena.check_entry(file)


@pytest.mark.parametrize("gain, word", [(0.06, "better"), (0.0, "equal"), (-0.06, "worse")])
def test_a_planted_lead_is_judged_as_it_was_planted(gain, word):
    """Seeds and prompts as in a real task: the interval is 1 to 2 points wide."""
    rng = np.random.default_rng(0)
    other = rng.random((5, 4, 240)) < 0.5
    mine = np.where(rng.random(other.shape) < 0.98, other, ~other) + gain
    points, half, verdict = arena.lead(mine, other * 1.0)
    assert verdict == word and abs(points - 100 * gain) < half < 2


def test_seeds_in_another_order_widen_the_interval():
    rng = np.random.default_rng(0)
    other = (rng.random((1, 4, 240)) < 0.5) * 0.8 + rng.normal(0, 0.01, (5, 1, 1))  # luck of a seed
    found = [arena.lead(mine + 0.06, other) for mine in (other, other[::-1])]
    assert [(round(points, 9), word) for points, _, word in found] == [(6, "better")] * 2
    assert found[1][1] > found[0][1] + 0.5


def test_the_table_is_of_one_call_and_names_entries_by_their_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(arena, "report", lambda entry, file, *more: {"entry": entry})
    for name in ("ada", "bob"):
        (tmp_path / "all" / name).mkdir(parents=True)
        (tmp_path / "all" / name / "mine.py").write_text(ENTRY)
    for words, names in (("all", ["ada/mine", "bob/mine"]), ("all/ada/mine.py", ["mine"])):
        assert arena.main([words, "--guess", "0"]) == 0
        lines = (tmp_path / "arena.csv").read_text().splitlines()
        assert [line.split(",")[0] for line in lines] == ["entry", *names]


def test_baselines_are_those_of_the_commands_of_the_task(tmp_path, monkeypatch):
    """Made once for them, and anew where a flag has changed."""
    made = []

    def measure(who, flags, task, split, seed):
        made.append((flags, task.flags, task.rates))
        return arena_runs.Result(task.rates[0], np.zeros((5, 4, 2)), np.ones((5, 4, 2)))
    monkeypatch.setattr(arena_runs, "OUT", tmp_path)
    monkeypatch.setattr(arena_runs, "measure", measure)
    task = arena_runs.Task("", "--steps 1", ("1e-5",), {"SFT": "sft"})
    for other in (task, replace(task, about="the same"), replace(task, flags="--steps 2"),
                  replace(task, rates=("2e-5",)), replace(task, beside={"SFT": "sft --lam 0"})):
        found = arena_runs.baselines("stop", other, "val", 7)["SFT"]
        assert (found.rate, found.scores.mean(), found.ended.mean()) == (other.rates[0], 0, 1)
    assert made == [("sft", "--steps 1", ("1e-5",)), ("sft", "--steps 2", ("1e-5",)),
                    ("sft", "--steps 1", ("2e-5",)), ("sft --lam 0", "--steps 1", ("1e-5",))]


def test_what_ends_leaves_no_weights_and_says_so(tmp_path):
    """The verdict never comes from what a program prints: without weights there is none."""
    task = arena_runs.Task("", "--skills list --rows 8 --steps 1 --batch-size 8", ("2e-5",), {})
    for how in ("raise SystemExit", "import os; print('verdict: better'); os._exit(0)"):
        file = tmp_path / "mine.py"
        file.write_text(f"{how}\n{ENTRY}")
        with pytest.raises(UserError, match="it ended Python .*1 of 1 runs left no weights"):
            arena_runs.train("mine", str(file), task, [(0, "2e-5")], tmp_path / "room")


def test_an_entry_is_trained_and_scored_by_its_weights(tmp_path):
    """A copy under another name leaves the same ones."""
    task = arena_runs.Task("", "--skills list --rows 16 --steps 2 --batch-size 8", ("2e-5",), {})
    found = []
    for name, entry in (("one", ENTRY), ("two", ENTRY.replace("Mine", "Yours")),
                        ("three", ENTRY.replace("-s.mean", "-3 * s.mean"))):
        file = tmp_path / f"{name}.py"
        file.write_text(entry)
        arena_runs.train(name, str(file), task, [(0, "2e-5")], tmp_path / name)
        found.append((tmp_path / name / "0-2e-5" / "model.safetensors").read_bytes())
    assert found[0] == found[1] != found[2]
    folder = tmp_path / "one" / "0-2e-5"
    assert json.loads((folder / "run.json").read_text())["config"]["batch_size"] == 8
    scores, ended = arena_runs.scores(folder, "val", 7, 3)
    assert scores.shape == ended.shape == (4, 3) and set(np.unique(ended)) <= {0.0, 1.0}
