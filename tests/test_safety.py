"""What is kept of a run: damaged steps are left out, it goes on only with what it began with, and
nothing that is not finite is kept. test_ends.py has all ways in which a run may end."""
import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch
from commands import dpo as run
from commands import is_whole, whole_and_half
from made import NANO, killed_in_step, nano, one_error
from safetensors.torch import load_file, save_file

from nanouft import train
from nanouft.data.batches import encode
from nanouft.data.rows import Row
from nanouft.loop import Device, Step, grad_scaler
from nanouft.models import folders
from nanouft.models.folders import read_tokenizer, save_model, start_model
from nanouft.models.tokenizer import Turn
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import Diverged, UserError
from nanouft.plumbing.files import read_json
from nanouft.run import checkpoint
from nanouft.run.checkpoint import Log, load_step, save_step
from nanouft.run.folder import AS_WELL, check_resume, fingerprint, new_folder, read_lines

SCALER = grad_scaler(Device())          # of fp32, which scales nothing


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a start model, a whole run, and one that was killed in its fifth step."""
    folder = tmp_path_factory.mktemp("safe")
    whole_and_half(folder, 5)
    with open(folder / "half" / "metrics.jsonl", "a", encoding="utf-8") as log:
        log.write('{"step": 5, "lo')
    return folder


def is_whole_and_clean(found, place) -> None:
    is_whole(found, place)
    left = [f.name for f in found.rglob("*") if "partial" in f.name]
    assert not left, f"left over: {left}"


@pytest.fixture
def half(place):
    """The run that was killed."""
    shutil.rmtree(place / "run", ignore_errors=True)
    return shutil.copytree(place / "half", place / "run")


# ---- steps ---------------------------------------------------------------------------------------
DAMAGES = [Path.unlink, lambda file: file.write_bytes(b""),
           lambda file: file.write_bytes(file.read_bytes()[:-9]),
           lambda file: file.write_bytes(b"x" + file.read_bytes())]
if hasattr(os, "mkfifo"):
    DAMAGES.append(lambda file: file.unlink() or os.mkfifo(file))


def test_a_step_is_believed_only_if_it_is_whole_and_of_its_number(half, place, capsys):
    """Else it is said, and the run goes on after the step before it."""
    folder, model = half / "steps" / "4", start_model(str(place / "start"))[0]
    about, tensors = read_json(folder / "step.json"), load_file(folder / "optimizer.safetensors")
    whole = {file: file.read_bytes() for file in folder.iterdir()}

    def loaded() -> int:
        return load_step(half, model, torch.optim.AdamW(model.parameters()), SCALER)

    def refused() -> None:
        assert loaded() == 2
        assert "steps/4: damaged" in capsys.readouterr().out.replace(os.sep, "/")
        for file, data in whole.items():
            file.unlink(missing_ok=True)
            file.write_bytes(data)
    for file in whole:
        for damage in DAMAGES:
            damage(file)
            refused()
    assert len(whole) == 3 and loaded() == 4
    for change in ({"step": 5}, {"step": None}, {"updated": "x"}, {"updated": [0]}, {"scaler": 3}):
        checkpoint.write_json(folder / "step.json", about | change)
        refused()
    for name in ("0.step", "0.exp_avg"):
        x, others = tensors[name], {key: x for key, x in tensors.items() if key != name}
        for odd in ({}, {name: x * torch.nan}, {name: x.reshape(-1)[:1]}, {name: x.half()}):
            save_file(others | odd, folder / "optimizer.safetensors")
            refused()
    (folder / "model.safetensors").unlink()
    assert command(train.main, ["--resume", str(half)]) == 0
    assert "going on after step 2" in capsys.readouterr().out
    is_whole_and_clean(half, place)


def test_weights_of_another_shape_or_not_finite_are_no_step(half, place, tmp_path):
    model = nano()
    optimizer = torch.optim.AdamW(model.parameters())
    (tmp_path / "steps").mkdir()
    (tmp_path / "steps" / "3").touch()                  # what stands in the place of a step
    for step in (1, 2, 3, 10):
        save_step(tmp_path, step, model, optimizer, SCALER)
    kept = sorted(f.name for f in (tmp_path / "steps").iterdir())
    assert kept == ["10", "3"], "the two newest ones"
    model.ln_f.bias.data[0] = torch.nan
    with pytest.raises(Diverged, match=r"no longer finite after step 11 \(ln_f.bias\)"):
        save_step(tmp_path, 11, model, optimizer, SCALER)
    with pytest.raises(Diverged, match="no longer finite"):
        save_model(tmp_path, model, NANO)
    assert load_step(tmp_path, nano(5), optimizer, SCALER) == 10
    file = tmp_path / "steps" / "10" / "model.safetensors"
    bias = torch.full_like(model.ln_f.bias.data, torch.inf)         # as another program wrote it
    save_file(load_file(file) | {"ln_f.bias": bias}, file)
    assert load_step(tmp_path, nano(5), optimizer, SCALER) == 3
    assert load_step(half, nano(), optimizer, SCALER) == 0, "its shapes are others"


def test_a_run_goes_on_only_with_what_it_began_with(half, tmp_path, capsys):
    """And says so in one line. run.json may come from somebody else, so its reward is run only if
    it is named."""
    (tmp_path / "r.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\ndef f(**_): return 1")
    saved = read_json(half / "run.json")
    odd = (["--help"], ["--steps", "x"], ["--beta", "1"], ["--steps", "0"], 3, [3],
           ["--resume", str(half)])
    for change, words in (
            *(({"argv": argv}, "edited, damaged or of another") for argv in odd),
            ({"key": "other"}, "the data, the start model or the reward has changed"),
            ({"hp": {**saved["hp"], "lam": 0.7}}, "other hp than this version"),
            ({"config": {**saved["config"], "warmup": 0.7}}, "other config than this version"),
            ({"steps": saved["steps"] + 1}, "other steps than this version"),
            ({"argv": ["--lora", "1", "2"]}, "(train has no 2"),
            ({"argv": ["--init", "5"]}, "5: no model folder"),
            ({"argv": ["--data", "5"]}, "5: cannot be read (no such file)"),
            ({"argv": ["--objective", "dpp"]}, "unknown objective 'dpp'"),
            ({"argv": ["--objective", "rloo", "--reward", f"{tmp_path / 'r.py'}:f"]},
             "is done only if you name it")):
        (half / "run.json").write_text(json.dumps(saved | change))
        assert command(train.main, ["--resume", str(half)]) == 2
        assert words in one_error(capsys)
    assert not (tmp_path / "ran").exists()
    (half / "run.json").write_text(json.dumps(saved))
    for more in ("--lr 1", "--objective sft", "--init hub:me/x", "--data hub:me/x"):
        assert command(train.main, ["--resume", str(half), *more.split()]) == 2
        assert f"{more.split()[0]} was another" in one_error(capsys)


@pytest.mark.parametrize("file", ["pairs.jsonl", "held.jsonl", "start/model.safetensors",
                                  "aligned/model.safetensors"])
def test_a_run_goes_on_only_if_all_that_it_reads_is_as_it_was(file, place, tmp_path, capsys):
    """Rows, held-out rows, the start model, the models that its method reads: another content under
    the same name is another run."""
    for name in ("pairs.jsonl", "held.jsonl"):
        shutil.copy(place / "pairs.jsonl", tmp_path / name)
    for name in ("start", "aligned"):
        shutil.copytree(place / "start", tmp_path / name)
    with killed_in_step(3):
        assert command(train.main, run(
            tmp_path, "--eval-data", str(tmp_path / "held.jsonl"), "--objective", "poft",
            "--aligned", str(tmp_path / "aligned"))) == 130
    if file.endswith(".jsonl"):
        text = (tmp_path / file).read_text()
        (tmp_path / file).write_text(text.replace("oak", "elm"))
    else:
        weights = load_file(tmp_path / file)
        save_file({name: w + 1 for name, w in weights.items()}, tmp_path / file)
    capsys.readouterr()
    assert command(train.main, ["--resume", str(tmp_path / "run")]) == 2
    assert "the data, the start model or the reward has changed" in one_error(capsys)


@pytest.mark.parametrize("role", ["prompt", "answer"])
def test_any_field_belongs_to_a_run(role):
    """A reward may read it, or an objective of one's own."""
    def key(gold: str) -> str:
        said = (Turn("assistant", "b"),) if role == "answer" else ()
        rows, _ = encode([Row(roles={role: ((Turn("user", "a"),), said)}, extra={"gold": gold})],
                         NANO, 64)
        return fingerprint(nano(), rows)
    assert key("x") == key("x") != key("y")


def test_another_torch_or_device_is_named_when_a_run_goes_on(tmp_path, capsys):
    about = {"key": "k", "config": {}, "hp": {}, "steps": 4, "torch": "2.9", "device": "cpu fp32"}
    older = about | {"torch": "2.6", "config": dict.fromkeys(["resume", *AS_WELL])}
    (tmp_path / "run.json").write_text(json.dumps(older))
    (tmp_path / "metrics.jsonl").write_text("")
    check_resume(tmp_path, about)
    assert "torch 2.9 in place of 2.6" in capsys.readouterr().out


# ---- rollouts ------------------------------------------------------------------------------------
def test_a_run_is_saved_between_two_rollouts(place, tmp_path):
    """Whatever --save-every says. Each rollout makes two steps."""
    line = ("--objective grpo --rows 8 --batch-size 2 --minibatches 2 --samples 2 --max-new 4 "
            "--steps 6 --lr 1e-3 --plain --threads 1 --device cpu --save-every 3")
    with killed_in_step(6):
        assert command(train.main, [*line.split(), "--init", str(place / "start"), "--out",
                                    str(tmp_path / "run")]) == 130
    assert [f.name for f in (tmp_path / "run" / "steps").iterdir()] == ["4"]


def test_saving_takes_no_more_than_a_tenth_of_the_time(place, tmp_path, monkeypatch):
    """Of a model whose saving takes half a second, the next one comes 4.5 seconds later."""
    saved, real = [], checkpoint.save_step

    def slow(folder, step, *told):
        saved.append(step)
        time.sleep(0.5)
        real(folder, step, *told)
    monkeypatch.setattr(checkpoint, "save_step", slow)
    argv = [*run(place, "--steps", "110", "--out", str(tmp_path / "run"))]
    at = argv.index("--save-every")
    assert command(train.main, argv[:at] + argv[at + 2:]) == 0
    assert saved == [50]


def test_a_clock_that_is_set_back_stops_no_saves(place, monkeypatch, capsys):
    """By an hour, in the middle of a run."""
    shutil.rmtree(place / "run", ignore_errors=True)
    saved, save_step, clock = [], checkpoint.save_step, [time.time()]
    monkeypatch.setattr(checkpoint, "save_step", lambda *x: saved.append(x[1]) or save_step(*x))
    monkeypatch.setattr(time, "time", lambda: clock.append(clock[-1] - 3600) or clock[-1])
    assert command(train.main, run(place, "--save-every", "1")) == 0
    assert saved == [1, 2, 3, 4]


# ---- the log -------------------------------------------------------------------------------------
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_line_for_which_there_is_no_room_is_written_whole_later(tmp_path):
    """Never a half, in whose middle the next line would begin."""
    import resource  # not on Windows

    def full() -> None:
        log = Log(tmp_path / "metrics.jsonl", 0, Device())
        for number in (1, 2, 3):
            log.add(Step(number, {"loss": torch.tensor(0.5)}, torch.tensor(1.0), 1e-3, 1, 1), {})
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
        with pytest.raises(OSError):
            log.flush()
        assert [x["step"] for x in read_lines(log.file)] == [1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        log.flush()
        assert [x["step"] for x in read_lines(log.file)] == [1, 2, 3]
    if not (number := os.fork()):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            full()
        except BaseException:
            os._exit(1)
        os._exit(0)
    assert os.waitpid(number, 0)[1] == 0


@pytest.mark.parametrize("value", [torch.inf, -torch.inf, torch.nan])
def test_a_loss_that_is_not_finite_stops_the_run(value, tmp_path):
    log = Log(tmp_path / "metrics.jsonl", 0, Device())
    for number, loss in ((1, 0.5), (2, value)):
        log.add(Step(number, {"loss": torch.tensor(loss)}, torch.tensor(1.0), 1e-3, 1, 1), {})
    with pytest.raises(Diverged, match="loss is .* at step 2: the run diverged; lower --lr"):
        log.flush()
    assert [x["step"] for x in read_lines(tmp_path / "metrics.jsonl")] == [1], "what was whole"


def test_a_metric_that_a_step_lacks_is_written_where_it_is_there(tmp_path):
    log = Log(tmp_path / "metrics.jsonl", 0, Device())
    for number, more in enumerate(({}, {"gain": torch.tensor(2.0)}, {"other": 3}), 1):
        sums = {"loss": torch.tensor(number / 2), **more}
        log.add(Step(number, sums, torch.tensor(1.0), 1e-3, 1, 1), {})
    log.flush()
    lines = read_lines(tmp_path / "metrics.jsonl")
    assert [(x["loss"], x["grad_norm"], x.get("gain"), x.get("other")) for x in lines] == [
        (0.5, 1, None, None), (1, 1, 2, None), (1.5, 1, None, 3)]


def test_held_out_figures_stay_in_the_log_of_a_run_that_goes_on(place, tmp_path, capsys):
    """And the best of them is named, also of those before it was stopped."""
    with killed_in_step(4):
        assert command(train.main, run(place, "--eval-every", "1", "--out", str(tmp_path / "run"))
                       ) == 130
    assert command(train.main, ["--resume", str(tmp_path / "run")]) == 0
    log = read_lines(tmp_path / "run" / "metrics.jsonl")
    for what in ("loss", "held_out"):
        assert [x["step"] for x in log if what in x] == [1, 2, 3, 4, 5]
    figures = [x["held_out"]["accuracy"] for x in log if "held_out" in x]
    best = 1 + figures.index(max(figures))
    assert f"held-out accuracy was highest at step {best} of 5\n" in capsys.readouterr().out


def test_numbers_are_read_every_ten_steps_or_every_five_seconds(tmp_path):
    """The loss of a slow model is seen from the first step on, of IFT what SFT shows too."""
    log = Log(tmp_path / "metrics.jsonl", 0, Device())
    sums = {"loss": torch.tensor(9.0), "nll_mixed": torch.tensor(2.0)}
    due = []
    for number in range(1, 21):
        log.clock -= 6 * (number == 3)                  # as if that step had taken six seconds
        log.add(Step(number, sums, torch.tensor(1.0), 1e-3, 5, 1000), {})
        if log.is_due():
            due.append(number)
            text = log.flush()
            assert text.startswith("nll 2.000 on blended inputs, ") and text.endswith(" tok/s")
    assert due == [3, 10, 20] and len(read_lines(tmp_path / "metrics.jsonl")) == 20


def test_a_run_that_diverges_ends_in_one_line(place, capsys):
    shutil.rmtree(place / "run", ignore_errors=True)
    assert command(train.main, run(place, "--lr", "1e30")) == 2
    err = capsys.readouterr().err.splitlines()[-1]
    assert err.startswith("error: ") and "lower --lr" in err
    assert not (place / "run" / "model.safetensors").exists()


# ---- folders -------------------------------------------------------------------------------------
def test_a_model_that_is_saved_in_half_precision_takes_half(tmp_path):
    save_model(tmp_path, nano(), NANO, half=True)
    assert {w.dtype for w in load_file(tmp_path / "model.safetensors").values()} == {torch.float16}
    assert start_model(str(tmp_path))[0].wte.weight.dtype == torch.float32


def test_a_folder_that_has_weights_has_all_of_a_model(tmp_path, monkeypatch):
    """Wherever writing it was interrupted: by its weights a first model is known as made."""
    real, model = folders.rename, nano()
    for moved in range(4):                              # of five files
        left = iter(range(moved))

        def rename(*told):
            if next(left, None) is None:
                raise KeyboardInterrupt
            real(*told)
        monkeypatch.setattr(folders, "rename", rename)
        folder = tmp_path / str(moved)
        folder.mkdir()
        with pytest.raises(KeyboardInterrupt):
            save_model(folder, model, NANO)
        assert not (folder / "model.safetensors").exists() or start_model(str(folder))


def test_a_taken_name_gets_a_number_and_one_that_is_given_is_an_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert [str(new_folder(None, "dpo").as_posix()) for _ in range(3)] \
        == ["out/dpo", "out/dpo-2", "out/dpo-3"]
    (tmp_path / "mine").mkdir()
    assert new_folder("mine", "dpo").name == "mine", "an empty folder is free"
    (tmp_path / "mine" / "x").touch()
    with pytest.raises(UserError, match="--out mine: exists and is not an empty folder"):
        new_folder("mine", "dpo")


TEXTS = {"run.json": ["", "[1]", "{}", '{"config": 3}', "\xff"], "eval.json": ['{"after": 3}'],
         "metrics.jsonl": ["x", "[1]", '{"step": "1"}', '{"step": 1}', '{"loss": 1}']}


@pytest.mark.parametrize("file, text", [(file, text) for file in TEXTS for text in TEXTS[file]])
def test_a_damaged_text_is_one_line(file, text, half, capsys):
    (half / file).write_bytes(text.encode("latin-1") + b"\n")
    assert command(train.main, ["--resume", str(half)]) == 2
    assert one_error(capsys).startswith(f"error: {half / file}")


def test_an_adapter_that_a_killed_run_left_is_replaced(tmp_path):
    class Adapted(type(nano())):
        def save_pretrained(self, folder, end):
            (folder / "adapter").mkdir()
            (folder / "adapter" / "new").touch()
            folders.write_gpt(folder, self, end)
    model = nano()
    model.__class__ = Adapted
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "old").touch()
    save_model(tmp_path, model, NANO)
    assert [f.name for f in (tmp_path / "adapter").iterdir()] == ["new"]
    assert read_tokenizer(tmp_path).n_vocab == NANO.n_vocab
