"""What the command line explains and what it refuses: each mistake of beginners is one clear line,
before anything is made."""
import errno
import inspect
import re
import sys
from dataclasses import fields
from importlib import import_module
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest
from commands import MAINS, call
from made import one_error

import nanouft
from nanouft import evaluate, pretrain, pushes, reward, sample, train
from nanouft.data.__main__ import DataFlags
from nanouft.objectives import OBJECTIVES
from nanouft.playground.__main__ import PlaygroundFlags
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import HF, UserError, flag
from nanouft.plumbing.printing import progress, visible
from nanouft.run import flags, load, settings
from nanouft.run.settings import TrainFlags

COMMANDS = [TrainFlags, evaluate.EvaluateFlags, sample.SampleFlags, pushes.PushesFlags, DataFlags,
            reward.RewardFlags, pretrain.PretrainFlags, PlaygroundFlags]


# ---- help ----------------------------------------------------------------------------------------
def test_the_help_of_every_method_explains_each_flag_with_its_default_in_80_columns(capsys):
    def help_of(main, *argv: str) -> str:
        with pytest.raises(SystemExit) as end:
            main([*argv, "--help"])
        out = capsys.readouterr().out
        assert end.value.code == 0 and max(map(len, out.splitlines())) <= 80, argv
        return re.sub(r"\s+", " ", out)

    for main in MAINS.values():
        help_of(main)
    shown = {name: help_of(train.main, "--objective", name) for name in OBJECTIVES}
    for kind, told in [(TrainFlags, help_of(train.main, "all")),
                       *((OBJECTIVES[name], shown[name]) for name in OBJECTIVES)]:
        for f in fields(kind):
            said = f" {flag(f.name)} "
            if f.default not in (None, False, ""):
                said += rf"[^[]*\[{re.escape(str(f.default))}\]"
            assert re.search(said, told), (kind, f.name)


def test_the_list_says_what_every_method_needs(capsys):
    with pytest.raises(SystemExit):
        train.main(["--objective", "list"])
    told = "\n" + capsys.readouterr().out
    places = [told.index(f"\n  {name} ") for name in "sft hft dpo rpo una kto reinforce".split()]
    assert all(told.count(f"\n  {name} ") == 1 for name in OBJECTIVES)
    assert places == sorted(places) and told.count("\n\n") == 4, "in four groups"
    assert told.count("[") == sum(bool(one().other_models()) or one().family == "graded"
                                  for one in OBJECTIVES.values())


def test_the_help_of_every_method_is_the_whole_comment():
    """--help reads one line of a comment, so none may go on in the next. A setting that a method
    declares anew has the help of its own file, not that of its base."""
    for kind in (*COMMANDS, *OBJECTIVES.values()):
        helps, own = flags.comments(kind), inspect.getsource(kind)
        for name in inspect.get_annotations(kind):
            assert helps.get(name, "none") in own, f"{kind.__name__}.{name}: not its own help"
        for name, text in helps.items():
            assert not text.endswith(",") and text.count("[") == text.count("]"), (kind, name)


def test_the_lists_of_flags_name_flags():
    """Else a flag that gets another name would drop out of the help, of a hint, or of the runs that
    train a first model, without a word."""
    of_run = {f.name for f in fields(TrainFlags)}
    assert {*settings.SHORT, *settings.OF_WORLD, *load.INHERITED} <= of_run
    assert {*flags.NAMED} <= {f.name for kind in COMMANDS for f in fields(kind)}
    named = re.findall(r"--[a-z-]+", train.NEEDS_LESS)
    assert len(named) > 1 and {*named} <= {*map(flag, of_run)}


@pytest.fixture
def without_docs(monkeypatch):
    """nanouft as `python -OO` reads it. (That would also compile all of PyTorch anew.)"""
    def ours() -> dict:
        return {name: m for name, m in sys.modules.items() if name.split(".")[0] == "nanouft"}

    def get_code(self, name: str, get_code=SourceFileLoader.get_code):
        if not self.path.startswith(nanouft.__path__[0]):
            return get_code(self, name)
        return compile(self.get_data(self.path), self.path, "exec", optimize=2, dont_inherit=True)
    before = ours()
    monkeypatch.setattr(SourceFileLoader, "get_code", get_code)
    for name in before:
        del sys.modules[name]
    yield
    for name in ours():
        del sys.modules[name]
    sys.modules.update(before)


def test_commands_run_without_docstrings_and_assertions(here, without_docs, capsys):
    for kind in COMMANDS:
        module = import_module(kind.__module__.replace("run.settings", "train"))
        assert module.__doc__ is None
        with pytest.raises(SystemExit):
            module.main(["--help"])
    assert capsys.readouterr().out.count("options:\n") == 8
    main = import_module("nanouft.train").main
    main("--objective sft --init start --rows 9 --batch-size 2 --steps 1 --plain --device cpu "
         "--out oo".split())
    with pytest.raises(SystemExit):
        main(["--objective", "list"])
    out = capsys.readouterr().out
    assert "Saved in oo" in out and "\n  online_dpo" in out


# ---- mistakes ------------------------------------------------------------------------------------
REFUSED = {     # command line: what the message must hold, words parted by |
    "sample base --plain --prompt ''": "--plain: there is no text to go on with",
    "train --batchsize=3": "no --batchsize; did you mean --batch-size?",
    "train --objective sft --beta 1": "sft has no --beta",
    "train --beta 1": "train has no --beta; a setting of one method needs its name",
    "train ift": "train has no ift",
    "train --objective sft --Batch-Siz 1": "sft has no --Batch-Siz; did you mean --batch-s",
    "train --objective DPOO": "did you mean dpo?",
    "train --init gpt2": "gpt2: no model folder is there|named hub:owner/name",
    "pushes --show 'sft --lamb 1'": "sft has no --lamb",
    """pushes --show 'ift "'""": """--show 'ift "'|No closing quotation""",
    "train --variant relesed": "released",
    "train --steps 1.5": "--steps|whole number", "train --lr nan": "--lr|number",
    "train --data": "--data",
    "train --epochs 1 --steps 1": "--epochs|give one",
    "train --init start --data none.jsonl": "no such file",
    "train --init start --rows 8 --batch-size 9": "--batch-size 9|8 rows",
    "train --init start --rows 8 --batch-size 4 --accumulate 5": "--accumulate 5|only 4 rows",
    "train --objective rloo --init start --rows 4 --batch-size 2 --samples 3 --accumulate 7":
        "--accumulate 7|only 6 rows",
    "train --data demos.jsonl --items 9": "--items|NanoWorld",
    "train --data demos.jsonl --objective sft --max-length 0": "--max-length 0: must be at least 2",
    "train --data demos.jsonl --objective rloo --init start --reward r.py:length --max-length 12":
        "4 tokens where 0 fit; the answer keeps 44 more: lower --max-new, or raise --max-length",
    "sample base --prompt Hello --seed 99999999999": "--seed 99999999999: must be at least 0 and",
    "train --eval-data demos.jsonl": "--eval-data|needs --data",
    "evaluate start --reward r.py:length": "--reward|needs --data",
    "evaluate start --split train": "--split|'train'|test|val",
    "evaluate start --items 0": "--items 0: must be at least 1",
    "evaluate start --data demos.jsonl --split val": "--split: is of NanoWorld's questions",
    "evaluate start --data demos.jsonl --items 3 --reward r.py:length":
        "--items: with --reward all questions are answered",
    "train --skills sums": "--skills|unknown task 'sums'", "train --mix 1:1": "--mix",
    "train --objective dpo --max-new 9": "--max-new|dpo learns from pairs",
    "train --objective kto --noise 0.1": "--noise|spoils demonstrations",
    "train --objective grpo --eval-every 5": "--eval-every: reads rows with answers",
    "train --objective rloo --init start --data demos.jsonl": "exact score|--reward FILE.py",
    "train --objective rloo --init start --rows 4 --reward r.py:none": "no function 'none'",
    "train --objective rloo --init start --rows 4 --reward r.py":
        "--reward r.py: give FILE.py:FUNCTION",
    "train --objective rloo --init start --rows 4 --batch-size 2 --plain --reward r.py:wrong --out "
    "w1": "--reward r.py, line 4|ZeroDivisionError",
    "train --objective online_dpo --init start --rows 4 --batch-size 2 --accumulate 3 --plain "
    "--out w2": "accumulate 3: a step has only 2 rows",       # the pairs of its four answers each
    "train --objective rloo --init start --rows 4 --reward start":
        "no reward model|nanouft.reward --init",
    "train --objective poft --init start --data demos.jsonl": "--aligned FOLDER ... is needed",
    "train --objective distill --init start --rows 4 --teacher world2": "no model folder",
    "train --init start --out run": "--out run|not an empty folder|--resume run",
    "train --resume nowhere": "nowhere|cannot be read|folder of a run",
    "sample start --n 0 --prompt a": "--n",
    "pretrain --width 30": "--width 30|multiple of 4",
    "reward --data demos.jsonl --init start": "needs pairs",
    "reward --data one.jsonl --init start": "one.jsonl: all rows have the same question",
    "train --data one.jsonl --init start --objective sft --batch-size 2": "there is only 1 row to",
    "sample start --plain --system a --prompt b": "--system: does not go with --plain",
    "train --device tpu": "unknown device 'tpu'",
    "train --device cpu:1": "--device cpu:1|PyTorch sees 1 CPU device here",
    "train --device cuda": "--device cuda: PyTorch sees 0 CUDA devices here",
    "train --dtype fp16": "fp16|GPU",
    "evaluate start nowhere --data none.jsonl": "nowhere: no model folder",     # looked for first
    "train --objective grpo --init start --data too_long.jsonl --reward r.py:wrong --max-new 60":
        "67 fit; the answer keeps 60 more: lower --max-new, or --init",
    "train --init start --objective una --data held.jsonl":
        "held.jsonl, line 1: all rows that una reads are held out, as this one is; add rows",
    "train --init start --objective dpo --data even.jsonl":
        "; methods that read these rows: sft and 8 others: 20 rows; una: 30 rows; uft: 30 rows; "
        "kto: 30 rows; ",
    "data": "name a file of rows, as in python -m nanouft.data my.jsonl",
    "data demos.jsonl --show 0": "--show 0: must be at least 1",
    "data even.jsonl --objective dpo": "this objective needs pairs (prompt, chosen, rejected); the "
        "data has 30 labelled answers; unused fields: label (30 rows); methods that read these "
        "rows: "}
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
    assert visible("a\x1b[2J\u202e\tb\n") == "a\\x1b[2J\\u202e\tb\n"
