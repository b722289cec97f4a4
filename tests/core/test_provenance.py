"""Held out means held out: a question that a model, or one that it came from, was trained on is
known again in every file, folder, form and line."""
import gzip
import json
import os
import shutil

import pytest
from running import DEMOS, QUICK, call, lines

from nanouft import evaluate, train
from nanouft.data.rows import Row, Turn, holdout
from nanouft.errors import UserError
from nanouft.objectives import OBJECTIVES
from nanouft.rewards import harvest
from nanouft.run import provenance, rows
from nanouft.run.flags import Train

pytestmark = pytest.mark.usefixtures("brief")
HELD = 2                # of the 16 rows of DEMOS
OTHERS = [{"prompt": f"What is {i}?", "response": f"{i}"} for i in range(12)]


@pytest.fixture
def model(here, tiny_base):
    """A run on DEMOS, in a folder of its own."""
    (here / "x").mkdir()
    file = lines(here / "x" / "mine.jsonl", DEMOS)
    assert call(train.main, "--objective", "sft", "--data", file, "--init", tiny_base, "--steps", 1,
                *QUICK, "--plain", "--out", here / "x" / "m") == 0
    return here / "x" / "m"


def link(here):
    os.symlink(here / "x" / "mine.jsonl", here / "link.jsonl")
    return "link.jsonl"


def packed(here):
    (here / "copy.jsonl.gz").write_bytes(gzip.compress((here / "x" / "mine.jsonl").read_bytes()))
    return "copy.jsonl.gz"


def moved(here):
    return shutil.copy(here / "x" / "mine.jsonl", here / "other.jsonl")


def row_on_top(here):
    return lines(here / "top.jsonl", [*OTHERS[:1], *DEMOS])


def other_form(here):
    return lines(here / "form.jsonl", [{"instruction": d["prompt"], "output": d["response"]}
                                       for d in reversed(DEMOS)])


def as_pairs(here):
    return lines(here / "pairs.jsonl", [{"prompt": d["prompt"], "chosen": "x", "rejected": "y"}
                                        for d in DEMOS])


@pytest.mark.parametrize("make", [link, packed, moved, row_on_top, other_form, as_pairs],
                         ids=lambda make: make.__name__)
def test_rows_are_known_again(make, model, here, capsys):
    capsys.readouterr()
    assert call(evaluate.main, model, "--data", make(here)) == 0
    said, more = capsys.readouterr().out, make is row_on_top
    assert f"14 of these {16 + more} rows were trained on ({model}); scored are the " \
        f"{HELD + more} others" in said


def test_a_child_knows_what_its_parents_saw(model, here, tiny_base, capsys):
    """Also if it was trained on other rows, and if its parent is gone."""
    other = lines(here / "other.jsonl", OTHERS)
    assert call(train.main, "--objective", "sft", "--data", other, "--init", model, "--steps", 1,
                *QUICK, "--plain", "--out", here / "child") == 0
    shutil.rmtree(model)
    capsys.readouterr()
    assert call(evaluate.main, here / "child", "--data", here / "x" / "mine.jsonl") == 0
    assert "14 of these 16 rows were trained on" in capsys.readouterr().out
    assert call(evaluate.main, tiny_base, "--data", here / "x" / "mine.jsonl") == 0
    assert "trained on" not in capsys.readouterr().out


def test_a_child_holds_out_what_its_parent_has_not_seen(model, here, capsys):
    """The same file: the same rows. More rows: others, none of them seen."""
    sft, known = OBJECTIVES["sft"], provenance.trained_on(str(model))

    def split(data, **more):
        cfg = Train(data=[str(lines(here / "d.jsonl", data))], init=str(model), **more)
        return rows.load_rows(cfg, sft, sft.hp())
    assert len(split(DEMOS)[1]) == HELD and "others are" not in capsys.readouterr().out
    data, held = split(DEMOS[2:] + OTHERS)
    assert held and provenance.unseen(held, known) == held
    assert not {r.prompt for r in data} & {r.prompt for r in held}
    assert len(data) + len(held) == 26, "what is not held out is trained on"
    seen = str(lines(here / "seen.jsonl", DEMOS))
    data, held = split(OTHERS, eval_data=[seen])
    assert len(held) == HELD and len(data) == 12
    assert "was trained on 14 of the rows to hold out" in capsys.readouterr().out


def test_harvest_says_which_prompts_are_no_new_ones(model, here, capsys):
    file = lines(here / "d.jsonl", DEMOS + OTHERS)
    harvest.find_prompts(harvest.Harvest(init=str(model), data=[str(file)], reward="my.py:f"))
    assert f"note: {model} was trained on 14 of these 28 prompts" in capsys.readouterr().out


def test_what_is_remembered(tmp_path):
    data = [Row((Turn("user", f" {i} "),), (Turn("assistant", "a"),)) for i in range(20)]
    train_rows, held = holdout(data)
    for name, init in (("a", "base"), ("b", str(tmp_path / "a")), ("c", "hub:some/body")):
        (tmp_path / name).mkdir()
        provenance.remember(tmp_path / name, train_rows if name == "a" else [], init)
    found = [provenance.trained_on(str(tmp_path / name)) for name in "abc"]
    assert found[0] == found[1] and len(found[0]) == len(train_rows) and not found[2]
    assert provenance.unseen(data, found[0]) == held
    assert not provenance.trained_on("base") and not provenance.trained_on("hub:a/b")
    for odd in ({"questions": [3]}, {"questions": "abc"}, {}):
        (tmp_path / "a" / provenance.FILE).write_text(json.dumps(odd))
        with pytest.raises(UserError, match="json: questions is "):
            provenance.trained_on(str(tmp_path / "a"))
