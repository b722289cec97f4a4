"""Each command once, as a person types it; and for each mistake that beginners make one clear
line, before anything is made."""
import argparse
import dataclasses
import io
import json
import os
import re
import shlex
import shutil
import statistics
import subprocess
import sys
import threading
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from made import NANO, killed_in_step, one_error, start_folder, tiny, write_jsonl

from nanouft import evaluate, generate, pretrain, pushes, reward, sample, train, world
from nanouft.data.batches import Encoded, Tokens, encode
from nanouft.data.rows import Row, read
from nanouft.loop import DTYPES, Device, grad_scaler
from nanouft.models.folders import save_model, start_model
from nanouft.models.tokenizer import Turn
from nanouft.objectives import OBJECTIVES
from nanouft.pictures import plots
from nanouft.plumbing.disk import read_json, write_json
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.printing import visible
from nanouft.plumbing.progress import progress
from nanouft.run import device, evaluation, first_models, flags, memory, rewards, settings
from nanouft.run.before_after import same_words, show
from nanouft.run.device import choose_device
from nanouft.run.evaluation import Measured
from nanouft.run.flags import add_flags
from nanouft.run.folder import Log, hash_of, locked, read_lines, save_step
from nanouft.run.held_rows import affordable
from nanouft.run.plan import (
    as_passes,
    choose_batch_size,
    choose_fit,
    choose_rate,
    choose_steps,
    with_beta,
)
from nanouft.run.reference import logps
from nanouft.run.settings import Train, read_flags

ROOT = Path(__file__).parents[1]
MAINS = {name: import_module(f"nanouft.{name}").main
         for name in ("train", "evaluate", "sample", "pretrain", "reward", "pushes")}
DEMOS = [{"prompt": f"Say {x}.", "response": x, "gold": x} for x in
         "fig pig bee oak nut elm ant owl fox hen".split()]
PAIRS = [{"prompt": d["prompt"], "chosen": d["gold"], "rejected": d["gold"][::-1]} for d in DEMOS]
MIXED = [{"prompt": f"Say {i} " + "word " * (199 * (i % 2 == 0)), "chosen": "a b", "rejected": "b"}
         for i in range(40)]                        # every second one is too long
FILES = {"demos.jsonl": DEMOS, "pairs.jsonl": PAIRS,
         "scores.jsonl": [{"prompt": f"Say {i}", "response": "a" + " a" * 9, "score": 0.5}
                          for i in range(9)],
         "even.jsonl": [{"prompt": f"Is {i} even?", "response": "No." if i % 2 else "Yes.",
                         "label": i % 3 > 0} for i in range(30)],
         "signs.jsonl": [{"prompt": f"ä → \ud800 {i}", "response": "日"} for i in range(12)],
         "mixed.jsonl": MIXED, "too_long.jsonl": MIXED[::2],
         "long.txt": "some words " * 400, "short.txt": "a few words",
         "r.py": "def length(completions, gold, **others):\n    return [len(c) / 9 for c in "
                 "completions]\ndef wrong(completions):\n    return 1 / 0\n"}


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A folder with files of a person, a tiny start model and a trained run; we are in it."""
    place, before = tmp_path_factory.mktemp("here"), os.getcwd()
    os.chdir(place)
    start_folder(place / "start")
    for name, content in FILES.items():
        if isinstance(content, str):
            (place / name).write_text(content)
        else:
            write_jsonl(place / name, content)
    assert call("train --objective sft --init start --data demos.jsonl --steps 2 --out run") == 0
    yield place
    os.chdir(before)


def call(line: str) -> int:
    name, *argv = shlex.split(line)
    fixed = {"--resume", "--device"} & {*argv}
    return command(MAINS[name], argv if fixed else [*argv, "--device", "cpu"])


def typed(monkeypatch, *lines: str) -> list[tuple[str, dict]]:
    """(text, settings): what the models of `sample` are asked while a person types these lines."""
    said, asked, real = iter(lines), [], generate.generate
    monkeypatch.setattr("builtins.input", lambda words: next(said))
    monkeypatch.setattr(generate, "generate", lambda model, prompts, **how: asked.append(
        (NANO.decode(prompts[0]), how)) or real(model, prompts, **how))
    return asked


# ---- each command once ---------------------------------------------------------------------------
ONCE = "train --init start --steps 1 --batch-size 2 "
SAID = {        # command line: what it prints, and writes to run.json and eval.json, in this order,
                # parted by |; after ! what it does not
    ONCE + "--objective grpo --rows 8 --items 3 --max-new 5 --minibatches 2 --out g":
        "step 1: reward 0.|score of 100 before after answers that stop, %|rules several|rules_new|"
        "list|sum|sort|reverse|truth|unknown|fact|mean|"
        "Saved in g|Next: python -m nanouft.playground!lessons",        # none in this folder
    ONCE + "--objective kto --data even.jsonl --out k":
        "Only the tokens in [[ ]]|label 1:|[[|label 0:|[[|Saved in k",
    ONCE + "--objective sft --data even.jsonl --lr 1e-9 --out short":
        "questions answered|short answers that are right, word by word 0 0 (of |Saved in short|"
        'model.safetensors: a model folder|eval.json|curves.png|"right": { "right": 0!adapter',
    ONCE + "--objective sft --data even.jsonl --plain --out p": "Saved in p!eval.json",
    ONCE + "--objective sft --data demos.jsonl --eval-data demos.jsonl --plain --out e":
        "--eval-data is a file of --data",
    "train --objective hft --init start --data demos.jsonl --steps 1 --plain --out h":
        "9 rows, 0.05M of 0.06M parameters are trained, on cpu chosen by the run, since not given: "
        "--batch-size, --lr Saved",
    "train --objective sft --init start --data demos.jsonl --epochs 1 --lr 1e-4 --plain --out h2":
        "since not given: --batch-size Saved",
    ONCE + "--objective sft --data demos.jsonl --lr 1e-4 --plain --out h3": "!since not given",
    ONCE + "--objective una --data scores.jsonl --plain --out b":
        'beta 0.091 suits answers of 11 tokens|"beta": 0.091',
    ONCE + "--objective una --data scores.jsonl --plain --beta 0.3 --out b3": '"beta": 0.3!suits',
    ONCE + "--objective dpo --data mixed.jsonl --plain --out m1":
        "40 rows read: |20 left out (20: too long, as in mixed.jsonl, line |"
        "20 rows too long, whole or in one of their answers: they are long",
    ONCE + "--objective kto --data mixed.jsonl --plain --out m2":       # a pair is one row
        "40 rows read: |20 left out (20: too long|20 rows too long, whole or in one",
    "evaluate start run --data demos.jsonl pairs.jsonl --reward r.py:length":
        "demonstrations start nll|pairs start prefers|pairs run prefers|minus start:|"
        "greedy answers run reward",
    "evaluate start --items 2 --split val": "scores in percent on 2 val prompts per family",
    "evaluate start --data mixed.jsonl":
        "40 rows read: 20 compared, 20 left out (20: too long, as in mixed.jsonl, line ",
    "evaluate start --data too_long.jsonl --reward r.py:length":
        "20 rows read: 0 compared, 20 left out (20: too long, as in too_long.jsonl, line 1)!nll",
    "sample run --prompt 'Sort pig bee saw from a to z.' --max-new 5":
        "prompt: Sort|start |score 0.|run |score 0.",
    "sample start --prompt Hi --max-new 1 --n 2 --temperature 3":
        "start |cut at 1 tokens|cut at 1 tokens",
    "sample start --plain --prompt 'Once upon' --max-new 4": "start "}


@pytest.mark.parametrize("line", SAID, ids=lambda line: line[-60:])
def test_what_a_command_prints(line, here, capsys):
    assert call(line) == 0
    out, at = capsys.readouterr().out, 0
    files = (here / line.split()[-1] / name for name in ("run.json", "eval.json"))
    said = " ".join((out + "".join(f.read_text() for f in files if f.exists())).split())
    words, _, unsaid = SAID[line].partition("!")
    for part in words.split("|"):
        assert part in said[at:], said
        at = said.index(part, at) + len(part)
    assert not unsaid or unsaid not in said, out
    long = [x for x in out.splitlines() if len(x) > 80 and "rows " not in x]
    assert not long or "train" not in line


def test_train_leaves_a_folder_that_tells_everything(here, capsys):
    assert call("train --objective dpo --init start --data pairs.jsonl --steps 12 --batch-size 3 "
                "--eval-every 6 --lr 1e-3 --out a") == 0
    out, run = capsys.readouterr().out, here / "a"
    assert "pairs.jsonl: 10 pairs" in out and "10 rows read: 9 to learn from, 1 held out\n" in out
    assert "before and after training: 1 held-out row scored, 1 question answered" in out
    assert "dpo: 12 steps of 3 rows = 4 passes over the data, learning rate 0.001\n9 rows, " in out
    gained = r"held-out pairs: chosen answer gained more +0.500 +\d.\d{3}   \(1 row\)\n"
    assert re.search(gained, out)
    assert "[[" in out and out.endswith("Talk to it: python -m nanouft.sample a\n")
    assert max(map(len, out.splitlines())) <= 80
    about, log = read_json(run / "run.json"), read_lines(run / "metrics.jsonl")
    assert about["objective"] == "dpo" and about["config"]["lr"] == 1e-3 and about["steps"] == 12
    assert about["hp"]["beta"] == 0.1 and about["argv"][:2] == ["--objective", "dpo"]
    steps = [x for x in log if "loss" in x]
    assert [x["step"] for x in steps] == [*range(1, 13)] and steps[0]["margin"] == 0
    assert {"loss", "accuracy", "kl", "grad_norm", "lr", "tokens"} <= steps[0].keys()
    assert [x["step"] for x in log if "held_out" in x] == [6, 12]
    told = read_json(run / "eval.json")
    assert told["before"]["held_out"]["accuracy"] == 0.5 and told["after"]["held_out"]["rows"] == 1
    said, = told["after"]["answers"]
    assert said["prompt"] in out and (said["ended"] or f"({said['unfinished']})" in out)


def test_a_method_may_be_written_in_any_case(here, capsys):
    """In the run folder it has its own name, so that a resumed run finds it."""
    assert call("train --objective SFT --init start --data demos.jsonl --steps 1 --plain --out "
                "case") == 0
    assert read_json(here / "case" / "run.json")["objective"] == "sft"
    for name in ("sft", "Sft"):
        assert call(f"train --objective {name} --resume case") == 0
        assert "run is finished" in capsys.readouterr().out
    assert call("pushes --init case --show IFT 'Dpo --beta 1' --out p.png") == 0
    assert "Dpo --beta 1: the chosen answer" in capsys.readouterr().out


def test_pushes_says_first_what_it_reads(here, capsys):
    """A folder may hold another run than one remembers."""
    told = {"run": "run: sft, 2 steps", "start": "start: a model folder",
            "base": "base: the shipped base"}
    for name, line in told.items():
        for end in ("--show sft --out p.png", "--end --data demos.jsonl"):
            assert call(f"pushes --init {name} {end}") == 0
            assert capsys.readouterr().out.startswith(line + "\n")


def test_models_made_first_are_made_once_and_fit_into_memory_as_the_run_does(here, capsys):
    line = "train --objective sftmix --init start --rows 40 --steps 2 --plain --batch-size 4 " \
           "--accumulate 2 --out "
    assert call(line + "t1") == 0
    first = [x for x in capsys.readouterr().out.splitlines()
             if x.startswith("needed first, made once: python")]
    assert len(first) == 2 and all("--batch-size 4 --accumulate 2" in x for x in first)
    assert call(line + "t2") == 0 and "made once" not in capsys.readouterr().out
    same = [(here / run / "model.safetensors").read_bytes() for run in ("t1", "t2")]
    assert same[0] == same[1]


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
        assert f"{left.name}: another process trains there now" in one_error(capsys)
    assert call(line) == 0 and (left / "model.safetensors").exists()


def test_a_reward_of_ones_own_is_learnt_from(here, capsys):
    assert call("train --objective rloo --init start --data demos.jsonl --reward r.py:length "
                "--eval-data demos.jsonl --steps 2 --batch-size 2 --max-new 5 --out own") == 0
    assert "reward of the answer" in capsys.readouterr().out
    after = read_json(here / "own" / "eval.json")["after"]
    mean = np.mean([len(x["answer"]) / 9 for x in after["answers"]])
    assert after["held_out"]["reward"] == pytest.approx(mean) and after["held_out"]["rows"] == 10
    first = read_lines(here / "own" / "metrics.jsonl")[0]
    assert first["reward"] > 0 and "score" not in first, "nothing exact is known of other prompts"
    assert all(x["answer"] == x["answer"].strip() for x in after["answers"]), "as in training"


def test_another_user_may_read_what_the_umask_lets_him_read(here):
    """Also weights, which safetensors writes for their owner alone."""
    (here / "fresh").touch()
    save_step(here / "kept", 1, tiny(), torch.optim.AdamW([torch.zeros(1)]),
              grad_scaler(Device()))
    modes = {f: f.stat().st_mode for name in ("run", "start", "kept", "fresh")
             for f in (here / name, *(here / name).rglob("*")) if f.is_file()}
    assert len(modes) > 12 and {*modes.values()} == {modes[here / "fresh"]}, modes


def test_pretrain_makes_a_tokenizer_and_a_base(here, capsys, monkeypatch):
    assert call("pretrain --corpus long.txt --vocab 300 --ctx 16 --width 16 --steps 3 --tokens 64 "
                "--out base") == 0
    assert "held-out loss" in capsys.readouterr().out
    model, tok = start_model(str(here / "base"))
    assert (model.cfg.n_ctx, model.cfg.n_embd, model.cfg.vocab_size) == (16, 16, tok.n_vocab)
    assert tok.decode(tok.encode("some words")) == "some words"
    asked: list = []                                    # by the rule of train, below
    monkeypatch.setattr("nanouft.pretrain.exact_if_small", lambda *what: asked.append(what[1:])
                        or what[0])
    assert call("pretrain --width 16 --steps 2 --tokens 128 --half --out world") == 0
    told, (model, tok) = read_json(here / "world" / "run.json"), start_model("world")
    assert told["held_out_loss"][1] < told["held_out_loss"][0] and tok.n_vocab == NANO.n_vocab
    assert asked == [("auto", model.n_params())]


def test_a_reward_model_is_made_and_used(here, capsys):
    assert call("reward --init start --data pairs.jsonl --steps 30 --batch-size 4 --lr 3e-3 "
                "--out judge") == 0
    assert "held-out accuracy" in capsys.readouterr().out
    rows = read(["pairs.jsonl"])[0]
    judge = rewards.scorer("judge")
    good, bad = (judge(rows, [r.chosen[0].text if side else r.rejected[0].text for r in rows])
                 for side in (True, False))
    assert (good > bad).mean() >= 0.9, "it prefers what was chosen"
    assert (judge(rows[:1] * 3, ["fig"] * 3) == judge(rows[:1], ["fig"])).all()
    assert call("train --objective online_una --init start --rows 4 --reward judge --steps 1 "
                "--batch-size 2 --max-new 4 --plain --out ou") == 0
    first = read_lines(here / "ou" / "metrics.jsonl")[0]
    assert 0 < first["reward"] < 1, "a learnt reward becomes a grade"
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained("judge").eval()
    _, tok = start_model("start")
    ids = torch.tensor([tok.chat(rows[0].prompt, (Turn("assistant", "fig"),))[0]])
    assert theirs(ids).logits[0, 0].item() == pytest.approx(judge(rows[:1], ["fig"])[0], abs=1e-4)


def test_models_that_read_other_tokens_of_a_row_are_not_subtracted(capsys):
    """One with a shorter context, or with another tokenizer."""
    first: dict = {}
    for name, counts in (("a", [2, 3]), ("b", [2, 3]), ("c", [2, 1])):
        evaluate.compare("rows", name, Measured({"nll": 1.0}, np.ones(2), np.array(counts)), first)
    assert [("minus a" in line) for line in capsys.readouterr().out.splitlines()] == [
        False, True, False]


def test_sample_chats_and_forgets_what_has_no_room(here, capsys, monkeypatch):
    """The system prompt and the marks of a template are never cut; a question that is too long is
    refused. An answer may have half of the context, and is printed as it is decoded."""
    long = "Say it again " * 60
    asked = typed(monkeypatch, "Hi", "two " * 40, long, "three", "/new", "Ho", "/quit")
    assert call("sample start --system 'Be kind.' --max-new 60") == 0
    out = capsys.readouterr().out
    assert "/new forgets the chat" in out
    assert re.search(r"\nthe question has \d{3} tokens, and start reads 127; shorten it\n", out)
    assert re.findall(r"\(start does not read the oldest (\d) turns: ", out) == ["2", "4"]
    hi, *others, ho = (text for text, _ in asked[1::2])     # the base is asked as well
    assert hi == "<|user|> Be kind.\n\nHi<|assistant|>"
    assert ho == "<|user|> Be kind.\n\nHo<|assistant|>"
    assert [x.split()[3] for x in others] == ["two", "three<|assistant|>"]
    asked = typed(monkeypatch, "Hi", "Yes", "/quit")
    assert call("sample start --max-new 3") == call("sample start --prompt Hi") == 0
    *_, (yes, _), _, (_, how) = asked                 # --prompt asks the base as well
    assert yes.startswith("<|user|> Hi<|assistant|>")
    assert yes.endswith("<|end|><|user|> Yes<|assistant|>")
    assert how["max_new"] == 64 and isinstance(how["stream"], sample.Stream)
    assert call(f"sample start --prompt '{long}' --max-new 3") == 2
    assert "shorten it" in one_error(capsys)


@pytest.mark.parametrize("one, other, equal", [("Yes, it is.", "yes it is", True), ("Yes", "No", 0),
                                               ("日本 ", "日本", True), ("a b", "ab", False)])
def test_the_words_of_short_answers_are_compared(one, other, equal):
    assert same_words(one, other) == bool(equal)


def test_an_answer_is_printed_as_it_is_decoded_without_half_a_character(capsys):
    line, shown = sample.Stream(NANO, "base "), []
    for i in NANO.encode(" dova → 日"):
        line(torch.tensor([i]))
        shown.append(capsys.readouterr().out)
    line.end("dova → 日", "   (cut)")
    assert "\ufffd" not in "".join(shown) and "dova" in "".join(shown[:-3])
    assert "".join(shown) + capsys.readouterr().out == "base dova → 日   (cut)\n"


def test_the_help_of_every_command_explains_every_flag(capsys):
    for main, argv in [(m, []) for m in MAINS.values()] + [
            (train.main, ["--objective", name]) for name in OBJECTIVES]:
        with pytest.raises(SystemExit) as end:
            main([*argv, "--help"])
        assert end.value.code == 0
        told = re.sub(r"\s+", " ", capsys.readouterr().out)
        for f in dataclasses.fields(OBJECTIVES[argv[1]]) if argv else ():
            assert f"--{f.name.replace('_', '-')} " in told, (argv, f.name)
    with pytest.raises(SystemExit):
        train.main(["--objective", "list"])
    told = capsys.readouterr().out
    assert all(f"\n{name} " in "\n" + told for name in OBJECTIVES)
    assert told.count("needs ") == len(OBJECTIVES)


def test_whatever_is_wrong_with_an_answer_both_are_shown_in_80_columns(capsys):
    """With all that is wrong with an answer of SmolLM2 no column was left for the answer."""
    for why in ("", "not in order", "a word is missing, " * 9, "x" * 90):
        answer = {"prompt": "Which?", "answer": "rat " * 30, "score": 0.1, "why": why,
                  "ended": True}
        show(answer, answer | {"ended": False, "unfinished": why})
        lines = capsys.readouterr().out.splitlines()
        assert max(map(len, lines)) <= 80 and "  before  rat rat" in lines[-2]


def test_a_help_is_the_whole_comment():
    """--help reads one line of a comment, so none may go on in the next."""
    for kind in (Train, *OBJECTIVES.values()):
        parser = argparse.ArgumentParser(add_help=False)
        add_flags(parser, kind, "")
        for action in parser._actions:
            text = action.help.partition(" [")[0]
            assert not text.endswith(","), (kind, action.help)
            assert action.help.count("[") == action.help.count("]"), (kind, action.help)


def test_the_lists_of_flags_name_flags():
    """Else a flag that gets another name would drop out of the help, of a hint, or of the runs that
    train a first model, without a word."""
    commands = [Train, evaluate.Evaluate, sample.Sample, pushes.Pushes, reward.Reward,
                pretrain.Pretrain]
    of_run = {f.name for f in dataclasses.fields(Train)}
    every = {f.name for kind in commands for f in dataclasses.fields(kind)}
    assert {*settings.SHORT, *settings.OF_WORLD, *settings.OF_SAMPLES,
            *first_models.INHERITED} <= of_run
    assert {*flags.NAMED} <= every
    of_una = {f.name for f in dataclasses.fields(OBJECTIVES["una"])}
    assert {x.replace("-", "_") for x in flags.MEANT.values()} <= every | of_una | {"objective"}
    assert not {*flags.MEANT} & {x.replace("_", "-") for x in of_run}


# ---- one clear line for each mistake -------------------------------------------------------------
REFUSED = {     # command line: what the message must hold, words parted by |
    "train --batchsize=3": "no flag --batchsize; did you mean --batch-size?",
    "train --objective una --loss bce": "no flag --loss; did you mean --distance?",
    "train --objective sft --beta 1": "sft has no flag --beta",
    "sample --models start": "sample has no flag --models",     # they stand before the flags
    "train --beta 1": "train has no flag --beta; a setting of one method needs its name",
    "train ift": "train does not know what 'ift' stands for; did you mean --objective ift?",
    "train -o IFT": "train has no flag -o; did you mean --objective ift?",
    "train --method=ift": "train has no flag --method; did you mean --objective ift?",
    "train --method mine.py": "train has no flag --method; did you mean --objective?",
    "train --learning_rate 1": "train has no flag --learning_rate; did you mean --lr?",
    "train --objective sft --Batch-Siz 1": "sft has no flag --Batch-Siz; did you mean --batch-s",
    "train --objective DPOO": "did you mean dpo?",
    "train --init gpt2": "gpt2: no model folder is there|named hub:owner/name",
    "pushes --show 'sft --lamb 1'": "sft has no flag --lamb",
    """pushes --show 'ift "'""": """--show 'ift "'|No closing quotation""",
    "train --variant relesed": "released",
    "train --steps 1.5": "--steps|whole number", "train --lr nan": "--lr|number",
    "train --data": "--data", "train stray": "stray",
    "train --epochs 1 --steps 1": "--epochs|give one", "train --init nowhere": "no model folder",
    "train --init start --data none.jsonl": "no such file",
    "train --init start --data pairs.jsonl --objective una": "needs scores|the data has 9 pairs",
    "train --init start --rows 8 --batch-size 9": "--batch-size 9|8 rows",
    "train --init start --rows 8 --batch-size 4 --accumulate 5": "--accumulate 5|only 4 rows",
    "train --objective rloo --init start --rows 4 --batch-size 2 --samples 3 --accumulate 7":
        "--accumulate 7|only 6 rows",
    "train --data demos.jsonl --items 9": "--items|NanoWorld",
    "train --data demos.jsonl --objective sft --max-length 0": "--max-length 0: must be at least 2",
    "train --data demos.jsonl --objective rloo --init start --reward r.py:length --max-length 12":
        "--max-length 12 and --max-new|leaves no room",
    "sample base --prompt Hello --seed 99999999999": "--seed 99999999999: must be at least 0 and",
    "train --data demos.jsonl --init start --objective sft --max-length 2 --batch-size 1":
        "no row fits: they are longer than 2 tokens without their last",
    "train --eval-data demos.jsonl": "--eval-data|needs --data",
    "evaluate start --reward r.py:length": "--reward|needs --data",
    "evaluate start --split train": "--split|'train'|test|val",
    "evaluate start --items 0": "--items 0: must be at least 1",
    "evaluate start --data demos.jsonl --reward r.py:length --max-new -1": "--max-new -1",
    "train --skills sums": "--skills|unknown family 'sums'", "train --mix 1:1": "--mix",
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
    "pretrain --corpus none.txt": "--corpus", "pretrain --corpus short.txt": "too few|--ctx",
    "pretrain --width 30": "--width 30|multiple of 4", "pretrain --ctx 3": "--ctx 3",
    "pretrain --seed -1 --out p1": "--seed -1",
    "reward --data demos.jsonl --init start": "needs pairs",
    "sample start --plain --system a --prompt b": "--system: does not go with --plain",
    "pushes --end --prompt Hi": "--prompt is not read with",
    "pushes --data my.jsonl": "--data is for --end",
    "train --device tpu": "unknown device 'tpu'",
    "train --device cpu:3": "--device cpu:3|PyTorch has 1 CPU device here",
    "train --dtype fp16": "fp16|GPU"}
REFUSED |= {f"train --{number}": "--" + number.split()[0] for number in (
    "lr 0", "epochs 0", "steps 0", "accumulate 0", "rows 0", "noise 1.5", "batch-size 0",
    "threads 0", "seed -1", "warmup 2", "lam 1.2", "save-every -1", "max-new 0", "lora -1")}


@pytest.mark.parametrize("line", REFUSED, ids=lambda line: line[:70])
def test_a_mistake_is_one_line(line, here, capsys):
    before = {*here.rglob("*")}
    assert call(line) == 2
    told = one_error(capsys)
    for words in REFUSED[line].split("|"):
        assert words in told, told
    made = {f.relative_to(here).parts[0] for f in {*here.rglob("*")} - before}
    assert made <= {"w1", "w2"}, "nothing is made before the line is understood"


def test_evaluate_explains_every_metric_of_rows_that_it_prints():
    explained = re.findall(r"`(nll|auc|prefers|accuracy)`", evaluate.__doc__ or "")
    assert sorted(explained) == ["auc", "nll", "prefers"]


def test_a_device_that_is_not_there_is_told_by_what_pytorch_sees(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(UserError, match="--device cuda: PyTorch sees no CUDA device here"):
        choose_device("cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UserError, match="--device cuda:2: PyTorch has 2 CUDA devices here"):
        choose_device("cuda:2")


def test_the_head_of_a_method_says_where_accumulate_is_refused():
    for name, objective in OBJECTIVES.items():
        head = " ".join(str(import_module(f"nanouft.objectives.{name}").__doc__).split())
        assert ("--accumulate is refused" in head) == objective.coupled, name
        assert "--accumulate" not in head.replace("--accumulate is refused", ""), name


def test_in_a_log_progress_is_lines_at_growing_intervals(monkeypatch, capsys):
    """A bar would stand still there: after 2 seconds, 4, 8 ...; in a terminal it is a bar."""
    now = iter(range(99))
    monkeypatch.setattr("time.monotonic", lambda: next(now))            # a second for each row
    bar = progress(20, "sft", range(3, 20), 3, training=True)
    for row in bar:
        bar.set_postfix_str(f"loss {row}")
    assert capsys.readouterr().err.splitlines() == [
        "sft: 5 of 20 after 2 s, loss 4", "sft: 7 of 20 after 4 s, loss 6",
        "sft: 11 of 20 after 8 s, loss 10", "sft: 19 of 20 after 16 s, loss 18"]
    assert list(progress(0, "none", [])) == []
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert len(list(progress(3, "sft", range(3), training=True))) == 3
    assert "3/3" in capsys.readouterr().err


@pytest.mark.parametrize("dtype, has_bf16, size, used, precision", [
    ("fp32", True, 10**8, "fp32", "highest"), ("auto", True, 10**8, "bf16", "high"),
    ("auto", False, 10**8, "fp16", "high"), ("auto", True, 10**6, "fp32", "highest"),
    ("bf16", True, 10**6, "bf16", "high")])
def test_fp32_is_exact_on_a_gpu_and_small_models_have_it(dtype, has_bf16, size, used, precision,
                                                         monkeypatch):
    """As if there were one: TF32 is for the other precisions alone. cuDNN's attention is off."""
    asked, cudnn = [], []
    monkeypatch.setattr(torch.backends.cuda, "enable_cudnn_sdp", cudnn.append)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_bf16)
    monkeypatch.setattr(torch.cuda, "set_device", asked.append)
    monkeypatch.setattr(torch, "set_float32_matmul_precision", asked.append)
    for name, card in (("auto", "cuda:0"), ("cuda:1", "cuda:1")):
        chosen = choose_device(name, dtype)
        assert asked[-1] == card
        asked.pop()
        found = device.exact_if_small(chosen, dtype, size)
        assert found == Device(name.replace("auto", "cuda"), used) and asked[-1] == precision
    assert cudnn == [False, False]
    assert (choose_device("cpu").dtype, choose_device("cpu", "bf16").dtype) == ("fp32", "bf16")
    assert device.exact_if_small(Device("cpu", "bf16"), "auto", size).dtype == "bf16"


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


def test_evaluate_skips_a_kind_without_rows_and_no_other_error(here, monkeypatch, capsys):
    def refuse(rows):
        raise UserError("line 3: another fault")
    line = "evaluate start --data demos.jsonl"
    assert call(line) == 0 and "demonstrations" in capsys.readouterr().out
    monkeypatch.setitem(evaluate.KINDS, "pairs", refuse)
    assert call(line) == 2 and "line 3: another fault" in capsys.readouterr().err


def test_a_program_that_runs_out_of_memory_names_flags_that_it_has(capsys):
    def main(argv):
        raise MemoryError
    command(main)
    assert "--" not in capsys.readouterr().err          # any program
    command(main, needs_less=train.NEEDS_LESS)
    named = re.findall(r"--[a-z-]+", capsys.readouterr().err)
    assert named == ["--activation-checkpointing", "--accumulate", "--batch-size"]
    with pytest.raises(SystemExit):
        train.main(["--help", "all"])
    shown = capsys.readouterr().out
    assert all(name in shown for name in named)


@pytest.mark.parametrize("line", [
    "train --objective sft --init start --data signs.jsonl --steps 1 --batch-size 2 --out signs",
    "sample start --prompt '→ 日 \ud800' --temperature 3 --max-new 9"])
def test_what_cannot_be_printed_is_a_question_mark(line, here, monkeypatch):
    """Rows, answers, bar and end on a terminal that knows ASCII alone; half an emoji is on none."""
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, "ascii", write_through=True))
    assert call(line) == 0 and b"?" in raw.getvalue()


# ---- settings that fit ---------------------------------------------------------------------------
@pytest.mark.parametrize("width, line, rows, wanted", [     # (learning rate, batch size, steps)
    (128, "", 1020, (2.5e-4, 32, 96)), (128, "--data x", 5, (1e-3, 5, 200)),
    (128, "--data x", 4000, (2.5e-4, 32, 375)),
    (128, "--data x --objective orpo", 40, (3e-5, 8, 20)),
    (128, "--data x --lr 1", 40, (1, 8, 400)),
    (128, "--objective grpo --passes 2", 320, (1e-5, 32, 60)),
    (32, "", 1020, (1e-3, 32, 96)),
    (512, "--data x", 32, (6.25e-5, 8, 20)),
    (512, "--data x --batch-size 4", 200, (6.25e-5, 4, 150)),
    (512, "--data x --epochs 1", 32, (6.25e-5, 8, 4)),
    (512, "--data x --objective dpo", 5, (7.5e-6, 5, 20)),
    (512, "--data x --objective una --lora 16", 64, (7.5e-5, 8, 24)),
    (512, "--data x --objective grpo", 12, (2.5e-6, 4, 20)),
    (512, "--data x --objective grpo --steps 3", 12, (2.5e-6, 4, 3)),
    (128, "--data x --batch-size 32", 300, (1e-3, 32, 400)),
    (128, "--data x --lora 8", 40, (2.5e-3, 8, 400)),
    (128, "--data x --objective dpo", 213, (3e-5, 8, 80)),
    (128, "--data x --objective dpo", 214, (3e-5, 32, 20)),
    (128, "--data x --objective grpo", 12, (1e-5, 32, 1)),
    (128, "--rows 5", 5, (2.5e-4, 5, 3))])
def test_rate_and_steps_fit_the_rows_and_the_model(width, line, rows, wanted):
    """A model of another width than the base's 128 has another rate. Few demonstrations get 200 to
    400 steps of 8 rows at four times the rate if the model is narrow, few pairs a low rate; a wide
    one reads your rows three times, in 20 steps at least. What is given wins, and a batch that is
    given leaves the rate as it is."""
    init = [] if width == 128 else ["--init", "start"]
    objective, cfg, _ = read_flags([*init, *line.split()])
    model = tiny(n_embd=width)
    fit = choose_fit(cfg, objective, rows, model)
    batch_size = choose_batch_size(cfg, objective, rows, fit)
    assert choose_rate(cfg, objective, model, fit) == pytest.approx(wanted[0])
    assert batch_size == wanted[1]
    assert choose_steps(cfg, objective, rows, fit, batch_size) == wanted[2]


def test_a_number_of_passes_in_words():
    assert [as_passes(x) for x in (0.031, 1.01, 3.01, 9.97, 1200)] == [
        "0.031 passes", "1 pass", "3 passes", "10 passes", "1,200 passes"]


@pytest.mark.parametrize("flags, there, told", [
    ("--batch-size 64", 10 ** 12, ""), ("--batch-size 64", 10 ** 7, "; no batch would fit"),
    ("--batch-size 64 --accumulate 64", 570 * 10 ** 6, ""),
    ("--batch-size 64", 570 * 10 ** 6, "; --batch-size (\\d+) would fit, or --accumulate (\\d+)")])
def test_what_does_not_fit_in_memory_is_refused_with_what_would(flags, there, told, here,
                                                                monkeypatch, capsys):
    """Before anything is read by the model or written; and what is named does fit."""
    line = "train --objective sft --rows 64 --steps 1 --plain --out"
    monkeypatch.setattr(device, "memory", lambda d: there)
    monkeypatch.setattr(memory, "held_now", lambda model: 0.2e9)     # on every machine the same
    name = f"m{len(told)}-{there}"
    assert call(f"{line} {name} {flags}") == (2 if told else 0)
    err = capsys.readouterr().err
    assert (here / name).exists() == (not told)
    if told:
        found = re.search(told, err)
        assert found and f"there are {there / 1e9:.1f}" in err
        for more in zip(("--batch-size", "--batch-size 64 --accumulate"), found.groups()):
            assert call(f"{line} {name}-{len(more[0])} {' '.join(more)}") == 0


def test_a_figure_that_is_not_there_is_null_in_json(tmp_path):
    """NaN is no JSON: jq and JavaScript refuse the file."""
    write_json(tmp_path / "eval.json", {"auc": 0.5, "low": float("nan"), "high": [float("inf")]})
    assert json.loads((tmp_path / "eval.json").read_text(), parse_constant=pytest.fail) == {
        "auc": 0.5, "low": None, "high": [None]}
    log = Log(tmp_path / "metrics.jsonl", 0, Device())
    log.write({"step": 1, "held_out": {"low": float("nan")}})
    assert "null" in (tmp_path / "metrics.jsonl").read_text()


@pytest.mark.parametrize("name, lengths, beta", [
    ("una", [9, 10, 999], 0.1), ("uft", [45], 0.022), ("una", [190, 191], 0.01), ("dpo", [45], 0.1),
    ("una --feedback pair", [45], 0.1)])
def test_beta_follows_the_length_of_the_answers(name, lengths, beta, capsys):
    """A score is worth a number of nats of the whole answer, which grow with its length."""
    objective = read_flags(["--objective", *name.split()])[0]
    rows = [Encoded({"answer": Tokens(np.zeros(n), np.ones(n))}, Row()) for n in lengths]
    assert with_beta(objective, rows).beta == beta
    assert capsys.readouterr().out.startswith(f"beta {beta:g} suits answers of ") == (
        getattr(objective, "feedback", "") == "score")


# ---- figures -------------------------------------------------------------------------------------
def test_an_interval_holds_the_truth_in_95_of_100_draws():
    """Of a mean, and of an AUC, also with few good answers (rows drawn again as if only the better
    answer varied: 53 to 84 of 100). A share of 4 of 4 has the exact interval."""
    rng = np.random.default_rng(0)
    hits = sum(low <= 0.3 <= high for low, high in
               (evaluation.bootstrap(rng.random(80) < 0.3) for _ in range(200)))
    assert 180 <= hits <= 198
    low, high = evaluation.bootstrap([2.0, 4.0, 6.0], [1, 2, 3])
    assert low == high == 2, "sums over tokens: their ratio"
    truth = statistics.NormalDist().cdf(1 / 2 ** 0.5)
    for good, bad in ((30, 30), (60, 15)):
        grade = np.repeat([1.0, 0.0], [good, bad])
        found = [evaluation.of_grades(rng.normal(size=good + bad) + grade, grade).metrics
                 for _ in range(200)]
        assert 180 <= sum(x["low"] <= truth <= x["high"] for x in found) <= 198
    assert np.allclose(evaluation.interval(np.ones(4), np.ones(4)), (0.3976, 1), atol=1e-4)


def test_held_out_figures_by_hand():
    """Loss per token; pairs by what was gained over the start model."""
    model, tok = start_model("base")

    def encoded(o, kind: str) -> tuple[list, list]:
        rows, _ = encode(o.choose(world.rows("val", kind, 9, 0)), tok, 512)
        return rows, logps(rows, model, tok.pad, Device())
    pairs, found = encoded(OBJECTIVES["dpo"](), "pairs")
    gain = np.array([x["chosen"].sum() - x["rejected"].sum() for x in found])
    told = evaluation.held_out_metrics(model, pairs, tok.pad, Device())
    assert told["prefers"] == (gain > 0).mean() and "accuracy" not in told
    for gained, accuracy in ((0.5, 1), (-0.5, 0), (0, 0.5)):        # the last: all tie
        for e, x in zip(pairs, found):
            e.seqs["chosen"].ref_logp = x["chosen"] - gained
            e.seqs["rejected"].ref_logp = x["rejected"]
        assert evaluation.held_out_metrics(model, pairs, tok.pad, Device())["accuracy"] == accuracy
    demos, found = encoded(OBJECTIVES["sft"](), "demos")
    n = sum(e.seqs["answer"].mask.sum() for e in demos)
    told = evaluation.held_out_metrics(model, demos, tok.pad, Device())
    assert told["nll"] == pytest.approx(-sum(x["answer"].sum() for x in found) / n)
    assert told["low"] < told["nll"] < told["high"] and told["rows"] == 9


def test_graded_answers_are_compared_by_couples():
    """By their whole gain over the start model, not per token, which has another order here; where
    it is not known, by the mean log-prob. Where nothing has moved all couples tie."""
    model, tok = start_model("base")
    demos, _ = encode(OBJECTIVES["sft"]().choose(world.rows("val", "demos", 9, 0)), tok, 512)
    found = [x["answer"] for x in logps(demos, model, tok.pad, Device())]
    tokens = np.array([e.seqs["answer"].mask.sum() for e in demos])
    gain = np.arange(9) * tokens.mean() + tokens
    better = np.arange(9)[:, None] % 3 > np.arange(9) % 3

    def auc(value: np.ndarray) -> float:
        return (value[:, None] > value)[better].mean()
    assert auc(gain) != auc(gain / tokens)
    gained = [x - e.seqs["answer"].mask[1:] * each
              for x, e, each in zip(found, demos, gain / tokens)]
    mean = np.array([x.sum() for x in found]) / tokens
    for refs, wanted in (([None] * 9, auc(mean)), (found, 0.5), (gained, auc(gain))):
        for i, (e, ref) in enumerate(zip(demos, refs)):
            e.per_row["score"], e.seqs["answer"].ref_logp = i % 3 / 2, ref
        told = evaluation.held_out_metrics(model, demos, tok.pad, Device())
        assert told["auc"] == pytest.approx(wanted)


def test_what_is_read_before_and_after_costs_a_tenth_of_the_training():
    """At least 32 rows and at most 200; of a file in some order all parts."""
    for rows, trained, times, wanted in ((20, 1, 2, 20), (200, 12, 2, 32), (200, 667, 2, 100),
                                         (200, 10**6, 2, 200), (200, 667, 4, 50)):
        some = affordable(list(range(rows)), trained, times)
        assert len(some) == wanted and some == sorted(some), (rows, trained, times)
    assert some[-1] > 190


def test_wordings_of_one_fact_are_drawn_together():
    """Two questions about one creature's food are one draw: its interval is that of three."""
    asked = ["What does the ruga eat?", "Which fruit does the ruga eat?", "Reverse pig bee.",
             "Reverse bee pig."]
    told = evaluation.summary([{"prompt": p, "score": s, "ended": e} for p, s, e in
                               zip(asked, (1, 1, 0, 0.5), (True, False, True, True))])
    assert (told["score"], told["strict"], told["ends"]) == (0.625, 0.25, 0.75)
    assert (told["low"], told["high"]) == evaluation.bootstrap([2, 0, 0.5], [2, 1, 1])


# ---- rewards -------------------------------------------------------------------------------------
def test_a_function_gets_what_it_names(here):
    """As TRL calls it: prompts, completions, and the other fields of the rows."""
    (here / "names.py").write_text("""
def f(completions, gold):
    return [c == g for c, g in zip(completions, gold)]

def g(prompts, **others):
    return [len(p) + len(others["gold"]) for p in prompts]
""")
    (here / "near").mkdir()
    (here / "near" / "one.txt").write_text("1")
    (here / "near" / "r_neighbour.py").write_text("ONE = open('one.txt').read()")
    (here / "near" / "r.py").write_text("import os\nos.chdir('near')\nfrom r_neighbour import ONE\n"
                                        "def f(completions):\n    return [open('one.txt').read() "
                                        "== ONE for _ in completions]")
    rows = [Row((Turn("user", "first"), Turn("assistant", "x"), Turn("user", p)), extra={"gold": g})
            for p, g in (("a", "one"), ("abc", "two"))]
    assert rewards.scorer("names.py:f")(rows, ["one", "one"]).tolist() == [1, 0]
    assert rewards.scorer("names.py:g")(rows, ["one", "one"]).tolist() == [3, 5], "the last turn"
    near = rewards.scorer("near/r.py:f")
    assert near(rows, ["one", "one"]).tolist() == [1, 1], "it has its neighbours and its folder"
    assert Path("near").exists(), "and we are where we were"
    grades = rewards.to_unit_interval("names.py:g", rewards.scorer("names.py:g"))
    with pytest.raises(UserError, match="grades from 0 to 1, and these go from 3 to 5"):
        grades(rows, ["", ""])
    sigmoid = rewards.to_unit_interval("judge", lambda rows, answers: np.array([0.0, 2.0]))
    assert sigmoid(rows, []) == pytest.approx([0.5, 1 / (1 + np.exp(-2))])


def test_padding_changes_no_reward():
    model, tok = start_model("base")
    judge = rewards.RewardModel(model)
    torch.nn.init.normal_(judge.score.weight, generator=torch.Generator().manual_seed(0))
    seqs = [[5, 6, 7], [8], [9, 10, 11, 12, 13], [5, 6]]
    one = [rewards.rewards(judge, [s], tok.pad)[0] for s in seqs]
    assert rewards.rewards(judge, seqs, tok.pad) == pytest.approx(one, abs=1e-4)
    assert rewards.rewards(judge, seqs, tok.pad, chunk=3) == pytest.approx(one, abs=1e-4)


REWARDS = {     # the body of `async def f(completions)` or `def f`: words of the line; "" = rewards
    "sys.exit(0)": "odd.py, line 6: SystemExit: 0",
    "raise GeneratorExit": "odd.py, line 6: GeneratorExit", "return 1 / 0": "line 6: ZeroDivision",
    "return (1 / 0 for c in completions)": "odd.py, line 6: ZeroDivisionError",
    "return {i: .5 for i in range(2)}": "answers, not {0: 0.5", "return {0, 1}": "answers, not {0",
    "return '11'": "for each of the 2 answers, not 11", "return [None, 1.0]": "answers, not [None",
    "return None": "answers, not None", "return [10**400, 0]": "answers, not [1000",
    "return [1e39, 0]": "one finite number, at most 1e+30, for each of the 2 answers, not [1e+39",
    "return [1]": "for each of the 2 answers, not [1]",
    "return torch.ones(2, 3)": "answers, not [tensor", "return itertools.repeat(1)": "[1, 1, 1]",
    "yield 1 / 0": "line 6: ZeroDivision", "yield 0.25; yield 0.5": "",
    "return (x for x in (0.25, 0.5))": "", "return torch.tensor([0.25, 0.5])": "",
    "os.chdir('/'); torch.set_grad_enabled(False); return [0.25, 0.5]": "",
    "torch.set_default_dtype(torch.float64); return [0.25, 0.5]": "",
    "torch.set_default_device('meta'); os.chdir('..'); return 1 / 0": "line 6: ZeroDivisionError"}


@pytest.mark.parametrize("wait", ["", "async "])
@pytest.mark.parametrize("body", REWARDS)
def test_a_reward_of_ones_own_is_read_or_refused_in_one_line(body, wait, here):
    """Whatever it does; and it changes neither torch's defaults nor our working directory."""
    (here / "odd.py").write_text(f"import os, sys, itertools\nimport torch\n"
                                 f"before = os.getcwd()\n\n{wait}def f(completions):\n    {body}\n")
    rows, before = [Row((Turn("user", "Hi"),))] * 2, rewards.settings()
    words = "async_generator" if wait and "yield" in body else REWARDS[body]
    score = rewards.scorer("./odd.py:f")
    if words:
        with pytest.raises(UserError) as e:
            score(rows, ["a", "b"])
        told = str(e.value)
        assert told.startswith("--reward ./odd.py") and words in told and "\n" not in told
    else:
        assert score(rows, ["a", "b"]).tolist() == [0.25, 0.5]
    assert rewards.settings() == before and torch.is_grad_enabled()


# ---- other processes -----------------------------------------------------------------------------
def test_a_command_starts_without_what_it_does_not_need():
    """As a process of its own: one line on stderr, exit code 2, no pictures, no transformers."""
    code = """
import sys
from nanouft import train
from nanouft.plumbing.entry import command
print({*sys.modules} & {"transformers", "matplotlib", "datasets", "nanouft.objectives.ppo"})
sys.exit(command(train.main))"""
    told = subprocess.run([sys.executable, "-c", code, "--objective", "itf"], capture_output=True,
                          text=True, cwd=ROOT)
    assert (told.returncode, told.stdout) == (2, "set()\n")
    assert told.stderr.startswith("error: unknown objective 'itf'; did you mean ift?")


@pytest.mark.skipif(os.name == "nt", reason="written for sh")
@pytest.mark.parametrize("line, out", [
    ("sample start --device cpu <&-", "/new forgets the chat"),
    ("train --objective sft --init start --data demos.jsonl --steps 1 --batch-size 2 --device cpu "
     "--out quiet 2>&-", "Saved in quiet")])
def test_a_command_runs_as_a_service_or_a_notebook_starts_it(line, out, here):
    """Without standard input or error; with a backend that this environment may not have."""
    done = subprocess.run(
        ["sh", "-c", f"{shlex.quote(sys.executable)} -m nanouft.{line}"], cwd=here, text=True,
        capture_output=True, env=os.environ | {"PYTHONPATH": str(ROOT),
                                               "MPLBACKEND": "module://of_a_notebook.inline"})
    assert done.returncode == 0 and out in done.stdout and not done.stderr, done.stderr
    assert done.stdout.endswith("\n"), "also where the input ends behind a question"
    assert "train" not in line or (here / "quiet" / "curves.png").exists()


def test_a_run_in_a_thread(here):
    """As a page's button starts it: Python lets only the main thread hear signals."""
    codes = []
    line = "train --objective sft --init start --data demos.jsonl --steps 1 --plain --out thread"
    thread = threading.Thread(target=lambda: codes.append(call(line)))
    thread.start()
    thread.join()
    assert codes == [0] and (here / "thread" / "model.safetensors").exists()


def test_a_picture_that_cannot_be_drawn_ends_no_run(here, capsys, monkeypatch):
    line = "train --objective sft --init start --data demos.jsonl --steps 1 --out undrawn"
    with monkeypatch.context() as now:
        now.setattr(plots, "curves", lambda folder: 1 / 0)
        assert call(line) == 0
    assert "no curves.png (ZeroDivisionError" in capsys.readouterr().out
    assert call("train --resume undrawn") == 0 and (here / "undrawn" / "curves.png").exists()
    assert capsys.readouterr().out == (
        "undrawn: that run is finished; --init undrawn uses its model\n")


def test_a_folder_is_known_by_its_weights_not_by_its_name(tmp_path):
    """So another reward model in its place is another run."""
    assert len({hash_of(save_model(tmp_path, tiny(seed=seed), NANO) or str(tmp_path))
                for seed in (0, 1)}) == 2


# ---- precision -----------------------------------------------------------------------------------
@pytest.mark.parametrize("trained, flags, used", [
    ("cpu bf16", "", "bf16"), ("cuda:1 bf16", "", "bf16"), ("cpu bf16", "--dtype fp32", "fp32"),
    ("cpu bf16", "--dtype auto", "fp32"), ("cpu fp32", "--dtype bf16", "bf16"),
    ("cpu fp32", "", "fp32"), ("cuda fp16", "", "fp32"), (None, "", "fp32"), (3, "", "fp32")])
def test_a_model_answers_in_the_precision_that_its_run_had(trained, flags, used, here, monkeypatch):
    """Where this machine has it (a CPU has no fp16), and its start model does too; or as asked."""
    folder, asked, trainings = here / "precise", [], []
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(here / "run", folder)
    write_json(folder / "run.json", read_json(here / "run" / "run.json") | {"device": trained})

    def told(module, name: str) -> None:
        real = getattr(module, name)
        monkeypatch.setattr(module, name, lambda model, *more, **how: asked.append(
            model.wte.weight.dtype) or real(model, *more, **how))
    told(evaluation, "generate")
    told(generate, "generate")
    told(evaluate, "measure_rows")
    assert call(f"sample precise --prompt 'Say fig.' --max-new 2 {flags}") == 0
    assert call(f"evaluate precise --items 1 {flags}") == 0
    assert call(f"evaluate precise --data demos.jsonl {flags}") == 0
    assert asked == [DTYPES[used]] * 4, "the start model and the run, families, rows"
    monkeypatch.setattr(reward, "steps", lambda *more, real=reward.steps:
                        trainings.append(more[-1].dtype) or real(*more))
    monkeypatch.chdir(here)
    assert call(f"reward --init precise --data pairs.jsonl --steps 1 --batch-size 2 {flags} --out "
                f"judge{len(list(here.glob('judge*')))}") == 0
    assert trainings == [used]


def test_a_precision_that_a_cpu_does_not_have_is_one_line(here, capsys):
    for line in ("sample run --prompt x", "evaluate run", "reward --init run"):
        assert call(f"{line} --dtype fp16") == 2
        assert "--dtype fp16 needs a GPU" in one_error(capsys)
