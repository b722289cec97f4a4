"""A run is one run, however it is computed: killed at any moment, ended in another way, resumed
in less memory, compiled, or in half precision. What it goes on with is in test_folders.py."""
import os
import re
import shlex
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from commands import is_like, no_pictures
from made import NANO, PROGRESS, llama, one_error, slow_but
from torch._dynamo.utils import counters

from nanouft import own, train
from nanouft.device import Device
from nanouft.models import folders
from nanouft.models.folders import save_model
from nanouft.objectives.dpo import DPO
from nanouft.objectives.grpo import GRPO
from nanouft.objectives.sft import SFT
from nanouft.plumbing import safetensors_files
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.files import hash_of_file
from nanouft.run import checkpoint, evaluation
from nanouft.run.checkpoint import CHECKPOINT, Log, saved_step
from nanouft.run.folder import locked, read_lines

ROWS = "--init start --data pairs.jsonl --batch-size 4 --steps 5 --lr 1e-3 --plain"
DEMOS = f"{ROWS} --data demos.jsonl"                    # the last of two equal flags counts
SAMPLED = ("--init start --data pairs.jsonl --reward r.py:f --batch-size 2 --samples 2 --max-new 4 "
           "--steps 6 --lr 1e-3")
WORLD = "--init start --rows 30 --batch-size 4 --steps 5 --lr 1e-3 --items 1"
OWN = """import random
import numpy, torch
from nanouft.objectives.sft import SFT

class Noisy(SFT):
    def loss(self, batch):
        loss, metrics = super().loss(batch)
        drawn = random.random() + numpy.random.rand() + torch.rand(())
        return loss * drawn, metrics | {"drawn": drawn}
"""
RUNS = {        # each keeps something else between two steps
    "dpo": f"dpo {ROWS}",                                       # the reference's log-probs
    "best": f"sft {DEMOS} --lr 0.1 --keep best --eval-every 1 --save-every 1",  # of step 2 of 5
    "ift": f"ift {DEMOS} --lam 0.5 --batch-size 5",             # a second forward
    "neftune": f"neftune {DEMOS}",                              # random numbers of ours
    "noisy": f"noisy.py {DEMOS}",                               # those of other libraries
    "hft": f"hft {DEMOS} --eval-every 2",                       # frozen weights, by the seed
    "kto": f"kto {ROWS} --data even.jsonl",                     # rows that read other rows
    "ppo": f"ppo {SAMPLED} --plain --steps 8",                  # a critic; four steps a rollout
    "grpo": f"grpo {SAMPLED} --minibatches 2",                  # two
    "scores": f"sft {WORLD} --curve-items 1",                   # scores while it trains
    "fp16": f"dpo {ROWS}"}                                      # which the flags refuse on a CPU
if find_spec("peft"):                                   # else it is not tested here
    RUNS["lora"] = f"sft {DEMOS} --init llama --lora 2"


# ---- runs, in this process -----------------------------------------------------------------------
@pytest.fixture(scope="module")
def place(belongings, tmp_path_factory) -> Iterator[Path]:
    """A folder with models and rows; we are in it."""
    folder, before = tmp_path_factory.mktemp("interrupted"), os.getcwd()
    shutil.copytree(belongings, folder, dirs_exist_ok=True)
    (folder / "noisy.py").write_text(OWN)
    if "lora" in RUNS:
        (folder / "llama").mkdir()
        save_model(folder / "llama", llama(True), NANO)
    os.chdir(folder)
    whole.cache_clear()
    with no_pictures():
        yield folder
    os.chdir(before)


def trained(kind: str, line: str) -> int:
    """The exit code of a command. Compiled it is by the backend that keeps PyTorch's operations, so
    no C compiler is needed. The scale of fp16 doubles after each two steps."""
    compiler = torch.compile
    with pytest.MonkeyPatch.context() as now:
        now.setattr(torch, "compile", lambda *a, **how: compiler(*a, **how | {"backend": "eager"}))
        if kind == "fp16":
            now.setattr(train.devices, "choose_device", lambda *_: Device("cpu", "fp16"))
            now.setattr(Device, "grad_scaler", lambda device: torch.amp.GradScaler(
                "cpu", init_scale=2.0**10, growth_interval=2, enabled=device.dtype == "fp16"))
        return command(train.main, shlex.split(line), train.NEEDS_LESS)


def begin(kind: str, run: str, told: str = "") -> int:
    return trained(kind, f"--save-every 2 --threads 1 --device cpu --out {run} "
                         f"--objective {told or RUNS[kind]}")


def go_on(kind: str, run: str, more: str = "") -> int:
    """Code of your own is named again."""
    named = {"--reward r.py:f": "r.py:f", "--objective noisy.py": "noisy.py"}
    again = [flags for flags, file in named.items() if file in RUNS[kind]]
    return trained(kind, " ".join([f"--resume {run}", *again, more]))


def losses(run: str, figure: str = "loss") -> list[float]:
    return [x[figure] for x in read_lines(Path(run, "metrics.jsonl")) if figure in x]


# ---- killed --------------------------------------------------------------------------------------
Watcher = Callable[[str, Path], None]                   # called before each change of a file
watchers: list[Watcher] = []


def tell(change: str, file: Any) -> None:
    """What a watcher does itself is not told."""
    if watchers:
        watcher = watchers.pop()
        watcher(change, Path(file))
        watchers.append(watcher)


def audit(event: str, told: tuple) -> None:
    mode = told[1] if event == "open" else None
    if isinstance(mode, str) and {*mode} & {*"wax"}:
        tell("append to" if "a" in mode else "write", told[0])
    elif event in ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate"):
        tell(event.removeprefix("os."), told[0])


@cache
def install_audit() -> None:
    """Python keeps such a hook to its end."""
    sys.addaudithook(audit)


@contextmanager
def watched_by(watcher: Watcher) -> Iterator[None]:
    """Python is not told of tensors, which a library writes: the watcher is, afterwards."""
    def told(save: Callable) -> Callable:
        return lambda tensors, file, *more, **named: (
            save(tensors, file, *more, **named), tell("half of", file))
    install_audit()
    with pytest.MonkeyPatch.context() as now:
        for module in (safetensors.torch, folders, safetensors_files):
            now.setattr(module, "save_file", told(module.save_file))
        watchers.append(watcher)
        yield
        watchers.clear()


def copy_as_killed(run: str, copy: str, change: str, file: Path) -> None:
    """What a kill leaves: a file that was just opened is empty, a line of the log and tensors are
    written by half."""
    shutil.copytree(run, copy)
    written = Path(copy, file.relative_to(run))
    if change == "write":
        written.write_bytes(b"")
    elif change == "append to" and file.name == "metrics.jsonl":
        written.write_text(written.read_text() + '{"step": 5, "lo')
    elif change == "half of":
        os.truncate(written, written.stat().st_size // 2)


@cache
def whole(kind: str) -> dict[str, str]:
    """A run to its end, in the folder `kind`. Returns {copy of it as a kill leaves it: before which
    change}. The changes are dealt over the kinds. Each has one after a step was saved, and "best"
    has those of the best weights."""
    seen, left = list[str](), dict[str, str]()

    def copied(change: str, file: Path) -> None:
        nothing = {"remove": not file.exists(), "mkdir": file.exists()}.get(change, False)
        if nothing or not file.is_relative_to(kind) or not Path(kind).exists():
            return
        seen.append(f"{change} {file.name}")
        dealt = len(seen) % len(RUNS) == [*RUNS].index(kind)
        after_a_step = has_step(kind) and not any(map(has_step, left))
        if dealt or after_a_step or kind == "best" and "best" in file.name:
            copy = f"{kind}_{len(seen)}"
            copy_as_killed(kind, copy, change, file)
            left[copy] = seen[-1]
    with watched_by(copied):
        assert begin(kind, kind) == 0
    return left


def has_step(run: str) -> bool:
    return Path(run, CHECKPOINT).exists()


def first_with_step(kind: str) -> str:
    return next(filter(has_step, whole(kind)))


@pytest.mark.parametrize("kind", slow_but("best, dpo, grpo", RUNS))
def test_killed_before_any_change_of_a_file_a_run_goes_on_to_the_same_bytes(kind, place):
    for copy, change in whole(kind).items():
        run = shutil.copytree(copy, f"{copy}_again")
        begun = Path(run, "run.json").exists()
        assert (go_on if begun else begin)(kind, run) == 0, change
        is_like(place / run, place / kind)


# ---- ended in another way ------------------------------------------------------------------------
End = Callable[[pytest.MonkeyPatch], object]            # what is put in its way before a run begins


def at_call(owner, name: str, number: int, act: Callable) -> End:
    """`act` is called before the `number`-th call of a function."""
    def put(now: pytest.MonkeyPatch) -> None:
        calls, real = [], getattr(owner, name)

        def call(*told, **more):
            calls.append(1)
            if len(calls) == number:
                act()
            return real(*told, **more)
        now.setattr(owner, name, call)
    return put


def sends(name: str) -> Callable:
    return lambda: os.kill(os.getpid(), getattr(signal, name))


def fails(error: BaseException) -> Callable:
    def act():
        raise error
    return act


def full_in(owner, name: str, numbers: range) -> End:
    """In these calls of a function a limit of a file's size stands for a full disk or a quota.
    Tensors are written by a library whose error is no OSError."""
    def put(now: pytest.MonkeyPatch) -> None:
        resource = pytest.importorskip("resource")      # not on Windows
        calls, real = [], getattr(owner, name)

        def call(*told, **more):
            calls.append(1)
            before = resource.getrlimit(resource.RLIMIT_FSIZE)
            if len(calls) in numbers:
                resource.setrlimit(resource.RLIMIT_FSIZE, (400, before[1]))
            try:
                return real(*told, **more)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, before)
        now.setattr(owner, name, call)
    return put


def under_nohup(now: pytest.MonkeyPatch) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    at_call(Log, "add", 2, sends("SIGHUP"))(now)


def killed_twice(now: pytest.MonkeyPatch) -> None:
    """After the last step, and again while this one is saved."""
    at_call(train.evaluation, "evaluate_run", 2, sends("SIGTERM"))(now)
    at_call(checkpoint, "save_step", 3, sends("SIGTERM"))(now)


def no_score(number: int) -> End:
    """A run asks its reward before a model is opened (0), before training, in each rollout, and
    after training."""
    reads = 2 if number else 1                          # of the file
    return at_call(own, "locate_errors", reads + number + 1,
                   fails(UserError("the judge did not answer")))


NO_MEMORY = fails(MemoryError())
OUT = "error: out of memory; give --activation-checkpointing"
ENDS = {        # kind of run, how it ends, exit code, the step that is kept, what it says
    "a closed terminal": (
        "dpo", at_call(Log, "add", 3, sends("SIGHUP")), 130, 3, "stops after this step\n"),
    "a closed terminal, under nohup": ("dpo", under_nohup, 0, 5, ""),
    "the time limit of a cluster": (
        "dpo", at_call(Log, "add", 3, sends("SIGUSR1")), 130, 3, "stops after this step\n"),
    "Ctrl-C in a rollout": (
        "grpo", at_call(Log, "add", 3, sends("SIGINT")), 130, 4, "stops after this rollout\n"),
    "kill after the last step, twice": ("dpo", killed_twice, 130, 5, "interrupted"),
    "an interruption in a step": (
        "dpo", at_call(DPO, "loss", 4, fails(KeyboardInterrupt())), 130, 3, "interrupted"),
    "an interruption where the model is saved": (
        "best", at_call(train, "save_model", 1, fails(KeyboardInterrupt())), 130, 5, "interrupted"),
    "a fault of ours": (
        "dpo", at_call(DPO, "loss", 4, fails(ZeroDivisionError("ours"))), 1, 3, "Error: ours"),
    "a fault in the first step of a rollout": (
        "grpo", at_call(GRPO, "loss", 3, fails(ValueError("in a step"))), 1, 2, "in a step"),
    "a fault of a file of yours": (
        "noisy", at_call(SFT, "loss", 7, fails(ValueError("in a step"))), 2, 3, "noisy.py, line 7"),
    "no memory in half a step": (
        "dpo", at_call(torch.optim.AdamW, "step", 4, NO_MEMORY), 2, 2, OUT),
    "no memory to evaluate": (
        "best", at_call(train, "held_out_metrics", 2, NO_MEMORY), 2, 2, OUT),
    "no memory to keep the best": (
        "best", at_call(checkpoint, "keep_best", 1, NO_MEMORY), 2, 1, OUT),
    "no memory to score": ("scores", at_call(evaluation, "curve_scores", 2, NO_MEMORY), 2, 1, OUT),
    "no reward at the start": ("grpo", no_score(0), 2, None, "did not answer"),
    "no reward before training": ("grpo", no_score(1), 2, 0, "did not answer"),
    "no reward in the second rollout": ("grpo", no_score(3), 2, 2, "did not answer"),
    "no reward after training": ("grpo", no_score(5), 2, 6, "did not answer"),
    "no room for its first file": (
        "dpo", full_in(train, "write_json", range(1, 9)), 2, None, "/run.json.partial: File too"),
    "no room for a line of the log": (
        "dpo", full_in(Log, "write", range(3, 4)), 2, 4, "/metrics.jsonl: File too large"),
    "no room for the second step": (
        "dpo", full_in(checkpoint, "save_tensors", range(2, 9)), 2, 2,
        "/checkpoint.safetensors.partial: Error")}


@contextmanager
def own_signals() -> Iterator[None]:
    """A signal that a run does not handle is an error of the test, and does not end it."""
    names = [x for x in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1") if hasattr(signal, x)]
    before = {x: signal.signal(getattr(signal, x), lambda number, frame: pytest.fail("not handled"))
              for x in names}
    yield
    for name, handler in before.items():
        signal.signal(getattr(signal, name), handler)


@pytest.mark.parametrize("name", slow_but(
    "a closed terminal, Ctrl-C in a rollout, an interruption where the model is saved, "
    "a fault of ours, no memory to keep the best, no room for the second step", ENDS))
def test_however_a_run_ends_one_line_says_what_is_kept_and_it_goes_on_to_the_same_bytes(
        name, place, capfd):
    kind, end, wanted, kept, words = ENDS[name]
    run = name.replace(" ", "_").replace(",", "")
    whole(kind)
    capfd.readouterr()
    with pytest.MonkeyPatch.context() as now, own_signals():
        end(now)
        try:
            code = begin(kind, run)
        except Exception:                               # a fault of ours, with its traceback
            traceback.print_exc()
            code = 1
    said = "".join(x for x in capfd.readouterr().err.splitlines(True) if not PROGRESS.search(x))
    assert code == wanted and words in said, said
    assert len(re.findall(r"^\s*error: ", said, re.M)) == (code == 2), said
    line = f"{run}: saved at step {kept}; resume with: python -m nanouft.train "
    assert ("resume with" in said) == (line in said) == bool(kept and code), said
    if code and (place / run / "run.json").exists():
        assert saved_step(place / run) == kept
        again = said.partition(line)[2].partition("\n")[0] if kept else ""
        assert (trained(kind, again) if again else go_on(kind, run)) == 0
    if (place / run / "run.json").exists():
        is_like(place / run, place / kind)


def test_a_second_process_in_one_folder_is_one_line(place, capsys):
    run = shutil.copytree(first_with_step("best"), "first")
    with locked(Path(run)):
        assert go_on("best", run) == 2
    assert one_error(capsys).startswith("error: first: is in use by another process; wait")


# ---- computed in another way ---------------------------------------------------------------------
@pytest.mark.parametrize("kind", slow_but("dpo, grpo", [
    x for x in "ift neftune dpo ppo grpo lora".split() if x in RUNS]))
def test_a_run_goes_on_in_less_memory(kind, place):
    """As after "out of memory": with more micro-batches and with activations computed twice. So
    micro-batches change nothing."""
    run = shutil.copytree(first_with_step(kind), f"{kind}_less")
    assert go_on(kind, run, "--accumulate 2 --activation-checkpointing") == 0
    assert losses(run) == pytest.approx(losses(kind), rel=2e-5, abs=2e-5)
    got, want = (safetensors.torch.load_file(Path(x, "model.safetensors")) for x in (run, kind))
    assert got.keys() == want.keys()
    assert max((got[name] - want[name]).abs().max() for name in want) <= 2e-4


@pytest.mark.slow
def test_a_compiled_run_is_two_graphs_whatever_the_shape_and_has_the_losses_of_a_plain_one(place):
    """All blocks together are one with gradient and one without, for IFT's two forwards of
    micro-batches of two and of three rows."""
    whole("ift")
    torch._dynamo.reset()
    counters.clear()
    assert begin("ift", "compiled", f"{RUNS['ift']} --accumulate 2 --compile") == 0
    assert counters["stats"]["unique_graphs"] == 2 and not counters["graph_break"]
    assert losses("compiled") == pytest.approx(losses("ift"), rel=1e-5)


def test_in_half_precision_a_run_is_nearly_the_same(place):
    """The gradient is clipped after the scale of fp16 was taken out."""
    assert begin("grpo", "bf16", f"{RUNS['grpo']} --dtype bf16") == 0
    for half, kind in (("fp16", "dpo"), ("bf16", "grpo")):
        for x in {half, kind} & {*RUNS}:
            whole(x)
        got, want = losses(half), losses(kind)
        assert got[0] == pytest.approx(want[0], abs=5e-3) and got != want
        assert np.isfinite(got).all()
    norms = [losses(x, "grad_norm")[0] for x in ("fp16", "dpo")]
    assert norms[0] == pytest.approx(norms[1], rel=0.1)


@pytest.mark.parametrize("kind", ["dpo", "fp16"])
def test_a_run_begins_with_log_ratios_of_0(kind, place):
    """The reference is read in the precision of the run: else what is rounded would be the first
    reward."""
    whole(kind)
    assert (losses(kind, "margin")[0], losses(kind, "accuracy")[0]) == (0.0, 0.5)


def test_code_of_your_own_draws_other_numbers_in_each_step(place):
    whole("noisy")
    assert len({*losses("noisy", "drawn")}) == 5


def test_scores_while_a_run_trains_change_nothing_else(place):
    whole("scores")
    assert begin("scores", "unscored", f"{RUNS['scores']} --curve-items 0") == 0
    assert [x["step"] for x in read_lines(Path("scores/metrics.jsonl")) if "scores" in x] == [
        0, 1, 2, 3, 5]
    assert losses("scores") == losses("unscored")
    for file in ("model.safetensors", "eval.json"):
        assert hash_of_file(f"scores/{file}") == hash_of_file(f"unscored/{file}")
