"""Nonsense in, one clear line or the right result out; and runs that are killed anywhere.

    python -m pytest -m slow tests/core/test_fuzz.py        # far more of it
"""
import contextlib
import io
import json
import random
import shutil
import subprocess
import sys
from dataclasses import fields

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from running import ROOT, call, one_error
from safetensors.numpy import load_file, save_file
from test_cli import SETTINGS
from tiny import NANO

from nanouft.errors import UserError
from nanouft.models.load import start_model
from nanouft.objectives import OBJECTIVES
from nanouft.run import config, flags

KILLS = [sys.executable, ROOT / "tests" / "tools" / "kills.py"]
VALUES = ["", " ", "-", "--", "-1", "0", "1", "7", "3.5", "1e308", "-1e308", "1e-39", "1e9", "nan",
          "inf", "-inf", "1" * 40, "0x10", "1_000", "٣", "²", "\x1b[31mred\x07", "\x9b2J", "a\nb",
          "a\rb", "\u202eabc", "é" * 300, "x" * 5000, "'", "\"", "$HOME", "%s", "{}", "[]", "null",
          "True", "none/such", ".", "/", "/dev/null", "base", "sft", "all", "A:B", "list", "1:-2",
          "auto", "cuda:99", "exact", "a/" * 99]
PARSERS = {name: config.Parser(prog=name) for name in SETTINGS}
for name, parser in PARSERS.items():
    config.add_flags(parser, SETTINGS[name], name)


# ---- command lines -------------------------------------------------------------------------------
def understood(name: str, argv: list[str]) -> None:
    """What a command does with its flags before it does anything else."""
    if name in OBJECTIVES:
        flags.read_flags(["--objective", name, *argv])
        return
    cfg, known = config.fill(SETTINGS[name], vars(PARSERS[name].parse_args(argv)))
    check = getattr(cfg, "check", lambda: None)
    check(*[known] * (check.__code__.co_argcount - 1))


@st.composite
def command_lines(draw) -> tuple[str, list[str]]:
    name = draw(st.sampled_from([*SETTINGS, *OBJECTIVES]))
    kinds = [flags.Train, OBJECTIVES[name].hp] if name in OBJECTIVES else [SETTINGS[name]]
    own = [f.name for kind in kinds for f in fields(kind)]
    flag = st.sampled_from(own).map(lambda f: "--" + f.replace("_", "-"))
    word = st.sampled_from(VALUES) | st.text(max_size=9)
    return name, draw(st.lists(flag | flag | word, max_size=6))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(command_lines())
def test_a_line_that_nobody_means_is_understood_or_refused_in_one_line(line):
    name, argv = line
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        code = call(lambda words: understood(name, words), *argv)
    assert code == 0 or one_error(code, said.getvalue())
    assert not set("\x1b\x07\x9b\u202e") & set(said.getvalue()), "nothing acts on a terminal"


# ---- start models --------------------------------------------------------------------------------
JUNK = [None, "x", "", -1, 3.5, 1e308, float("nan"), 10**40, True, [], {}, [[]] * 3]
BYTES = {"half": lambda x: x[:len(x) // 2], "empty": lambda x: b"",
         "zeros": lambda x: bytes(len(x)), "doubled": lambda x: x * 2,
         "not UTF-8": lambda x: b"\xff\xfe" + x,
         "a list": lambda x: b"[]", "null": lambda x: b"null", "deep": lambda x: b"[" * 99_999}
TENSORS = {"one row": lambda x: x[:1], "longer": lambda x: np.repeat(x, 2, 0),
           "flat": lambda x: x.reshape(-1)[:-1], "nan": lambda x: np.full_like(x, np.nan),
           "whole numbers": lambda x: np.zeros(x.shape, np.int64), "gone": lambda x: None,
           "empty": lambda x: np.zeros((0,), x.dtype)}


def tampered(folder) -> list:
    """(what is changed, how) in a model folder: each field of its JSON files, bytes, tensors."""
    found = []
    for file in sorted(folder.iterdir()):
        whole = file.read_bytes()
        found += [(f"{file.name} {how}", file, lambda f, x=change(whole): f.write_bytes(x))
                  for how, change in BYTES.items()]
        if file.suffix == ".json" and file.name != "tokenizer.json":
            known = json.loads(whole)
            for key in known:
                changed = [{**known, key: junk} for junk in JUNK]
                changed.append({k: x for k, x in known.items() if k != key})
                found += [(f"{file.name} {key} {i}", file,
                           lambda f, x=json.dumps(value): f.write_text(x))
                          for i, value in enumerate(changed)]
    file = folder / "model.safetensors"
    weights = load_file(file)
    for name in (min(weights), max(weights)):
        for how, change in TENSORS.items():
            new = {**weights, name: change(weights[name])}
            new = {k: np.ascontiguousarray(x) for k, x in new.items() if x is not None}
            found.append((f"{name} {how}", file, lambda f, x=new: save_file(x, f)))
    return found


@pytest.mark.parametrize("n", [80, pytest.param(None, marks=pytest.mark.slow)])
def test_a_start_model_that_somebody_changed_is_the_same_model_or_one_line(n, tiny_base, tmp_path):
    ids = torch.arange(40)[None]
    model, _ = start_model(str(tiny_base))
    want, refused, changes = model(ids), 0, tampered(tiny_base)
    for what, file, change in changes if n is None else random.Random(0).sample(changes, n):
        place = shutil.copytree(tiny_base, tmp_path / "m")
        change(place / file.name)
        try:
            found, tok = start_model(str(place))
            assert torch.equal(found(ids), want) and tok.encode("a pig") == NANO.encode("a pig")
        except UserError as e:
            refused += 1
            assert len(str(e).splitlines()) == 1, what
        except Exception as e:
            raise AssertionError(what) from e
        shutil.rmtree(place)
    assert 0 < refused < len(changes)


# ---- kills ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("argv", ["--n 2", pytest.param("", marks=pytest.mark.slow)])
def test_a_run_that_is_killed_anywhere_comes_to_the_same_end(argv):
    """As a process of its own: forks of a process with threads may hang."""
    got = subprocess.run([*KILLS, *argv.split()], capture_output=True, text=True)
    assert got.returncode == 0 and got.stdout.endswith("| 0 bad |\n"), got.stdout + got.stderr


def test_another_end_is_seen():
    planted = "import kills, sys; kills.outcome = str; sys.argv[1:] = ['--n', '1']; kills.main()"
    got = subprocess.run([sys.executable, "-c", planted], cwd=KILLS[1].parent, capture_output=True,
                         text=True)
    assert got.stdout.endswith("| 2 bad |\n") and got.stderr.count(": another result") == 2
