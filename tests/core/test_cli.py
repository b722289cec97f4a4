"""The command line as a person meets it: help, mistakes, foreign consoles; and the smaller
commands."""
import dataclasses
import json
import os
import re
import shlex
import subprocess
import sys
from typing import get_args, get_type_hints

import pytest
from running import DEMOS, PAIRS, QUICK, call, environment, lines, one_error, tiny_folder

from frozen_lake import __main__ as lake
from nanouft import evaluate, ledger, pretrain, reward, sample, train
from nanouft.errors import UserError
from nanouft.eval import report
from nanouft.loop import Device
from nanouft.objectives import OBJECTIVES
from nanouft.objectives.poft import PoFT
from nanouft.playground import __main__ as playground
from nanouft.rewards import harvest, judge
from nanouft.run import config, flags, pages, runs
from nanouft.run import words as text
from nanouft.world import __main__ as show

pytestmark = pytest.mark.usefixtures("brief")
MODULES = {"train": train, "pretrain": pretrain, "evaluate": evaluate, "sample": sample,
           "ledger": ledger, "reward": reward, "harvest": harvest, "judge": judge, "world": show,
           "playground": playground}
MAINS = {name: module.main for name, module in MODULES.items()} | {"lake": lake.main}
SETTINGS = {name: getattr(module, "Show" if name == "world" else name.title())
            for name, module in MODULES.items()}
MAY_BE_NEGATIVE = {(PoFT, "margin"), (harvest.Harvest, "good"), (show.Show, "seed")}


# ---- flags and help ------------------------------------------------------------------------------
@pytest.mark.parametrize("cls", [*SETTINGS.values(), *(o.hp for o in OBJECTIVES.values())],
                         ids=lambda c: c.__name__)
def test_every_flag_explains_itself(cls):
    parser = config.Parser()
    config.add_flags(parser, cls, "x")
    text = config.field_help(cls)
    for f in dataclasses.fields(cls):
        assert len(text.get(f.name, "")) > 3, \
            f"{cls.__name__}.{f.name} has no comment after it, hence no help"
        assert not text[f.name].endswith(","), \
            f"{cls.__name__}.{f.name}: help is one line, this one breaks off"
        assert "--" + f.name.replace("_", "-") in parser.format_help()


@pytest.mark.parametrize("name", MODULES)
def test_help_is_printed_and_ends_well(name, capsys):
    with pytest.raises(SystemExit) as e:
        MAINS[name](["--help"])
    assert e.value.code == 0 and "python -m nanouft." in capsys.readouterr().out


def test_help_of_train_fits_one_screen_and_help_all_has_every_flag(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "100")
    said = []
    for more in ([], ["all"]):
        with pytest.raises(SystemExit):
            train.main(["--objective", "dpo", "--help", *more])
        said.append(capsys.readouterr().out)
    assert len(said[0].splitlines()) <= 40 and "--help all shows every flag" in said[0] \
        and "--beta" not in said[0]
    assert all(f"--{name.replace('_', '-')} " in said[0] for name in flags.COMMON)
    of_world, of_studies = (said[1].partition(f"{title}:\n")[2].partition("\n\n")[0]
                            for title in flags.APART)
    assert "--noise" in of_world and "--freeze" in of_studies \
        and "--lr" not in of_world + of_studies
    assert all(f"--{f.name.replace('_', '-')}" in said[1] for f in dataclasses.fields(flags.Train))


FILES = {  # what the lines below name
    "demos.jsonl": DEMOS, "two.jsonl": DEMOS[:2], "pairs.jsonl": PAIRS, "one.jsonl": PAIRS[:1],
    "asks.jsonl": [{"question": "Why?"}],
    "short.txt": "a few words", "long.txt": "words " * 99, "ask.csv": "ask,reply to it\na,b\n",
    "rows.txt": '{"prompt": "a", "response": "b"}\n', "text.txt": '{"text": "a"}\n{"text": 3}\n',
    "cut.txt": '{"text": "a"}\n{"text": \n', "map.txt": "SFF\nFQG\n", "line.txt": "SG\n",
    "study.json": '{"maps": 4}', "lr.toml": "lr = 1\n", "binary.toml": b"\xff\xfe\0",
    "mine.py": "def long(prompts, answers): return [1] * len(answers)\n"}
REFUSED = {  # command line: what the message must hold, words parted by |
    "train --objective itf": "objective 'itf'|ift?", "train --lerning-rate 1": "lerning-rate",
    "train --ler 1": "--lr?",
    "train --batchsize=3": "--batchsize|--batch-size?", "train stray": "stray",
    "train --objective": "--objective",
    "train --objective sft --beta 1": "this objective has no --beta|dpo",
    "train --optimizer adam": "adamw?",
    "train --variant relesed": "released?", "train --device gpu": "--device|cpu",
    "train --device cuda:99": "cuda:99",
    "train --device cpu:1": "--device cpu:1", "train --dtype fp16 --device cpu": "fp16|GPU",
    "train --steps 1.5": "--steps|whole number", "train --lr fast": "--lr|a number",
    "train --lr nan": "finite",
    "train --lr 1e-39": "--lr|at least", "train --lr=--": "--lr=--",
    "train --data=--": "--data=--|no value",
    "train --data": "--data", "train --steps " + "9" * 9999: "--steps|...",
    "train --data ''": "--data ''|empty",
    "train --accumulate 64": "--accumulate 64|32", "train --epochs 1 --steps 1": "--epochs|one",
    "train --prompt-field q": "--prompt-field|--data",
    "train --init nowhere": "nowhere|no such folder",
    "train --init 'a\x1b[2J'": r"a\x1b[2J: no such folder",
    "train --batch-size 50 --rows 20 --init base": "50|20 rows",
    # a file of flags
    "train --config": "--config", "train --config a --config=b": "twice",
    "train --config no.toml": "--config no.toml|No such file",
    "train --config binary.toml": "--config binary.toml|no TOML",
    "train --config folder.toml": "--config folder.toml",
    "train --config lr.toml --resume x": "--resume|--lr",
    "evaluate --config lr.toml": "unknown flag --lr",
    # NanoWorld
    "train --skills sums": "--skills sums", "train --skills A:B": "--skills A:B|1 kind",
    "train --skills rules_new": "rules_new", "train --mix 1:1": "--mix|demos only",
    "train --data x.jsonl --skills A": "--skills|belongs to NanoWorld",
    "train --data x.jsonl --mix 1:1": "--mix|belongs to NanoWorld",
    **{f"world {line}": line.split()[-2]
       for line in ("--n 0", "--n 1001", "--demos -1", "--demos 100001", "--demos 1 --noise 1.5",
                    "--demos 1 --noise -0.1", "--noise 0.5")},
    # a base, a ledger, a page, a lake
    "pretrain --corpus ' '": "--corpus|empty", "pretrain --corpus none.txt": "none.txt",
    "pretrain --vocab 2000": "--vocab|--corpus", "pretrain --corpus rows.txt": "too few",
    "pretrain --corpus text.txt": 'line 2|no "text"',
    "pretrain --corpus cut.txt": "line 2|broken JSON",
    "pretrain --corpus short.txt": "too few|--ctx",
    "pretrain --corpus ask.csv": "ask.csv, line 2|--prompt-field",
    "pretrain --corpus long.txt --vocab 200": "--vocab 200|260",
    "pretrain --corpus long.txt --width 30": "--width 30|multiple of 4",
    "pretrain --corpus long.txt --ctx 3": "--ctx 3|16",
    "ledger --out x.txt": "--out|.png", "ledger --init nowhere": "nowhere",
    "ledger --show ktoo": "kto?",
    "playground --out line.txt": "--out line.txt: is a file",
    "lake --map towway5": "twoway5?", "lake --lam 1.5": "--lam 1.5", "lake --beta 0": "--beta",
    "lake --seeds 0": "--seeds", "lake --objective sfft": "sft?", "lake --loser fal": "fall?",
    "lake --map map.txt": "map.txt|row 2", "lake --map line.txt": "no worse path",
    "lake --study study.json": "study.json|lab.lake_study",
    # evaluate and sample
    "evaluate --init '\u202eab'": r"\u202e",
    "evaluate --prompt-field q": "--data", "evaluate --data x --items 3": "--items",
    "evaluate --data none.json": "none.json", "evaluate --split tst": "test?",
    "evaluate --best-of 4 --reward nowhere": "nowhere|no such folder",
    "evaluate --best-of 4 --reward base": "base",
    "evaluate --init {tiny} --data asks.jsonl --prompt-field question --best-of 3": "--reward",
    "evaluate --init {tiny} --data asks.jsonl --prompt-field question --max-new 3":
        "--max-new|--reward",
    "sample '' base": "models ''", "sample nowhere": "nowhere|no such folder",
    "sample --prompt Hello. {tiny}": "--prompt|in front of it",
    "sample --top-p 0": "--top-p",
    "sample --top-k 3": "--top-k|--temperature 1", "sample --seed 3": "--seed",
    "sample --n 999999": "--n",
    "sample --temprature 1": "--temperature?",
    "sample --best-of 4 --n 2": "--n", "sample --best-of 4 --temperature 0": "--temperature 0",
    "sample --reward exact": "--best-of N",
    "sample base --best-of 4 --prompt hello": "exact|--reward DIR",
    **{f"sample base --best-of 2 --prompt x --reward {name}": words for name, words in {
        "none.py:f": "none.py|No such file", ".:f": ".:f|no such folder",
        "mine.py": 'which function?|"long"', "mine.py:": "which function?",
        "pipe.py:f": "pipe.py|pipe"}.items()},
    # reward models
    "reward --prompt-field q": "--data", "reward --steps 3 --epochs 2": "--steps and --epochs",
    "reward --sampler base": "--sampler|--pairs samples",
    "reward --data pairs.jsonl --rows 5": "--rows|belongs to NanoWorld",
    "reward --data two.jsonl --init {tiny}": "needs pairs",
    "reward --data one.jsonl --init {tiny}": "hold out|two prompts",
} | {f"train --objective {line}": words for line, words in {
    "rloo --samples 1": "--samples 1|at least 2",
    "rloo --minibatches 1000000000": "answers a rollout",
    "grpo --surrogate gspo --init nowhere": "--surrogate gspo|--minibatches",
    "rloo --noise 0.1": "--noise|prompts", "rloo --reward nowhere": "nowhere",
    "rloo --data demos.jsonl --init {tiny}": "exact score|--reward DIR",
    "dpo --max-new 9": "dpo learns",
    "rloo --init base --max-new 511": "--max-new|context",
    "dpo --keep 0.5": "--keep|dpo learns from pairs", "sft --keep 0": "--keep 0",
    "sft --judge out/x": "--judge",
    "sft --data x.jsonl --keep 0.5": "--judge DIR",
    "sft --data x.jsonl --noise 0.4": "--noise|belongs to NanoWorld",
    "dpo --label-smoothing 0.5": "--label-smoothing 0.5",
    "robust_dpo --label-smoothing 0.5": "--label-smoothing 0.5",
    "asft --lam 0 --sft-weight 0": "nothing is left",
    "tis_dpo --estimates a": "two folders",
    "ada_dpo --rho 0.7": "--rho 0.7", "ada_dpo --tau-min 2 --tau-max 1": "--tau-min 2",
    "rpo --diagonal-weight 1.5": "1.5",
    "rpo --temperature 0": "--temperature 0",
    "tofu --gamma 0.5": "--gamma 0.5", "kto --noise 0.1": "--noise|labels",
    "kto --desirable-weight 0 --undesirable-weight 0": "both 0", "ift --gamma 1.01": "--gamma 1.01",
    "uft --mix 1:x": "--mix 1:x|2 whole numbers",
    "uft --mix 0:0": "--mix 0:0", "uft --skills A:B:all": "3 sets",
    "poft --data demos.jsonl --init {tiny}": "--aligned DIR|--data",
    "poft --data demos.jsonl --init {tiny} --aligned nowhere": "nowhere",
    "distill --data demos.jsonl --init {tiny}": "--teacher DIR ... is needed",
    "distill --data demos.jsonl --init {tiny} --teacher {tiny} x": "one folder",
    "distill --data demos.jsonl --init {tiny} --teacher nowhere": "nowhere",
}.items()
} | {f"train --{setting}": "--" + setting.split()[0] for setting in (  # numbers out of their range
    "lr 0", "epochs 0", "epochs 1e29", "steps 0", "accumulate 0", f"rows {10**11}", "rows 0",
    "noise 1.5",
    "batch-size 0", f"batch-size {10**9}", "threads 0", "threads 2000", f"seed {10**40}",
    "warmup 2", "lam 1.2")}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with FILES, a folder where a file should be, and a pipe."""
    place = tmp_path_factory.mktemp("place")
    for name, content in FILES.items():
        if isinstance(content, list):
            lines(place / name, content)
        else:
            (place / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    (place / "folder.toml").mkdir()
    os.mkfifo(place / "pipe.py")
    return place


@pytest.mark.parametrize("line", REFUSED, ids=lambda line: line[:60])
def test_a_wrong_line_is_one_line(line, place, tiny_base, monkeypatch, capsys):
    monkeypatch.chdir(place)
    before = {f: f.stat().st_mtime_ns for f in place.iterdir()}
    name, *argv = shlex.split(line.replace("{tiny}", str(tiny_base)))
    one_error(call(MAINS[name], *argv), capsys.readouterr().err, *REFUSED[line].split("|"))
    assert before == {f: f.stat().st_mtime_ns for f in place.iterdir()}, \
        "nothing is made before a line is understood"


@pytest.mark.parametrize("name, cls",
                         [*SETTINGS.items(),
                          *((f"train --objective {n}", o.hp) for n, o in OBJECTIVES.items())],
                         ids=str)
def test_no_number_may_be_negative(name, cls, here, capsys):
    kinds = get_type_hints(cls)
    for f in dataclasses.fields(cls):
        is_number = {int, float} & {kinds[f.name], *get_args(kinds[f.name])}
        if is_number and (cls, f.name) not in MAY_BE_NEGATIVE:
            command, *more = name.split()
            flag = "--" + f.name.replace("_", "-")
            one_error(call(MAINS[command], *more, flag, -1), capsys.readouterr().err, flag)


@pytest.mark.parametrize("env", [{"WORLD_SIZE": "2"}, {"WORLD_SIZE": "x"}, {"WORLD_SIZE": "0"},
                                 {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0",
                                  "MASTER_PORT": "1"},
                                 {"WORLD_SIZE": "2", "RANK": "5", "LOCAL_RANK": "0",
                                  "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}])
def test_half_a_torchrun_is_one_line(env, capsys, monkeypatch):
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    one_error(call(train.main), capsys.readouterr().err, "WORLD_SIZE", "torchrun")


# ---- what comes from others ----------------------------------------------------------------------
def test_control_characters_are_shown_as_text(here, tiny_base, capsys, monkeypatch):
    bad = "\x1b[2J\x9b31m\u202e\x07"
    file = lines(here / "d.jsonl", [{"prompt": f"Say {d} {bad}", "response": f"{bad} {d}", bad: 1}
                                    for d in range(30)])
    monkeypatch.setenv("NO_COLOR", "1")
    real = report.answer_rows
    monkeypatch.setattr(report, "answer_rows", lambda m, tok, rows, **kw: [
        dataclasses.replace(a, ids=tok.encode(bad)) for a in real(m, tok, rows, **kw)])
    assert call(train.main, "--objective", "sft", "--init", tiny_base, "--data", file, "--steps", 2,
                "--batch-size", 4, *QUICK) == 0
    assert call(sample.main, tiny_base, tiny_base, "--max-new", 3, "--prompt", "Hello") == 0
    out = capsys.readouterr()
    shown = out.out + out.err + (here / "out/sft/samples.md").read_text(encoding="utf-8")
    assert shown.count(r"\x1b[2J\x9b31m\u202e\x07") > 8 \
        and not set("\x1b\x9b\u202e\x07") & set(shown)


def test_what_is_visible():
    assert text.visible("a\tb\nc é 学 \u200d\x1b\r\x00\x85") \
        == r"a" "\tb\nc é 学 \u200d" r"\x1b\x0d\x00\x85"
    assert text.shorter("a " + "b" * 5000 + " c") == "a " + "b" * 80 + "... c"
    assert pages.fill("<A><B>", {"<A>": "<B>", "<B>": "x"}) == "<B>x", \
        "a place inside a part stays as it is"


def test_places_where_nothing_can_be_made(here, tiny_base, capsys, monkeypatch):
    (here / "file").write_text("x")
    flags = ["--init", tiny_base, "--objective", "sft", "--rows", 9, "--steps", 1, *QUICK]
    one_error(call(train.main, *flags, "--out", "file/run"), capsys.readouterr().err, "file/run",
              "--out")
    one_error(call(train.main, *flags, "--out", "x" * 300), capsys.readouterr().err, "too long")
    (here / "out").write_text("a file where the folder of all runs should be")
    one_error(call(train.main, *flags), capsys.readouterr().err, "out/sft", "--out")

    def denied(self, *a, **k):
        raise PermissionError(13, "Permission denied", str(self))
    monkeypatch.setattr(runs.Path, "mkdir", denied)
    one_error(call(train.main, *flags, "--out", "run"), capsys.readouterr().err, "run",
              "Permission denied", "--out")


def test_other_mistakes_keep_their_traceback_and_memory_is_one_line(capsys):
    def fails(e):
        def main(argv):
            raise e
        return main
    one_error(call(fails(MemoryError())), capsys.readouterr().err, "out of memory", "split a file",
              "--accumulate")
    one_error(call(fails(RuntimeError("CUDA out of memory. Tried"))), capsys.readouterr().err,
              "out of memory")
    full = OSError(28, "No space left on device", "f")
    one_error(call(fails(full)), capsys.readouterr().err, "f: No space", "make room")
    one_error(call(fails(UserError("two\nlines"))), capsys.readouterr().err, "two lines")
    with pytest.raises(RuntimeError, match="shape"):
        call(fails(RuntimeError("shape")))
    assert call(fails(KeyboardInterrupt())) == 130


# ---- consoles ------------------------------------------------------------------------------------
def test_a_console_without_utf8_or_colour_or_display(here, tiny_base):
    """As a process of its own, in a folder with a foreign name, on a code page that cannot print
    it."""
    place = here / "Zoë 学 x"
    place.mkdir()
    lines(place / "学.jsonl",
          [{"prompt": f"學 ✓ → {d['prompt']}", "response": "漢字"} for d in DEMOS])
    env = {"PYTHONIOENCODING": "cp1252", "NO_COLOR": "1", "DISPLAY": "", "MPLBACKEND": "nope",
           "LC_ALL": "C"}
    argv = ["--objective", "sft", "--init", str(tiny_base), "--data", "学.jsonl", "--steps", "2",
            "--out", "学"]
    argv += QUICK
    both = ("import sys; from nanouft import train; from nanouft.run import config\n"
            f"assert config.run(train.main, {argv!r}) == 0\nsys.exit(config.run(train.main, "
            "['--init', '学 fehlt']))")
    got = subprocess.run([sys.executable, "-c", both], cwd=place, env=environment(**env),
                         stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8",
                         errors="replace", timeout=120)
    one_error(got.returncode, got.stderr, "no such folder")
    assert "Warning" not in got.stderr and "\033" not in got.stdout
    assert (place / "学" / "curves.png").stat().st_size > 2000
    assert "漢字" in (place / "学" / "samples.md").read_text(encoding="utf-8")


def test_a_reader_who_leaves_early_is_no_crash(here):
    ours, theirs = os.pipe()
    os.close(ours)                                                              # nobody reads
    got = subprocess.run([sys.executable, "-m", "nanouft.train", "--objective", "list"], cwd=here,
                         stdout=theirs, env=environment(), stderr=subprocess.PIPE, text=True,
                         timeout=60)
    os.close(theirs)
    assert got.returncode == 1 and "Traceback" not in got.stderr and "Exception" not in got.stderr


# ---- sample --------------------------------------------------------------------------------------
def test_side_by_side_says_who_speaks(here, tiny_base, capsys):
    assert call(train.main, "--objective", "sft", "--init", tiny_base, "--rows", 9, "--steps", 2,
                *QUICK) == 0
    capsys.readouterr()
    prompts = ["Hello.", "Sort pig bee saw from a to z."]
    assert call(sample.main, "out/sft", tiny_base, "--max-new", 4, "--prompt", *prompts) == 0
    out = capsys.readouterr().out
    assert out.count("out/sft (sft, step 2)") == out.count(f"{tiny_base} (pretrained)") \
        == out.count("prompt:") == 2
    _, own, nanoworld = out.split("prompt:")
    assert "score" not in own and "score" in nanoworld, "only NanoWorld prompts are scored"


def test_sampling_repeats_with_its_seed(here, tiny_base, capsys):
    def said(*argv):
        assert call(sample.main, tiny_base, tiny_base, "--max-new", 6, "--prompt", "Hello.",
                    *argv) == 0
        return capsys.readouterr().out.splitlines()[2:]
    warm = ["--temperature", "1.0", "--n", "3"]
    first = said(*warm, "--seed", 1)
    assert len(first) == 6 and said(*warm, "--seed", 1) == first != said(*warm, "--seed", 2)
    assert said("--temperature", 1, "--top-k", 1)[0] == said()[0]


def test_marks_are_not_part_of_an_answer(tiny_base, monkeypatch):
    """Neither what is scored nor what a chat remembers holds '(does not stop)'."""
    model = sample.ChatModel(str(tiny_base), Device("cpu", "fp32"))
    cfg = sample.Sample(max_new=3)
    (text, remarks), = model.answers((sample.Turn("user", "Hello."),), cfg)
    assert "does not stop" in remarks and "stop" not in text
    heard, typed = [], iter(["Hello.", "And?", "/new", "", "Again.", "/quit"])
    monkeypatch.setattr("builtins.input", lambda prompt: next(typed))
    monkeypatch.setattr(model, "answers", lambda turns, *_: heard.append([t.text for t in turns])
                        or [("yes", "")])
    sample.chat([model], cfg)
    assert heard == [["Hello."], ["Hello.", "yes", "And?"], ["Again."]]


@pytest.mark.parametrize("closed", [False, True])
def test_piped_input_is_no_chat(closed, tiny_base, monkeypatch, capsys):
    with open(os.devnull) as nothing:
        monkeypatch.setattr(sys, "stdin", None if closed else nothing)
        assert call(sample.main, tiny_base, tiny_base, "--max-new", 3) == 0
    out = capsys.readouterr().out
    assert out.count("prompt:") == 3 and "you>" not in out


def test_a_model_of_other_data_is_asked_what_its_run_held_out_beside_its_own_start(here, capsys):
    tiny_folder(here / "mine")
    data = str(lines(here / "my.jsonl", DEMOS))
    assert call(train.main, "--objective", "sft", "--init", "mine", "--data", data, "--steps", 1,
                *QUICK) == 0
    capsys.readouterr()
    assert call(sample.main, "out/sft", "--max-new", 3) == 0
    out = capsys.readouterr().out
    asked = re.findall("prompt: (.*)", out)
    assert asked and set(asked) <= {d["prompt"] for d in DEMOS}, "LAW: no prompts of NanoWorld"
    assert out.count("mine (pretrained)") == out.count("out/sft (sft, step 1)") == len(asked) \
        and "base" not in out
    (here / "mine/run.json").write_text('{"command": "pretrain", "tokenizer": "other"}')
    one_error(call(sample.main, "mine"), capsys.readouterr().err, "mine", "--prompt")


# ---- what is printed as the next command ---------------------------------------------------------
SHORT = {"train": ["--steps", 1, *QUICK], "sample": ["--max-new", 2], "evaluate": [],
         "ledger": ["--show", "sft", "dpo"]}
DATA = {"DEMOS.jsonl": DEMOS, "PAIRS.jsonl": PAIRS, "MY.jsonl": DEMOS, "my own.jsonl": PAIRS,
        "fields.jsonl": [{"frage": d["prompt"], "antwort": d["response"]} for d in DEMOS]}
FIRST = {
    "pretrain --steps 1 --tokens 128 --out {new}": 1,
    "pretrain --corpus my.txt --ctx 64 --steps 1 --tokens 128 --out {new}": 1,
    "train --objective ift --init {tiny} {short}": 3,
    "train --objective dpo --init {tiny} {short} --out {new}": 3,
    "train --objective orpo --init {tiny} {short} --data 'my own.jsonl'": 2,
    "train --objective sft --init {tiny} {short} --data DEMOS.jsonl --out {new}": 2,
    "train --objective sft --init {tiny} {short} --data fields.jsonl --prompt-field frage "
    "--response-field antwort": 2,
    "reward --init {tiny} --steps 1 --data 'my own.jsonl' --out {new}": 1,
    "reward --init {tiny} --steps 1 --rows 16 --threads 1 --out {new}": 2}


def test_a_second_stage_fits_into_the_same_memory(tmp_path):
    cfg = train.Train(lora=4, checkpointing=True)
    assert "--lora 4 --checkpointing" in report.go_on(tmp_path / "sft", "sft", cfg, [])


@pytest.mark.parametrize("first", FIRST, ids=lambda text: " ".join(text.split()[:5]))
def test_the_printed_next_commands_run_as_they_stand(first, here, tiny_base, monkeypatch, capsys):
    """With files of the names that stand for the user's; nothing is taken, a second stage is
    gentle."""
    for name, rows in DATA.items():
        lines(here / name, rows)
    (here / "my.txt").write_text("the owl and the fox. " * 500)
    tiny_folder(here / "other")
    (here / "other" / "run.json").write_text(
        json.dumps({"command": "train", "config": {"data": ["DEMOS.jsonl"]}}))
    monkeypatch.setitem(pretrain.SIZES, "nano",
                        dataclasses.replace(pretrain.SIZES["nano"], n_layer=1, n_embd=16))
    assert "was not trained on NanoWorld" in evaluate.other_data("other")
    monkeypatch.setattr(evaluate, "on_world", lambda *a: None)
    # drawn below, and in test_ledger.py
    monkeypatch.setattr(ledger.plots, "ledger", lambda strips, file, *a: file)
    judge = reward.judge
    monkeypatch.setattr(reward, "judge", lambda *a: judge(*a) | {"low": 0.6})
    short = "--steps 1 --items 0 --threads 1" + (" --rows 40" if "--data" not in first else "")
    words = first.format(tiny=tiny_base, short=short, new="'a new/run'")
    capsys.readouterr()
    name, *argv = shlex.split(words)
    assert call(globals()[name].main, *argv) == 0
    found = [shlex.split(line, comments=True) for line in re.findall(r"python -m nanouft\.(.*)",
                                                                     capsys.readouterr().out)]
    assert len(found) == FIRST[first], found
    for name, *argv in found:
        if name == "train" and "--data" not in argv and "--data" in words:
            raise AssertionError(f"LAW: whoever brings data goes on with data: {argv}")
        if name == "train" and argv[argv.index("--objective") + 1] == "dpo":
            assert ("--lr" in argv) != ("--data" in argv), \
                "LAW: gentle in NanoWorld, or it unlearns the first; own pairs must move something"
        few = ["--rows", 40] if name == "train" and "--data" not in argv else []
        assert call(globals()[name].main, *argv, *SHORT[name], *few) == 0, \
            (argv, capsys.readouterr().err)
        if name == "train":
            assert (here / argv[argv.index("--out") + 1] / "model.safetensors").exists()
    assert not [f for f in here.rglob("*-2")], \
        "LAW: no run lands in a folder other than the one that is printed"
    assert not (here / "out" / "dpo").exists(), "LAW: the plain name stays for a run from the base"
