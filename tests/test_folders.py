"""A resumed run knows its inputs by their content, and from a damaged folder it reaches the same
bytes or ends with a one-line error. test_interrupted.py has all ways in which a run may end.

tests/recorded/resume.txt has this rule as a table. A `$ ` line names a kind of run (RUNS) that was
killed in its third step, what was changed then, and how it is resumed. Below it is what --resume
says.
"""
import json
import os
import re
import shlex
import shutil
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_all_start_methods, get_context
from pathlib import Path
from types import SimpleNamespace

import golden
import pytest
import torch
from commands import OF_RUN, dpo, is_like, no_pictures
from made import NANO, killed_in_step, nano, one_error
from safetensors import safe_open
from safetensors.torch import load, save

from nanouft import reward, train
from nanouft.compare.inputs import short_hash
from nanouft.compare.splits import draw_keys, split_rows
from nanouft.data.batches import Encoded, encode
from nanouft.data.holdout import question_keys
from nanouft.data.rows import Row
from nanouft.device import Device
from nanouft.models import folders
from nanouft.models.folders import save_model, start_model
from nanouft.models.tokenizer import Turn
from nanouft.objectives import OBJECTIVES
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import Diverged, UserError
from nanouft.plumbing.files import hash_of_file, remove, write_json
from nanouft.run import checkpoint
from nanouft.run.checkpoint import CHECKPOINT, Log, Recorder, load_step, save_step, saved_step
from nanouft.run.config import RunConfig
from nanouft.run.folder import hash_of_encoded, lock_when_free, locked, new_folder, read_lines
from nanouft.train import Step

SCALER = Device().grad_scaler()          # of fp32, which scales nothing
RUNS = {
    "dpo": "",
    "keeps": "--eval-every 2 --keep best",
    "poft": "--objective poft --aligned aligned --eval-data held.jsonl --eval-every 2",
    "judged": "--objective grpo --reward judge --max-new 4",
    "rated": "--objective grpo --reward mine.py:f --max-new 4",
    "mine": "--objective mine.py",
    "kto": "--objective kto --data even.jsonl"}
NAMED = {"rated": "--reward mine.py:f", "mine": "--objective mine.py"}
MINE = """from nanouft.objectives.dpo import DPO
from my_parts import size

class Mine(DPO):
    beta: float = size

def f(completions):
    return [len(x) * size for x in completions]
"""
CANNOT = ", or delete it: {} was interrupted there and cannot be resumed"
STOPPED = {                             # what a kill has left, or the end of a run; what to do
    "reward": ({"run.json": {"command": "reward"}, "model.safetensors": {}},
               CANNOT.format("reward")),
    "base": ({"run.json": {"command": "pretrain"}}, CANNOT.format("pretrain")),
    "hf": ({"checkpoint-5/trainer_state.json": {}, "checkpoint-10/trainer_state.json": {},
            "checkpoint-15/config.json": {}}, ", or add --resume_from_checkpoint hf/checkpoint-10"),
    "made": ({"run.json": {"command": "reward"}, "eval.json": {}}, ""),
    "mine": ({"run.json": {"command": "train"}, "x": {}}, ""),
    "run": ({}, ", or resume its run: python -m nanouft.train --resume run"),
    "whole": ({}, "")}


# ---- what a run goes on with ---------------------------------------------------------------------
@pytest.fixture(scope="module")
def place(belongings, tmp_path_factory):
    """A folder with models, rows and code; we are in it."""
    folder, before = tmp_path_factory.mktemp("folders"), os.getcwd()
    shutil.copytree(belongings, folder, dirs_exist_ok=True)
    os.chdir(folder)
    shutil.rmtree("run")
    shutil.copy("pairs.jsonl", "held.jsonl")
    for text in ("chat_template.jinja", "model-00002-of-00002.safetensors"):
        Path("start", text).write_text("oak")           # transformers has weights in such shards
    for model in ("aligned", "judge"):
        shutil.copytree("start", model)
    Path("mine.py").write_text(MINE)
    Path("my_parts").mkdir()
    Path("my_parts/__init__.py").write_text("from my_parts.sizes import size\n")
    for file in ("my_parts/sizes.py", "other.py"):
        Path(file).write_text("size = 0.25\n")
    Path("code.py").write_text("open('ran', 'w')\n")
    with no_pictures():
        assert command(train.main, dpo(Path(), out="whole")) == 0
        yield folder
    os.chdir(before)


@pytest.fixture
def killed(place, monkeypatch):
    """killed(kind): the folder `run` is a run of this kind that was killed."""
    monkeypatch.setattr("nanouft.scorers.reward_model", lambda *told: (
        lambda rows, texts: [float(len(text)) for text in texts]))
    monkeypatch.syspath_prepend(place)

    def copied(kind: str) -> Path:
        if not Path(f"killed_{kind}").exists():
            with killed_in_step(5 if kind == "dpo" else 3):
                line = dpo(Path(), *RUNS[kind].split(), out=f"killed_{kind}")
                assert command(train.main, line) == 130
        remove(Path("run"))
        return shutil.copytree(f"killed_{kind}", Path("run"))
    return copied


@pytest.fixture
def change(place):
    """change(how): sed |PATTERN|NOW| FILE; flip FILE, its last bit; printf TEXT > FILE; rm FILE;
    argv WORDS, those of the run. The file keeps its time, as out of an archive or a layer of a
    container. What is not of the run is as before after the test."""
    was = {}

    def changed(how: str) -> None:
        word, *told = shlex.split(how)
        file = Path("run/run.json" if word == "argv" else told[-1])
        times = file.stat() if file.exists() else None
        was[file] = content = file.read_bytes() if times else b""
        if word == "sed":
            _, pattern, now, _ = told[0].split("|")
            content, n = re.subn(pattern.encode(), now.encode(), content)
            assert n, how
        elif word == "flip":
            content = content[:-1] + bytes([content[-1] ^ 1])
        elif word == "printf":
            content = told[0].encode().decode("unicode_escape").encode("latin-1")
        elif word == "argv":
            content = json.dumps(json.loads(content) | {"argv": told}).encode()
        file.write_bytes(content)
        if times:
            os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
        if word == "rm":
            file.unlink()
    yield changed
    for file, content in was.items():
        if file.parts[0] != "run":
            file.write_bytes(content)


@pytest.mark.parametrize("typed", golden.read("resume"))
def test_a_run_goes_on_only_with_what_it_began_with(
        typed, killed, change, monkeypatch, capsys, recorded):
    """A run that may not go on says so in one line, before a model reads its rows; a run that may
    ends like the one that was never killed. No network is asked, and no code is run, that the
    command line does not name: run.json may come from somebody else."""
    for asked in ("nanouft.models.folders.download", "nanouft.data.files.hub_rows"):
        monkeypatch.setattr(asked, lambda *told, **how: pytest.fail("asked"))
    kind, how, flags = (typed + "; ; ").split("; ")[:3]
    run, read, real = killed(kind), [], train.source_of_steps
    monkeypatch.setattr(train, "source_of_steps", lambda *told: read.append(1) or real(*told))
    if how:
        change(how)
    capsys.readouterr()
    named = NAMED.get(kind, "")
    code = command(train.main, shlex.split(f"--resume run {named} {flags}"))
    if code == 2:
        said = one_error(capsys)
        assert not read or "changed since" not in said
    else:
        said = "\n".join(x for x in capsys.readouterr().out.splitlines()
                         if x.startswith("run: ") or "instead of" in x)
        assert code == 0 and (kind != "dpo" or flags or is_like(run, Path("whole")) is None)
    assert not Path("ran").exists()
    recorded("resume", typed, said)


def test_old_scores_of_a_run_that_is_not_complete_are_gone_at_once(killed):
    """Else a second kill would make it seem complete. --resume finishes a complete one again."""
    run = killed("dpo")
    for name in {*OF_RUN} - {"metrics.jsonl", "model.safetensors"}:
        shutil.copy(Path("whole", name), run)
    with killed_in_step(1):
        assert command(train.main, ["--resume", "run"]) == 130
    assert not (run / "eval.json").exists() and saved_step(run) == 4
    assert command(train.main, ["--resume", "run"]) == 0
    shutil.copy(Path("killed_dpo", CHECKPOINT), run)
    assert command(train.main, ["--resume", "run"]) == 0
    is_like(run, Path("whole"))


def test_a_run_that_another_process_has_just_finished_stays_as_it_is(place, monkeypatch, capsys):
    """Between the first look and the lock."""
    run, looks = shutil.copytree("whole", "finished"), iter([False])
    monkeypatch.setattr(train.run_folder, "is_scored", lambda folder: next(looks, True))
    assert command(train.main, ["--resume", run]) == 2
    assert "another process has just finished this run" in one_error(capsys)
    is_like(Path(run), Path("whole"))


def test_rows_are_known_by_all_that_a_run_may_read_of_them():
    """Tokens, which of them are trained on, grades, and any field: a reward may read it."""
    def encoded(role: str = "answer", gold: str = "x", of: str = "answer") -> str:
        said = (Turn(role, "b"), Turn("user", "c"), Turn("assistant", "d"))
        row = Row(roles={of: ((Turn("user", "a"),), said)}, extra={"gold": gold})
        return hash_of_encoded(encode([row], NANO, 64)[0])
    grades = [Row(), Row(score=0.5), Row(label=0.5), Row(p=0.5)]
    hashes = [encoded("assistant"), encoded("masked"), encoded("assistant", gold="y"),
              encoded("assistant", of="chosen"),
              *(hash_of_encoded([Encoded({}, row)]) for row in grades)]
    assert len({*hashes}) == 8 and encoded("assistant") == hashes[0]


def test_hashes_that_are_kept_have_the_digits_of_before(tmp_path, monkeypatch):
    """So the same rows are held out, tested on and drawn together. Of a large file all bytes count:
    the last weights may be those that were trained."""
    monkeypatch.chdir(tmp_path)
    row = Row((Turn("user", "Say É\ud800"),), extra={"group": 7})
    lines = [json.dumps({"prompt": f"Say {i}.", "response": "b"}) + "\n" for i in range(30)]
    Path("rows").write_bytes("".join(lines).encode())       # a Windows writes other ends of lines
    assert hash_of_file("rows") == "f142651c17f14046"
    assert [key[:16] for key in (*question_keys([row]), *draw_keys([row]))] == [
        "ecf236033f7ada98", "daee236667ba88a4"]
    parts = split_rows(["rows"], Path())[0]
    assert {part: hash_of_file(file)[:8] for part, file in parts.items()} == {
        "train": "0a24b493", "val": "9c18f6ca", "test": "30f480e4", "confirm": "914817a2"}
    assert parts["train"].parent.name == "rows-a0bb0949"
    assert short_hash(["a", 1]) == "2657442bb4"
    for end in (b"\0", b"x"):
        Path(f"large{end.hex()}").write_bytes(bytes(3 * 2**20) + end)
    assert hash_of_file("large00") != hash_of_file("large78")


# ---- a step --------------------------------------------------------------------------------------
def test_a_checkpoint_that_is_damaged_or_of_another_model_is_one_line(tmp_path):
    """It says what to do: without the file the run begins at step 1."""
    model, file = torch.nn.Linear(3, 2), tmp_path / CHECKPOINT
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(3)).sum().backward()
    optimizer.step()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**13)    # of fp16
    scaler.scale(torch.ones(()))
    save_step(tmp_path, 1, model, optimizer, scaler)
    whole, tensors = file.read_bytes(), load(file.read_bytes())
    with safe_open(file, "pt") as opened:
        head = {"about": opened.metadata()["about"]}
    damaged = [b"", whole[:-9], save(tensors), save(tensors, {"about": "{"})]
    for name in ("0.exp_avg", "model.bias"):
        others, x = {key: x for key, x in tensors.items() if key != name}, tensors[name]
        damaged += [save(others | odd, head) for odd in (
            {}, {name: x * torch.nan}, {name: x.reshape(-1)[:1].repeat(3)}, {name: x.half()})]

    def loaded(model: torch.nn.Module, scaler=SCALER) -> int:
        return load_step(tmp_path, model, torch.optim.AdamW(model.parameters()), scaler)
    for data in damaged:
        file.write_bytes(data)
        with pytest.raises(UserError, match="cannot be read .*; start a new run, or delete .*"
                           f"{CHECKPOINT} to begin at step 1$"):
            loaded(model)
    file.write_bytes(whole)
    with pytest.raises(UserError, match="weight is missing, or its shape or dtype differs"):
        loaded(torch.nn.Linear(4, 2))
    new = torch.amp.GradScaler("cpu")
    assert loaded(model, new) == 1 and new.state_dict()["scale"] == 2.0**13


def test_the_newest_step_is_kept_and_none_that_is_not_finite(tmp_path):
    model = nano()
    optimizer = torch.optim.AdamW(model.parameters())
    for step in (1, 2):
        save_step(tmp_path, step, model, optimizer, SCALER)
    model.ln_f.bias.data[0] = torch.nan
    with pytest.raises(Diverged, match=r"not finite after step 11 \(ln_f.bias\)"):
        save_step(tmp_path, 11, model, optimizer, SCALER)
    with pytest.raises(Diverged, match="not finite"):
        save_model(tmp_path, model, NANO)
    assert saved_step(tmp_path) == 2 and [x.name for x in tmp_path.iterdir()] == [CHECKPOINT]


def test_of_steps_that_are_equally_good_the_first_is_kept(tmp_path):
    for step, nll in ((1, 2.0), (2, 1.5), (3, 1.5), (4, 1.6)):
        checkpoint.keep_best(tmp_path, step, {"nll": nll}, torch.nn.Linear(1, 1))
    assert checkpoint.head_of(tmp_path / checkpoint.BEST) == {"step": 2, "nll": 1.5}


@pytest.mark.parametrize("stride, save_every, seconds, wanted", [
    (1, None, 0.01, [50]), (3, None, 1, range(3, 110, 6)), (2, 3, 0.01, range(4, 110, 4)),
    (1, 0, 1, [])])
def test_saving_takes_no_more_than_a_tenth_of_the_time(
        stride, save_every, seconds, wanted, monkeypatch, tmp_path):
    """Of a model whose saving takes half a second, the next one comes 4.5 seconds later, unless
    --save-every asks for more. A run is saved between two rollouts, of `stride` steps, alone. A
    clock that is set back changes nothing."""
    clock, saved = [0.0], []

    def save(folder, step, *told):
        saved.append(step)
        clock[0] += 0.5

    def steps():
        for number in range(1, 111):
            clock[0] += seconds
            yield Step(number, {"loss": torch.tensor(0.5)}, torch.tensor(1.0), 1e-3, 1, 1)
    monkeypatch.setattr(checkpoint, "save_step", save)
    monkeypatch.setattr(checkpoint, "time", SimpleNamespace(
        monotonic=lambda: clock[0], time=lambda: -3600 * clock[0], perf_counter=time.perf_counter))
    cfg, objective = RunConfig(steps=110, save_every=save_every), OBJECTIVES["dpo"]()
    model = torch.nn.Linear(1, 1)
    recorder = Recorder(tmp_path, cfg, objective, model, torch.optim.AdamW(model.parameters()),
                        SCALER, SimpleNamespace(stride=stride, stats={}), Device())
    assert len([*recorder.log_and_save(steps())]) == 110 and saved == [*wanted]
    with pytest.raises(RuntimeError), recorder.saved_if_it_ends_early("go on"):
        raise RuntimeError
    assert saved == [*wanted, *[110] * (save_every != 0 and 110 % stride == 0)]


# ---- the log -------------------------------------------------------------------------------------
def logged(log: Log, number: int, sums: dict) -> None:
    log.add(Step(number, {name: torch.tensor(x) for name, x in sums.items()}, torch.tensor(1.0),
                 1e-3, 5, 1000), {})


def test_a_line_for_which_there_is_no_room_is_written_whole_later(tmp_path, monkeypatch):
    """Never a half, in whose middle the next line would begin."""
    def full(file, *how, **more):
        file.write_text(file.read_text() + '{"step": 1, "lo')
        raise OSError(28, "No space left on device")
    log = Log(tmp_path / "metrics.jsonl", 0, Device())
    for number in (1, 2):
        logged(log, number, {"loss": 0.5})
    with monkeypatch.context() as now, pytest.raises(OSError, match="metrics.jsonl"):
        now.setattr(checkpoint, "open", full, raising=False)
        log.flush()
    log.flush()
    assert [x["step"] for x in read_lines(log.file)] == [1, 2]


@pytest.mark.parametrize("value", [torch.inf, -torch.inf, torch.nan])
def test_the_log_has_the_metrics_of_each_step_and_ends_at_a_loss_that_is_not_finite(value,
                                                                                    tmp_path):
    log = Log(tmp_path / "metrics.jsonl", 0, Device())
    for number, sums in enumerate(({"loss": 0.5}, {"loss": 1.0, "gain": 2.0},
                                   {"loss": 1.5, "other": 3}, {"loss": value}), 1):
        logged(log, number, sums)
    with pytest.raises(Diverged, match="the run diverged: loss is .* at step 4; lower --lr"):
        log.flush()
    assert [(x["loss"], x["grad_norm"], x.get("gain"), x.get("other"))
            for x in read_lines(log.file)] == [
        (0.5, 1, None, None), (1, 1, 2, None), (1.5, 1, None, 3)]


def test_numbers_are_read_every_ten_steps_or_every_five_seconds(tmp_path, monkeypatch):
    """The loss of a slow model is seen from the first step on, of IFT what SFT shows too."""
    monkeypatch.setattr(checkpoint, "time", SimpleNamespace(perf_counter=lambda: 0.0))
    log = Log(tmp_path / "metrics.jsonl", 0, Device())
    due = []
    for number in range(1, 21):
        log.clock -= 6 * (number == 3)                  # as if that step had taken six seconds
        logged(log, number, {"loss": 9.0, "nll_mixed": 2.0})
        if log.is_due():
            due.append(number)
            log.clock -= 4
            speed = {3: "300", 10: "1,750", 20: "2,500"}[number]        # also of prompts
            assert log.flush() == f"nll 2.000 on blended inputs, {speed} tok/s"
    assert due == [3, 10, 20] and len(read_lines(log.file)) == 20


# ---- folders -------------------------------------------------------------------------------------
@pytest.mark.parametrize("place", [".", "..", "../..", "/", "here", "~"])
def test_what_is_around_this_folder_or_home_is_never_deleted(place, tmp_path, monkeypatch):
    here, home = tmp_path / "a/here", tmp_path / "home/me"
    for folder in (here, home):
        folder.mkdir(parents=True)
        (folder / "file").touch()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(home))
    for path in {"here": (here,), "~": (home, home.parent)}.get(place, (Path(place),)):
        with pytest.raises(UserError, match="is not deleted"):
            remove(path)
    (tmp_path / "link").symlink_to(here)
    remove(tmp_path / "link")
    assert (here / "file").exists() and (home / "file").exists()


def test_a_taken_name_gets_a_number_and_one_that_is_given_is_an_error(
        killed, tmp_path, monkeypatch):
    """The line says what to do about a run that was stopped there."""
    for name, folder in (("run", killed("dpo")), ("whole", "whole")):
        shutil.copytree(folder, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert [str(new_folder(None, "dpo").as_posix()) for _ in range(3)] \
        == ["out/dpo", "out/dpo-2", "out/dpo-3"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "run.json.partial").touch()    # all that a kill in its first write leaves
    assert new_folder("mine", "dpo").name == "mine", "an empty folder is free"
    for name, (files, remedy) in STOPPED.items():
        for file, content in files.items():
            (tmp_path / name / file).parent.mkdir(parents=True, exist_ok=True)
            write_json(tmp_path / name / file, content)
        with pytest.raises(UserError) as refused:
            new_folder(name, "dpo")
        assert str(refused.value) == (f"--out {name}: exists and is not an empty folder; choose "
                                      f"another name{remedy}")


def test_who_waited_for_a_folder_holds_it_to_the_end_of_his_block(tmp_path):
    """Else two processes would make one helper model."""
    with (lock_when_free(tmp_path, "x.lock"), pytest.raises(UserError, match="is in use"),
          locked(tmp_path, "x.lock")):
        pass


def test_a_process_that_was_forked_meanwhile_does_not_keep_a_folder_locked(tmp_path):
    """A worker of a ProcessPoolExecutor: the second comparison in a program waited for ever."""
    if "fork" not in get_all_start_methods():
        pytest.skip("no process is forked here")
    with ProcessPoolExecutor(1, get_context("fork")) as pool:
        for _ in range(2):
            with locked(tmp_path):
                assert pool.submit(int).result() == 0
                with pytest.raises(UserError, match="is in use"), locked(tmp_path):
                    pass


@pytest.mark.parametrize("out", [None, "out", "out/deep/run", "file/run"])
@pytest.mark.parametrize("call", [train.main, reward.main])
def test_a_folder_that_cannot_be_made_is_one_line_before_a_model_is_opened(
        call, out, tmp_path, monkeypatch):
    """A link to a scratch disk that is gone was an endless loop."""
    monkeypatch.chdir(tmp_path)
    Path("out").symlink_to("gone/out")
    Path("file").touch()
    monkeypatch.setattr("nanouft.models.folders.read_gpt", lambda *told: pytest.fail("opened"))
    place = Path(out or "out").parts[0]
    with pytest.raises(UserError, match=f"^{place}: is (a link to a folder that|not a folder)"):
        call(["--device", "cpu", *(["--out", out] if out else [])])
    Path("out").unlink()
    Path("out").mkdir()
    monkeypatch.setattr(Path, "mkdir", lambda *told, **how: os.mkdir("file"))
    with pytest.raises(UserError, match="^out.*: cannot be made .File exists.; give another --out"):
        new_folder(None if out is None else "out/new", "dpo")


def test_the_weights_of_a_model_are_the_last_file_of_its_folder(tmp_path, monkeypatch):
    """So that a kill before them leaves none: by its weights a first model is known as made."""
    moved, real = [], folders.rename
    monkeypatch.setattr(folders, "rename", lambda *told: moved.append(told[1].name) or real(*told))
    save_model(tmp_path, nano(), NANO)
    assert len(moved) == 4 and moved[-1] == "model.safetensors" and start_model(str(tmp_path))
