"""The command line as a person meets it: help, mistakes, foreign consoles; and the smaller commands."""
import dataclasses
import json
import os
import re
import shlex
import stat
import subprocess
import sys

import pytest
from running import DEMOS, PAIRS, QUICK, call, environment, lines, one_error, tiny_folder

from lab import bench, calibration, compare
from nanouft import evaluate, ledger, pretrain, reward, sample, simple, train, world
from nanouft.look import report
from nanouft.models.load import start_model
from nanouft.objectives import OBJECTIVES
from nanouft.rollout import voice
from nanouft.shell import config, devices, runs, text
from nanouft.shell.errors import UserError
from nanouft.world import __main__ as show

pytestmark = pytest.mark.usefixtures("brief")
COMMANDS = {train: train.Train, pretrain: pretrain.Pretrain, evaluate: evaluate.Evaluate, sample: sample.Sample,
            simple: simple.Simple, ledger: ledger.Ledger, reward: reward.Reward, bench: bench.Bench,
            compare: compare.Compare, calibration: calibration.Calibration, show: show.Show}


# ---- flags and help --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("cls", [*COMMANDS.values(), *(o.hp for o in OBJECTIVES.values())], ids=lambda c: c.__name__)
def test_every_flag_explains_itself(cls):
    parser = config.Parser()
    config.add_flags(parser, cls, "x")
    text = config.field_help(cls)
    for f in dataclasses.fields(cls):
        assert len(text.get(f.name, "")) > 3, f"{cls.__name__}.{f.name} has no comment after it, hence no help"
        assert not text[f.name].endswith(","), f"{cls.__name__}.{f.name}: help is one line, this one breaks off"
        assert "--" + f.name.replace("_", "-") in parser.format_help()


@pytest.mark.parametrize("module", COMMANDS, ids=lambda m: m.__name__)
def test_help_is_printed_and_ends_well(module, capsys):
    with pytest.raises(SystemExit) as e:
        module.main(["--help"])
    assert e.value.code == 0 and re.search(r"python -m (nanouft|lab)\.", capsys.readouterr().out)


def test_help_shows_the_flags_of_the_objective_named(capsys):
    for name, flag in (("ift", "--lam"), ("dpo", "--beta"), ("sft", "--reduction")):
        with pytest.raises(SystemExit):
            train.main(["--objective", name, "--help"])
        out = capsys.readouterr().out
        assert flag in out and "--batch-size" in out and ("--lam " in out) == (name == "ift")


def test_objective_list_says_what_each_needs(capsys):
    assert call(train.main, "--objective", "list") == 0
    out, words = capsys.readouterr().out, {"demos": "demonstrations", "prompts": "prompts and a reward"}
    for name, o in OBJECTIVES.items():
        needs = " + ".join(words.get(kind, kind) for kind in o.kinds(o.hp()))
        needs += ", and " * bool(o.columns) + ", ".join(c.needs for c in o.columns)
        assert f"{name:<10} {o.paper}\n       needs {needs}\n" in out
        for f in dataclasses.fields(o.hp):
            assert "--" + f.name.replace("_", "-") in out


def test_flags_of_every_kind():
    parser = config.Parser()
    config.add_flags(parser, train.Train, "x")
    argv = ["--data", "a.json", "b c.json", "--data", "d.json", "--steps", "7", "--lr", "1e-4",
            "--optimizer", "rmsprop"]
    got, given = config.fill(train.Train, vars(parser.parse_args(argv)))
    assert got.data == ["a.json", "b c.json", "d.json"] and (got.steps, got.lr, got.optimizer) == (7, 1e-4, "rmsprop")
    assert given == {"data", "steps", "lr", "optimizer"}


BAD_FLAGS = {                                           # command line: what the message must hold, words parted by |
    "--objective itf": "objective 'itf'|ift?", "--objective DPO": "DPO|dpo", "--objective": "--objective",
    "--lerning-rate 1": "--lerning-rate", "--batchsize=3": "--batchsize|--batch-size?", "--ler 1": "--lr?",
    "--objective sft --lam 0.3": "--lam", "--objective sft --beta 1": "--beta belongs to --objective dpo",
    "stray": "stray", "--optimizer adam": "--optimizer|adamw?", "--dtype fp64": "fp64",
    "--variant relesed": "released?", "--split tset": "--split|test?", "--device gpu": "--device|cpu",
    "--device cuda:99": "--device cuda:99", "--device cpu:1": "--device cpu:1", "--threads 0": "--threads 0",
    "--dtype fp16 --device cpu": "fp16|GPU", "--steps many": "--steps|whole number", "--steps 1.5": "whole number",
    "--lr fast": "--lr|a number", "--lr nan": "finite", "--lr inf": "finite", "--lr 0": "--lr|above 0",
    "--lr -1": "above 0", "--epochs 0": "--epochs|above 0", "--steps 0": "--steps 0|at least 1",
    "--batch-size -3": "--batch-size -3", "--accumulate 0": "--accumulate 0", "--rows 0": "--rows 0",
    "--accumulate 64": "--accumulate 64|32", "--rows 99999999999": "--rows|100,000", "--items 99999999999": "10,000",
    "--items -1": "--items", "--epochs 1 --steps 1": "--epochs|one", "--clip -1": "--clip", "--seed -1": "--seed",
    "--weight-decay -1": "--weight-decay", "--noise 1.5": "--noise 1.5|1", "--warmup 2": "--warmup",
    "--save-every -1": "--save-every", "--eval-every -1": "--eval-every", "--lam 1.2": "--lam",
    "--objective dpo --beta 0": "--beta", "--corpus x.txt": "unknown flag --corpus", "--data": "--data",
    "--prompt-field q": "--prompt-field|--data", "--init nowhere": "nowhere|no such folder",
    "--data=--": "--data=--|no value", "--steps=--": "--steps=--", "--lr=--": "--lr=--",
    "--threads 1000000000000000000": "--threads|at most", "--threads 2000": "--threads|256",
    "--epochs 1e308": "--epochs|at most", "--epochs 1e29": "--epochs|1,000,000", "--seed " + "9" * 40: "--seed|at most",
    "--steps " + "9" * 9999: "--steps|...", "--lr 1e-39": "--lr|at least", "--batch-size 1000000000": "100,000",
    "--objective rloo --eps 1e308": "--eps|at most", "--objective rloo --minibatches 1000000000": "answers a rollout",
    "--objective rloo --samples 1000000000": "answers a rollout", "--init x.zip": "x.zip|no such folder",
    "--batch-size 50 --rows 20 --objective sft --init base": "--batch-size 50|20 rows",
}


@pytest.mark.parametrize("line", BAD_FLAGS)
def test_a_wrong_flag_is_one_line(line, here, capsys):
    one_error(call(train.main, *line.split()), capsys.readouterr().err, *BAD_FLAGS[line].split("|"))
    assert not list(here.iterdir()), "nothing is made before the flags are understood"


@pytest.mark.parametrize("main, argv, words", [
    (train.main, ["--data", ""], ["--data ''", "empty"]), (pretrain.main, ["--corpus", " "], ["--corpus", "empty"]),
    (evaluate.main, ["--reference", ""], ["--reference ''"]), (ledger.main, ["--out", ""], ["--out ''"]),
    (sample.main, ["", "base"], ["models ''"]), (train.main, ["--init", "a\x1b[2J"], [r"control character \x1b"]),
    (evaluate.main, ["--init", "\u202eab"], [r"\u202e"]), (train.main, ["--ini\x1b", "a"], [r"--ini\x1b"]),
    (evaluate.main, ["--prompt-field", "q"], ["--data"]), (evaluate.main, ["--data", "x", "--items", "3"], ["--items"]),
    (reward.main, ["--prompt-field", "q"], ["--data"]), (reward.main, ["--rows", "1e9"], ["--rows", "whole"]),
    (reward.main, ["--steps", "9999999999"], ["--steps", "1,000,000,000"]), (show.main, ["--n", "1000000"], ["1,000"]),
    (show.main, ["--n", "2", "--build-tokenizer"], ["--build-tokenizer"]),
    (compare.main, ["--seeds", "1000000000"], ["--seeds"]), (compare.main, ["--items", "100000"], ["--items"]),
    (compare.main, ["--workers", "9" * 40], ["--workers"]), (compare.main, ["--lrs", "inf"], ["--lrs", "finite"]),
    (compare.main, ["--on-policy", "--objectives", "sft"], ["--on-policy"]),
    (bench.main, ["--threads", "9999"], ["--threads"])])
def test_a_wrong_flag_of_other_commands_is_one_line(main, argv, words, here, capsys):
    one_error(call(main, *argv), capsys.readouterr().err, *words)
    assert not list(here.iterdir())


@pytest.mark.parametrize("env", [{"WORLD_SIZE": "2"}, {"WORLD_SIZE": "x"}, {"WORLD_SIZE": "0"}, {
    "WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "MASTER_PORT": "1"}, {
    "WORLD_SIZE": "2", "RANK": "5", "LOCAL_RANK": "0", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}])
def test_half_a_torchrun_is_one_line(env, capsys, monkeypatch):
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    one_error(call(train.main), capsys.readouterr().err, "WORLD_SIZE", "torchrun")


def test_a_file_in_place_of_a_folder(here, tiny_base, capsys):
    (here / "x.zip").write_bytes(b"PK\3\4")
    one_error(call(train.main, "--init", "x.zip"), capsys.readouterr().err, "x.zip", "is a file", "unpack")
    code = call(train.main, "--objective", "rloo", "--init", tiny_base, "--reward", "x.zip")
    one_error(code, capsys.readouterr().err, "x.zip", "is a file")


# ---- what comes from others ------------------------------------------------------------------------------------------
def test_control_characters_are_shown_as_text(here, tiny_base, capsys, monkeypatch):
    """Data and answers may hold an escape sequence: on the terminal and in samples.md it is text."""
    bad = "\x1b[2J\x9b31m\u202e\x07"
    file = lines(here / "d.jsonl", [{"prompt": f"Say {d} {bad}", "response": f"{bad} {d}", bad: 1} for d in range(30)])
    monkeypatch.setenv("NO_COLOR", "1")
    real = report.answer_rows
    monkeypatch.setattr(report, "answer_rows", lambda m, tok, rows, **kw: [
        dataclasses.replace(a, ids=tok.encode(bad)) for a in real(m, tok, rows, **kw)])
    assert call(train.main, "--objective", "sft", "--init", tiny_base, "--data", file, "--steps", 2, "--batch-size", 4,
                "--weigh-rows", *QUICK) == 0
    assert call(sample.main, tiny_base, tiny_base, "--max-new", 3, "--prompt", "Hello", "--prior", r"\x1b") == 0
    out = capsys.readouterr()
    shown = out.out + out.err + (here / "out/sft/samples.md").read_text(encoding="utf-8")
    assert shown.count(r"\x1b[2J\x9b31m\u202e\x07") > 8 and not set("\x1b\x9b\u202e\x07") & set(shown)


def test_what_is_visible():
    assert text.visible("a\tb\nc é 学 \u200d\x1b\r\x00\x85") == r"a" "\tb\nc é 学 \u200d" r"\x1b\x0d\x00\x85"
    assert text.shorter("a " + "b" * 5000 + " c") == "a " + "b" * 80 + "... c"
    assert text.fill("<A><B>", {"<A>": "<B>", "<B>": "x"}) == "<B>x", "a place inside a part stays as it is"


# ---- data ------------------------------------------------------------------------------------------------------------
def test_data_that_does_not_serve_the_objective_is_one_line(here, tiny_base, capsys):
    def says(objective, rows, *words):
        file = lines(here / "d.jsonl", rows)
        code = call(train.main, "--objective", objective, "--init", tiny_base, "--data", file, "--steps", 1, *QUICK)
        one_error(code, capsys.readouterr().err, *words)
    says("dpo", DEMOS, "needs pairs", "demonstrations")
    says("sft", [{**DEMOS[0], "score": 0.5}], "needs demonstrations", "scored")
    says("sft", [{"prompt": "long", "response": "word " * 500}], "longer than the context", "128")
    says("dpo", [{**PAIRS[0], "rejected": PAIRS[0]["chosen"]}], "needs pairs", "equal")
    file = here / "d.jsonl"
    one_error(call(train.main, "--data", file, "--rows", 3), capsys.readouterr().err, "--rows", "--data")
    (here / "none").mkdir()
    one_error(call(train.main, "--data", here / "none", "--init", tiny_base), capsys.readouterr().err, "is a folder")
    assert not (here / "out").exists()


# ---- models ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("damage, words", [
    (lambda f: os.truncate(f / "model.safetensors", 5000), ["model.safetensors", "damaged"]),
    (lambda f: [(f / n).unlink() for n in ("config.json", "run.json")], ["config.json"]),
    (lambda f: (f / "tokenizer.json").write_text("{}"), ["tokenizer.json"]),
    (lambda f: (f / "run.json").write_text("{"), ["run.json"])], ids=["cut", "no config", "tokenizer", "run.json"])
def test_a_damaged_model_is_one_line(damage, words, here, capsys):
    """One of each file; test_gpt.py and test_tokenizer.py have all of them."""
    damage(tiny_folder(here / "m"))
    one_error(call(train.main, "--init", "m", "--steps", 1, *QUICK), capsys.readouterr().err, *words)
    assert not (here / "out").exists()


# ---- places ----------------------------------------------------------------------------------------------------------
def test_places_where_nothing_can_be_made(here, tiny_base, capsys, monkeypatch):
    (here / "file").write_text("x")
    flags = ["--init", tiny_base, "--objective", "sft", "--rows", 9, "--steps", 1, *QUICK]
    one_error(call(train.main, *flags, "--out", "file/run"), capsys.readouterr().err, "file/run", "--out")
    one_error(call(train.main, *flags, "--out", "file"), capsys.readouterr().err, "file", "not an empty folder")
    one_error(call(train.main, *flags, "--out", "x" * 300), capsys.readouterr().err, "too long")
    (here / "out").write_text("a file where the folder of all runs should be")
    one_error(call(train.main, *flags), capsys.readouterr().err, "out/sft", "--out")

    def denied(self, *a, **k):
        raise PermissionError(13, "Permission denied", str(self))
    monkeypatch.setattr(runs.Path, "mkdir", denied)
    one_error(call(train.main, *flags, "--out", "run"), capsys.readouterr().err, "run", "Permission denied", "--out")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder(here, tiny_base, capsys):
    os.chmod(here, stat.S_IRUSR | stat.S_IXUSR)
    try:
        code = call(train.main, "--init", tiny_base, "--rows", 9, "--steps", 1, *QUICK)
        one_error(code, capsys.readouterr().err, "denied", "--out")
    finally:
        os.chmod(here, stat.S_IRWXU)


def test_other_mistakes_keep_their_traceback_and_memory_is_one_line(capsys):
    def fails(e):
        def main(argv):
            raise e
        return main
    one_error(call(fails(MemoryError())), capsys.readouterr().err, "out of memory", "--accumulate")
    one_error(call(fails(RuntimeError("CUDA out of memory. Tried"))), capsys.readouterr().err, "out of memory")
    full = OSError(28, "No space left on device", "f")
    one_error(call(fails(full)), capsys.readouterr().err, "f: No space", "make room")
    one_error(call(fails(UserError("two\nlines"))), capsys.readouterr().err, "two lines")
    with pytest.raises(RuntimeError, match="shape"):
        call(fails(RuntimeError("shape")))
    assert call(fails(KeyboardInterrupt())) == 130


# ---- consoles --------------------------------------------------------------------------------------------------------
def test_a_console_without_utf8_or_colour_or_display(here, tiny_base):
    """As a process of its own, in a folder with a foreign name, on a code page that cannot print it."""
    place = here / "Zoë 学 x"
    place.mkdir()
    lines(place / "学.jsonl", [{"prompt": f"學 ✓ → {d['prompt']}", "response": "漢字"} for d in DEMOS])
    env = {"PYTHONIOENCODING": "cp1252", "NO_COLOR": "1", "DISPLAY": "", "MPLBACKEND": "nope", "LC_ALL": "C"}
    argv = ["--objective", "sft", "--init", str(tiny_base), "--data", "学.jsonl", "--steps", "2", "--out", "学"]
    argv += QUICK
    both = ("import sys; from nanouft import train; from nanouft.shell import config\n"
            f"assert config.run(train.main, {argv!r}) == 0\nsys.exit(config.run(train.main, ['--init', '学 fehlt']))")
    got = subprocess.run([sys.executable, "-c", both], cwd=place, env=environment(**env), stdin=subprocess.DEVNULL,
                         capture_output=True, encoding="utf-8", errors="replace", timeout=120)
    one_error(got.returncode, got.stderr, "no such folder")
    assert "Warning" not in got.stderr and "\033" not in got.stdout
    assert (place / "学" / "curves.png").stat().st_size > 2000
    assert "漢字" in (place / "学" / "samples.md").read_text(encoding="utf-8")


def test_a_reader_who_leaves_early_is_no_crash(here):
    ours, theirs = os.pipe()
    os.close(ours)                                                              # nobody reads
    got = subprocess.run([sys.executable, "-m", "nanouft.train", "--objective", "list"], cwd=here, stdout=theirs,
                         env=environment(), stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(theirs)
    assert got.returncode == 1 and "Traceback" not in got.stderr and "Exception" not in got.stderr


# ---- sample ----------------------------------------------------------------------------------------------------------
def test_side_by_side_says_who_speaks(here, tiny_base, capsys):
    assert call(train.main, "--objective", "sft", "--init", tiny_base, "--rows", 9, "--steps", 2, *QUICK) == 0
    capsys.readouterr()
    prompts = ["Hello.", "Sort pig bee saw from a to z."]
    assert call(sample.main, "out/sft", tiny_base, "--max-new", 4, "--prompt", *prompts) == 0
    out = capsys.readouterr().out
    assert out.count("out/sft (sft, step 2)") == out.count(f"{tiny_base} (pretrained)") == out.count("prompt:") == 2
    _, own, nanoworld = out.split("prompt:")
    assert "score" not in own and "score" in nanoworld, "only NanoWorld prompts are scored"
    (tiny_base / "run.json").rename(tiny_base / "hidden")
    try:
        assert voice.model_name(str(tiny_base)) == f"{tiny_base} (GPT-2 folder)"
        assert voice.model_name("base") == "base (shipped)"
    finally:
        (tiny_base / "hidden").rename(tiny_base / "run.json")


def test_prior_is_forced_and_sampling_repeats_with_its_seed(here, tiny_base, capsys, monkeypatch):
    def said(*argv):
        assert call(sample.main, tiny_base, tiny_base, "--max-new", 6, "--prompt", "Hello.", *argv) == 0
        return capsys.readouterr().out.splitlines()[2:]
    read, real = [], start_model
    monkeypatch.setattr(voice, "start_model", lambda init: read.append(init) or real(init))
    said("--prior", 1, "--prior-from", tiny_base, "--prompt", "Hi.", "Hello.")
    assert len(read) == 4, "two voices, each with its teacher, whatever the number of prompts"
    forced = said("--prior", "The red hen")
    assert len(forced) == 2 and all(a.split("(pretrained)")[1].strip().startswith("The red hen") for a in forced)
    warm = ["--temperature", "1.0", "--n", "3"]
    first = said(*warm, "--seed", 1)
    assert len(first) == 6 and said(*warm, "--seed", 1) == first != said(*warm, "--seed", 2)
    assert said("--temperature", 1, "--top-k", 1)[0] == said()[0]


def test_marks_are_not_part_of_an_answer(tiny_base, monkeypatch):
    """Neither what is scored nor what a chat remembers holds '(does not stop)'."""
    speaker = voice.Voice(str(tiny_base), devices.Device("cpu", "fp32"))
    cfg = sample.Sample(max_new=3)
    (text, remarks), = speaker.say((sample.Turn("user", "Hello."),), max_new=3)
    assert "does not stop" in remarks and "stop" not in text
    heard, typed = [], iter(["Hello.", "And?", "/new", "", "Again.", "/quit"])
    monkeypatch.setattr("builtins.input", lambda prompt: next(typed))
    monkeypatch.setattr(speaker, "say", lambda turns, *_, **how: heard.append([t.text for t in turns]) or [("yes", "")])
    sample.chat([speaker], cfg)
    assert heard == [["Hello."], ["Hello.", "yes", "And?"], ["Again."]]


@pytest.mark.parametrize("closed", [False, True])
def test_piped_input_is_no_chat(closed, tiny_base, monkeypatch, capsys):
    """Three NanoWorld prompts are answered instead of waiting for somebody to type."""
    with open(os.devnull) as nothing:
        monkeypatch.setattr(sys, "stdin", None if closed else nothing)
        assert call(sample.main, tiny_base, tiny_base, "--max-new", 3) == 0
    out = capsys.readouterr().out
    assert out.count("prompt:") == 3 and "you>" not in out


def test_a_model_of_other_data_is_asked_what_its_run_held_out_beside_its_own_start(here, capsys):
    tiny_folder(here / "mine")
    data = str(lines(here / "my.jsonl", DEMOS))
    assert call(train.main, "--objective", "sft", "--init", "mine", "--data", data, "--steps", 1, *QUICK) == 0
    capsys.readouterr()
    assert call(sample.main, "out/sft", "--max-new", 3) == 0
    out = capsys.readouterr().out
    asked = re.findall("prompt: (.*)", out)
    assert asked and set(asked) <= {d["prompt"] for d in DEMOS}, "LAW: no prompts of NanoWorld"
    assert out.count("mine (pretrained)") == out.count("out/sft (sft, step 1)") == len(asked) and "base" not in out
    (here / "mine/run.json").write_text('{"command": "pretrain", "tokenizer": "other"}')
    one_error(call(sample.main, "mine"), capsys.readouterr().err, "mine", "--prompt")


@pytest.mark.parametrize("argv, words", [
    (["nowhere"], ["nowhere", "no such folder"]), (["--temperature", "-1"], ["--temperature"]),
    (["--top-p", "0"], ["--top-p"]), (["--n", "0"], ["--n 0"]), (["--max-new", "0"], ["--max-new"]),
    (["--top-k", "3"], ["--top-k", "--temperature 1"]), (["--seed", "3"], ["--seed"]), (["--n", "999999"], ["--n"]),
    (["--temperature", "1e-39"], ["--temperature", "at least"]),
    (["--seed", "-1"], ["--seed"]), (["--temprature", "1"], ["--temperature?"])], ids=lambda x: " ".join(x))
def test_mistakes_in_sample(argv, words, here, capsys):
    one_error(call(sample.main, *argv), capsys.readouterr().err, *words)


def test_models_behind_prompts_and_a_prior_that_is_too_long(here, tiny_base, capsys):
    one_error(call(sample.main, "--prompt", "Hello.", tiny_base), capsys.readouterr().err, "in front of --prompt")
    code = call(sample.main, tiny_base, tiny_base, "--prompt", "Hello.", "--prior", "red " * 200)
    one_error(code, capsys.readouterr().err, "context")


# ---- evaluate, ledger, pretrain --------------------------------------------------------------------------------------
def test_evaluate_prints_a_table_or_figures_of_your_data(here, tiny_base, capsys):
    assert call(evaluate.main, "--init", tiny_base, "--items", 2, "--threads", 1) == 0
    out = capsys.readouterr().out
    assert all(f in out for f in world.FAMILIES) and "mean" in out and str(tiny_base) in out
    mixed = lines(here / "m.jsonl", [{**d, **p} for d, p in zip(DEMOS, PAIRS)])
    assert call(evaluate.main, "--init", tiny_base, "--data", mixed) == 0
    out = capsys.readouterr().out
    assert "demonstrations" in out and "nll" in out and "pairs" in out and "prefers" in out
    scored = lines(here / "s.jsonl", [{**DEMOS[0], "score": 0.5}])
    one_error(call(evaluate.main, "--init", tiny_base, "--data", scored), capsys.readouterr().err, "1 scored answer")
    for argv, word in ((["--items", 0], "--items"), (["--split", "tst"], "test?"), (["--device", "cpux"], "cpu?"),
                       (["--dtype", "f32"], "fp32?"),
                       (["--data", "none.json"], "none.json"), (["--items", 10 ** 9], "--items")):
        one_error(call(evaluate.main, "--init", tiny_base, *argv), capsys.readouterr().err, word)


def test_ledger_draws_a_picture(here, tiny_base, capsys):
    assert call(ledger.main, "--init", tiny_base, "--show", "dpo", "--out", "a b/ledger.png", "--threads", 1) == 0
    assert (here / "a b" / "ledger.png").stat().st_size > 10_000 and "dpo" in capsys.readouterr().out
    assert call(ledger.main, "--init", tiny_base, "--prompt", "What costs $5 or $6?", "--answer", r"$\nothing$ {",
                "--show", "sft", "--out", "l.png") == 0
    assert (here / "l.png").stat().st_size > 10_000
    one_error(call(ledger.main, "--init", tiny_base, "--prompt", "Hello."), capsys.readouterr().err, "--answer")


def test_mistakes_in_pretrain(here, capsys):
    (here / "short.txt").write_text("too short")
    (here / "latin.txt").write_bytes(b"caf\xe9 " * 900)
    for line, words in (("--corpus none.txt", "none.txt"), ("--corpus short.txt", "too few"), ("--lr 0", "--lr"),
                        ("--corpus latin.txt", "not UTF-8"), ("--size gpt3", "gpt2?")):
        one_error(call(pretrain.main, *line.split()), capsys.readouterr().err, words)


# ---- what is printed as the next command -----------------------------------------------------------------------------
SHORT = {"train": ["--steps", 1, *QUICK], "sample": ["--max-new", 2], "evaluate": [],
         "ledger": ["--show", "sft", "dpo"]}
DATA = {"DEMOS.jsonl": DEMOS, "PAIRS.jsonl": PAIRS, "MY.jsonl": DEMOS, "my own.jsonl": PAIRS,
        "fields.jsonl": [{"frage": d["prompt"], "antwort": d["response"]} for d in DEMOS]}
FIRST = {
    "pretrain --steps 1 --tokens 128 --out {new}": 1,
    "pretrain --corpus my.txt --ctx 64 --steps 1 --tokens 128 --out {new}": 1,
    "train --objective ift --init {tiny} {short}": 3,
    "train --objective dpo --init {tiny} {short} --out {new}": 3,
    "train --objective orpo --init {tiny} {short} --data 'my own.jsonl'": 3,
    "train --objective sft --init {tiny} {short} --data DEMOS.jsonl --out {new}": 3,
    "train --objective sft --init {tiny} {short} --data fields.jsonl --prompt-field frage --response-field antwort": 3,
    "reward --init {tiny} --steps 1 --data 'my own.jsonl' --out {new}": 1,
    "reward --init {tiny} --steps 1 --rows 16 --threads 1 --out {new}": 2,
    "evaluate --init other --items 1": 1}


def printed(out: str) -> list[list[str]]:
    """The commands in what was printed, as a shell would read them."""
    return [shlex.split(line, comments=True) for line in re.findall(r"python -m nanouft\.(.*)", out)]


@pytest.mark.parametrize("first", FIRST, ids=lambda text: " ".join(text.split()[:5]))
def test_the_printed_next_commands_run_as_they_stand(first, here, tiny_base, monkeypatch, capsys):
    """With files of the names that stand for the user's; nothing is taken, a second stage is gentle."""
    for name, rows in DATA.items():
        lines(here / name, rows)
    (here / "my.txt").write_text("the owl and the fox. " * 500)
    tiny_folder(here / "other")
    (here / "other" / "run.json").write_text(json.dumps({"command": "train", "config": {"data": ["DEMOS.jsonl"]}}))
    monkeypatch.setitem(pretrain.SIZES, "nano", dataclasses.replace(pretrain.SIZES["nano"], n_layer=1, n_embd=16))
    monkeypatch.setattr(evaluate, "on_world", lambda model, tok, cfg, device: print(evaluate.other_data(cfg.init)))
    monkeypatch.setattr(reward, "best_of_gain", lambda *a: (0.2, 0.1, 0.3))
    monkeypatch.setattr(ledger.plots, "ledger", lambda strips, file, *a: file)      # drawn below, and in test_ledger.py
    judge = reward.judge
    monkeypatch.setattr(reward, "judge", lambda *a: judge(*a) | {"low": 0.6})
    short = "--steps 1 --items 0 --threads 1" + (" --rows 40" if "--data" not in first else "")
    words = first.format(tiny=tiny_base, short=short, new="'a new/run'")
    capsys.readouterr()
    name, *argv = shlex.split(words)
    assert call(globals()[name].main, *argv) == 0
    found = printed(capsys.readouterr().out)
    assert len(found) == FIRST[first], found
    for name, *argv in found:
        if name == "train" and "--data" not in argv and "--data" in words:
            raise AssertionError(f"LAW: whoever brings data goes on with data: {argv}")
        if name == "train" and argv[argv.index("--objective") + 1] == "dpo":
            assert argv[argv.index("--lr") + 1] == "3e-6", "LAW: a second stage is gentle, or it unlearns the first"
        few = ["--rows", 40] if name == "train" and "--data" not in argv else []
        assert call(globals()[name].main, *argv, *SHORT[name], *few) == 0, (argv, capsys.readouterr().err)
        if name == "train":
            assert (here / argv[argv.index("--out") + 1] / "model.safetensors").exists()
    assert not [f for f in here.rglob("*-2")], "LAW: no run lands in a folder other than the one that is printed"
    assert not (here / "out" / "dpo").exists(), "LAW: the plain name stays for a run from the base"


def test_evaluate_says_when_a_model_has_learnt_other_things(here, capsys):
    tiny_folder(here / "mine")
    for run, noted in (({"command": "train", "config": {"data": ["a b.jsonl"]}}, "--data 'a b.jsonl'"),
                       ({"command": "pretrain", "config": {"corpus": "my.txt"}}, "--data MY.jsonl"),
                       (None, "--data MY.jsonl"), ({"command": "train", "config": {"data": None}}, "")):
        (here / "mine" / "run.json").write_text(json.dumps(run)) if run else (here / "mine" / "run.json").unlink()
        assert evaluate.other_data("mine").endswith(f"--init mine {noted}\n" if noted else "")
        assert bool(evaluate.other_data("mine")) == bool(noted)
    assert evaluate.other_data("base") == ""
