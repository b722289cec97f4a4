"""What code of a user's own is given is its own. test_ends.py ends runs in it."""
import copy
import shlex
import sys
from dataclasses import replace

import numpy as np
import pytest
from made import (
    DATA,
    NANO,
    Form,
    batch_of,
    killed_in_step,
    one_error,
    start_folder,
    write_jsonl,
)

from nanouft import reward, train
from nanouft.data.batches import encode
from nanouft.data.rows import Row
from nanouft.models.tokenizer import Turn
from nanouft.objectives import find
from nanouft.plumbing.entry import command

PROMPTS = [{"prompt": f"Say {x}.", "tests": [x, [x, {"n": [x]}]], "deep": {"a": {"b": [1, 2]}}}
           for x in "fig pig bee oak nut elm".split()]
# the same reward twice: one that reads, and one that spoils all that it was given
REWARD = '''
def read(prompts, completions, tests, deep, **others):
    return [len(p + c) % 7 / 7 + len(str([t, d])) for p, c, t, d in
            zip(prompts, completions, tests, deep)]

def spoil(**given):
    values = read(**given)
    for of_answers in given.values():
        for x in of_answers:
            ruin(x)
        of_answers.clear()
    return values

def ruin(x):
    if isinstance(x, dict):
        for value in x.values():
            ruin(value)
        x.clear()
    elif isinstance(x, list):
        for value in x:
            ruin(value)
        x.clear()
    elif hasattr(x, "fill"):
        x.fill(0)
'''
OWN = '''
import numpy as np
import torch
from nanouft.objective import Objective
from nanouft.objectives.grpo import GRPO
'''


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a start model, prompts and a reward; we are in it."""
    monkeypatch.chdir(tmp_path)
    start_folder(tmp_path / "start")
    write_jsonl(tmp_path / "prompts.jsonl", PROMPTS)
    (tmp_path / "r.py").write_text(REWARD)
    return tmp_path


def call(line: str) -> int:
    return command(train.main, shlex.split(line), train.NEEDS_LESS)


GRPO = ("--objective grpo --init start --data prompts.jsonl --eval-data prompts.jsonl --samples 3 "
        "--batch-size 2 --minibatches 2 --max-new 4 --steps 8 --threads 1 --device cpu "
        "--save-every 4 ")


# ---- given in copies -----------------------------------------------------------------------------
def test_a_reward_may_change_all_that_it_gets(here):
    """Neither the rows nor what another answer sees changes: lists, dictionaries, arrays. Runs and
    `evaluate` ask a reward by this door alone."""
    (here / "r.py").write_text(REWARD)
    rows = [Row((Turn("user", x["prompt"]),), extra=copy.deepcopy(x) | {"array": np.arange(3.0)})
            for x in PROMPTS for _ in range(2)]         # two answers to each prompt
    before, answers = copy.deepcopy([r.extra for r in rows]), ["a b"] * len(rows)
    wanted = reward.scorer("r.py:read")(rows, answers)
    for _ in range(2):
        assert (reward.scorer("r.py:spoil")(rows, answers) == wanted).all()
    assert str([r.extra for r in rows]) == str(before) and answers == ["a b"] * len(rows)


def test_an_objective_may_change_all_that_it_gets(tmp_path):
    """choose, prepare and credit change the list of rows, their fields, and numbers in place."""
    (tmp_path / "mine.py").write_text(OWN + '''
class Mine(Objective):
    data = "demos"

    def choose(self, rows):
        chosen = super().choose(rows)
        for r in rows:
            r.extra["tests"].append("more")
            r.roles["answer"] = ((), ())
        rows.clear()
        return chosen

    def prepare(self, data, models, seed):
        prepared = [e for e in data]
        for e in data:
            e.per_row["sure"] = 1.0
            for t in e.seqs.values():
                t.ids[:] = 0
        data.clear()
        return prepared

    def credit(self, batch):
        for s in batch.seqs.values():
            for x in (s.inputs, s.targets, s.mask):
                x.zero_()
        batch.per_row["reward"].zero_()
        batch.tokens.clear()
        batch.seqs.clear()
        return batch, {}

    def loss(self, batch):
        return -batch.seqs["answer"].logp.sum(), {}
''')
    mine = find(str(tmp_path / "mine.py"))()
    rows = [replace(r, score=None, label=None, extra={"tests": [i]}) for i, r in enumerate(DATA)]
    before = copy.deepcopy(rows)
    chosen = mine.choose(rows)
    assert rows == before and [(r.extra, r.roles) for r in rows] == [
        (r.extra, r.roles) for r in before] and len(chosen) == len(rows)
    encoded, _ = encode(find("sft")().choose(rows), NANO, 64)
    ids = [e.seqs["answer"].ids.copy() for e in encoded]
    assert len(mine.prepare(encoded, None, 0)) == len(encoded) == len(ids)
    assert all((e.seqs["answer"].ids == x).all() and "sure" not in e.per_row
               for e, x in zip(encoded, ids))
    batch = batch_of(Form("grpo"))
    was = copy.deepcopy(batch)
    mine.credit(batch)
    assert batch.tokens == was.tokens and batch.per_row["reward"].equal(was.per_row["reward"])
    for name in ("inputs", "targets", "mask"):
        assert getattr(batch.seqs["answer"], name).equal(getattr(was.seqs["answer"], name))


# ---- rewards that were written for TRL, or that do odd things -----------------------------------
@pytest.mark.parametrize("body, told", [
    ("def f(completions, completion_ids, **more): return [1]", "takes completion_ids"),
    ("def f(completions, trainer_state): return [1]", "the rows' fields (tests)"),
    ("def f(completions, **more): return [float(len(c[0]['content'])) for c in completions]",
     "TypeError: string indices must be integers"),
    ("def f(prompts, **more): return [float(len(p[-1].get('content'))) for p in prompts]",
     "texts here, not messages as in TRL"),
    ("def f(completions, **more): raise ValueError('x' * 10**6)", "ValueError: xxx")])
def test_what_differs_from_trl_is_told_in_a_line_that_can_be_read(body, told, here, capsys):
    (here / "odd.py").write_text(body)
    row = Row((Turn("user", "Hi"),), extra={"tests": [1]})
    score = reward.scorer("odd.py:f")
    assert command(lambda argv: score([row], ["Ho"])) == 2
    line = one_error(capsys)
    assert told in line and line.startswith("error: --reward odd.py") and len(line) < 1200
    if "string ind" in told:
        assert line.endswith("; prompts and completions are texts here, not messages as in TRL")


def test_a_reward_that_closes_the_standard_output_is_one_line(here, monkeypatch, capsys):
    (here / "odd.py").write_text("import sys\n\ndef f(completions):\n    sys.stdout.close()\n"
                                 "    return [0.5 for _ in completions]")
    monkeypatch.setattr(sys, "stdout", open(here / "stdout", "w"))
    assert call(GRPO + "--plain --reward odd.py:f --out odd") == 2
    assert "has closed sys.stdout" in one_error(capsys)


def test_a_run_that_is_resumed_in_another_folder_misses_its_files_in_one_line(
        here, tmp_path, monkeypatch, capsys):
    with killed_in_step(6):
        assert call(GRPO + "--reward r.py:read --out cut") == 130
    monkeypatch.chdir(tmp_path.parent)
    capsys.readouterr()
    assert call(f"--resume {here / 'cut'} --reward r.py:read") == 2
    assert "no model folder is there" in one_error(capsys)
