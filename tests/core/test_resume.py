"""Kill a run anywhere, resume it, and get the weights of the run that was never killed, bit for bit."""
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from running import PAIRS, QUICK, SMALL, call, command, environment, lines, metrics, one_error
from safetensors.torch import load_file, save_file

from nanouft.shell.files import write_json
from nanouft.shell.log import Log
from nanouft import train
from nanouft.look import report
from nanouft.shell import runs

# Started as a process of its own, so that it can be killed. It waits a little in every step, inside the data fence.
SLOW_STEPS = """
import sys, time
from nanouft import train
from nanouft.shell import config
collate = train.collate
train.collate = lambda *a, **k: (time.sleep(0.03), collate(*a, **k))[1]
sys.exit(config.run(train.main, sys.argv[1:]))
"""


def flags(tiny_base, objective: str, out) -> list[str]:
    return ["--init", str(tiny_base), "--objective", objective, "--steps", "25", "--rows", "40", "--batch-size", "8",
            "--lr", "0.003", "--save-every", "10", "--eval-every", "4", "--out", str(out), *QUICK,
            *RANDOM.get(objective, [])]


def in_a_step(run) -> bool:
    return runs.whole_steps(run) == [10] and (run / "metrics.jsonl").read_text().count("\n") >= 14


def in_a_write(run) -> bool:
    return (run / "steps" / "partial-20" / "model.safetensors").exists()


def before_latest(run) -> bool:
    return (run / "steps" / "20").exists() and (run / "steps" / "latest").read_text() == "10"


CASES = {"a step": ("ift", in_a_step, 0), "a write": ("sft", in_a_write, 1), "before latest": ("dpo", before_latest, 1)}
RANDOM = {"ift": ["--residual", "replace", "--lam", "0.5", "--lam-noise", "0.3"]}        # draws that belong to a step


@pytest.fixture(scope="module")
def killed(tiny_base, tmp_path_factory):
    """{case: folder of a run that was killed there}; all of them run at the same time."""
    place = tmp_path_factory.mktemp("killed")
    processes = {}
    for case, (objective, _, slow) in CASES.items():
        argv = [sys.executable, "-c", SLOW_STEPS, *flags(tiny_base, objective, place / case)]
        processes[case] = subprocess.Popen(argv, env=environment(NANOUFT_SLOW_WRITE=slow), start_new_session=True,
                                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    waiting, end = dict(processes), time.time() + 100
    try:
        while waiting and time.time() < end:
            for case, process in list(waiting.items()):
                assert process.poll() is None, f"the run that was to be killed in {case} ended by itself"
                try:
                    ready = CASES[case][1](place / case)
                except OSError:                                 # looked while it wrote
                    ready = False
                if ready:
                    os.kill(process.pid, signal.SIGKILL)
                    process.wait()
                    del waiting[case]
            time.sleep(0.01)
        assert not waiting, f"never came to: {list(waiting)}"
    finally:
        for process in processes.values():
            if process.poll() is None:
                process.kill()
                process.wait()
    return {case: place / case for case in CASES}


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
@pytest.mark.parametrize("case", CASES)
def test_killed_and_resumed_is_bit_equal(case, killed, tiny_base, here, capsys):
    objective, _, _ = CASES[case]
    run, whole = killed[case], here / "whole"
    left = {"a step": [10], "a write": [10], "before latest": [10, 20]}[case]
    assert runs.whole_steps(run) == left and not (run / "model.safetensors").exists()
    before = json.loads((run / "eval.json").read_text(encoding="utf-8"))["before"]

    assert call(train.main, "--resume", run) == 0
    assert f"going on after step {left[-1]}" in capsys.readouterr().out
    assert call(train.main, *flags(tiny_base, objective, whole)) == 0
    assert (run / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert (run / "metrics.jsonl").read_text() == (whole / "metrics.jsonl").read_text()
    for file in ("model.safetensors", "optimizer.safetensors", "step.json"):
        for step in ("10", "20"):
            assert (run / "steps" / step / file).read_bytes() == (whole / "steps" / step / file).read_bytes()
    result, wanted = (json.loads((f / "eval.json").read_text(encoding="utf-8")) for f in (run, whole))
    assert result["before"] == wanted["before"] == before and result["after"] == wanted["after"]
    assert not list(run.rglob("partial*")) and (run / "steps" / "latest").read_text() == "20"


def test_a_step_appears_at_once_and_whole(tmp_path, monkeypatch):
    """Everything is in the folder before the one rename that gives it its name; only then does `latest` move."""
    model = runs.GPT(SMALL, seed=0)
    optimizer, seen, real = torch.optim.AdamW(model.parameters()), [], os.rename

    def rename(old, new):
        seen.append(sorted(f.name for f in old.iterdir()))
        assert not new.exists() and not (tmp_path / "steps" / "latest").exists()
        real(old, new)
    monkeypatch.setattr(runs.os, "rename", rename)
    monkeypatch.setattr(runs, "_flush", lambda folder: seen.append("flush"))
    runs.save_step(tmp_path, 3, model, optimizer, {})
    assert seen == ["flush", ["model.safetensors", "optimizer.safetensors", "step.json"]]
    monkeypatch.setattr(runs.os, "rename", real)
    for step in (4, 5):
        runs.save_step(tmp_path, step, model, optimizer, {})
    assert runs.whole_steps(tmp_path) == [4, 5], "the two newest stay"


# ---- what a resumed run may find -------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def half_done(tiny_base, tmp_path_factory):
    """(an unfinished run with steps 10 and 20 saved and logged up to 23, the finished weights it should come to)."""
    place = tmp_path_factory.mktemp("half")
    assert call(train.main, *flags(tiny_base, "sft", place / "whole")) == 0
    shutil.copytree(place / "whole", place / "run")
    run = place / "run"
    for file in ("model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json", "curves.png",
                 "samples.md"):
        (run / file).unlink()
    before = json.loads((run / "eval.json").read_text(encoding="utf-8"))["before"]
    write_json(run / "eval.json", {"before": before})
    log = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join(log[:-3]))
    return place


@pytest.fixture
def run(half_done, here):
    shutil.copytree(half_done / "run", here / "run")
    return here / "run"


def finishes(run, half_done) -> None:
    assert call(train.main, "--resume", run) == 0
    for file in ("model.safetensors", "metrics.jsonl"):
        assert (run / file).read_bytes() == (half_done / "whole" / file).read_bytes(), file


def cut(file) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def flip(file) -> None:
    """One bit, somewhere in the numbers: safetensors itself would read it."""
    data = bytearray(file.read_bytes())
    data[-1000] ^= 1
    file.write_bytes(bytes(data))


def other_shape(file) -> None:
    weights = load_file(file)
    weights["wpe.weight"] = weights["wpe.weight"][:7].clone()
    save_file(weights, file)
    step = json.loads((file.parent / "step.json").read_text())
    step["sha256"][file.name] = runs._checksum(file)
    (file.parent / "step.json").write_text(json.dumps(step))


@pytest.mark.parametrize("damage, file", [
    (cut, "model.safetensors"), (cut, "optimizer.safetensors"), (flip, "model.safetensors"),
    (flip, "optimizer.safetensors"), (other_shape, "model.safetensors"),
    (lambda f: f.unlink(), "optimizer.safetensors"), (lambda f: f.unlink(), "step.json"),
    (lambda f: f.write_text("{"), "step.json"), (lambda f: f.write_text("[1]"), "step.json"),
    (lambda f: f.write_text("{}"), "step.json"), (lambda f: f.write_bytes(b""), "model.safetensors")])
def test_a_damaged_step_is_announced_and_left_out(damage, file, run, half_done, capsys):
    damage(run / "steps" / "20" / file)
    finishes(run, half_done)
    out = capsys.readouterr().out
    assert "steps/20: damaged" in out and "going on after step 10" in out


def test_with_every_step_damaged_it_starts_again(run, half_done, capsys):
    other_shape(run / "steps" / "10" / "model.safetensors")
    cut(run / "steps" / "20" / "optimizer.safetensors")
    finishes(run, half_done)
    assert "from the beginning" in capsys.readouterr().out


@pytest.mark.parametrize("tail", ['{"step": 24, "lo', "nonsense\n", "7\n", '{"loss": 1}\n', "\xff\xfe"])
def test_a_half_written_line_is_cut_off(tail, run, half_done):
    with open(run / "metrics.jsonl", "a", encoding="latin-1") as f:
        f.write(tail)
    finishes(run, half_done)


def test_before_is_the_start_model_and_is_not_measured_twice(run, half_done, monkeypatch):
    looks, real = [], report.look

    def look(*args):
        looks.append(1)
        return real(*args)
    monkeypatch.setattr(report, "look", look)
    finishes(run, half_done)
    assert len(looks) == 1, "only the evaluation after training"
    before = json.loads((half_done / "whole" / "eval.json").read_text(encoding="utf-8"))["before"]
    assert json.loads((run / "eval.json").read_text(encoding="utf-8"))["before"] == before


def test_before_is_measured_on_the_start_model_where_it_was_lost(run, half_done):
    (run / "eval.json").unlink()
    finishes(run, half_done)
    results = [json.loads((f / "eval.json").read_text(encoding="utf-8")) for f in (run, half_done / "whole")]
    assert results[0]["before"] == results[1]["before"] != results[1]["after"]


# ---- what cannot be resumed is one line ------------------------------------------------------------------------------
def test_resume_says_no_in_one_line(run, half_done, here, tiny_base, capsys):
    def says(*words, argv=("--resume", "run")):
        capsys.readouterr()
        return one_error(call(train.main, *argv), capsys.readouterr().err, *words)

    says("finished", "--init", argv=("--resume", half_done / "whole"))
    says("none", "run.json", "no such file", argv=("--resume", "none"))
    says("no such file", argv=("--resume", here))
    says("not made by nanouft.train", argv=("--resume", tiny_base))
    says("no other flag", "--lr", argv=("--resume", "run", "--lr", "1"))
    says("no other flag", "--objective", argv=("--objective", "sft", "--resume", "run"))
    says("no other flag", "again", argv=("--resume", "run", "again"))
    says("--resume", "expected one argument", argv=("--resume",))
    good = json.loads((run / "run.json").read_text(encoding="utf-8"))
    for text, word in (("", "run.json"), ('{"command": "tr', "run.json"), ("[]", "run.json"), ("\0", "run.json"),
                       (json.dumps({**good, "config": {"steps": 3, "speed": 9}}), "speed"),
                       (json.dumps({k: v for k, v in good.items() if k != "hp"}), "hp"),
                       (json.dumps({**good, "config": 3}), "damaged"),
                       (json.dumps({**good, "objective": "sftt"}), "sft?"),
                       (json.dumps({**good, "config": {**good["config"], "batch_size": 0}}), "batch-size")):
        (run / "run.json").write_text(text, encoding="utf-8")
        says(word)


def test_other_data_or_another_start_cannot_go_on_exactly(here, tiny_base, capsys):
    """The hash in run.json tells."""
    file = lines(here / "pairs.jsonl", PAIRS)
    assert call(train.main, "--init", tiny_base, "--objective", "dpo", "--data", file, "--steps", 4, "--save-every", 2,
                "--out", "run", *QUICK) == 0
    write_json(here / "run" / "eval.json", {})                 # as if it had been killed at its end
    lines(file, PAIRS[:-1] + [{**PAIRS[-1], "chosen": "something else"}])
    capsys.readouterr()
    one_error(call(train.main, "--resume", "run"), capsys.readouterr().err, "data", "changed", "new run")
    lines(file, PAIRS)
    assert call(train.main, "--resume", "run") == 0


def test_an_unfinished_run_is_no_start(run, capsys):
    one_error(call(train.main, "--init", "run", "--steps", 1), capsys.readouterr().err, "not finished", "--resume")


# ---- the disk --------------------------------------------------------------------------------------------------------
def test_a_full_disk_is_one_line_and_the_last_step_survives(here, tiny_base, capsys, monkeypatch):
    real, calls = runs.save_file, []

    def save_file(tensors, file):
        calls.append(file)
        if len(calls) == 4:                                         # the optimizer's file of the second step
            file.write_bytes(b"half")
            raise runs.SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
        real(tensors, file)
    monkeypatch.setattr(runs, "save_file", save_file)
    code = call(train.main, *flags(tiny_base, "sft", "run"))
    one_error(code, capsys.readouterr().err, "No space left", "optimizer.safetensors", "make room")
    run = here / "run"
    assert runs.whole_steps(run) == [10] and not list(run.rglob("partial*")), "half a step does not fill the disk"
    monkeypatch.setattr(runs, "save_file", real)
    assert call(train.main, "--resume", run) == 0 and len(metrics(run)) == 25 + 6


def test_a_full_disk_at_the_log_or_at_the_end(here, tiny_base, capsys, monkeypatch):
    def full(*a, **k):
        raise OSError(28, "No space left on device", "metrics.jsonl")
    with monkeypatch.context() as m:
        m.setattr(Log, "write", full)
        one_error(call(train.main, *flags(tiny_base, "sft", "a")), capsys.readouterr().err, "metrics.jsonl", "No space")
    with monkeypatch.context() as m:
        m.setattr(runs.GPT, "save_pretrained", full)
        code = call(train.main, *flags(tiny_base, "sft", "b"))
        one_error(code, capsys.readouterr().err, "No space", "last saved step")
    assert runs.whole_steps(here / "b") == [10, 20] and not list((here / "b").rglob("partial*"))
    assert call(train.main, "--resume", "a") == call(train.main, "--resume", "b") == 0
    assert (here / "a/model.safetensors").read_bytes() == (here / "b/model.safetensors").read_bytes()


def test_a_real_limit_on_file_size(here, tiny_base):
    """The operating system refuses to write more than 200 kB: the weights of a step are 250."""
    resource = pytest.importorskip("resource")
    got = command("nanouft.train", *flags(tiny_base, "sft", "run"), cwd=here,
                  preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000)))
    one_error(got.returncode, got.stderr, "File too large", "make room")
    assert runs.whole_steps(here / "run") == []
