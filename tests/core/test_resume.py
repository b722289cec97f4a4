"""A run that was cut off is resumed and gets the weights of the run that went through, bit for bit.
Kills at any moment: tests/tools/kills.py, which test_fuzz.py runs."""
import json
import os
import shutil
import threading
import time
from functools import partial

import pytest
import torch
from running import PAIRS, QUICK, SMALL, apart, be_brief, call, lines, one_error
from safetensors.torch import load_file

from nanouft import pretrain, reward, train
from nanouft.errors import UserError
from nanouft.eval import plots, report
from nanouft.gpt import GPT
from nanouft.loop import Device
from nanouft.models import save
from nanouft.models.load import start_model
from nanouft.run import checkpoints
from nanouft.run.flags import Train
from nanouft.run.log import Log
from nanouft.run.storage import LOCK, locked, made_once, read_json, write_json

pytestmark = pytest.mark.usefixtures("brief")


def flags(tiny_base, objective: str, out) -> list[str]:
    return ["--init", str(tiny_base), "--objective", objective, "--steps", "25", "--rows", "40",
            "--batch-size", "8", "--lr", "0.003", "--save-every", "10", "--eval-every", "4",
            "--out", str(out), *QUICK]


def test_a_step_appears_at_once_and_whole(tmp_path, monkeypatch):
    """Everything is in the folder before the one rename that gives it its name."""
    model = GPT(SMALL, seed=0)
    optimizer, seen, real = torch.optim.AdamW(model.parameters()), [], os.rename

    def rename(old, new):
        seen.append(sorted(f.name for f in old.iterdir()))
        assert not new.exists()
        real(old, new)
    with monkeypatch.context() as m:
        m.setattr(checkpoints.os, "rename", rename)
        m.setattr(checkpoints, "_flush", lambda folder: seen.append("flush"))
        checkpoints.save_step(tmp_path, 3, model, optimizer, {})
    assert seen == ["flush", ["model.safetensors", "optimizer.safetensors", "step.json"]]
    for step in (4, 5):
        checkpoints.save_step(tmp_path, step, model, optimizer, {})
    assert checkpoints.whole_steps(tmp_path) == [4, 5], "the two newest stay"


# ---- what a resumed run may find -----------------------------------------------------------------
@pytest.fixture(scope="module")
def half_done(tiny_base, tmp_path_factory):
    """(an unfinished run with steps 10 and 20 saved and logged up to 23, the finished weights it
    should come to)."""
    place = tmp_path_factory.mktemp("half")
    with pytest.MonkeyPatch.context() as patch:
        be_brief(patch.setattr)
        assert call(train.main, *flags(tiny_base, "sft", place / "whole")) == 0
    run = shutil.copytree(place / "whole", place / "run")
    for file in ("model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json",
                 "samples.md"):
        (run / file).unlink()
    write_json(run / "eval.json", {"before": read_json(run / "eval.json")["before"]})
    log = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join(log[:-3]))
    return place


@pytest.fixture
def run(half_done, here):
    return shutil.copytree(half_done / "run", here / "run")


def finishes(run, half_done) -> None:
    assert call(train.main, "--resume", run) == 0
    for file in ("model.safetensors", "metrics.jsonl"):
        assert (run / file).read_bytes() == (half_done / "whole" / file).read_bytes(), file


def edit(file, **fields) -> None:
    write_json(file, read_json(file) | fields)


def flip(file) -> None:
    """One bit, somewhere in the numbers: safetensors itself would read it."""
    data = bytearray(file.read_bytes())
    data[-1000] ^= 1
    file.write_bytes(bytes(data))


@pytest.mark.parametrize("damage, file",
                         [(flip, "model.safetensors"), (flip, "optimizer.safetensors"),
                          (lambda f: f.unlink(), "optimizer.safetensors"),
                          (lambda f: f.unlink(), "step.json"),
                          (lambda f: f.write_text("{}"), "step.json"),
                          (lambda f: edit(f, step=20.0), "step.json"),
                          (lambda f: edit(f, scaler={"scale": "x"}), "step.json"),
                          (lambda f: edit(f, sha256=[5]), "step.json"),
                          (lambda f: f.unlink() or os.mkfifo(f), "model.safetensors")])
def test_a_damaged_step_is_announced_and_left_out(damage, file, run, tiny_base, capsys):
    damage(run / "steps" / "20" / file)
    model, _ = start_model(str(tiny_base))
    optimizer = train.make_optimizer(model, Train(lr=1e-3), Device("cpu", "fp32"))
    assert checkpoints.load_step(run, model, optimizer)["step"] == 10
    out = capsys.readouterr().out
    assert "steps/20: damaged" in out and "going on after step 10" in out
    for name, x in load_file(run / "steps" / "10" / "model.safetensors").items():
        assert torch.equal(model.state_dict()[name], x), name


@pytest.mark.parametrize("tail", ['{"step": 24, "lo', '{"loss": 1}\n', "\xff\xfe", '{"step": 24}',
                                  "7"])
def test_a_half_written_line_is_cut_off(tail, run):
    with open(run / "metrics.jsonl", "a", encoding="latin-1") as f:
        f.write(tail)
    kept = [x for x in (run / "metrics.jsonl").read_bytes().splitlines(keepends=True)
            if x.startswith(b'{"step"') and x.endswith(b"}\n") and json.loads(x)["step"] <= 20]
    Log(run / "metrics.jsonl", 20, Device("cpu", "fp32"))
    assert (run / "metrics.jsonl").read_bytes() == b"".join(kept) and len(kept) > 20


@pytest.mark.parametrize("line, words", [("7", "no JSON object"), ('{"step": "x"}', "step is 'x'")])
def test_a_broken_line_is_named_and_what_stands_behind_it_is_not_lost(
        line, words, run, half_done, capsys):
    log = (run / "metrics.jsonl").read_text()
    first, *others = log.splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join([first, line + "\n", *others]))
    one_error(call(train.main, "--resume", run), capsys.readouterr().err, "metrics.jsonl, line 2: ",
              words)
    assert (run / "metrics.jsonl").read_text() == "".join([first, line + "\n", *others])
    (run / "metrics.jsonl").write_text(log)
    finishes(run, half_done)


def test_two_processes_in_one_folder(run, here, tiny_base, capsys):
    with locked(run / LOCK):
        before = {f: f.read_bytes() for f in run.rglob("*") if f.is_file() and f.name != LOCK}
        got = apart("nanouft.train", "--resume", "run", cwd=here)
        one_error(got.returncode, got.stderr, f"run: process {os.getpid()}, since ", "works there")
        assert {f: f.read_bytes() for f in before} == before
    (run / LOCK).symlink_to(here / "precious")
    (here / "precious").write_text("kept")
    one_error(call(train.main, "--resume", "run"), capsys.readouterr().err, LOCK, "symbolic link")
    assert (here / "precious").read_text() == "kept", "a lock that is a link is not followed"
    (here / "new").mkdir()
    (here / "text.txt").write_text("dova and zil live in a house. " * 1000)
    for main, argv in ((train.main, flags(tiny_base, "sft", "new")),
                       (reward.main, ["--init", tiny_base, "--rows", 8]),
                       (pretrain.main, ["--corpus", "text.txt", "--steps", 1, "--tokens", 128])):
        with locked(here / "new" / LOCK):
            code = call(main, *argv, *([] if "--out" in argv else ["--out", "new"]))
        one_error(code, capsys.readouterr().err, "new: process", "works there")
        assert not list((here / "new").iterdir())
    assert call(main, *argv, "--out", "new") == 0 and not (here / "new" / LOCK).exists()


def test_what_kills_left_behind_goes(run, half_done, here, tiny_base):
    shutil.copytree(run / "steps" / "10", run / "steps" / "5")
    shutil.copytree(run / "steps" / "10", run / "steps" / "partial-15")
    (run / "eval.json").write_text("{")
    finishes(run, half_done)
    assert sorted(f.name for f in (run / "steps").iterdir()) == ["10", "20"]
    (here / "new").mkdir()
    for name in (LOCK, "run.json.partial"):
        (here / "new" / name).write_text("{")
    assert call(train.main, *flags(tiny_base, "sft", "new")) == 0
    assert not [f.name for f in (here / "new").iterdir() if f.name in (LOCK, "run.json.partial")]


@pytest.mark.parametrize("where", ["curves", "print"])
def test_a_run_that_was_killed_after_its_last_step_still_prints_its_table(
        where, run, half_done, brief, capsys):
    def kill(*args, **kw):
        raise KeyboardInterrupt
    with brief.context() as now:
        now.setattr(plots if where == "curves" else report, "curves" if where == "curves"
                    else "next_steps", kill)
        assert call(train.main, "--resume", run) == 130
    assert (run / "model.safetensors").exists()
    capsys.readouterr()
    made = []
    brief.setattr(plots, "curves", made.append)
    finishes(run, half_done)
    out = capsys.readouterr().out
    assert made == [run] and (run / "samples.md").exists() and "before  " in out \
        and "after   " in out
    assert read_json(run / "eval.json").keys() >= {"before", "after"}
    assert call(train.main, "--resume", run) == 2, "now it is finished"


HELD = {"held_out": {"nll": 1.0}, "samples": []}
ODD = [None, 5, [5], {"a": [5]}, {"held_out": 5, "samples": []}, HELD | {"samples": [{}]},
       HELD | {"held_out": {"nll": [5]}}, HELD | {"families": {"list": {"score": 1}}}]


@pytest.mark.parametrize("lost", [False, *ODD])
def test_before_is_the_start_model_and_is_measured_once(lost, run, half_done, monkeypatch):
    """It is measured again if eval.json does not hold it."""
    if lost is not False:
        edit(run / "eval.json", before=lost)
    lost = lost is not False
    looks, real = [], report.evaluate
    monkeypatch.setattr(report, "evaluate", lambda *args: looks.append(1) or real(*args))
    finishes(run, half_done)
    assert len(looks) == 1 + lost
    result, whole = (read_json(f / "eval.json") for f in (run, half_done / "whole"))
    assert result["before"] == whole["before"] != whole["after"]


# ---- what cannot be resumed is one line ----------------------------------------------------------
def test_resume_says_no_in_one_line(run, half_done, here, tiny_base, capsys):
    def says(*words, argv=("--resume", "run")):
        capsys.readouterr()
        one_error(call(train.main, *argv), capsys.readouterr().err, *words)

    says("finished", "--init", argv=("--resume", half_done / "whole"))
    says("none", "run.json", "no such file", argv=("--resume", "none"))
    says("not made by nanouft.train", argv=("--resume", tiny_base))
    says("no other flag", "--lr", argv=("--resume", "run", "--lr", "1"))
    says("no other flag", "--objective", argv=("--objective", "sft", "--resume", "run"))
    says("--resume", "expected one argument", argv=("--resume",))
    says("not finished", "--resume", argv=("--init", "run", "--steps", 1))
    about = read_json(run / "run.json")
    for edit in ({"from": {}}, {"config": about["config"] | {"lr": None}}):
        (run / "run.json").write_text(json.dumps(about | edit))
        says("run.json: edited", "learning rate")
    for text in ("", "[]"):
        (run / "run.json").write_text(text)
        says("run.json")


def test_other_data_or_another_start_cannot_go_on_exactly(here, tiny_base, capsys):
    file = lines(here / "pairs.jsonl", PAIRS)
    assert call(train.main, "--init", tiny_base, "--objective", "dpo", "--data", file, "--steps", 4,
                "--save-every", 2, "--out", "run", *QUICK) == 0
    write_json(here / "run" / "eval.json", {})                 # as if it had been killed at its end
    lines(file, PAIRS[:-1] + [{**PAIRS[-1], "chosen": "something else"}])
    capsys.readouterr()
    one_error(call(train.main, "--resume", "run"), capsys.readouterr().err, "data", "changed",
              "new run")
    lines(file, PAIRS)
    assert call(train.main, "--resume", "run") == 0


# ---- what is made once ---------------------------------------------------------------------------
def test_what_is_made_once_is_whole_or_not_there(tmp_path):
    folder, made = tmp_path / "models" / "m", []

    def make(place, at=None):
        made.append(place)
        (at or place).mkdir()
        ((at or place) / "model.safetensors").write_text("theirs" if at else "ours")

    def broken(place):
        place.mkdir()
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        made_once(folder, broken)
    assert not list(folder.parent.iterdir()), "half a model leaves nothing"
    assert made_once(folder, make) == made_once(folder, make) == folder and len(made) == 1 \
        and made[0] != folder
    (folder.parent / "n-1.partial").mkdir()  # left by a process that was killed; another one's
    (folder.parent / "n-2-3.partial").mkdir()
    made_once(folder.with_name("n"), make)
    assert sorted(f.name for f in folder.parent.iterdir()) == ["m", "n", "n-2-3.partial"]
    other = made_once(tmp_path / "other", lambda place: make(place)
                      or make(place, tmp_path / "other"))
    assert (other / "model.safetensors").read_text() == "theirs", \
        "of two processes the first one's stays"
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "letter.txt").write_text("dear")
    with pytest.raises((OSError, UserError)):
        made_once(tmp_path / "taken", make)
    assert sorted(f.name for f in tmp_path.iterdir()) == ["models", "other", "taken"]


def test_of_two_that_make_the_same_one_waits(tmp_path, capsys):
    began, made = threading.Event(), []

    def make(place):
        made.append(place)
        began.set()
        time.sleep(0.5)
        place.mkdir()
        (place / "model.safetensors").touch()
    other = threading.Thread(target=made_once, args=(tmp_path / "m", make))
    other.start()
    began.wait()
    assert (made_once(tmp_path / "m", make) / "model.safetensors").exists() and len(made) == 1
    other.join()
    assert f"m: process {os.getpid()}, since" in (err := capsys.readouterr().err) \
        and err.count("waiting") == 1
    assert [f.name for f in tmp_path.iterdir()] == ["m"]


# ---- the disk ------------------------------------------------------------------------------------
def test_a_full_disk_is_one_line_and_the_last_step_survives(run, half_done, here):
    """The operating system refuses files of more than 300 kB: a step's weights have 250, the
    optimizer's state 500."""
    resource = pytest.importorskip("resource")
    shutil.rmtree(run / "steps" / "20")
    got = apart("nanouft.train", "--resume", "run", cwd=here,
                prepare=partial(resource.setrlimit, resource.RLIMIT_FSIZE, (300_000, 300_000)))
    one_error(got.returncode, got.stderr, "File too large", "optimizer.safetensors", "make room")
    assert checkpoints.whole_steps(run) == [10]
    assert not list(run.rglob("partial*")), "half a step does not fill the disk"
    finishes(run, half_done)


def test_a_full_disk_at_the_log_or_at_the_end(here, tiny_base, capsys, monkeypatch):
    def full(place, *a, **k):
        if place.__class__ is not Log:
            place.mkdir()                           # the folder of the model that is half written
        raise OSError(28, "No space left on device", "metrics.jsonl")
    for out, cls, name, words in (("a", Log, "write", "metrics.jsonl"),
                                  ("b", save, "write_gpt", "last saved step")):
        with monkeypatch.context() as m:
            m.setattr(cls, name, full)
            code = call(train.main, *flags(tiny_base, "sft", out))
        one_error(code, capsys.readouterr().err, words, "No space")
    assert checkpoints.whole_steps(here / "b") == [10, 20] \
        and not list((here / "b").rglob("partial*"))
    assert call(train.main, "--resume", "a") == call(train.main, "--resume", "b") == 0
    assert (here / "a/model.safetensors").read_bytes() \
        == (here / "b/model.safetensors").read_bytes()
