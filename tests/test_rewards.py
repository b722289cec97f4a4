"""Rewards: those of a model or of a function of yours, which is read as TRL would read it or
refused in one line; and what your code is given, of a reward or an objective, is its own."""
import functools
import linecache
import re
from dataclasses import replace
from pathlib import Path

import golden
import numpy as np
import pytest
import torch
from commands import call
from made import DATA, NANO, one_error, say, write_jsonl

from nanouft import evaluate, reward, scorers, train
from nanouft.data.rows import Row, read
from nanouft.models.folders import start_model
from nanouft.objectives import find
from nanouft.own import try_reward
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError, load
from nanouft.run.folder import hash_of_reward, read_lines


# ---- reward models -------------------------------------------------------------------------------
def test_a_reward_model_is_made_and_used(here, capsys):
    assert call("reward --init start --data pairs.jsonl --steps 20 --batch-size 4 --lr 3e-3 "
                "--out judge") == 0
    assert "held-out accuracy" in capsys.readouterr().out
    rows = read(["pairs.jsonl"])[0]
    judge = scorers.scorer("judge")
    good, bad = (judge(rows, [r.chosen[0].text if side else r.rejected[0].text for r in rows])
                 for side in (True, False))
    assert (good > bad).mean() >= 0.9, "it prefers what was chosen"
    alone = pytest.approx(judge(rows[:1], ["fig"])[0], abs=1e-4)
    assert judge(rows[:1] * 3, ["fig"] * 3) == alone
    one, other = judge([Row(say("user", "word " * 400))] * 2, ["fig " * 20, "gif " * 20])
    assert abs(one - other) > 1e-3, "of a long text it reads the end"
    assert call("train --objective online_una --init start --rows 4 --reward judge --steps 1 "
                "--batch-size 2 --max-new 4 --plain --out ou") == 0
    assert 0 < read_lines(here / "ou" / "metrics.jsonl")[0]["reward"] < 1, "it becomes a grade"
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained("judge").eval()
    _, tok = start_model("start")
    ids = torch.tensor([tok.chat(rows[0].prompt, say("assistant", "fig"))[0]])
    assert theirs(ids).logits[0, 0].item() == alone


def test_padding_changes_no_reward():
    model, tok = start_model("base")
    judge = scorers.RewardModel(model)
    torch.nn.init.normal_(judge.vector.weight, generator=torch.Generator().manual_seed(0))
    seqs = [[5, 6, 7], [8], [9, 10, 11, 12, 13], [5, 6]]
    one = [scorers.rewards(judge, [s], tok.pad)[0] for s in seqs]
    assert scorers.rewards(judge, seqs, tok.pad) == pytest.approx(one, abs=1e-4)
    assert scorers.rewards(judge, seqs, tok.pad, chunk=3) == pytest.approx(one, abs=1e-4)


def test_what_a_reward_model_expects_is_its_mean_chance_of_the_answer_that_it_prefers(monkeypatch):
    monkeypatch.setattr(reward, "rewards", lambda *told: np.array([2.0, 0, 0, 1]))
    told = reward.held_out_accuracy(None, [], NANO.pad)     # pairs of 2 and 0, of 0 and 1
    assert told["confidence"] == pytest.approx((1 / (1 + np.exp(-2)) + 1 / (1 + np.exp(-1))) / 2)


@pytest.mark.parametrize("name, told, grades", [
    ("r.py:f", [-1e-9, 1 + 2e-7], [0, 1]), (len, [-1e-9, 1 + 2e-7], [0, 1]),
    ("judge", [0.0, 2.0], [0.5, 1 / (1 + np.exp(-2))])])
def test_a_grade_is_from_0_to_1(name, told, grades):
    """Rounding aside, as of a cosine; that of a reward model by the sigmoid."""
    score = scorers.to_unit_interval(name, lambda rows, answers: np.array(told))
    assert score([], []) == pytest.approx(grades, abs=1e-12)
    for own, called in (("r.py:f", "r.py:f"), (len, "len")):
        with pytest.raises(UserError, match=f"{called}: .* from 0 to 1; these are from 3 to 5"):
            scorers.to_unit_interval(own, lambda rows, answers: np.array([3, 5]))([], [])


# ---- functions of yours --------------------------------------------------------------------------
def in_cell(text: str):
    """Its function f, as a cell of a notebook has it."""
    cell = {"__name__": "__main__"}
    exec(compile(text, "<cell 3>", "exec"), cell)
    return cell["f"]


OWN = [lambda text: "odd.py:f", lambda text: load("odd.py").f, in_cell]     # of a file, imported


@pytest.mark.parametrize("body", golden.read("rewards"), ids=lambda body: body[:50])
def test_a_reward_of_ones_own_is_read_or_refused_in_one_line(body, recorded, here, capsys):
    """The same in a file, imported, or in a cell of a notebook. It does not move our working
    folder, by which a later --out is written."""
    rows = [Row(say("user", "Hi"), extra={"tests": [1]}),
            Row((*say("user", "x"), *say("assistant", "y"), *say("user", "Bye")),
                extra={"tests": [1, 2]})]
    code = body.replace("\\n", "\n") if body.startswith("def") else (
        f"def f(completions):\n    {body}")
    text = f"import os, sys\nimport torch\n\n\n\n{code}\n"
    Path("odd.py").write_text(text)
    told = []
    for own in (of(text) for of in OWN):
        failed = command(lambda argv: print(scorers.scorer(own)(rows, ["a", "bc"]).tolist()))
        said = one_error(capsys) if failed else capsys.readouterr().out.strip()
        told.append(re.sub("0x[0-9a-f]+", "...", said))
        assert Path.cwd() == here
    recorded("rewards", body, told[0])
    why = [re.sub(r"error: --reward (.*?, line \d+|\S+): ", "", line) for line in told]
    assert why == why[:1] * 3


def test_a_reward_may_be_anything_that_is_called():
    rows = [Row(say("user", "Hi"))] * 2

    class Judge:
        def __call__(self, completions):
            return [len(text) / self.longest for text in completions]
    judge = Judge()
    judge.longest = 2
    short = functools.partial(lambda completions, by: [len(x) / by for x in completions], by=2)
    for one in (judge, short, lambda completions: [len(x) / 2 for x in completions]):
        assert scorers.scorer(one)(rows, ["a", "bc"]).tolist() == [0.5, 1.0]
    del judge.longest
    for own, told in ((judge, rf"^--reward {__file__}, line \d+: AttributeError: 'Judge'"),
                      (lambda completions: [1], "^--reward lambda: must return a list of one"),
                      ("<right>", "^--reward <right>: .* is right, which only Python has: nano")):
        with pytest.raises(UserError, match=told):
            try_reward(own, rows)


CELL = """
least = {least}

def grade(text):
    return {grade}

def made(wanted):
    def right(completions):
        return [grade(x) > least and x == wanted for x in completions]
    return right

f = made({wanted!r})
"""


def test_what_a_reward_of_python_reads_is_known_by_its_content(monkeypatch, capsys):
    """Its text, numbers and texts around it, and functions of the same notebook that it calls."""
    def hashed(least=1, grade="len(text)", wanted="fig", after=""):
        text = CELL.format(least=least, grade=grade, wanted=wanted) + after
        kept = len(text), None, text.splitlines(True), ""
        monkeypatch.setitem(linecache.cache, "<cell 3>", kept)
        return hash_of_reward(in_cell(text))
    alone = hashed()
    assert alone == hashed(after="other = 3\n")
    assert len({alone, hashed(least=2), hashed(grade="0"), hashed(wanted="pig"),
                hashed(least=0.25), hashed(least=0.5)}) == 6
    monkeypatch.delitem(linecache.cache, "<cell 3>")
    assert hash_of_reward(in_cell(CELL.format(least=1, grade="0", wanted=""))) is None
    assert "right: Python has not kept the text of this reward" in capsys.readouterr().out


DRAWS = """
import random
import numpy as np
import torch

calls, first = [], random.random() + np.random.rand() + torch.rand(1)

def f(completions, gold, **more):
    calls.append(1)
    print("called with", completions, gold, sorted(more))
    return [first + random.random() + np.random.rand() + torch.rand(1) + len(calls)
            for _ in completions]
"""


@pytest.mark.parametrize("line, fields, answers", [
    ("train --objective rloo --samples 3", {"output": "{}!"}, ["a!", "b!", "a!"]),
    ("train --objective reinforce --samples 2", {"chosen": "{}!", "rejected": "no"}, ["a!", "b!"]),
    ("train --objective reinforce --samples 2", {}, ["Say a.", "Say b."]),
    ("evaluate start", {"response": "{}!"}, ["a!", "b!"])])
def test_a_reward_is_called_once_before_a_model_is_opened(line, fields, answers, here, capsys,
                                                          monkeypatch):
    """By the answers of the rows, which a program of yours can read; else by their questions."""
    Path("draws.py").write_text(DRAWS)
    write_jsonl(here / "ab.jsonl", [{"prompt": f"Say {x}.", "gold": 1} | {
        name: text.format(x) for name, text in fields.items()} for x in "ab"])

    def stop(*told, **more):
        raise UserError("opened")
    monkeypatch.setattr(train.load, "open_model", stop)
    monkeypatch.setattr(evaluate, "open_for_inference", stop)
    more = "--init start --eval-data ab.jsonl" if "train" in line else ""
    assert call(f"{line} --data ab.jsonl {more} --reward draws.py:f") == 2
    out, error = capsys.readouterr()
    assert out.count("called with") == 1 and error == "error: opened\n"
    of_rows = sorted({"prompt", "prompts", *fields})
    assert f"called with {answers} {[1] * len(answers)} {of_rows}\n" in out


def test_a_run_is_as_if_its_reward_had_not_been_called_before(here, monkeypatch):
    """One that draws numbers, or counts its calls."""
    Path("draws.py").write_text(DRAWS)
    for out in ("tried", "not"):
        assert call("train --objective rloo --init start --data demos.jsonl --reward draws.py:f "
                    f"--steps 2 --batch-size 2 --max-new 4 --plain --out {out}") == 0
        monkeypatch.setattr("nanouft.own.try_reward", lambda *told: None)
    logs = [read_lines(here / out / "metrics.jsonl") for out in ("tried", "not")]
    assert logs[0] == logs[1]


def test_distillation_shows_a_reward_of_rows_of_files_if_one_is_given(here):
    for name, wanted in (("exact", [0, 0]), ("r.py:f", [0.2, 0.6])):
        score = scorers.scorer_of_run(name, find("distill")(), True, "cpu")
        assert score(DATA[:2], ["a", "abc"]).tolist() == wanted


# ---- given in copies -----------------------------------------------------------------------------
def spoil(tests, array, **more):
    values = []
    for x, y in zip(tests, array):
        values.append(len(str([x, y])))
        x["a"][0].clear()
        y.fill(1000)
    for given in (tests, array, *more.values()):
        given.clear()
    return values


def test_a_reward_may_change_all_that_it_gets():
    """Neither the row nor what another answer to it sees changes: lists, dictionaries, arrays."""
    row = Row(say("user", "Say fig."), extra={"tests": {"a": [["fig"]]}, "array": np.arange(3.0)})
    before, answers, score = str(row.extra), ["a b", "a b"], scorers.scorer(spoil)
    assert len({*score([row] * 2, answers), *score([row] * 2, answers)}) == 1
    assert str(row.extra) == before and answers == ["a b", "a b"]


def test_an_objective_may_change_the_rows_among_which_it_chooses(tmp_path):
    """The list, and their fields: they are chosen from again if some are too long."""
    (tmp_path / "mine.py").write_text("""
from nanouft.objectives.sft import SFT

class Mine(SFT):
    def choose(self, rows):
        chosen = super().choose(rows)
        for r in rows:
            r.extra["tests"].append("more")
        rows.clear()
        return chosen
""")
    rows = [replace(r, score=None, label=None, extra={"tests": [i]}) for i, r in enumerate(DATA)]
    chosen = find(str(tmp_path / "mine.py"))().choose(rows)
    assert [r.extra for r in rows] == [{"tests": [i]} for i in range(len(DATA))]
    assert len(chosen) == len(rows)
