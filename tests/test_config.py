"""A run is a value: a command line, a call in Python and an object make the same one, it gives its
command line back, and a mistake is the same line everywhere."""
import dataclasses
import datetime
import inspect
import json
import os
import pickle
import random
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from made import killed_in_step, one_error

import nanouft.train
from nanouft import compare, evaluate, reward, sample, train
from nanouft.compare.arms import read_arm, read_run
from nanouft.compare.plan import CompareFlags, values_of_call
from nanouft.data.files import as_files
from nanouft.objective import Objective
from nanouft.objectives import find
from nanouft.objectives.dpo import DPO, Pairs
from nanouft.objectives.una import UNA
from nanouft.plumbing import printing
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.files import read_json, write_json
from nanouft.plumbing.printing import Table, note, quiet, say
from nanouft.run.config import RunConfig, how_to_resume, parse_run

DEMOS = [{"prompt": f"Say {i}.", "response": f"{i}"} for i in range(12)]
PAIRS = [{"prompt": f"Say {i}.", "chosen": f"{i}", "rejected": f"no {i}"} for i in range(12)]
SHORT = {"steps": 2, "batch_size": 4, "device": "cpu", "threads": 1}
OWN = """from nanouft.objective import Objective
class Mine(Objective):
    lr = 1e-3
    shift: float = 0.0
    mean: bool = True
    words: str = ""
    tables: list[str] | None = None

    def loss(self, batch):
        s = batch.seqs["answer"]
        return -(s.mask * s.logp).sum() / batch.tokens["answer"], {}
"""


class Here(Objective):
    """As a class in a cell of a notebook."""
    lr = 1e-3
    weight: float = 1.0

    def loss(self, batch):
        s = batch.seqs["answer"]
        return -self.weight * (s.mask * s.logp).sum() / batch.tokens["answer"], {}


class Changed(Here):
    """Its loss is a mean over rows, so its sum over micro-batches is another."""
    _factor = 2.0

    def loss(self, batch):
        s = batch.seqs["answer"]
        return -(self._factor * s.mask * s.logp).sum(1).mean(), {"odd": float("nan")}


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Here, "__module__", "__main__")
    Path("mine.py").write_text(OWN)


def weights(folder: object) -> bytes:
    return Path(str(folder), "model.safetensors").read_bytes()


# ---- the value -----------------------------------------------------------------------------------
@pytest.mark.parametrize("method, flags", [
    ("dpo", {"beta": 0.2, "data": ("a.jsonl", "-b.jsonl"), "lr": 1e-05, "plain": True}),
    ("mine.py", {"shift": -1e-05, "mean": False, "words": "--lr 3"}),
    ("mine.py:Mine", {"shift": -2.5, "words": "-x", "tables": ["a b", "c=d", "e\\f"]}),
    (Path("mine.py"), {"shift": 0.0}), (DPO(beta=0.3), {"reward": "exact"}),
    (DPO, {"out": Path("a=b", "c d"), "mix": "", "seed": 3}), (None, {"skills": "sum"}),
    (UNA, {"steps": np.int64(3), "noise": np.float32(0.5)})])
def test_a_run_gives_its_command_line_and_the_line_gives_the_run(method, flags):
    config = RunConfig.of(method, flags)
    again = parse_run(config.argv())
    told, wanted = again.given_values(), {"objective": "ift"} | config.given_values()
    assert told | {"data": ()} == wanted | {"data": ()}
    assert again.objective() == config.objective() or "mine" in config.method
    assert config.data is None or [*map(Path, again.data)] == [*map(Path, config.data)]


def test_a_run_never_changes_and_another_process_can_have_it():
    config = RunConfig.of("mine.py", {"data": ["a.jsonl"], "tables": ["x"]})
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.seed = 3
    assert config.data == ("a.jsonl",) and config.settings == (("tables", ("x",)),)
    assert hash(config.with_flags(seed=3)) != hash(config)
    there = pickle.loads(pickle.dumps(config))
    assert there == config and there.objective().tables == ["x"]
    assert there.reads() == ["mine.py", "a.jsonl", "x"]


def test_what_is_said_has_one_door(capsys):
    with quiet() as notes:
        say("nothing")
        with quiet() as inner:
            note("kept")
        say("an error", file=sys.stderr)
    assert capsys.readouterr() == ("", "an error\n") and notes == inner == ["kept"]


def test_runs_in_two_threads_go_one_after_the_other():
    """Else they would draw each other's random numbers, and the first to end would leave it quiet
    for ever."""
    begun = []

    def run(number):
        with quiet() as notes:
            begun.append(number)
            note(str(number))
            time.sleep(0.2)
            assert notes == [str(number)] and begun[-1] == number
        return number
    with ThreadPoolExecutor(3) as some:
        assert [*some.map(run, range(3))] == [0, 1, 2] and printing.volume == printing.ALL


# ---- calls ---------------------------------------------------------------------------------------
def test_a_call_an_object_and_a_command_train_the_same_weights(capsys):
    one = train.run("dpo", data=PAIRS, beta=0.2, **SHORT)
    assert len(capsys.readouterr().out.splitlines()) == 1
    other = train.run(DPO(beta=0.2), data=PAIRS, plain=True, **SHORT)
    about = read_json(one.folder / "run.json")
    assert command(train.main, [*about["argv"], "--out", "typed"]) == 0
    assert weights(one.folder) == weights(other.folder) == weights("typed")
    assert [x["step"] for x in one.metrics] == [1, 2] and "loss" in one.metrics[0]
    assert {"accuracy", "rows"} <= one.after["held_out"].keys() and other.after == {}
    assert repr(one).startswith("out/dpo: 2 steps\n") and "before    after" in repr(one)
    assert one.curves._repr_png_()[:4] == b"\x89PNG"
    assert train.run(resume=one.folder).metrics == one.metrics
    assert [*evaluate.run(["base", one], data=PAIRS, items=0)] == ["base", "out/dpo"]
    assert train.run("sft", init=one, data=DEMOS, **SHORT).metrics


def refused(call, *told, **how) -> str:
    with pytest.raises(UserError) as error:
        call(*told, **how)
    return str(error.value)


def reward_model() -> bytes:
    Path("pairs.jsonl").write_text("".join(f"{json.dumps(x)}\n" for x in PAIRS))
    assert reward.main("--data pairs.jsonl --steps 1 --device cpu".split()) == 0
    return weights(sorted(Path("out").glob("reward*"))[-1])


def trained_with(**flags) -> list[float]:
    run = train.run("sft", data=DEMOS, plain=True, **SHORT | flags)
    return [x["loss"] for x in run.metrics]


CALLS = {"train": trained_with, "train, lora": lambda: trained_with(lora=2),
         "train, bf16": lambda: trained_with(dtype="bf16"),
         "train, refused": lambda: refused(train.run, "sft", data=DEMOS, reward="exact"),
         "train, refused in a step": lambda: refused(trained_with, lr=1e30),
         "evaluate": lambda: evaluate.run("base", data=DEMOS, items=2, device="cpu"),
         "sample": lambda: [*sample.run("base", "Say oak.", temperature=1, max_new=4,
                                        device="cpu")],
         "reward": reward_model, "compare": lambda: refused(compare.run, ["sft"])}
CALLERS = {"no_grad": torch.no_grad, "inference": torch.inference_mode,
           "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
           "device": lambda: torch.device("meta")}


def state_of_caller() -> dict:
    """What may be the caller's own, and the numbers that he draws next."""
    logs = transformers.utils.logging
    generators = (random.getstate(), np.random.get_state()[1].tobytes(),
                  torch.get_rng_state().numpy().tobytes())
    return {"generators": generators, "threads": torch.get_num_threads(),
            "type": torch.get_default_dtype(), "device": torch.get_default_device(),
            "gradient": torch.is_grad_enabled(), "inference": torch.is_inference_mode_enabled(),
            "autocast": torch.is_autocast_enabled("cpu"), "verbosity": logs.get_verbosity(),
            "bars": logs.is_progress_bar_enabled(),
            "products": torch.get_float32_matmul_precision()}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_leaves_the_process_as_it_was_and_is_not_changed_by_it(name, monkeypatch):
    """Three random subsets were one, a run in an open block of autocast learned nothing, and with
    another default type it ended in a traceback."""
    call = CALLS[name]
    alone = call()
    logs, log_level = transformers.utils.logging, transformers.utils.logging.get_verbosity()
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(threads := torch.get_num_threads() + 1)
    torch.set_float32_matmul_precision("high")
    logs.set_verbosity_info()
    try:
        for caller in CALLERS.values():
            with caller():
                np.random.rand(random.randrange(9))
                torch.rand(1, device="cpu")
                before = state_of_caller()
                assert call() == alone
                assert state_of_caller() == before
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_num_threads(threads - 1)
        torch.set_float32_matmul_precision("highest")
        logs.set_verbosity(log_level)


@pytest.mark.parametrize("flags", [
    {"data": "~/rows.jsonl", "out": "~/run"}, {"resume": "~/model"},
    {"data": ["~/rows.jsonl"], "eval_data": "~/rows.jsonl"},
    {"data": Path("~/rows.jsonl"), "init": "~/model"},
    {"method": "~/mine.py", "data": "~/rows.jsonl"},
    {"method": "grpo", "data": "~/rows.jsonl", "reward": "~/r.py:f", "max_new": 2}])
def test_a_path_may_begin_with_the_home_folder(flags, tmp_path, monkeypatch):
    """In Python, and behind = on a command line, where a shell leaves it. It was a folder of that
    name, which `rm -r ~` would remove with everything else."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    (home / "rows.jsonl").write_text("".join(f"{json.dumps(x)}\n" for x in DEMOS))
    (home / "mine.py").write_text(OWN)
    (home / "r.py").write_text("def f(completions):\n    return [0.5] * len(completions)\n")
    train.run("sft", data=DEMOS, plain=True, out=home / "model", **SHORT)
    method = flags.pop("method", None if "resume" in flags else "sft")
    more = {} if "resume" in flags else {"plain": True, **SHORT}
    train.run(method, **flags, **more)
    words = [f"--{name.replace('_', '-')}={x[0] if isinstance(x, list) else x}"
             for name, x in flags.items()]
    words += [f"--objective={method}", "--plain", "--steps=2", "--batch-size=4"] if more else []
    if (home / "run").exists():
        shutil.rmtree(home / "run")
    assert command(train.main, [*words, "--device=cpu"] if more else words) == 0
    assert not Path("~").exists() and (home / "run").exists() == (flags.get("out") is not None)
    assert parse_run(["--out=~", "--init=~"]).init == str(home)


def test_rows_in_memory_where_nothing_can_be_written_are_one_line(tmp_path, monkeypatch):
    Path("out").write_text("")
    with pytest.raises(UserError, match="^data: rows in memory are written to out/.rows, and this"):
        train.run("sft", data=DEMOS, out=tmp_path / "elsewhere")


@pytest.mark.parametrize("method, flags, told", [
    ("dpo", {"betta": 1}, "dpo: unknown argument betta; did you mean beta"),
    ("dpo", {"beta": -1}, "^beta -1: must be above 0"), ("dpo", {"beta": "x"}, "^beta x: must"),
    ("dpo", {"steps": 2.5}, "must be a whole number"),
    ("sft", {"lr": "1e-4"}, "^lr 1e-4: must be a finite number, not the text '1e-4'$"),
    ("sft", {"steps": "x"}, "^steps x: must be a whole number$"),
    ("sft", {"learning_rate": 1.0}, "here it is lr"), ("dpo", {"noise": 0.1}, "dpo uses none"),
    ("sft", {"dtype": "fp64"}, "one of auto"), ("poft", {"aligned": 5}, "must be a list"),
    ("dpoo", {}, "did you mean dpo"), (3, {}, "is not a method"), (Objective, {}, "has no `loss"),
    ("sft", {"data": []}, "^data: is empty"), ("sft", {"data": iter(())}, "^data: is empty"),
    ("sft", {"data": [DEMOS, DEMOS]}, "^data, row 0: is a list"),
    ("sft", {"data": ["a.jsonl", DEMOS[0]]}, "^data, row 0: is a str"),
    ("sft", {"data": 3}, "^data: give a file, or rows"),
    ("sft", {"data": {"train": DEMOS}}, "^data: is a dictionary of splits"),
    ("sft", {"data": DEMOS[0]}, r"^data: is one row \(prompt, response\); give a list of rows$"),
    ("sft", {"data": {"prompt": [], "response": []}}, "^data: is empty"),
    ("sft", {"data": {"prompt": ["a", "b"], "response": ["c"]}}, "^data: its columns differ in"),
    ("sft", {"data": [*DEMOS[:3], {"prompt": 5, "response": "a"}]}, "^data, row 3: "),
    ("dpo", {"data": DEMOS}, "needs pairs"), ("sft", {"data": "none.jsonl"}, "No such file"),
    ("sft", {"data": DEMOS, "eval_data": []}, "^eval_data: is empty"),
    ("sft", {"data": [{"prompt": "a", "response": b"b"}]}, '^data, row 0: "response" is'),
    ("sft", {"data": [*DEMOS[:3], {("prompt", 1): "a"}]}, "^data, row 3: the name of a field must"),
    ("sft", {"lr": np.ones(2)}, "^lr .*must be a finite number"),
    ("none.py", {}, "^objective none.py: there is no file /.*none.py$"),
    ("grpo", {"reward": "none.py:f"}, "^reward none.py: there is no file /"),
    ("poft", {"aligned": ["a", DEMOS[0]]}, "^aligned: holds a dict; each must be a text or")])
def test_a_mistake_in_a_call_is_one_line_that_names_no_file_nobody_wrote(method, flags, told):
    with pytest.raises(UserError, match=told) as error:
        train.run(method, **flags)
    assert ".rows" not in str(error.value) and "\n" not in str(error.value)
    assert not [*Path().glob("out/[a-z]*")], "nothing was trained"


def test_rows_may_be_a_table_or_a_dataset_and_what_is_left_out_is_noted():
    tables = [DEMOS]
    tables.append(pytest.importorskip("datasets").Dataset.from_list(DEMOS))
    tables.append(pytest.importorskip("pandas").DataFrame(DEMOS))      # datasets brings it
    found = {weights(train.run("sft", data=rows, plain=True, **SHORT).folder) for rows in tables}
    assert len(found) == 1
    for row in ({"other": "x"}, {"prompt": "a"}, {"prompt": "a", "response": "b", "score": 0.5}):
        result = train.run("sft", data=[*DEMOS, row], plain=True, **SHORT)
        left_out, = (text for text in result.notes if "as in data, row 12" in text)
        assert left_out in repr(result)
    twice = pytest.importorskip("pandas").DataFrame([["a", "b"]], columns=["prompt"] * 2)
    with pytest.raises(UserError, match='two columns are called "prompt"'):
        train.run("sft", data=twice)


def test_another_process_may_write_the_same_rows_at_the_same_moment(monkeypatch):
    real, day = os.replace, datetime.date(2026, 1, 2)
    rows = [{"prompt": "a", "when": day, "n": (np.int8(3),)}]

    def meanwhile(*names):
        monkeypatch.setattr(os, "replace", real)
        with monkeypatch.context() as other:
            other.setattr(os, "getpid", lambda: 1)
            as_files(rows, "data")
        real(*names)
    monkeypatch.setattr(os, "replace", meanwhile)
    file, = as_files(rows, "data")
    assert Path(file).read_text() == '{"prompt": "a", "when": "2026-01-02", "n": [3]}\n'
    assert len([*Path(file).parent.iterdir()]) == 1


def test_a_class_of_a_notebook_trains_and_goes_on_in_python_alone(monkeypatch, capsys):
    whole = train.run(Here, data=DEMOS, weight=0.5, out="whole", **SHORT)
    with killed_in_step(2), pytest.raises(KeyboardInterrupt) as stopped:
        train.run(Here, data=DEMOS, weight=0.5, out="cut", save_every=1, **SHORT)
    assert "nanouft.train.run(Here, resume='cut')" in stopped.value.__notes__[0]
    capsys.readouterr()
    assert command(train.main, ["--resume", "cut"]) == 2
    assert "class is Here, which only Python has" in one_error(capsys)
    for other in (Changed, "sft"):
        with pytest.raises(UserError, match="class is Here, which only Python has"):
            train.run(other, resume="cut")
    with monkeypatch.context() as edited:
        edited.setattr(Here, "loss", Changed.loss)
        with pytest.raises(UserError, match="its method changed since that run began"):
            train.run(Here, resume="cut")
    with pytest.raises(UserError, match="weight differs"):
        train.run(Here, resume="cut", weight=0.7)
    assert weights(train.run(Here, resume="cut").folder) == weights(whole.folder)
    with pytest.raises(UserError, match="^Here: each run .* process of its own, which cannot"):
        compare.run(["sft", Here])


@pytest.mark.parametrize("method, flags, told", [
    (Changed, {}, "Changed: the gradient with respect to the log-probs has the norm"),
    (Changed(), {}, "metric odd is nan at step 1"),
    ("sft", {"eval_data": DEMOS}, "12 of 12 held-out prompts are also trained on"),
    ("sft", {}, "the shipped base model knows only NanoWorld"),
    ("uft", {"data": [x | {"score": 1} for x in DEMOS]}, "all 1[0-2] responses have the grade 1"),
    # its file is not "<string>": Python 3.13 keeps the text of python -c under that name
    (type("Typed", (Here,), {"__module__": "__main__", "loss": eval(compile(
        "lambda self, batch: (sum(x.logp.sum() for x in batch.seqs.values()), {})", "typed",
        "eval"))}), {}, "Typed: Python has not kept")])
def test_a_warning_is_in_the_notes_of_a_result(method, flags, told):
    result = train.run(method, **{"data": DEMOS, "plain": not flags, **SHORT, **flags})
    assert any(re.match(told, text) for text in result.notes), result.notes


@pytest.mark.parametrize("method, again", [
    ("sft", "'sft'"), (Path("mine.py"), "'mine.py'"), (Here, "Here")])
def test_a_stopped_call_says_how_to_resume_it_by_a_call(method, again, capsys):
    with killed_in_step(2), pytest.raises(KeyboardInterrupt):
        train.run(method, data=DEMOS, save_every=1, out="cut", **SHORT)
    told = capsys.readouterr().out.splitlines()[-1].partition("resume with: ")[2]
    assert told == f"nanouft.train.run({again}, resume='cut')"
    assert eval(told, {"nanouft": nanouft, "Here": Here}).metrics[-1]["step"] == 2


def test_a_resumed_run_that_is_stopped_again_names_what_was_changed_with_it():
    """As in "out of memory": else the next one would need the memory of the first."""
    cfg = RunConfig().with_flags(resume="cut", accumulate=2, save_every=5)
    told = how_to_resume(Path("cut"), cfg)
    assert told == "python -m nanouft.train --resume cut --accumulate 2 --save-every 5"
    told = how_to_resume(Path("cut"), dataclasses.replace(cfg, in_python=True))
    assert told == "nanouft.train.run('ift', accumulate=2, save_every=5, resume='cut')"


def test_a_setting_declared_anew_needs_its_type():
    with pytest.raises(TypeError, match="beta: is a setting of Pairs, .*`beta: float = 0.5`"):
        type("Mine", (Pairs,), {"beta": 0.5})


def test_a_folder_of_somebody_else_executes_nothing(monkeypatch, capsys):
    """Neither what its words name, nor what is no word."""
    folder = train.run("sft", data=DEMOS, plain=True, out="theirs", **SHORT).folder
    Path("evil.py").write_text("open('ran', 'w')\n")
    monkeypatch.setattr("nanouft.models.folders.download", lambda *a, **k: pytest.fail("asked"))
    about = read_json(folder / "run.json")
    for argv, told in (
            (["--objective", "evil.py"], "only if you name it"),
            (["--objective=evil.py:Mine"], "only if you name it"),
            (["--init", "hub:them/x"], "only if you name it"),
            (["--objective", "grpo", "--reward=evil.py:f"], "only if you name it"),
            ([5], "is not of nanouft.train"), ("--objective sft", "is not of nanouft.train"),
            ({"data": "x"}, "is not of nanouft.train"), (["--steps", "x"], "--steps x: must be"),
            (["--data"], "expected at least one"), (["x"], "argument x")):
        write_json(folder / "run.json", about | {"argv": argv})
        capsys.readouterr()
        assert command(train.main, ["--resume", str(folder)]) == 2
        assert told in one_error(capsys), argv
        with pytest.raises(UserError, match=told.removeprefix("--")):
            train.run(resume=folder)
    assert not Path("ran").exists()


def test_evaluate_and_sample_give_their_figures(capsys):
    rows = evaluate.run("base", data=PAIRS, items=0, device="cpu")
    assert rows["base"]["pairs"]["rows"] == 12 and "prefers" in rows["base"]["pairs"]
    scores = evaluate.run(["base"], items=2, device="cpu")["base"]
    assert 0 <= scores["sum"]["score"] <= 1
    found = sample.run("base", "Say oak backwards.", n=2, max_new=4, device="cpu")
    assert isinstance(found, Table) and [x["model"] for x in found] == ["base", "base"]
    assert found[:1] == sample.run(prompt="Say oak backwards.", max_new=4, device="cpu")
    assert capsys.readouterr().out == ""


def test_columns_are_rows_also_if_a_cell_is_a_dictionary():
    columns = {name: [x[name] for x in PAIRS] for name in PAIRS[0]}
    columns["tests"] = [{"n": i} for i in range(len(PAIRS))]
    one, other = (evaluate.run("base", data=x, items=0, device="cpu") for x in (PAIRS, columns))
    assert one == other


@pytest.mark.parametrize("call, told", [
    (lambda: sample.run("base", "a", max_new=0), "max_new 0: must be at least 1"),
    (lambda: sample.run("base", "a", maxnew=3),
     "sample: unknown argument maxnew; did you mean max_new?"),
    (lambda: sample.run("base", PAIRS[:2]), "prompt: holds a dict; each must be a text or a path"),
    (lambda: sample.run("Say 7 twice."), "sample: give a prompt after the models, as in sample.run("
     '"base", "Say 7 twice."), or data and blind'),
    (lambda: evaluate.run("base", items=0),
     "items 0: needs data FILE, or there is nothing to evaluate"),
    (lambda: evaluate.run("base", data=DEMOS, split="val"), "split: applies only to NanoWorld's "
     "prompts; with data all rows are evaluated"),
    (lambda: compare.run("sft", "dpo", seed=3),
     "nanouft.compare: unknown argument seed; did you mean seeds?"),
    # a whole command line, a text in quotation marks, and flags that the caller has written
    (lambda: compare.run("sft", "dpo", out="begun"),
     "out begun: exists and is not an empty folder; choose another name, or resume its run: "
     "python -m nanouft.train --resume begun"),
    (lambda: compare.run("sft", ""), "'': must begin with a method; put the method and its flags "
     'into quotes: "dpo --beta 0.2"'),
    (lambda: compare.run("sft", "sft+dpo --betta 1"), "dpo betta 1: dpo: unknown argument "
     "betta; did you mean beta?"),
    (lambda: compare.run("sft", DPO(beta=-1.0)), "dpo beta=-1.0: beta -1.0: must be above 0")])
def test_an_error_of_a_call_speaks_of_arguments_and_not_of_flags(call, told):
    Path("begun").mkdir()
    write_json(Path("begun/run.json"), {"argv": []})
    with pytest.raises(UserError) as error:
        call()
    assert str(error.value) == told


def test_a_file_that_calls_where_it_is_imported_does_not_begin_again():
    """As a method, in its own script: each run would read it, and so start all its runs anew."""
    Path("script.py").write_text("# __name__\nimport nanouft\n" + OWN
                                 + "nanouft.train.run('sft', steps=1, items=0, plain=True)\n")
    for call in (lambda: train.run("script.py", DEMOS), lambda: compare.run("sft", "script.py")):
        with pytest.raises(UserError, match="script.py: has your own code and calls nanouft; put"):
            call()
    assert not [*Path().glob("out/[a-z]*")], "nothing was trained"


def test_an_object_of_a_method_has_nothing_but_its_settings():
    method = Changed()
    method._factor = 3.0
    with pytest.raises(UserError, match="^Changed: _factor is no setting, so a run would not"):
        train.run(method, DEMOS, **SHORT)


def test_completion_shows_the_programs():
    assert {"train", "compare", "sample", "__version__"} <= {*dir(nanouft)}


@pytest.mark.parametrize("call, classes", [
    (sample.run, [sample.SampleFlags]), (evaluate.run, [evaluate.EvaluateFlags]),
    (compare.run, [CompareFlags])])
def test_a_call_names_its_flags_for_help_and_completion(call, classes):
    """With their defaults, and in the help that the command has for them."""
    shown, about = inspect.signature(call).parameters, inspect.getdoc(call)
    for cls in classes:
        for f in dataclasses.fields(cls):
            if f.name != "arms":                    # of compare: what comes first
                default = shown[f.name].default
                assert default in (f.default, "base")
                assert re.search(rf"\n    {f.name}={re.escape(repr(default))} +\w", about)
    assert "--" not in about and not any(p.kind == p.VAR_KEYWORD for p in shown.values())
    assert about.startswith(call.__wrapped__.__doc__[:40])


# ---- comparisons ---------------------------------------------------------------------------------
CALL = """from nanouft import compare
from nanouft.objectives.dpo import DPO
{guard}
    found = compare.run("sft", DPO(beta=0.2), seeds=2, tries=1, steps=2, items=10, skills="sum",
                        workers=2, device="cpu", out="out/c")
    print(found)
    print(sorted(found.table[1]), found.differences[0]["verdict"])
"""


@pytest.mark.slow
@pytest.mark.parametrize("guard, told", [
    ('if __name__ == "__main__":', "'mean', 'name', 'steps'] worse"),
    ("if True:", "call it below `if __name__"),
    ("if __name__:", "'mean', 'name', 'steps'] worse")])
def test_a_script_compares_or_is_told_that_it_has_no_guard(guard, told):
    """It once waited for itself, for ever."""
    Path("script.py").write_text(CALL.format(guard=guard))
    done = subprocess.run([sys.executable, "script.py"], capture_output=True, text=True,
                          timeout=900)       # a hang would be endless
    assert told in done.stdout + done.stderr, done.stderr
    assert (done.returncode == 0) == ("__name__" in guard)
    if done.returncode == 0:
        assert done.stdout.startswith("sft, dpo --beta 0.2: 2 seeds\n")
        assert "dpo --beta 0.2 - sft" in done.stdout


@pytest.mark.parametrize("methods, flags, told", [
    (["sft"], {}, "name two methods"), ("sft", {}, "name two methods"),
    (["sft", 3], {}, "^3: is not a method"), (["sft", "none.py"], {}, "there is no file /"),
    (["sft", Pairs], {}, "^Pairs: Pairs has no `loss"),
    (["sft", Path("mine.py")], {"seeds": 1}, "^seeds 1: must be at least 2"),
    (["sft", "dpo"], {"data": PAIRS, "reward": len}, "^reward: each run of a comparison is a proc"),
    (["sft", "dpo"], {"data": []}, "^data: is empty"),
    (["sft", "dpo"], {"data": PAIRS}, "^data: 12 distinct prompts"),
    (["sft --help", "dpo"], {}, "help is the same for all")])
def test_a_mistake_in_a_comparison_is_one_line(methods, flags, told):
    with pytest.raises(UserError, match=told):
        compare.run(methods, **flags)


def test_a_comparison_takes_methods_one_by_one_or_in_a_list_also_classes_and_objects():
    """Each becomes the text of a command, of which another process makes the same method."""
    Path("two words.py").write_text(OWN + OWN.replace("Mine", "Other"))
    mine = find("mine.py")(shift=-2.5, mean=False, words="a+b 'c'", tables=["x y", "+z"])
    methods = ["sft", "sft+dpo --beta 1", Path("mine.py"), DPO, DPO(beta=0.2, swap=True), mine,
               find("two words.py:Other")]
    arms = values_of_call(methods, {"seeds": 3})["arms"]
    assert arms[:5] == ["sft", "sft+dpo --beta 1", "mine.py", "dpo", "dpo --beta 0.2 --swap"]
    assert values_of_call([methods], {}) == values_of_call([iter(methods)], {}) == {"arms": arms}
    (of_mine,), (of_other,) = read_arm(arms[5]).stages, read_arm(arms[6]).stages
    assert of_mine[0] == "mine.py" and of_other == ("two words.py:Other",)
    assert vars(read_run(of_mine, {}).objective()) == vars(mine)


# ---- a notebook ----------------------------------------------------------------------------------
CELLS = ['''import nanouft.train, nanouft.compare, nanouft.evaluate
from nanouft.objective import Objective
rows = [{"prompt": f"Say {i}.", "chosen": f"{i}", "rejected": f"no {i}"} for i in range(40)]
short = dict(steps=2, batch_size=4, device="cpu")''',
         'result = nanouft.train.run("dpo", data=rows, beta=0.2, **short)\nresult',
         "result.curves",
         '''class Mine(Objective):
    lr = 1e-3
    end: float = 3.0

    def loss(self, batch):
        s = batch.seqs["answer"]
        return -self.end * (s.mask * s.logp).sum() / batch.tokens["answer"], {}
demos = [{"prompt": x["prompt"], "response": x["chosen"]} for x in rows]
nanouft.train.run(Mine, data=demos, end=2.0, **short)''',
         'nanouft.evaluate.run(result.folder, data=rows, items=0)',
         '''verdict = nanouft.compare.run("sft", "dpo", data=rows, seeds=2, tries=1, **short)
verdict''', "verdict.differences", "verdict.picture",
         'nanouft.train.run("sft", lr=-1)']


@pytest.mark.slow
def test_the_calls_in_a_notebook(monkeypatch):
    """A call prints one line and a bar; its value shows figures, a picture is one."""
    nbformat = pytest.importorskip("nbformat", reason='pip install -e ".[pages]"')
    client = pytest.importorskip("nbclient", reason='pip install -e ".[pages]"')
    pytest.importorskip("ipykernel", reason='pip install -e ".[pages]"')
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(x) for x in CELLS])
    client.NotebookClient(book, timeout=900, kernel_name="python3", allow_errors=True).execute()
    shown: list[dict[str, str]] = [{} for _ in book.cells]
    for cell, said in zip(book.cells, shown):
        for x in cell.outputs:
            texts = {"error": "\n".join(x.traceback)} if "traceback" in x else x.get("data")
            for kind, text in texts.items() if texts else [(x.name, x.text)]:
                said[kind] = said.get(kind, "") + text
    assert shown[1]["stdout"].splitlines() == [
        "dpo: 2 steps at batch size 4, 0.22 epochs over 36 rows"]
    bar = shown[1]["stderr"].strip().rpartition("\r")[2]     # what is seen: it begins the line anew
    assert "100%" in bar and "2/2" in bar and "\n" not in shown[1]["stderr"].strip()
    assert shown[1]["text/plain"].startswith("out/dpo: 2 steps\n")
    assert "image/png" in shown[2] and shown[3]["text/plain"].startswith("out/mine: 2 steps")
    assert "pairs" in shown[4]["text/plain"]
    assert shown[5]["stdout"].startswith("sft, dpo: 2 seeds\nNote: the shipped base model knows ")
    assert "text/html" not in shown[5]
    assert all("Note: with two seeds" in shown[5][kind] for kind in ("stdout", "text/plain"))
    inputs = read_json(Path("out/mine/run.json"))["inputs"]
    assert inputs["method"], "a kernel keeps the text of its cells"
    assert "dpo - sft" in shown[6]["text/html"] and "image/svg+xml" in shown[7]
    assert shown[8] == {"error": "UserError: lr -1: must be above 0"}
