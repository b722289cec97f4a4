"""Settings from a file, settings to a file, the script `nanouft`, and TensorBoard, which gets
what metrics.jsonl gets."""
import sys
from types import SimpleNamespace

import pytest
from running import DEMOS, QUICK, call, lines, losses, metrics, one_error

from nanouft import __main__ as commands
from nanouft import train
from nanouft.run import config, trackers
from nanouft.run.flags import read_flags

pytestmark = pytest.mark.usefixtures("brief")


# ---- a file for --config -------------------------------------------------------------------------
def test_a_file_stands_for_its_flags_and_the_command_line_goes_before_it(here):
    (here / "my.toml").write_text('objective = "dpo"\nlr = 1e-3\nbatch-size = 8\nbeta = 1\nplain = '
                                  'true\ndata = ["a b.json", "-c.json"]\nstrict = false\n')
    flags = ["--objective", "dpo", "--lr", "1e-3", "--batch-size", "8", "--beta", "1", "--plain"]
    data = ["--data=a b.json", "--data=-c.json"]
    assert read_flags(["--config", "my.toml"]) == read_flags([*flags, *data])
    changed = ["--config=my.toml", "--lr=2e-3", "--data", "d.json", "--seed", "3"]
    name, cfg, hp, origin = read_flags(changed)
    assert (name, cfg.lr, cfg.data, cfg.seed, cfg.batch_size, hp.beta) \
        == ("dpo", 2e-3, ["d.json"], 3, 8, 1)
    assert origin["batch_size"] == origin["seed"] == "command line"


BAD = {                                             # the file's text: words of the message
    'lr = "fast"': ["--lr 'fast'", "number"], "lr = true": ["lr is True"],
    "plain = \"yes\"": ["switch"],
    "seed = [1, 2]": ["seed is [1, 2]", "one value"], "lr = false": ["lr is False"],
    "data = true": ["data is True"],
    "lerning_rate = false": ["unknown flag --lerning-rate", "bad.toml"],
    "learning_rate = 1e-4": ["did you mean --lr?"],
    "max-new-tokens = 3": ["did you mean --max-new?"],
    "lr = [1, [2]]": ["lr is [1, [2]]", "a list"],
    "[train]\nlr = 1": ["train is {'lr': 1}"], "lr = 1\nlr = 2": ["no TOML"],
    "lr 1": ["no TOML", "lr = 1e-3"],
    "data = []": ["data is []"], "since = 2026-01-01": ["since is"],
    'config = "b.toml"': ["another one"],
    "plain = 1": ["plain is 1"], "a = " + "[" * 9999: ["no TOML"], '"" = 1': ["--"]}


@pytest.mark.parametrize("text", BAD)
def test_a_bad_file_is_one_line(text, here, capsys):
    (here / "bad.toml").write_text(text)
    one_error(call(train.main, "--config", "bad.toml"), capsys.readouterr().err, *BAD[text])


# ---- flags.toml ----------------------------------------------------------------------------------
def test_flags_toml_repeats_a_run(here, tiny_base):
    lines(here / "my.jsonl", DEMOS)
    assert call(train.main, "--objective", "ift", "--lam", "0.1", "--data", "my.jsonl", "--init",
                tiny_base, "--steps", "3", "--batch-size", "4", *QUICK, "--out", "a b") == 0
    text = (here / "a b" / "flags.toml").read_text()
    assert config.tomllib.loads(text) == {"objective": "ift", "lam": 0.1, "data": ["my.jsonl"],
                                          "init": str(tiny_base), "steps": 3, "batch_size": 4,
                                          "items": 0, "threads": 1}
    assert call(train.main, "--config", "a b/flags.toml", "--out", "again") == 0
    assert losses(here / "again") == losses(here / "a b")


def test_what_is_written_is_read_back(tmp_path):
    values = {"out_dir": 'a "b" \\ \U0001f600 \u2028', "lr": 1e-05, "steps": 7,
              "data": ["x", "y z"], "plain": True}
    (tmp_path / "f.toml").write_text(config.as_toml("train", values), encoding="utf-8")
    assert config.as_words(config.read_settings(str(tmp_path / "f.toml")), []) \
        == [f"--out-dir={values['out_dir']}", "--lr=1e-05", "--steps=7", "--data=x", "--data=y z",
            "--plain"]


def test_the_script_calls_the_command_it_names(here, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["nanouft", "world", "--n", "1"])
    assert commands.console() == 0 and capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["nanouft", "trian"])
    one_error(commands.console(), capsys.readouterr().err, "trian", "train?")


# ---- TensorBoard ---------------------------------------------------------------------------------
def test_tensorboard_gets_what_metrics_jsonl_gets(here, tiny_base, monkeypatch):
    """It is stood in for: what it is told, and from which step on."""
    told, begun = [], []
    writer = SimpleNamespace(add_scalar=lambda *values: told.append(values), flush=lambda: None)
    fake = SimpleNamespace(SummaryWriter=lambda *a, **how: begun.append((a, how)) or writer)
    monkeypatch.setitem(sys.modules, "tensorboard", fake)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", fake)
    lines(here / "my.jsonl", DEMOS)
    assert call(train.main, "--objective", "sft", "--data", "my.jsonl", "--init", tiny_base,
                "--steps", "4", "--eval-every", "2", "--batch-size", "4", *QUICK,
                "--log", "tensorboard", "--out", "run") == 0
    assert [(*number, line["step"]) for line in metrics(here / "run")
            for number in trackers.numbers(line)] == told
    assert sum(name == "held_out/nll" for name, *_ in told) == 2
    trackers.tensorboard(here / "run", 3)
    assert [how["purge_step"] for _, how in begun] == [1, 4], "what comes after is dropped"


def test_without_tensorboard_the_reason_is_one_line(tiny_base, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    code = call(train.main, "--init", tiny_base, "--log", "tensorboard")
    one_error(code, capsys.readouterr().err, "--log tensorboard needs tensorboard",
              "pip install nanouft[log]")
