"""What is kept of a run, and what is refused: a step is believed only if it is whole, a run goes on
only with what it began with, and a damaged folder leads to the right bytes or to one line.
test_interrupted.py has all ways in which a run may end."""
import json
import os
import re
import shutil
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_all_start_methods, get_context
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from commands import OF_RUN, change_behind_its_time, dpo, is_like
from made import NANO, killed_in_step, nano, one_error
from safetensors import safe_open
from safetensors.torch import load, save

from nanouft import reward, train
from nanouft.compare.inputs import short_hash
from nanouft.compare.splits import draw_keys, split_rows
from nanouft.data.batches import Encoded, encode
from nanouft.data.holdout import holdout, question_keys
from nanouft.data.rows import Row, read
from nanouft.device import Device
from nanouft.models import folders
from nanouft.models.folders import save_model, start_model
from nanouft.models.tokenizer import Turn
from nanouft.objectives import OBJECTIVES
from nanouft.plumbing import safetensors_files
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import Diverged, UserError
from nanouft.plumbing.files import hash_of_file, read_json, remove, write_json
from nanouft.plumbing.safetensors_files import save_tensors
from nanouft.run import checkpoint, evaluation
from nanouft.run.checkpoint import CHECKPOINT, Log, Recorder, load_step, save_step, saved_step
from nanouft.run.config import RunConfig
from nanouft.run.folder import (
    hash_of_encoded,
    is_scored,
    lock_when_free,
    locked,
    new_folder,
    read_lines,
)
from nanouft.train import Step

STEPS = 5
SCALER = Device().grad_scaler()          # of fp32, which scales nothing
STOPPED = {                             # folder -> what a kill has left, or the end of a run
    "reward": {"run.json": {"command": "reward"}, "model.safetensors": {}},
    "base": {"run.json": {"command": "pretrain"}},
    "hf": {"checkpoint-5/trainer_state.json": {}, "checkpoint-10/trainer_state.json": {},
           "checkpoint-15/config.json": {}},
    "made": {"run.json": {"command": "reward"}, "eval.json": {}}}


@pytest.fixture(scope="module")
def place(belongings, tmp_path_factory):
    """A folder with an initial model, a whole run, and one that was killed in its last step."""
    folder = tmp_path_factory.mktemp("folders")
    shutil.copytree(belongings, folder, dirs_exist_ok=True)
    assert command(train.main, dpo(folder, out="whole", steps=STEPS)) == 0
    with killed_in_step(STEPS):
        assert command(train.main, dpo(folder, out="half", steps=STEPS)) == 130
    with open(folder / "half" / "metrics.jsonl", "a", encoding="utf-8") as log:
        log.write('{"step": 5, "lo')
    assert saved_step(folder / "half") == 4
    return folder


@pytest.fixture
def run(place, tmp_path, monkeypatch):
    """A copy of the killed run."""
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(place / "half", tmp_path / "run")


def resumed(run: Path, place: Path, capsys) -> tuple[int, str]:
    """(exit code, what it said) of --resume, which ends as the whole run did, or with one line."""
    capsys.readouterr()
    code = command(train.main, ["--resume", str(run)])
    if code:
        assert code == 2
        return code, one_error(capsys)
    is_like(run, place / "whole")
    return code, capsys.readouterr().out


# ---- steps ---------------------------------------------------------------------------------------
def test_a_checkpoint_that_is_damaged_or_of_another_model_is_one_line(tmp_path, capsys):
    """It says what to do: without the file the run begins at step 1."""
    model, file = torch.nn.Linear(3, 2), tmp_path / CHECKPOINT
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(3)).sum().backward()
    optimizer.step()
    save_step(tmp_path, 1, model, optimizer, SCALER)
    whole, tensors = file.read_bytes(), load(file.read_bytes())
    with safe_open(file, "pt") as opened:
        head = json.loads(opened.metadata()["about"])

    def with_head(**change) -> bytes:
        return save(tensors, {"about": json.dumps(head | change)})
    damaged = [b"", whole[:-9], b"x" + whole, save(tensors), save(tensors, {"about": "{"}),
               with_head(updated="x"), with_head(updated=[0]), with_head(updated=[0, 5])]
    for name in ("0.step", "0.exp_avg", "model.bias"):
        others = {key: x for key, x in tensors.items() if key != name}
        x = tensors[name]
        damaged += [save(others | odd, {"about": json.dumps(head)}) for odd in (
            {}, {name: x * torch.nan}, {name: x.reshape(-1)[:1].repeat(3)}, {name: x.half()})]

    def loaded(model: torch.nn.Module) -> int:
        return load_step(tmp_path, model, torch.optim.AdamW(model.parameters()), SCALER)
    for data in damaged:
        file.write_bytes(data)
        with pytest.raises(UserError, match="cannot be read .*; start a new run, or delete .*"
                           f"{CHECKPOINT} to begin at step 1$"):
            loaded(model)
    file.write_bytes(with_head())
    assert loaded(model) == 1 == saved_step(tmp_path)
    with pytest.raises(UserError, match="weight is missing, or its shape or dtype differs"):
        loaded(torch.nn.Linear(4, 2))
    file.unlink()
    (tmp_path / checkpoint.BEST).touch()
    assert loaded(model) == 0 == saved_step(tmp_path) and not [*tmp_path.iterdir()]
    assert "no checkpoint; starting again at step 1" in capsys.readouterr().out


def test_the_best_weights_that_are_damaged_are_one_line_and_without_the_checkpoint_it_begins_anew(
        place, tmp_path, capsys):
    run, whole = tmp_path / "run", place / "whole_best"
    words = [*KEEPS_BEST, "--data", str(place / "demos.jsonl")]
    assert whole.exists() or command(train.main, dpo(place, *words, out="whole_best")) == 0
    with killed_in_step(STEPS):
        assert command(train.main, dpo(place, *words, out=str(run))) == 130
    (run / checkpoint.BEST).write_bytes(b"x")
    assert command(train.main, ["--resume", str(run)]) == 2
    said = capsys.readouterr().err
    assert f"{checkpoint.BEST}: cannot be read" in said and f"delete {run / CHECKPOINT} to" in said
    (run / CHECKPOINT).unlink()
    assert command(train.main, ["--resume", str(run)]) == 0
    is_like(run, whole)


def test_the_newest_step_is_kept_and_none_that_is_not_finite(tmp_path, monkeypatch):
    """A checkpoint stays until the next one is whole."""
    model = nano()
    optimizer = torch.optim.AdamW(model.parameters())
    for step in (1, 2):
        save_step(tmp_path, step, model, optimizer, SCALER)
    def full(number: int) -> None:
        raise OSError(28, "No space left on device")
    with monkeypatch.context() as now, pytest.raises(OSError):
        now.setattr(safetensors_files.os, "fsync", full)
        save_step(tmp_path, 3, model, optimizer, SCALER)
    model.ln_f.bias.data[0] = torch.nan
    with pytest.raises(Diverged, match=r"not finite after step 11 \(ln_f.bias\)"):
        save_step(tmp_path, 11, model, optimizer, SCALER)
    with pytest.raises(Diverged, match="not finite"):
        save_model(tmp_path, model, NANO)
    assert saved_step(tmp_path) == 2 and [x.name for x in tmp_path.iterdir()] == [CHECKPOINT]


def test_half_a_checkpoint_that_a_kill_has_left_is_gone_at_the_end(run, place, capsys):
    """This run saves no more: its last step is the next one."""
    for name in (CHECKPOINT, checkpoint.BEST):
        (run / f"{name}.partial").write_bytes(b"half")
    _, said = resumed(run, place, capsys)
    assert "resuming after step 4" in said


KEEPS_BEST = "--objective sft --lr 0.1 --eval-every 1 --keep best".split()      # of step 2 of 5


@pytest.mark.parametrize("owner, name", [(train, "held_out_metrics"), (checkpoint, "keep_best")])
@pytest.mark.parametrize("number", [1, 2, STEPS])
def test_an_evaluation_that_ended_in_an_error_is_made_when_the_run_is_resumed(
        owner, name, number, place, tmp_path, monkeypatch, capsys):
    """It was left out, and with --keep best another model was kept. Memory may stay short."""
    run, whole = tmp_path / "run", place / "whole_best"
    words = [*KEEPS_BEST, "--data", str(place / "demos.jsonl")]
    assert whole.exists() or command(train.main, dpo(place, *words, out="whole_best")) == 0
    assert read_json(whole / "eval.json")["kept"]["step"] == 2
    calls, real = [], getattr(owner, name)

    def short_of_memory(*told):
        calls.append(1)
        if len(calls) in (number, number + 1):
            raise MemoryError
        return real(*told)
    monkeypatch.setattr(owner, name, short_of_memory)
    assert command(train.main, dpo(place, *words, out=str(run))) == 2
    assert f"saved at step {number}; resume with" in capsys.readouterr().err
    assert command(train.main, ["--resume", str(run)]) == 2, "at the same evaluation"
    assert command(train.main, ["--resume", str(run)]) == 0
    is_like(run, whole)


@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 2, 4])
def test_scores_over_steps_are_the_same_if_the_run_was_resumed_and_change_nothing_else(
        number, tmp_path, monkeypatch, capsys):
    """The error comes at step 0, 1 or 3 of the six; a step counts as done when it is scored."""
    line = "--objective sft --steps 9 --batch-size 2 --rows 30 --items 1 --device cpu --out".split()
    monkeypatch.chdir(tmp_path)
    assert command(train.main, [*line, "off", "--curve-items", "0"]) == 0
    assert command(train.main, [*line, "whole", "--curve-items", "1"]) == 0
    calls, real = [], evaluation.curve_scores

    def short_of_memory(*told):
        calls.append(1)
        if len(calls) == number:
            raise MemoryError
        return real(*told)
    monkeypatch.setattr(evaluation, "curve_scores", short_of_memory)
    assert command(train.main, [*line, "cut", "--curve-items", "1"]) == 2
    assert command(train.main, ["--resume", "cut"]) == 0
    for file in ("model.safetensors", "metrics.jsonl", "eval.json"):
        assert Path("cut", file).read_bytes() == Path("whole", file).read_bytes()
    log = read_lines(Path("whole", "metrics.jsonl"))
    assert [x["step"] for x in log if "scores" in x] == [0, 1, 2, 3, 6, 9]
    assert [x for x in log if "loss" in x] == read_lines(Path("off", "metrics.jsonl"))
    for file in ("model.safetensors", "eval.json"):
        assert Path("off", file).read_bytes() == Path("whole", file).read_bytes()


@pytest.mark.parametrize("stride, save_every, seconds, wanted", [
    (1, None, 0.01, [50]), (1, None, 1, [50, 100]), (3, None, 1, range(3, 110, 6)),
    (1, 10, 0.01, range(10, 110, 10)), (2, 3, 0.01, range(4, 110, 4)), (1, 0, 1, []),
    (5, 2, 0.01, range(5, 110, 5))])
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


# ---- what a run goes on with ---------------------------------------------------------------------
def test_a_run_goes_on_only_with_what_it_began_with(place, tmp_path, monkeypatch, capsys):
    """Rows, held-out rows, the initial model, the models that its method reads, settings: another
    content under the same name is another run. One line says so before a model reads its rows.
    Another torch or processor is named; flags of memory and of saving may change."""
    for name in ("pairs.jsonl", "held.jsonl"):
        shutil.copy(place / "pairs.jsonl", tmp_path / name)
    for name in ("start", "aligned"):
        shutil.copytree(place / "start", tmp_path / name)
    with killed_in_step(3):
        assert command(train.main, dpo(
            tmp_path, "--eval-data", str(tmp_path / "held.jsonl"), "--eval-every", "2",
            "--objective", "poft", "--aligned", str(tmp_path / "aligned"))) == 130
    saved, changes = read_json(tmp_path / "run" / "run.json"), {}
    for name, what in (("pairs.jsonl", "rows"), ("held.jsonl", "held-out rows"),
                       ("start/model.safetensors", "initial model"),
                       ("aligned/model.safetensors", "helper models")):
        was = (tmp_path / name).read_bytes()
        changes[name, f"its {what} changed since that run began"] = was.replace(
            b"oak", b"elm") if "jsonl" in name else save({k: w + 1 for k, w in load(was).items()})
    for name, x, words in (
            ("hp", {**saved["hp"], "lam": 0.7}, "lam was 0.7 when that run began"),
            ("steps", saved["steps"] + 1, "steps was 6 when that run began and would be 5 now"),
            ("config", {**saved["config"], "warmup": 0.7}, "warmup was 0.7 when"),
            ("version", "6.1.0", "was begun by another version of nanouft; start a new run")):
        changes["run/run.json", words] = json.dumps(saved | {name: x}).encode()
    resume, _ = ["--resume", str(tmp_path / "run")], capsys.readouterr()
    with monkeypatch.context() as now:
        now.setattr(train, "source_of_steps", lambda *told: pytest.fail("rows were read"))
        for (name, words), content in changes.items():
            was = (tmp_path / name).read_bytes()
            (tmp_path / name).write_bytes(content)
            assert command(train.main, resume) == 2, name
            assert words in one_error(capsys)
            (tmp_path / name).write_bytes(was)
        for more in ("--lr 1", "--objective sft", "--init hub:me/x", "--data hub:me/x"):
            assert command(train.main, [*resume, *more.split()]) == 2
            assert f"{more.split()[0]} differs from" in one_error(capsys)
    write_json(tmp_path / "run" / "run.json", saved | {
        "torch": "2.6", "processor": "vax", "code": "before an edit of gpt.py"})
    monkeypatch.chdir(tmp_path)
    Path("exact").touch()                               # is the name of a reward, too
    may_change = "--accumulate 2 --activation-checkpointing --threads 1 --save-every 3"
    assert command(train.main, [*resume, *may_change.split()]) == 0
    out = capsys.readouterr().out
    said = re.findall(r"(\w+) \S+ .*instead of (.*):", out)
    assert said == [("torch", "2.6"), ("processor", "vax")] and "code has been edited since" in out


CHANGES = {"config.json": ("1e-05", "3e-05"), "tokenizer.json": ("merges", "merged"),
           "chat_template.jinja": ("oak", "elm"),
           "model-00002-of-00002.safetensors": ("oak", "elm"),      # transformers has it in shards
           "train.jsonl": ("oak", "elm"), "held.jsonl": ("oak", "elm")}


@pytest.mark.parametrize("folder, name, more", [
    *(("aligned", name, "--objective poft --aligned aligned") for name in [*CHANGES][:4]),
    *(("start", name, "") for name in ("config.json", *[*CHANGES][2:4])),
    ("judge", "config.json", "--objective grpo --reward judge --max-new 4"),
    ("shop", "train.jsonl", "--eval-data hub:shop --eval-every 2"),
    ("", "held.jsonl", "--eval-data held.jsonl --eval-every 2"),
    ("", "pairs.jsonl", "--eval-every 2 --keep best")])
def test_a_run_does_not_go_on_after_a_change_that_no_weight_and_no_time_tells(
        folder, name, more, place, tmp_path, datasets, monkeypatch, capsys):
    """Of its initial model, its helper, its reward model, or a row that is held out. The file has
    the same size as before."""
    monkeypatch.chdir(tmp_path)
    Path("shop").mkdir()
    for rows in ("pairs.jsonl", "held.jsonl", "shop/train.jsonl"):
        shutil.copy(place / "pairs.jsonl", rows)
    for model in ("start", "aligned", "judge"):
        shutil.copytree(place / "start", model)
        for file in [*CHANGES][2:4]:
            Path(model, file).write_text("oak")
    monkeypatch.setattr("nanouft.scorers.reward_model", lambda *told: (
        lambda rows, texts: [float(len(text)) for text in texts]))
    with killed_in_step(3):
        assert command(train.main, dpo(Path(), *more.split())) == 130
    capsys.readouterr()
    held = holdout(read("pairs.jsonl")[0])[1][0].rejected[0].text
    text = CHANGES.get(name, (held, held.upper()))
    change_behind_its_time(Path(folder, name), *text)
    with monkeypatch.context() as now:
        now.setattr(train, "source_of_steps", lambda *told: pytest.fail("rows were read"))
        assert command(train.main, ["--resume", "run", *more.split()]) == 2
    assert "changed since that run began" in capsys.readouterr().err


@pytest.mark.parametrize("words, what", [
    ("--objective mine.py", "method"),
    ("--objective grpo --reward mine.py:f --max-new 4", "reward")])
def test_a_run_goes_on_only_with_the_code_that_a_file_of_your_own_imports(
        words, what, place, tmp_path, monkeypatch, capsys):
    """From its folder, and what that imports; a file that nobody imports may change."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("mine.py").write_text(
        "from nanouft.objectives.dpo import DPO\nfrom my_parts import size\n\n\n"
        "class Mine(DPO):\n    beta: float = size\n\n\n"
        "def f(completions):\n    return [len(x) * size for x in completions]\n")
    Path("my_parts").mkdir()
    Path("my_parts/__init__.py").write_text("from my_parts.sizes import size\n")
    Path("my_parts/sizes.py").write_text("size = 0.25\n")
    Path("other.py").write_text("size = 0.25\n")
    words = [*words.split(), "--data", str(place / "pairs.jsonl")]
    with killed_in_step(3):
        assert command(train.main, dpo(place, *words, out=str(tmp_path / "run"))) == 130
    resume, _ = ["--resume", "run", *words], capsys.readouterr()
    change_behind_its_time(Path("my_parts/sizes.py"), "0.25", "0.75")
    assert command(train.main, resume) == 2
    assert one_error(capsys).startswith(f"error: run: its {what} changed since that run began")
    change_behind_its_time(Path("my_parts/sizes.py"), "0.75", "0.25")
    change_behind_its_time(Path("other.py"), "0.25", "0.75")
    assert command(train.main, resume) == 0


def test_any_field_belongs_to_a_run():
    """A reward may read it, or an objective of one's own."""
    def key(role: str, said: tuple, gold: str) -> str:
        row = Row(roles={role: ((Turn("user", "a"),), said)}, extra={"gold": gold})
        return hash_of_encoded(encode([row], NANO, 64)[0])
    for of in (("prompt", ()), ("answer", (Turn("assistant", "b"),))):
        assert key(*of, "x") == key(*of, "x") != key(*of, "y")
    known, *masked = (("answer", (Turn(role, "b"), Turn("user", "c"), Turn("assistant", "d")))
                      for role in ("assistant", "masked"))
    assert key(*known, "x") != key(*masked[0], "x"), "what is only read is not what is trained on"


def test_the_grades_of_a_row_belong_to_a_run():
    """Its score, its label, and how sure it is of the order of a pair."""
    rows = [Row(), Row(score=0.5), Row(label=0.5), Row(p=0.5)]
    assert len({hash_of_encoded([Encoded({}, row)]) for row in rows}) == 4


def test_a_large_file_is_known_by_all_of_its_bytes(tmp_path):
    """Of weights the last ones may be those that were trained."""
    file = tmp_path / "model.safetensors"
    file.write_bytes(bytes(3 * 2**20))
    was = hash_of_file(file)
    file.write_bytes(bytes(3 * 2**20 - 1) + b"x")
    assert hash_of_file(file) != was


def test_hashes_that_are_kept_have_the_digits_of_before(tmp_path, monkeypatch):
    """So the same rows are held out, tested on and drawn together."""
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


NAMED = ["--init hub:them/x", "--data pairs.jsonl hub:them/x:train", "--objective=r.py",
         "--objective poft --aligned hub:them/x hub:them/y", "--objective grpo --reward hub:them/x",
         "--objective=grpo --reward=r.py:f", "--objective grpo --reward -- r.py:f",
         "--objective grpo --reward exact --reward r.py:f", "--out r.py --objective r.py"]


@pytest.mark.parametrize("line", NAMED)
def test_code_and_the_network_are_asked_only_if_the_command_line_names_them(
        line, run, place, capsys, monkeypatch):
    """run.json may come from somebody else, and a name may be spelled in many ways."""
    monkeypatch.setattr("nanouft.models.folders.download", lambda *a, **k: pytest.fail("asked"))
    monkeypatch.setattr("nanouft.data.files.hub_rows", lambda *a, **k: pytest.fail("asked"))
    Path("r.py").write_text("open('ran', 'w')\n")
    write_json(run / "run.json", read_json(run / "run.json") | {"argv": line.split()})
    code, said = resumed(run, place, capsys)
    assert code == 2 and {*said.partition("; add ")[2].split()} == {*line.split()}, said
    other = [word.replace("them", "others") for word in line.split()]
    if "hub:" in line:
        assert command(train.main, ["--resume", str(run), *other]) == 2
        assert "only if you name" in one_error(capsys)
    assert not Path("ran").exists()


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


# ---- damaged files -------------------------------------------------------------------------------
def test_a_damaged_text_is_one_line(run, place, capsys):
    shutil.copy(place / "whole" / "model.safetensors", run)
    for file, texts in {
            "run.json": ["", "[1]", "{}", "\xff"],
            "eval.json": [""],
            "metrics.jsonl": ["x"]}.items():
        for text in texts:
            (run / file).write_bytes(text.encode("latin-1") + b"\n")
            code, said = resumed(run, place, capsys)
            assert code == 2 and said.startswith(f"error: {run / file}"), text
        remove(run / file)
        if file != "eval.json":
            shutil.copy(place / "half" / file, run)


def test_a_file_is_replaced_and_never_written_over(tmp_path):
    """So a kill leaves the old one whole."""
    plots = pytest.importorskip("nanouft.pictures.plots")
    for write in (lambda file: write_json(file, {}), lambda file: plots.save(plots.Figure(), file),
                  lambda file: save_tensors(file, {"x": torch.ones(1)})):
        file, old = tmp_path / "file.png", tmp_path / "old"
        file.write_text("old")
        remove(old)
        old.hardlink_to(file)
        write(file)
        assert old.read_text() == "old" != file.read_bytes()[:3].decode("latin-1")


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


# ---- one file does not stand for a state ---------------------------------------------------------
def test_a_run_is_complete_only_with_its_scores_and_its_weights(run, place, capsys):
    """Else it goes on from its checkpoint and writes its own scores. Old ones are gone at once, or
    a second kill would make it seem complete. A complete one is finished by each --resume."""
    for missing in ("eval.json", "model.safetensors"):
        for name in {*OF_RUN} - {"metrics.jsonl"}:
            shutil.copy(place / "whole" / name, run)
        (run / missing).unlink()
        assert not is_scored(run), missing
    with killed_in_step(1):
        assert command(train.main, ["--resume", str(run)]) == 130
    assert not (run / "eval.json").exists()
    _, said = resumed(run, place, capsys)
    assert "resuming after step 4" in said and "is finished" not in said
    shutil.copy(place / "half" / CHECKPOINT, run)
    for _ in range(2):
        _, said = resumed(run, place, capsys)
        assert ": is finished" in said and "step" not in said


# ---- new folders ---------------------------------------------------------------------------------
def test_a_taken_name_gets_a_number_and_one_that_is_given_is_an_error(run, place, tmp_path,
                                                                      monkeypatch):
    """The line says what to do about a run that was stopped there."""
    monkeypatch.chdir(tmp_path)
    assert [str(new_folder(None, "dpo").as_posix()) for _ in range(3)] \
        == ["out/dpo", "out/dpo-2", "out/dpo-3"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "run.json.partial").touch()    # all that a kill in its first write leaves
    assert new_folder("mine", "dpo").name == "mine", "an empty folder is free"
    (tmp_path / "mine" / "x").touch()
    shutil.copytree(place / "whole", tmp_path / "whole")
    write_json(tmp_path / "mine" / "run.json", {"command": "train"})
    for name, files in STOPPED.items():
        for file, content in files.items():
            (tmp_path / name / file).parent.mkdir(parents=True, exist_ok=True)
            write_json(tmp_path / name / file, content)
    for name, remedy in (("run", ", or resume its run: python -m nanouft.train --resume run"),
                         ("reward", ", or delete it: reward was interrupted there and cannot be "
                          "resumed"),
                         ("base", ", or delete it: pretrain was interrupted there and cannot be "
                          "resumed"),
                         ("hf", ", or add --resume_from_checkpoint hf/checkpoint-10"),
                         ("whole", ""), ("mine", ""), ("made", "")):
        with pytest.raises(UserError) as refused:
            new_folder(name, "dpo")
        assert str(refused.value) == (f"--out {name}: exists and is not an empty folder; choose "
                                      f"another name{remedy}")


def test_who_waited_for_a_folder_holds_it_to_the_end_of_his_block(tmp_path):
    """Else two processes would make one helper model."""
    with (lock_when_free(tmp_path, "x.lock"), pytest.raises(UserError, match="is in use"),
          locked(tmp_path, "x.lock")):
        pass


def test_a_run_that_another_process_has_just_finished_stays_as_it_is(
        place, tmp_path, monkeypatch, capsys):
    """Between the first look and the lock."""
    run, looks = shutil.copytree(place / "whole", tmp_path / "run"), iter([False])
    monkeypatch.setattr(train.run_folder, "is_scored", lambda folder: next(looks, True))
    assert command(train.main, ["--resume", str(run)]) == 2
    assert "another process has just finished this run" in one_error(capsys)
    is_like(run, place / "whole")


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


# ---- model folders -------------------------------------------------------------------------------
def test_the_weights_of_a_model_are_the_last_file_of_its_folder(tmp_path, monkeypatch):
    """So that a kill before them leaves none: by its weights a first model is known as made."""
    moved, real = [], folders.rename
    monkeypatch.setattr(folders, "rename", lambda *told: moved.append(told[1].name) or real(*told))
    save_model(tmp_path, nano(), NANO)
    assert len(moved) == 4 and moved[-1] == "model.safetensors" and start_model(str(tmp_path))
