"""What the command line explains, and the one-line error with which a command ends if the user can
fix the problem. tests/recorded/mistakes/ has the mistakes of beginners."""
import errno
import inspect
import re
import sys
from dataclasses import fields
from pathlib import Path

import golden
import pytest
from commands import MAINS, call
from made import one_error

from nanouft import sample, train
from nanouft.objectives import OBJECTIVES
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import HF, UserError, flag
from nanouft.plumbing.printing import progress, visible
from nanouft.run import flags
from nanouft.run.config import FLAGS, RunConfig
from nanouft.run.flags import comments


# ---- help ----------------------------------------------------------------------------------------
def help_of(capsys, program: str, *words: str) -> str:
    with pytest.raises(SystemExit) as end:
        MAINS[program]([*words, "--help"])
    assert end.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("typed", golden.read("help"))
def test_what_help_shows(typed, capsys, recorded):
    """Of a command, and help() of a call in Python."""
    if typed == "help(sample.run)":
        recorded("help", typed, inspect.getdoc(sample.run))
    else:
        program, *words, _ = typed.split()
        recorded("help", typed, help_of(capsys, program, *words))


def test_the_help_of_every_method_explains_each_flag_with_its_default_in_80_columns(capsys):
    shown = {name: help_of(capsys, "train", "--objective", name) for name in OBJECTIVES}
    shown |= {program: help_of(capsys, program) for program in MAINS}
    for told in shown.values():
        assert max(map(len, told.splitlines())) <= 80, told
    asked = {RunConfig: help_of(capsys, "train", "all")}
    asked |= {kind: shown[name] for name, kind in OBJECTIVES.items()}
    for kind, told in asked.items():
        for f in fields(kind):
            if kind is RunConfig and f.name not in FLAGS:
                continue
            assert comments(kind).get(f.name), f"{kind.__name__}: {f.name} has no # help behind it"
            said = f" {flag(f.name)} "
            if f.default not in (None, False, ""):
                said += rf"[^[]*\[{re.escape(str(f.default))}\]"
            assert re.search(said, re.sub(r"\s+", " ", told)), (kind, f.name)


def test_every_method_is_listed(capsys):
    with pytest.raises(SystemExit):
        train.main(["--objective", "list"])
    listed = capsys.readouterr().out
    assert all(listed.count(f"\n  {name} ") == 1 for name in OBJECTIVES)


# ---- mistakes: tests/test_mistakes.py has most ---------------------------------------------------
def test_a_flag_of_another_program_is_told_what_it_is_here(capsys):
    """What is named in its place is a flag of this method, and it is none."""
    grpo = {*map(flag, FLAGS), *(flag(f.name) for f in fields(OBJECTIVES["grpo"]))}
    for words, said in flags.FOREIGN_FLAGS.items():
        for word in words.split():
            assert command(train.main, ["--objective", "grpo", f"--{word}=1"]) == 2
            told = one_error(capsys)
            assert f"grpo: unknown argument --{word}" in told and said in told
        assert {*re.findall(r"--[\w-]+", said)} <= grpo


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


@pytest.mark.parametrize("fault, code, line", [
    (KeyboardInterrupt(), 130, "interrupted"), (BrokenPipeError(), 1, ""),
    (UserError("two\nlines \x1b[2J"), 2, "error: two lines \\x1b[2J"),
    *((fault, 2, "error: out of memory; give --lora") for fault in (
        MemoryError(), RuntimeError("CUDA out of memory. Tried"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("not enough memory: you tried to allocate"),
        OSError(errno.ENOMEM, "Cannot allocate memory")))])
def test_what_a_person_can_cause_is_one_line(fault, code, line, capsys):
    def main(argv):
        raise fault
    assert command(main, needs_less="give --lora") == code
    assert capsys.readouterr().err == line + "\n" * bool(line)


def test_a_fault_of_ours_is_a_traceback():
    def main(argv):
        raise RuntimeError("a fault of ours")
    with pytest.raises(RuntimeError, match="a fault of ours"):
        command(main)


def test_what_would_steer_a_terminal_is_written_out():
    assert visible("a\x1b[2J\x7f\u202e\tb\n") == "a\\x1b[2J\\x7f\\u202e\tb\n"
