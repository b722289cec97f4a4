"""What code of a user's own is given is its own, and what ends in it loses no work."""
import asyncio
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

from nanouft import train
from nanouft.data.batches import encode
from nanouft.data.rows import Row
from nanouft.models.tokenizer import Turn
from nanouft.objectives.from_file import find
from nanouft.objectives.ift import IFT
from nanouft.plumbing.entry import command
from nanouft.run import reward_sources
from nanouft.run.folder import read_lines

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
    wanted = reward_sources.scorer("r.py:read")(rows, answers)
    for _ in range(2):
        assert (reward_sources.scorer("r.py:spoil")(rows, answers) == wanted).all()
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


# ---- what ends in it loses no work ---------------------------------------------------------------
FLAKY = """
from pathlib import Path

def read(completions, **others):
    calls = int(Path("calls").read_text()) + 1 if Path("calls").exists() else 1
    Path("calls").write_text(str(calls))
    if calls == STOP:
        raise TimeoutError("the judge did not answer")
    return [len(c) % 5 / 5 for c in completions]
"""
SAMPLED = """
from pathlib import Path
from nanouft.objectives.grpo import GRPO
from nanouft.objective import Objective

class Mine(Objective):
    data = "prompts"
    samples = 2
    minibatches = 2
    reference = True

    def credit(self, batch):
        return GRPO(samples=2).credit(batch)

    def loss(self, batch):
        if Path("fails").exists() and Path("fails").read_text() == str(batch.seed):
            raise RuntimeError("a bug")
        if Path("tells").exists():
            with open("seeds", "a") as file:
                print(batch.seed, file=file)
        return GRPO(samples=2).loss(batch)
"""
ENDS = ("--init start --samples 2 --batch-size 2 --max-new 4 --steps 8 --threads 1 --device cpu "
        "--items 0 ")


def same_files(one, other) -> None:
    for file in ("model.safetensors", "metrics.jsonl"):
        assert (one / file).read_bytes() == (other / file).read_bytes(), file


def told_to_go_on(capsys, step: int, run: str) -> str:
    """The flags with which the one line on stderr says that a run goes on."""
    line = one_error(capsys)
    begin = f"{run} holds step {step}; go on with: python -m nanouft.train "
    assert begin in line, line
    return line.partition(begin)[2]


@pytest.mark.parametrize("stops, step", [(1, 0), (2, 0), (3, 2), (5, 6), (6, 8)])
def test_a_reward_that_fails_once_costs_nothing_but_its_own_rollout(stops, step, here, capsys):
    """In a rollout of two steps, and in the evaluations before (call 1) and after training (6)."""
    line = (GRPO.replace("--save-every 4 ", "") + "--reward r.py:read --out ")
    (here / "r.py").write_text(FLAKY.replace("STOP", "-1"))
    assert call(line + "whole") == 0
    (here / "calls").unlink()
    (here / "r.py").write_text(FLAKY.replace("STOP", str(stops)))
    capsys.readouterr()
    assert call(line + "cut") == 2
    if step == 0:
        assert "go on with" not in one_error(capsys)
        return
    flags = told_to_go_on(capsys, step, "cut")
    assert len(read_lines(here / "cut" / "metrics.jsonl")) == step
    assert call(flags) == 0
    same_files(here / "cut", here / "whole")
    assert (here / "cut" / "eval.json").read_bytes() == (here / "whole" / "eval.json").read_bytes()


def test_an_objective_that_fails_in_the_middle_of_a_rollout_goes_on_before_it(here, capsys):
    """Never from the middle of a rollout: the second half would read other answers. (Without
    --save-every it may be a rollout earlier, because writing takes a tenth of the time at most.)"""
    (here / "mine.py").write_text(SAMPLED)
    (here / "tells").touch()
    line = ENDS.replace("--samples 2 ", "") + "--objective mine.py --rows 32 --save-every 2 --out "
    assert call(line + "whole") == 0
    seeds = (here / "seeds").read_text().split()
    (here / "tells").unlink()
    for failing, step in ((4, 4), (5, 4)):              # the first step of a rollout, its second
        (here / "fails").write_text(seeds[failing])
        capsys.readouterr()
        assert call(line + f"cut{failing}") == 2
        flags = told_to_go_on(capsys, step, f"cut{failing}")
        (here / "fails").unlink()
        assert call(flags) == 0
        same_files(here / f"cut{failing}", here / "whole")


ERRORS = [
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 9"),
    RuntimeError("CUDA out of memory. Tried"), MemoryError(), OSError(12, "Cannot allocate memory"),
    SystemExit(3), ZeroDivisionError("a fault of ours"), KeyboardInterrupt()]


def test_whatever_ends_the_loop_the_last_whole_step_is_saved(here, capsys, monkeypatch):
    """Out of memory is one line with the advice; a fault of ours has a traceback, and its last line
    (from Python 3.11 on) is the same."""
    line = ENDS.replace("--samples 2 ", "").replace("--max-new 4 ", "") + "--rows 32 --out "
    assert call(line + "whole") == 0
    for k, error in enumerate(ERRORS):
        cut = f"cut{k}"
        capsys.readouterr()
        with monkeypatch.context() as now:
            now.setattr(IFT, "loss", failing(IFT.loss, error, 6))
            if isinstance(error, (SystemExit, ZeroDivisionError)):
                with pytest.raises(type(error)) as raised:
                    call(line + cut)
                told = raised.value.__notes__[-1]
            else:
                assert call(line + cut) == (130 if isinstance(error, KeyboardInterrupt) else 2)
                told = capsys.readouterr().err.splitlines()[-1]
                if not isinstance(error, KeyboardInterrupt):
                    assert told.startswith("error: out of memory; give --activation-checkpointing")
        assert told.endswith(f"{cut} holds step 5; go on with: python -m nanouft.train --resume "
                             f"{cut}"), repr(error)
        assert call(f"--resume {cut}") == 0
        same_files(here / cut, here / "whole")


def failing(method, error: BaseException, at: int):
    """The method, which raises an error the `at`-th time."""
    calls = []

    def call(*args):
        calls.append(1)
        if len(calls) == at:
            raise error
        return method(*args)
    return call


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
    score = reward_sources.scorer("odd.py:f")
    assert command(lambda argv: score([row], ["Ho"])) == 2
    line = one_error(capsys)
    assert told in line and line.startswith("error: --reward odd.py") and len(line) < 1200
    if "string ind" in told:
        assert line.endswith("; prompts and completions are texts here, not messages as in TRL")


def test_an_async_reward_works_in_a_loop_that_runs_already(here):
    (here / "odd.py").write_text("import asyncio\n\nasync def f(completions):\n"
                                 "    await asyncio.sleep(0)\n    return [0.5] * "
                                 "len(completions)")
    score, row = reward_sources.scorer("odd.py:f"), Row((Turn("user", "Hi"),))

    async def notebook():
        return score([row], ["Ho"])
    assert asyncio.run(notebook()).tolist() == [0.5] == score([row], ["Ho"]).tolist()


def test_a_reward_that_closes_the_standard_output_is_one_line(here, monkeypatch, capsys):
    (here / "odd.py").write_text("import sys\n\ndef f(completions):\n    sys.stdout.close()\n"
                                 "    return [0.5 for _ in completions]")
    monkeypatch.setattr(sys, "stdout", open(here / "stdout", "w"))
    assert call(GRPO + "--plain --reward odd.py:f --out odd") == 2
    assert "has closed sys.stdout" in one_error(capsys)


def test_a_run_that_is_resumed_in_another_folder_says_where_its_paths_begin(
        here, tmp_path, monkeypatch, capsys):
    with killed_in_step(6):
        assert call(GRPO + "--reward r.py:read --out cut") == 130
    monkeypatch.chdir(tmp_path.parent)
    capsys.readouterr()
    assert call(f"--resume {here / 'cut'} --reward r.py:read") == 2
    assert "paths of a run count from the folder in which it began" in one_error(capsys)
