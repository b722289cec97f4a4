"""Folders and files that somebody else made: no code of theirs runs, nothing outside is written,
nothing is silent."""
import bz2
import gzip
import json
import lzma
import os
import shutil
import signal
import sys
from fnmatch import fnmatch
from types import SimpleNamespace

import pytest
import torch
from running import DEMOS, QUICK, call, lines, one_error, signals_work
from test_signals import STEP, strike

from nanouft import sample, train
from nanouft.data.tokenizer import JINJA
from nanouft.errors import UserError
from nanouft.files import containers
from nanouft.models.load import start_model
from nanouft.models.tokenizer_files import brings_template
from nanouft.rewards import own_reward
from nanouft.rewards.scorer import scorer
from nanouft.run import flags, runs
from nanouft.run.storage import read_json, write_json

pytestmark = pytest.mark.usefixtures("brief")
CODE = "open('ran', 'a').write('x')\ndef f(prompts, answers): return [len(a) for a in answers]\n"


@pytest.fixture(scope="module")
def gift(tiny_base, tmp_path_factory):
    """A folder with an unfinished run, killed after step 3, and a reward in Python: gift/,
    evil.py."""
    place = tmp_path_factory.mktemp("gift")
    (place / "evil.py").write_text(CODE)
    lines(place / "rows.jsonl", DEMOS)
    with pytest.MonkeyPatch.context() as patch, signals_work():
        patch.chdir(place)
        patch.setattr("nanouft.eval.plots.curves", lambda run: None)
        strike(patch, signal.SIGINT, *STEP, 3)
        assert call(train.main, "--objective", "grpo", "--data", "rows.jsonl", "--init", tiny_base,
                    "--batch-size", 4, "--max-new", 4, "--steps", 6, *QUICK, "--plain", "--reward",
                    "evil.py:f", "--out", "gift") == 130
    return place


@pytest.fixture
def run(gift, here):
    shutil.copytree(gift, here, dirs_exist_ok=True)
    (here / "ran").unlink()
    own_reward.run.cache_clear()                            # a file is run once a process
    return here / "gift"


def test_a_reward_runs_only_if_the_command_line_names_it(run, here, capsys):
    """run.json of a folder that somebody gives away names code; the line that is printed names it,
    too."""
    said = one_error(call(train.main, "--resume", "gift"), capsys.readouterr().err, "gift",
                     "Python code", "--reward")
    assert not (here / "ran").exists()
    for other in ("other.py:f", "evil.py:g", "exact"):
        one_error(call(train.main, "--resume", "gift", "--reward", other), capsys.readouterr().err,
                  "go on with")
    assert not (here / "ran").exists()
    assert call(train.main, *said.partition("go on with: ")[2].split()[3:]) == 0 \
        and (here / "ran").exists()
    (run / "eval.json").unlink()
    about = read_json(run / "run.json")
    (run / "run.json").write_text(
        json.dumps({**about, "config": {**about["config"], "reward": "a folder"}}))
    one_error(call(train.main, "--resume", "gift", "--reward", "evil.py:f"),
              capsys.readouterr().err, "no Python code")


@pytest.mark.parametrize("name", ["eval.json.partial", "metrics.jsonl", "curves.png",
                                  "partial-final", "steps", "steps/3/model.safetensors",
                                  "tensorboard"])
def test_a_run_folder_with_a_link_is_refused(name, run, here, capsys):
    outside = here / "precious"
    (outside / "1").mkdir(parents=True)
    if (run / name).exists():
        (run / name).rename(outside / "kept")
    (run / name).symlink_to(outside)
    one_error(call(train.main, "--resume", "gift", "--reward", "evil.py:f"),
              capsys.readouterr().err, name, "link")
    assert (outside / "1").exists()


@pytest.mark.parametrize("fields, words", [
    ({"config": {"data": [5]}}, "config.data is [5]"), ({"config": 5}, "config is 5: it must"),
    ({"config": {"init": ["x"]}}, "config.init is ['x']"), ({"steps": 4.0}, "steps is 4.0: it"),
    ({"threads": -1}, "threads is -1"), ({"tokenizer": {}}, "tokenizer is {}")])
def test_a_field_of_another_type_is_one_line(fields, words, run, tiny_base, capsys):
    """In a run that goes on and in a model that is used."""
    write_json(run / "run.json", read_json(run / "run.json") | fields)
    one_error(call(train.main, "--resume", "gift"), capsys.readouterr().err, "gift/run.json", words)
    shutil.copytree(tiny_base, run, ignore=lambda *of: ["run.json"], dirs_exist_ok=True)
    one_error(call(sample.main, "gift"), capsys.readouterr().err, "gift/run.json", words)


DAMAGE = {"emptied": lambda log: [], "NULs": lambda log: ["\0" * 4096], "cut": lambda log: log[:1],
          "doubled": lambda log: log * 2, "reordered": lambda log: log[::-1]}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_log_is_said_and_the_run_goes_on(how, run, capsys):
    log = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join(DAMAGE[how](log)))
    assert call(train.main, "--resume", "gift", "--reward", "evil.py:f") == 0
    out = capsys.readouterr().out
    assert out.count("metrics.jsonl: ") == 1 \
        and ("have no line" in out) == (how in ("emptied", "NULs", "cut"))
    steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(set(steps)) and steps[-3:] == [4, 5, 6]


def test_a_loss_that_is_no_number_is_refused(run, capsys):
    log = (run / "metrics.jsonl").read_text()
    (run / "metrics.jsonl").write_text(log.replace('"loss": ', '"loss": NaN, "was": ', 1))
    one_error(call(train.main, "--resume", "gift", "--reward", "evil.py:f"),
              capsys.readouterr().err, "line 1", "loss")


def test_a_tokenizer_whose_merges_are_cut_is_refused(tiny_base, here, capsys):
    shutil.copytree(tiny_base, "m")
    spec = read_json(here / "m/tokenizer.json")
    spec["model"]["merges"] = spec["model"]["merges"][:5]
    (here / "m/tokenizer.json").write_text(json.dumps(spec))
    one_error(call(sample.main, "m", "--prompt", "x"), capsys.readouterr().err, "tokenizer.json",
              "no merge makes")


@pytest.mark.parametrize("text", [
    "import torch\ntorch.set_grad_enabled(False)\ndef f(p, a): return [1] * len(a)",
    "import torch\ndef f(p, a):\n    torch.set_grad_enabled(False)\n    return [1] * len(a)"])
def test_a_reward_that_switches_gradients_off_does_so_for_itself_alone(text, here):
    (here / "mine.py").write_text(text)
    assert list(scorer("mine.py:f")(["p"], ["a"])) == [1] and torch.is_grad_enabled()


@pytest.mark.parametrize("line", ["raise GeneratorExit", "raise BaseException('x')"])
def test_a_reward_that_breaks_out_is_one_line(line, here, monkeypatch):
    monkeypatch.setattr("sys.stdout", open(os.devnull, "w"))
    (here / "mine.py").write_text(f"def f(p, a):\n    {line}\n    return [1] * len(a)\n")
    with pytest.raises(UserError, match="mine.py"):
        scorer("mine.py:f")(["p"], ["a"])


def test_a_model_of_the_hub_is_downloaded_without_pickles_and_code(tiny_base, monkeypatch):
    def download(name, allow_patterns):
        assert not any(fnmatch(file, kind) for file in ("pytorch_model.bin", "x.py", "x.pt")
                       for kind in allow_patterns)
        if name != "owner/name":
            raise OSError("no network\nat all")
        return str(tiny_base)
    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(snapshot_download=download))
    assert start_model("hub:owner/name")[0].cfg.n_embd == 32
    assert runs.model_name("hub:owner/name") == "hub:owner/name (model folder)"
    with pytest.raises(UserError, match="^hub:owner/gone: cannot be downloaded .OSError: no "
                       "network at all.; check"):
        start_model("hub:owner/gone")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match="hub:owner/name: .*pip install nanouft.hf."):
        start_model("hub:owner/name")


def test_names_in_run_json_reach_no_network(run, monkeypatch):
    """Only names on the command line do. `setenv`, so that the variable goes after the test."""
    def asked(*names, **how):
        raise AssertionError(names)
    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(snapshot_download=asked))
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    about = read_json(run / "run.json")
    for key, value in (("init", "hub:some/body"), ("data", ["hub:some/rows"])):
        write_json(run / "run.json", about | {"config": about["config"] | {key: value}})
        if key == "init":
            assert sample.start_of(str(run)) == []
        os.environ["HF_HUB_OFFLINE"] = "0"
        flags.reopen(str(run), "evil.py:f")
        assert os.environ["HF_HUB_OFFLINE"] == "1", "what the library has stored may still be read"


def test_a_template_that_is_nearly_ours_is_not_taken_for_ours(tiny_base, here):
    folder = shutil.copytree(tiny_base, here / "m")
    file = folder / "chat_template.jinja"
    assert not brings_template(folder)
    file.write_text(JINJA + "\n")
    assert not brings_template(folder), "white space at its ends"
    for text in (JINJA + "{{ 'x' }}", JINJA.replace("<|end|>", "<|stop|>")):
        file.write_text(text)
        assert brings_template(folder)


def test_a_small_file_of_gigabytes_is_refused(here, monkeypatch):
    monkeypatch.setattr(containers, "LARGEST", 1000)
    monkeypatch.setattr(containers, "LINES", 50)
    monkeypatch.setattr(containers, "MANY", 3)
    for i in range(3):
        (here / "deep" / str(i)).mkdir(parents=True)
    with pytest.raises(UserError, match="a folder without data"):
        containers.sources("deep")
    (here / "deep" / "0" / "x").touch()
    with pytest.raises(UserError, match="deep: holds over 3 files"):   # --data /
        containers.sources("deep")
    for size, text, words in ((1001, b" ", "more than 1,000 bytes"), (51, b"\n", "51 lines"),
                              (1000, b" ", "no row")):
        (here / "a.jsonl.gz").write_bytes(gzip.compress(text * size))
        with pytest.raises(UserError, match=f"a.jsonl.gz: .*{words}"):
            containers.objects("a.jsonl.gz")


def test_what_is_packed_with_something_else_is_said_and_not_left_out(here):
    (here / "folder").mkdir()
    lines(here / "folder/a.jsonl", DEMOS)
    for ending, module in ((".xz", lzma), (".bz2", bz2)):
        (here / f"folder/b.jsonl{ending}").write_bytes(module.compress(b"{}"))
        with pytest.raises(UserError, match=f"b.jsonl{ending}: is a binary file; unpack"):
            [containers.objects(file) for file in containers.sources("folder")]
        (here / f"folder/b.jsonl{ending}").unlink()
