"""What the command line explains and what it refuses: each mistake of beginners is one clear line,
before anything is made."""
import errno
import re
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from commands import MAINS, call
from made import one_error

from nanouft import evaluate, pretrain, pushes, reward, sample, train
from nanouft.data.__main__ import DataFlags
from nanouft.objectives import OBJECTIVES
from nanouft.playground.__main__ import PlaygroundFlags
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import HF, UserError, flag
from nanouft.plumbing.printing import progress, visible
from nanouft.run import config, flags, helpers
from nanouft.run.config import RunConfig
from nanouft.run.flags import comments

COMMANDS = [RunConfig, evaluate.EvaluateFlags, sample.SampleFlags, pushes.PushesFlags, DataFlags,
            reward.RewardFlags, pretrain.PretrainFlags, PlaygroundFlags]


# ---- help ----------------------------------------------------------------------------------------
def test_the_help_of_every_method_explains_each_flag_with_its_default_in_80_columns(capsys):
    def help_of(main, *argv: str) -> str:
        with pytest.raises(SystemExit) as end:
            main([*argv])
        out = capsys.readouterr().out
        assert end.value.code == 0
        assert "list" in argv or max(map(len, out.splitlines())) <= 80, argv
        return out

    for main in MAINS.values():
        help_of(main, "--help")
    listed = help_of(train.main, "--objective", "list")
    shown = {name: help_of(train.main, "--objective", name, "--help") for name in OBJECTIVES}
    for kind, told in [(RunConfig, help_of(train.main, "all", "--help")),
                       *((OBJECTIVES[name], shown[name]) for name in OBJECTIVES)]:
        for f in fields_of(kind):
            assert comments(kind).get(f.name), f"{kind.__name__}: {f.name} has no # help behind it"
            said = f" {flag(f.name)} "
            if f.default not in (None, False, ""):
                said += rf"[^[]*\[{re.escape(str(f.default))}\]"
            assert re.search(said, re.sub(r"\s+", " ", told)), (kind, f.name)
    assert all(listed.count(f"\n  {name} ") == 1 for name in OBJECTIVES)


def test_a_long_name_of_a_method_stands_apart_from_its_idea(capsys, monkeypatch):
    monkeypatch.setattr(config, "OBJECTIVES", {"squared_hinge": OBJECTIVES["hinge"]})
    config.list_objectives()
    assert "\n  squared_hinge Hinge: " in capsys.readouterr().out


def test_the_lists_of_flags_name_flags():
    """Else a flag that gets another name would drop out of the help, of a hint, or of the runs that
    train a first model, without a word."""
    of_run = {*config.FLAGS}
    assert {*config.SHOWN_BY_HELP, *config.WORLD_FLAGS, *helpers.INHERITED} <= of_run
    assert {*flags.NAMED} <= {f.name for kind in COMMANDS for f in fields_of(kind)}
    named = re.findall(r"--[a-z-]+", train.NEEDS_LESS)
    assert len(named) > 1 and {*named} <= {*map(flag, of_run)}


def fields_of(kind) -> list:
    """Of a dataclass those that are flags."""
    return [f for f in fields(kind) if kind is not RunConfig or f.name in config.FLAGS]


# ---- mistakes: tests/test_mistakes.py has most ---------------------------------------------------
SAME = dict(pair.split() for pair in (
    "learning-rate --lr", "max-new-tokens --max-new", "max-seq-length --max-length",
    "num-generations --samples", "max-steps --steps", "num-train-epochs --epochs",
    "per-device-train-batch-size --batch-size"))


@pytest.mark.parametrize("theirs", sorted(" ".join(flags.FOREIGN_FLAGS).split()))
def test_a_flag_of_another_program_is_told_what_it_is_here(theirs, capsys):
    """Spelt with - or _. The right name is a flag, which does the same, and theirs is none."""
    said = next(said for words, said in flags.FOREIGN_FLAGS.items() if theirs in words.split())
    for word in (theirs, theirs.replace("-", "_")):
        assert command(train.main, ["--objective", "grpo", f"--{word}=1"]) == 2
        told = one_error(capsys)
        assert f"grpo: unknown argument --{word}" in told and said in told
    grpo = {f.name for kind in (RunConfig, OBJECTIVES["grpo"]) for f in fields_of(kind)}
    assert {*re.findall(r"--[\w-]+", said)} <= {*map(flag, grpo)}
    assert said.startswith(SAME.get(theirs, said))


@pytest.mark.parametrize("name, line", [
    ("transformers", "train --lora 2 --out new"), ("datasets", "data hub:me/mine"),
    ("pyarrow.parquet", "data x.parquet"), ("huggingface_hub", "sample hub:me/mine")])
def test_a_missing_library_is_named_with_what_installs_all(name, line, here, monkeypatch, capsys):
    """Without the name of nanouft, which nobody holds in a registry."""
    monkeypatch.setitem(sys.modules, name, None)
    (here / "x.parquet").touch()
    assert call(line) == 2
    assert re.search(rf"needs {name}.*: pip install {HF}$", one_error(capsys))
    extra = (Path(__file__).parents[1] / "pyproject.toml").read_text().partition("\nhf = [")[2]
    assert HF.split() == re.findall(r'"(\w+)>=', extra.partition("\n]")[0])


@pytest.mark.parametrize("terminal, seconds, least, most", [
    (False, 2, 2, 8), (True, 2, 50, 110), (False, 400, 100, 110)])
def test_a_bar_is_drawn_seldom_in_a_log(terminal, seconds, least, most, monkeypatch, capsys):
    """In a hundred steps of two seconds. A log of slow steps is never silent for ten minutes."""
    now, drawn = [0.0], []
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    for _ in progress(100, "sft", range(100), training=True):
        if "\r" in capsys.readouterr().err:
            drawn.append(now[0])
        now[0] += seconds
    assert least <= len(drawn) <= most
    assert max(b - a for a, b in zip(drawn, drawn[1:])) <= 600


@pytest.mark.parametrize("fault, code, words", [
    (KeyboardInterrupt(), 130, "interrupted"), (UserError("two\nlines \x1b[2J"), 2, "two lines"),
    (MemoryError(), 2, "out of memory; take a smaller model"),
    (RuntimeError("CUDA out of memory. Tried"), 2, "out of memory"),
    (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), 2, "out of memory"),
    (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), 2, "out of memory"),
    (RuntimeError("not enough memory: you tried to allocate"), 2, "out of memory"),
    (OSError(errno.ENOMEM, "Cannot allocate memory"), 2, "out of memory"),
    (BrokenPipeError(), 1, "")])
def test_what_a_person_can_cause_is_one_line(fault, code, words, capsys):
    def main(argv):
        raise fault
    assert command(main) == code
    err = capsys.readouterr().err
    assert words in err and err.count("\n") == bool(words) and "\x1b" not in err
    with pytest.raises(RuntimeError, match="a fault of ours"):
        command(lambda argv: (_ for _ in ()).throw(RuntimeError("a fault of ours")))
    command(lambda argv: [0] * 2**60, needs_less="give --lora")
    assert capsys.readouterr().err == "error: out of memory; give --lora\n"
    assert visible("a\x1b[2J\x7f\u202e\tb\n") == "a\\x1b[2J\\x7f\\u202e\tb\n"
