"""The command line: its help, its flags, and for each mistake that beginners make one clear line,
before anything is made."""
import argparse
import dataclasses
import os
import re
import subprocess
import sys

import pytest
from commands import MAINS, ROOT, call
from made import one_error

from nanouft import evaluate, pretrain, pushes, reward, sample, train
from nanouft.objectives import OBJECTIVES
from nanouft.playground.__main__ import PlaygroundFlags
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.printing import progress, visible
from nanouft.run import flags, load, settings
from nanouft.run.flags import add_flags
from nanouft.run.settings import TrainFlags


def test_the_help_of_every_command_explains_every_flag(capsys):
    for main, argv in [(m, []) for m in MAINS.values()] + [
            (train.main, ["--objective", name]) for name in OBJECTIVES]:
        with pytest.raises(SystemExit) as end:
            main([*argv, "--help"])
        assert end.value.code == 0
        out = capsys.readouterr().out
        assert max(map(len, out.splitlines())) <= 80, argv
        told = re.sub(r"\s+", " ", out)
        for f in dataclasses.fields(OBJECTIVES[argv[1]]) if argv else ():
            assert f"--{f.name.replace('_', '-')} " in told, (argv, f.name)
    with pytest.raises(SystemExit):
        train.main(["--objective", "list"])
    told = capsys.readouterr().out
    assert all(f"\n{name} " in "\n" + told for name in OBJECTIVES)
    assert told.count("needs ") == len(OBJECTIVES)


WITHOUT_DOCS = """
import sys
from importlib import import_module
from nanouft.plumbing.entry import command
for name in "train evaluate sample pretrain reward pushes playground.__main__".split():
    try:
        command(import_module(f"nanouft.{name}").main, ["--help"])
    except SystemExit as end:
        assert end.code == 0
from nanouft import train
command(train.main, "--objective sft --init start --rows 9 --batch-size 2 --steps 1 --plain "
        "--device cpu --out oo".split())
train.main(["--objective", "list"])
"""


def test_commands_run_without_docstrings_and_assertions(here):
    """By python -OO."""
    done = subprocess.run([sys.executable, "-OO", "-c", WITHOUT_DOCS], capture_output=True,
                          text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.stdout.count("options:\n") == 7 and "Saved in oo" in done.stdout, done.stderr
    assert "\nonline_dpo" in done.stdout


def test_a_help_is_the_whole_comment():
    """--help reads one line of a comment, so none may go on in the next."""
    for kind in (TrainFlags, *OBJECTIVES.values()):
        parser = argparse.ArgumentParser(add_help=False)
        add_flags(parser, kind, "")
        for action in parser._actions:
            text = action.help.partition(" [")[0]
            assert not text.endswith(","), (kind, action.help)
            assert action.help.count("[") == action.help.count("]"), (kind, action.help)


def test_the_help_has_every_default_that_is_a_number_or_a_word(capsys):
    with pytest.raises(SystemExit):
        train.main(["--objective", "dpo", "--help", "all"])
    told = re.sub(r"\s+", " ", capsys.readouterr().out)
    for f in (*dataclasses.fields(TrainFlags), *dataclasses.fields(OBJECTIVES["dpo"])):
        if f.default not in (None, False, ""):
            said = rf" --{f.name.replace('_', '-')} [^[]*\[{re.escape(str(f.default))}\]"
            assert re.search(said, told), f.name


def test_the_lists_of_flags_name_flags():
    """Else a flag that gets another name would drop out of the help, of a hint, or of the runs that
    train a first model, without a word."""
    commands = [TrainFlags, evaluate.EvaluateFlags, sample.SampleFlags, pushes.PushesFlags,
                reward.RewardFlags, pretrain.PretrainFlags, PlaygroundFlags]
    of_run = {f.name for f in dataclasses.fields(TrainFlags)}
    every = {f.name for kind in commands for f in dataclasses.fields(kind)}
    assert {*settings.SHORT, *settings.OF_WORLD, *load.INHERITED} <= of_run
    assert {*flags.NAMED} <= every


REFUSED = {     # command line: what the message must hold, words parted by |
    "sample base --plain --prompt ''": "--plain: there is no text to go on with",
    "train --batchsize=3": "no --batchsize; did you mean --batch-size?",
    "train --objective sft --beta 1": "sft has no --beta",
    "sample --models start": "sample has no --models",     # they stand before the flags
    "train --beta 1": "train has no --beta; a setting of one method needs its name",
    "train ift": "train has no ift",
    "train -o IFT": "train has no -o",
    "train --objective sft --Batch-Siz 1": "sft has no --Batch-Siz; did you mean --batch-s",
    "train --objective DPOO": "did you mean dpo?",
    "train --init gpt2": "gpt2: no model folder is there|named hub:owner/name",
    "pushes --show 'sft --lamb 1'": "sft has no --lamb",
    """pushes --show 'ift "'""": """--show 'ift "'|No closing quotation""",
    "train --variant relesed": "released",
    "train --steps 1.5": "--steps|whole number", "train --lr nan": "--lr|number",
    "train --data": "--data", "train stray": "stray",
    "train --epochs 1 --steps 1": "--epochs|give one", "train --init nowhere": "no model folder",
    "train --init start --data none.jsonl": "no such file",
    "train --init start --data pairs.jsonl --objective una": "needs scores|the data has 10 pairs",
    "train --init start --rows 8 --batch-size 9": "--batch-size 9|8 rows",
    "train --init start --rows 8 --batch-size 4 --accumulate 5": "--accumulate 5|only 4 rows",
    "train --objective rloo --init start --rows 4 --batch-size 2 --samples 3 --accumulate 7":
        "--accumulate 7|only 6 rows",
    "train --data demos.jsonl --items 9": "--items|NanoWorld",
    "train --data demos.jsonl --objective sft --max-length 0": "--max-length 0: must be at least 2",
    "train --data demos.jsonl --objective rloo --init start --reward r.py:length --max-length 12":
        "--max-length 12 and --max-new|leave no room",
    "sample base --prompt Hello --seed 99999999999": "--seed 99999999999: must be at least 0 and",
    "train --data demos.jsonl --init start --objective sft --max-length 2 --batch-size 1":
        "no row can be used: 9: too long",
    "train --eval-data demos.jsonl": "--eval-data|needs --data",
    "evaluate start --reward r.py:length": "--reward|needs --data",
    "evaluate start --split train": "--split|'train'|test|val",
    "evaluate start --items 0": "--items 0: must be at least 1",
    "evaluate start --data demos.jsonl --items 3 --reward r.py:length":
        "--items: with --reward all questions are answered",
    "train --skills sums": "--skills|unknown task 'sums'", "train --mix 1:1": "--mix",
    "train --objective dpo --max-new 9": "--max-new|dpo learns from pairs",
    "train --objective kto --noise 0.1": "--noise|spoils demonstrations",
    "train --objective grpo --eval-every 5": "--eval-every: reads rows with answers",
    "train --objective rloo --init start --data demos.jsonl": "exact score|--reward FILE.py",
    "train --objective rloo --init start --reward r.py:none": "no function 'none'",
    "train --objective rloo --init start --reward r.py": "--reward r.py: give FILE.py:FUNCTION",
    "train --objective rloo --init start --rows 4 --batch-size 2 --plain --reward r.py:wrong --out "
    "w1": "--reward r.py, line 4|ZeroDivisionError",
    "train --objective online_dpo --init start --rows 4 --batch-size 2 --accumulate 3 --plain "
    "--out w2": "accumulate 3: a step has only 2 rows",       # the pairs of its four answers each
    "train --objective rloo --init start --reward start": "no reward model|nanouft.reward --init",
    "train --objective rloo --init start --max-new 127": "--max-new 127|no room",
    "train --objective poft --init start --data demos.jsonl": "--aligned FOLDER ... is needed",
    "train --objective distill --init start --rows 4 --teacher world2": "no model folder",
    "train --init start --out run": "--out run|not an empty folder|--resume run",
    "train --resume nowhere": "nowhere|cannot be read|folder of a run",
    "sample start --n 0 --prompt a": "--n",
    "pretrain --width 30": "--width 30|multiple of 4",
    "pretrain --seed -1 --out p1": "--seed -1",
    "reward --data demos.jsonl --init start": "needs pairs",
    "reward --data one.jsonl --init start": "one.jsonl: all rows have the same question",
    "train --data one.jsonl --init start --objective sft --batch-size 2": "there is only 1 row to",
    "sample start --plain --system a --prompt b": "--system: does not go with --plain",
    "train --device tpu": "unknown device 'tpu'",
    "train --device cpu:3": "--device cpu:3|PyTorch sees 1 CPU device here",
    "train --dtype fp16": "fp16|GPU"}
REFUSED |= {f"train --objective {name} --accumulate 2":
            f"--accumulate 2: {name} compares all rows of a step; give a smaller --batch-size"
            for name, objective in OBJECTIVES.items() if objective.coupled}
REFUSED |= {f"train --{number}": "--" + number.split()[0] for number in (
    "lr 0", "epochs 0", "steps 0", "accumulate 0", "rows 0", "noise 1.5", "batch-size 0",
    "threads 0", "warmup 2", "max-new 0")}


@pytest.mark.parametrize("line", REFUSED, ids=lambda line: line[:70])
def test_a_mistake_is_one_line(line, here, capsys):
    before = {*here.rglob("*")}
    assert call(line) == 2
    told = one_error(capsys)
    for words in REFUSED[line].split("|"):
        assert words in told, told
    made = {f.relative_to(here).parts[0] for f in {*here.rglob("*")} - before}
    assert made <= {"w1", "w2"}, "nothing is made before the line is understood"


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
    (RuntimeError("CUDA out of memory. Tried"), 2, "out of memory"), (BrokenPipeError(), 1, "")])
def test_what_a_person_can_cause_is_one_line(fault, code, words, capsys):
    def main(argv):
        raise fault
    assert command(main) == code
    err = capsys.readouterr().err
    assert words in err and err.count("\n") == bool(words) and "\x1b" not in err
    with pytest.raises(RuntimeError, match="a fault of ours"):
        command(lambda argv: (_ for _ in ()).throw(RuntimeError("a fault of ours")))
    assert visible("a\x1b[2J\u202e\tb\n") == "a\\x1b[2J\\u202e\tb\n"


def test_a_program_that_runs_out_of_memory_names_flags_that_it_has(capsys):
    def main(argv):
        raise MemoryError
    command(main)
    assert "--" not in capsys.readouterr().err          # any program
    command(main, needs_less=train.NEEDS_LESS)
    named = re.findall(r"--[a-z-]+", capsys.readouterr().err)
    assert named == ["--activation-checkpointing", "--accumulate", "--batch-size", "--lora"]
    with pytest.raises(SystemExit):
        train.main(["--help", "all"])
    shown = capsys.readouterr().out
    assert all(name in shown for name in named)
