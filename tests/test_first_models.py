"""The models that a method needs first (nanouft/run/load.py): made once, from what the run
reads, and made again when that changes."""
import dataclasses
import os
from pathlib import Path

import pytest
from commands import call
from made import killed_in_step, one_error, start_folder, write_jsonl
from safetensors.torch import load_file, save_file

from nanouft.loop import Device
from nanouft.run.folder import locked
from nanouft.run.load import with_first_models
from nanouft.run.settings import TrainFlags, read_flags

# Flags of a run that its first models have of their own, or that change no weight.
OWN = {"steps", "epochs", "lr", "warmup", "eval_data", "device", "compile", "threads",
       "save_every", "eval_every", "reward", "max_new", "items", "plain", "out",
       "resume"}


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A start model and a file of rows, in the folder in which we are."""
    monkeypatch.chdir(tmp_path)
    start_folder(tmp_path / "start")
    write_jsonl(tmp_path / "demos.jsonl", [{"prompt": "Say a.", "response": "a"}] * 9)
    return tmp_path


def made(*argv: str, method: str = "sftmix") -> list[list[str]]:
    """The command lines of the first models that a method makes for this run."""
    lines: list[list[str]] = []

    def train(line: list[str]) -> int:
        lines.append(line)
        out = Path(line[line.index("--out") + 1])
        out.mkdir(parents=True)
        (out / "model.safetensors").touch()
        return 0
    objective, cfg, _ = read_flags(["--objective", method, *argv])
    with_first_models(objective, cfg, Device(), train)
    return lines


@pytest.mark.parametrize("file", ["demos.jsonl", "start/model.safetensors"])
def test_what_has_another_content_makes_them_again(file, folder):
    """Under the same name."""
    line = ["--data", "demos.jsonl", "--init", "start"]
    assert len(made(*line)) == 2 and made(*line) == []
    before = (folder / file).read_bytes()
    if file.endswith(".jsonl"):
        (folder / file).write_bytes(before.replace(b"Say a.", b"Say b."))
    else:
        save_file({name: w + 1 for name, w in load_file(folder / file).items()}, folder / file)
    assert len(made(*line)) == 2 and made(*line) == []
    (folder / file).write_bytes(before)
    assert made(*line) == [], "the first ones are still there"


def test_an_aligned_model_of_poft_is_the_same_for_all_runs(folder):
    """It is there to know more than the rows of the run say."""
    assert len(made("--rows", "40", method="poft")) == 1
    assert made("--rows", "50", "--seed", "3", "--noise", "0.4", method="poft") == []


OF_WORLD = {"rows": 40, "skills": "A", "mix": "3", "noise": 0.25, "init": "start"}
OF_FILES = {"data": ["demos.jsonl"], "max_length": 60, "seed": 7, "batch_size": 4, "accumulate": 2,
            "lora": 4, "dtype": "bf16", "activation_checkpointing": True}


@pytest.mark.parametrize("given", [OF_WORLD, OF_FILES], ids=["NanoWorld", "files"])
def test_they_read_what_the_run_reads_in_the_same_way(given, folder):
    """Every flag is theirs too, except those of OWN. A seed that they name is theirs."""
    every = {f.name for f in dataclasses.fields(TrainFlags)}
    assert all(getattr(TrainFlags, name) != value for name, value in given.items()), "no defaults"
    assert {*OF_WORLD, *OF_FILES} | OWN == every and not {*OF_WORLD, *OF_FILES} & OWN
    argv = []
    for name, value in given.items():
        words = [] if value is True else value if isinstance(value, list) else [str(value)]
        argv += [f"--{name.replace('_', '-')}", *words]
    lines = made(*argv)
    assert len(lines) == 2
    for line in lines:
        cfg = read_flags(line[:line.index("--device")])[1]
        assert {name: getattr(cfg, name) for name in given} == given


def test_a_model_made_first_that_was_interrupted_is_made_again(here, capsys):
    """But not while another process makes it."""
    line = "train --objective sftmix --init start --rows 36 --steps 1 --plain --out i"
    with killed_in_step(2):
        assert call(line) == 130
    left, = (f for f in (here / "out/.first").glob("*") if not (f / "model.safetensors").exists())
    capsys.readouterr()
    if hasattr(os, "fork"):                             # Windows has no such locks
        with locked(left):
            assert call(line) == 2
        assert f"{left.name}: another process works there now" in one_error(capsys)
    assert call(line) == 0 and (left / "model.safetensors").exists()
