"""A run is a value: a command line, a call in Python and an object make the same one, and it gives
its command line back. A call leaves no trace in the caller's process, and names what it noticed.
tests/recorded/mistakes/calls.txt has the mistakes in calls."""
import contextlib
import hashlib
import pickle
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from made import killed_in_step, one_error, start_folder, write_jsonl

import nanouft.train
from nanouft import __version__, compare, evaluate, reward, sample, train
from nanouft.compare.arms import read_arm, read_run
from nanouft.compare.plan import values_of_call
from nanouft.objective import Objective
from nanouft.objectives import find
from nanouft.objectives.dpo import DPO, Pairs
from nanouft.objectives.una import UNA
from nanouft.plumbing import printing
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.files import read_json, write_json
from nanouft.plumbing.printing import Table, note, quiet
from nanouft.run.config import RunConfig, how_to_resume, parse_run

DEMOS = [{"prompt": f"Say {i}.", "response": f"{i}"} for i in range(12)]
PAIRS = [{"prompt": f"Say {i}.", "chosen": f"{i}", "rejected": f"no {i}"} for i in range(12)]
SHORT = {"init": "", "steps": 2, "batch_size": 4, "device": "cpu", "threads": 1}
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


@pytest.fixture(scope="module")
def start(tmp_path_factory) -> str:
    """A tiny initial model."""
    return start_folder(tmp_path_factory.mktemp("config") / "start")


@pytest.fixture(autouse=True)
def place(start, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(SHORT, "init", start)
    monkeypatch.setattr(Here, "__module__", "__main__")
    Path("mine.py").write_text(OWN)


def weights(folder: object) -> str:
    return hashlib.sha256(Path(str(folder), "model.safetensors").read_bytes()).hexdigest()


# ---- the value -----------------------------------------------------------------------------------
@pytest.mark.parametrize("method, flags", [
    ("dpo", {"beta": 0.2, "data": ("a.jsonl", "-b.jsonl"), "lr": 1e-05, "plain": True}),
    ("mine.py", {"shift": -1e-05, "mean": False, "words": "--lr 3"}),
    ("mine.py:Mine", {"shift": -2.5, "words": "-x", "tables": ["a b", "c=d", "e\\f"]}),
    (Path("mine.py"), {"shift": 0.0}), (DPO(beta=0.3), {"reward": "exact"}),
    (DPO, {"out": Path("a=b", "c d"), "mix": "", "seed": 3}), (None, {"skills": "sum"}),
    (UNA, {"steps": np.int64(3), "noise": np.float32(0.5)})])
def test_a_run_gives_its_command_line_and_the_line_gives_the_run(method, flags):
    """Also in another process."""
    config = RunConfig.of(method, flags)
    again = parse_run(config.argv())
    told, wanted = again.given_values(), {"objective": "ift"} | config.given_values()
    assert told | {"data": ()} == wanted | {"data": ()}
    assert {type(x).__module__ for x in config.given_values().values()} == {"builtins"}
    assert again.objective() == config.objective() or "mine" in config.method
    assert config.data is None or [*map(Path, again.data)] == [*map(Path, config.data)]
    there = pickle.loads(pickle.dumps(config))
    assert there == config and hash(there) == hash(config) != hash(config.with_flags(seed=5))
    assert vars(there.objective()) == vars(config.objective())


def test_a_run_reads_its_rows_its_own_code_and_what_a_setting_names():
    config = RunConfig.of("mine.py", {"data": ["a.jsonl"], "tables": ["x"], "reward": "r.py:f"})
    assert config.reads() == ["mine.py", "r.py", "a.jsonl", "x"]


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
    """The command is the one that run.json has."""
    one = train.run("dpo", data=PAIRS, beta=0.2, **SHORT)
    assert len(capsys.readouterr().out.splitlines()) == 1
    other = train.run(DPO(beta=0.2), data=PAIRS, plain=True, **SHORT)
    about = read_json(one.folder / "run.json")
    assert command(train.main, [*about["argv"], "--plain", "--out", "typed"]) == 0
    assert weights(one.folder) == weights(other.folder) == weights("typed")
    assert [x["step"] for x in one.metrics] == [1, 2] and "loss" in one.metrics[0]
    assert {"accuracy", "rows"} <= one.after["held_out"].keys() and other.after == {}
    assert repr(one).startswith("out/dpo: 2 steps\n") and "before    after" in repr(one)
    assert one.curves._repr_png_()[:4] == b"\x89PNG"
    assert train.run(resume=one.folder).metrics == one.metrics
    assert [*evaluate.run([other, one], data=PAIRS, items=0)] == ["out/dpo-2", "out/dpo"]
    again = train.run("sft", data=DEMOS, plain=True, out=one.folder, **SHORT | {"init": one})
    assert again.metrics and again.folder == Path("out/dpo-3"), "a cell may be run again"


def trained_with(**flags) -> list[float]:
    run = train.run("sft", data=DEMOS, plain=True, **SHORT | flags)
    return [x["loss"] for x in run.metrics]


def refused() -> str:
    with pytest.raises(UserError, match="diverged") as error:
        trained_with(lr=1e30)
    return str(error.value)


def reward_model() -> str:
    write_jsonl(Path("pairs.jsonl"), PAIRS)
    words = "--data pairs.jsonl --steps 1 --batch-size 4 --device cpu"
    assert reward.main(["--init", SHORT["init"], *words.split()]) == 0
    return weights(sorted(Path("out").glob("reward*"))[-1])


CALLS = {"train": trained_with, "train, lora": lambda: trained_with(lora=2), "refused": refused,
         "evaluate": lambda: evaluate.run(SHORT["init"], data=DEMOS, device="cpu"),
         "sample": lambda: [*sample.run(SHORT["init"], "Say oak.", temperature=1, device="cpu")],
         "reward": reward_model}
CALLERS = [torch.no_grad, torch.inference_mode, lambda: torch.autocast("cpu", torch.bfloat16),
           lambda: torch.device("meta")]


def state_of_caller() -> dict:
    """What may be the caller's own, and the numbers that he draws next."""
    logs = transformers.utils.logging
    generators = (random.getstate(), np.random.get_state()[1].tobytes(),
                  torch.get_rng_state().numpy().tobytes())
    return {"generators": hash(generators), "threads": torch.get_num_threads(),
            "type": torch.get_default_dtype(), "device": torch.get_default_device(),
            "gradient": torch.is_grad_enabled(), "inference": torch.is_inference_mode_enabled(),
            "autocast": torch.is_autocast_enabled("cpu"), "verbosity": logs.get_verbosity(),
            "bars": logs.is_progress_bar_enabled(),
            "products": torch.get_float32_matmul_precision()}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_leaves_the_process_as_it_was_and_is_not_changed_by_it(name):
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
        with contextlib.ExitStack() as callers:
            for caller in CALLERS:
                callers.enter_context(caller())
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


@pytest.mark.parametrize("in_python", [True, False], ids=["call", "command"])
def test_a_path_may_begin_with_the_home_folder(in_python, tmp_path, monkeypatch):
    """In Python, and behind = on a command line, where a shell leaves it. It was a folder of that
    name, which `rm -r ~` would remove with everything else."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    write_jsonl(home / "rows.jsonl", DEMOS)
    (home / "mine.py").write_text(OWN)
    (home / "r.py").write_text("def f(completions):\n    return [0.5] * len(completions)\n")

    def run(**flags):
        if in_python:
            train.run(flags.pop("objective", None), **flags)
        else:
            words = [f"--{name.replace('_', '-')}={x}" for name, x in flags.items()]
            assert command(train.main, [word.removesuffix("=True") for word in words]) == 0
    rows, short = "~/rows.jsonl", {"plain": True, **SHORT}
    run(objective="~/mine.py", data=rows, eval_data=rows, out="~/run", **short)
    run(objective="~/mine.py", resume=Path("~/run") if in_python else "~/run")
    run(objective="grpo", data=rows, reward="~/r.py:f", max_new=2, **short | {"init": "~/run"})
    assert (home / "run" / "model.safetensors").exists() and not Path("~").exists()
    assert parse_run(["--out=~", "--init=~"]).init == str(home)


def test_rows_in_memory_where_nothing_can_be_written_are_one_line(tmp_path):
    Path("out").write_text("")
    with pytest.raises(UserError, match="^data: rows in memory are written to out/.rows, and this"):
        train.run("sft", data=DEMOS, out=tmp_path / "elsewhere")


def test_rows_may_be_a_list_columns_a_table_or_a_dataset():
    rows = [row | {"tests": [{"n": 1}]} for row in DEMOS]       # a cell may be a dictionary
    pandas = pytest.importorskip("pandas")                      # datasets brings it
    tables = [rows, {name: [row[name] for row in rows] for name in rows[0]},
              pytest.importorskip("datasets").Dataset.from_list(rows), pandas.DataFrame(rows)]
    found = {weights(train.run("sft", data=rows, plain=True, **SHORT).folder) for rows in tables}
    assert len(found) == 1
    twice = pandas.DataFrame([["a", "b"]], columns=["prompt"] * 2)
    with pytest.raises(UserError, match='two columns are called "prompt"'):
        train.run("sft", data=twice)


def test_what_a_run_notices_is_in_the_notes_of_its_result():
    rows = [*DEMOS, {"prompt": "a"}]
    result = train.run(Changed, data=rows, eval_data=DEMOS, **SHORT | {"init": "base"})
    for text in ("Changed: the gradient with respect to the log-probs has the norm",
                 "metric odd is nan at step 1",
                 "12 of 12 held-out prompts are also trained on",
                 "the shipped base model knows only NanoWorld",
                 "25 rows read: 12 to train on, 12 held out, 1 skipped (1: no response"):
        told, = (line for line in result.notes if line.startswith(text))
        assert told in repr(result)
    # its file is not "<string>": Python 3.13 keeps the text of python -c under that name
    loss = eval(compile("lambda self, batch: (sum(x.logp.sum() for x in batch.seqs.values()), {})",
                        "typed", "eval"))
    typed = type("Typed", (Here,), {"__module__": "__main__", "loss": loss})
    notes = train.run(typed, data=DEMOS, plain=True, **SHORT).notes
    assert any(line.startswith("Typed: Python has not kept") for line in notes)


def test_a_class_of_a_notebook_trains_and_goes_on_in_python_alone(monkeypatch, capsys):
    flags = {"data": DEMOS, "plain": True, **SHORT}
    whole = train.run(Here, weight=0.5, out="whole", **flags)
    with killed_in_step(2), pytest.raises(KeyboardInterrupt):
        train.run(Here, weight=0.5, out="cut", save_every=1, **flags)
    told = capsys.readouterr().out.splitlines()[-1].partition("resume with: ")[2]
    assert told == "nanouft.train.run(Here, resume='cut')"
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
    eval(told, {"nanouft": nanouft, "Here": Here})
    assert weights("cut") == weights(whole.folder)
    with pytest.raises(UserError, match="^Here: each run .* process of its own, which cannot"):
        compare.run(["sft", Here])


def test_a_stopped_run_says_how_to_resume_it_with_what_was_changed(capsys):
    """As in "out of memory": else the next one would need the memory of the first. A call names
    code of yours again."""
    cfg = RunConfig.of(Path("mine.py"), {}).with_flags(resume="cut", accumulate=2, save_every=5)
    told = how_to_resume(Path("cut"), RunConfig().with_flags(
        resume="cut", accumulate=2, save_every=5))
    assert told == "python -m nanouft.train --resume cut --accumulate 2 --save-every 5"
    object.__setattr__(cfg, "in_python", True)
    told = how_to_resume(Path("cut"), cfg)
    assert told == "nanouft.train.run('mine.py', accumulate=2, save_every=5, resume='cut')"


def test_a_setting_declared_anew_needs_its_type():
    with pytest.raises(TypeError, match="beta: is a setting of Pairs, .*`beta: float = 0.5`"):
        type("Mine", (Pairs,), {"beta": 0.5})


@pytest.mark.parametrize("argv, told", [
    (["--objective", "evil.py"], "only if you name it"),
    ([5], "is not of nanouft.train"), ("--objective sft", "is not of nanouft.train"),
    (["--steps", "x"], "steps x: must be"), (["x"], "argument x")])
def test_a_folder_of_somebody_else_executes_nothing(argv, told, capsys):
    """Neither what its words name, nor what is no word."""
    Path("evil.py").write_text("open('ran', 'w')\n")
    Path("theirs").mkdir()
    write_json(Path("theirs/run.json"), {"version": __version__, "argv": argv})
    assert command(train.main, ["--resume", "theirs"]) == 2
    assert told in one_error(capsys)
    with pytest.raises(UserError, match=told):
        train.run(resume="theirs")
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


def test_an_object_of_a_method_has_nothing_but_its_settings():
    method = Changed()
    method._factor = 3.0
    with pytest.raises(UserError, match="^Changed: _factor is no setting, so a run would not"):
        train.run(method, DEMOS, **SHORT)


# ---- comparisons ---------------------------------------------------------------------------------
def test_a_script_that_compares_without_a_guard_is_told_so(monkeypatch):
    """It once waited for itself, for ever."""
    Path("script.py").write_text("from nanouft import compare\ncompare.run('sft', 'dpo')\n")
    monkeypatch.setattr(sys.modules["__main__"], "__file__", "script.py", raising=False)
    with pytest.raises(UserError, match="call it below `if __name__"):
        compare.run("sft", "dpo", seeds=1)


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
CELLS = ['''import nanouft.train, nanouft.compare
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
    assert shown[1]["stdout"] == "dpo: 2 steps at batch size 4, 0.22 epochs over 36 rows\n"
    bar = shown[1]["stderr"].strip().rpartition("\r")[2]     # what is seen: it begins the line anew
    assert "100%" in bar and "2/2" in bar and "\n" not in shown[1]["stderr"].strip()
    assert shown[1]["text/plain"].startswith("out/dpo: 2 steps\n") and "image/png" in shown[2]
    assert shown[3]["text/plain"].startswith("out/mine: 2 steps")
    inputs = read_json(Path("out/mine/run.json"))["inputs"]
    assert inputs["method"], "a kernel keeps the text of its cells"
    assert shown[4]["stdout"].startswith("sft, dpo: 2 seeds\nNote: the shipped base model knows ")
    for kind in ("stdout", "text/plain"):
        assert "Note: two seeds decide little" in shown[4][kind]
    assert "text/html" not in shown[4] and "dpo - sft" in shown[5]["text/html"]
    assert "image/svg+xml" in shown[6]
    assert shown[7] == {"error": "UserError: lr -1: must be above 0"}
