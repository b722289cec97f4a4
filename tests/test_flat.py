"""flat.py is train.py in one loop: on the same rows both have the same losses and weights."""
import json
from dataclasses import replace

import pytest
from made import write_jsonl
from safetensors.torch import load_file

from nanouft import flat, train, world
from nanouft.plumbing.entry import command
from nanouft.run import plan

KINDS = {"sft": "demos", "ift": "demos", "dpo": "pairs", "una": "scores", "kto": "labels"}


def rows_of(kind: str) -> list[dict]:
    """Rows of NanoWorld, as a file of yours has them."""
    def as_dict(row) -> dict:
        sides = {"response": row.answer, "chosen": row.chosen, "rejected": row.rejected}
        of_row = {name: turns[0].text for name, turns in sides.items() if turns}
        grade = {"score": row.score, "label": None if row.label is None else bool(row.label)}
        return {"prompt": row.prompt[0].text, **of_row,
                **{name: x for name, x in grade.items() if x is not None}}
    return [as_dict(row) for row in world.rows("train", kind, 24, seed=0)]


@pytest.mark.parametrize("name", KINDS)
def test_its_losses_are_those_of_train(name, tmp_path, monkeypatch):
    """To the last bit on a CPU. The defaults take nine steps here, where they would take 200."""
    for key, values in plan.DEFAULTS_FOR.items():
        monkeypatch.setitem(plan.DEFAULTS_FOR, key, replace(values, min_steps=(9, 9)))
    file, own, whole = (str(tmp_path / x) for x in ("rows.jsonl", "flat", "train"))
    write_jsonl(tmp_path / "rows.jsonl", rows_of(KINDS[name]))
    losses = flat.train(name, file, own)
    argv = ["--objective", name, "--data", file, "--eval-data", file, "--plain", "--device", "cpu"]
    assert command(train.main, [*argv, "--out", whole]) == 0
    log = [json.loads(line) for line in (tmp_path / "train" / "metrics.jsonl").open()]
    assert losses == [line["loss"] for line in log] and len(log) >= 9
    weights = load_file(f"{own}/model.safetensors")
    assert all((weights[name] == x).all()
               for name, x in load_file(f"{whole}/model.safetensors").items())


@pytest.mark.parametrize("words, told", [
    ("grpo rows.jsonl new", "samples answers or needs another model first"),
    ("poft rows.jsonl new", "samples answers or needs another model first"),
    ("spo rows.jsonl new", "did you mean"), ("sft rows.jsonl old", "is there already"),
    ("sft none.jsonl new", "none.jsonl")])
def test_a_mistake_is_one_line(words, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old").mkdir()
    write_jsonl(tmp_path / "rows.jsonl", rows_of("demos"))
    assert command(flat.main, words.split()) == 2
    said = capsys.readouterr().err
    assert told in said and said.count("\n") == 1
