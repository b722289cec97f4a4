"""However a run ends, nothing that it has made is lost: one line says which step is kept and how to
go on, and from there the run ends with the bytes of one that was never interrupted."""
import gc
import os
import shlex
import shutil
import signal
import sys
import traceback
from ast import literal_eval
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

if not hasattr(os, "fork"):
    pytest.skip("no fork here", allow_module_level=True)
import resource  # not on Windows

from commands import dpo, is_like, no_pictures
from made import PROGRESS

from nanouft import own, train
from nanouft.models import folders
from nanouft.objectives.dpo import DPO
from nanouft.objectives.grpo import GRPO
from nanouft.plumbing import safetensors_files as tensors_of_file
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.files import read_json
from nanouft.run import checkpoint
from nanouft.run.checkpoint import Log
from nanouft.run.folder import read_lines

# ---- how a run may end: each is called in the process of the run, before it begins ---------------
Ending = Callable[[], object]


def at_call(owner, name: str, number: int, act: Callable) -> Ending:
    """`act` is called before the `number`-th call of a function."""
    def begin() -> None:
        calls, real = [], getattr(owner, name)

        def call(*told, **more):
            calls.append(1)
            if len(calls) == number:
                act()
            return real(*told, **more)
        setattr(owner, name, call)
    return begin


def sends(name: str) -> Callable:
    return lambda: os.kill(os.getpid(), getattr(signal, name))


def fails(error: BaseException) -> Callable:
    def act():
        raise error
    return act


def full(size: int) -> Ending:
    """A limit of a file's size stands for a full disk or a quota. It is met in the log, the model
    or the optimizer; tensors are written by a library whose error is no OSError."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def under_nohup() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    at_call(Log, "add", 2, sends("SIGHUP"))()


def killed_twice() -> None:
    """After the last step, and again while this one is saved."""
    at_call(train.evaluation, "evaluate_run", 2, sends("SIGTERM"))()
    at_call(checkpoint, "save_step", 3, sends("SIGTERM"))()


def no_score(number: int) -> Ending:
    """A run asks its reward before a model is opened (0), before training, in each rollout, and
    after training."""
    failing = fails(UserError("the judge did not answer"))
    reads = 2 if number else 1                          # of the file
    return at_call(own, "locate_errors", reads + number + 1, failing)


PLAIN, SAMPLED = "--objective dpo", (       # of which each rollout makes two steps
    "--objective grpo --init start --data pairs.jsonl --reward r.py:f --batch-size 2 --minibatches "
    "2 --samples 2 --max-new 4 --steps 6 --lr 1e-3 --threads 1 --device cpu")
SAVED = SAMPLED + " --save-every 2"
BEST = "--keep best --eval-every 1 --objective sft --data demos.jsonl --lr 0.1"     # of step 2 of 5
OF_FILE = SAVED.replace("grpo", "mine.py")
MINE = ("from nanouft.objectives.grpo import GRPO\n\n\nclass Mine(GRPO):\n"
        "    def loss(self, batch):\n        return super().loss(batch)\n")
OUT = "error: out of memory; give --activation-checkpointing"
NO_MEMORY = RuntimeError("CPUAllocator: can't allocate memory: you tried to allocate 9")
ENDS = {        # the run, how it ends, its exit code, the step that is kept, what it says
    "a closed terminal": (
        PLAIN, at_call(Log, "add", 3, sends("SIGHUP")), 130, 3, "stops after this step\n"),
    "a closed terminal, under nohup": (PLAIN, under_nohup, 0, 5, ""),
    "the time limit of a cluster": (
        PLAIN, at_call(Log, "add", 3, sends("SIGUSR1")), 130, 3, "stops after this step\n"),
    "Ctrl-C in a rollout": (
        SAVED, at_call(Log, "add", 3, sends("SIGINT")), 130, 4, "stops after this rollout\n"),
    "kill after the last step, twice": (PLAIN, killed_twice, 130, 5, "interrupted"),
    "an interruption where the best weights are saved": (
        BEST, at_call(train, "save_model", 1, fails(KeyboardInterrupt())), 130, 5, "interrupted"),
    "an interruption in a step": (
        PLAIN, at_call(DPO, "loss", 4, fails(KeyboardInterrupt())), 130, 3, "interrupted"),
    "a fault of ours": (
        PLAIN, at_call(DPO, "loss", 4, fails(ZeroDivisionError("ours"))), 1, 3, "Error: ours"),
    "a fault in the first step of a rollout": (
        SAVED, at_call(GRPO, "loss", 3, fails(ValueError("in a step"))), 1, 2, "in a step"),
    "a fault of a file in the second one": (
        OF_FILE, at_call(GRPO, "loss", 6, fails(ValueError("in a step"))), 2, 2, "in a step"),
    "no memory": (PLAIN, at_call(DPO, "loss", 4, fails(NO_MEMORY)), 2, 3, OUT),
    "no memory in half a step": (
        PLAIN, at_call(torch.optim.AdamW, "step", 4, fails(MemoryError())), 2, 2, OUT),
    "no reward at the start": (SAMPLED, no_score(0), 2, None, "did not answer"),
    "no reward before training": (SAMPLED, no_score(1), 2, 0, "did not answer"),
    "no reward in the first rollout": (SAMPLED, no_score(2), 2, 0, "did not answer"),
    "no reward in the second rollout": (SAMPLED, no_score(3), 2, 2, "did not answer"),
    "no reward after training": (SAMPLED, no_score(5), 2, 6, "did not answer"),
    "no room for its first file": (PLAIN, full(400), 2, None, "/run.json.partial: File too large"),
    "no room for the model": (
        PLAIN, full(100_000), 2, None, "/checkpoint.safetensors.partial: Error while"),
    "no room for the optimizer": (
        PLAIN, full(400_000), 2, None, "/checkpoint.safetensors.partial: Error while"),
    "no room for the second step": (
        PLAIN, at_call(checkpoint, "save_step", 2, full(100_000)), 2, 2,
        "/checkpoint.safetensors.partial: Error")}


# ---- a run in a process of its own ---------------------------------------------------------------
@pytest.fixture(scope="module")
def place(belongings, tmp_path_factory):
    """A folder with an initial model, pairs, and a whole run of each kind; we are in it."""
    folder, before = tmp_path_factory.mktemp("ends"), os.getcwd()
    os.chdir(folder)
    shutil.copytree(belongings, folder, dirs_exist_ok=True)
    Path("mine.py").write_text(MINE)
    with no_pictures():
        for kind in (PLAIN, BEST, SAMPLED, OF_FILE):    # in this process, as its copies begin
            assert command(train.main, words(kind, Path(kind.split()[1]).stem)) == 0
        yield folder
    os.chdir(before)


def words(kind: str, out: str) -> list[str]:
    of_rows = kind in (PLAIN, BEST)
    return dpo(Path(), *kind.split(), out=out) if of_rows else [*kind.split(), "--out", out]


def child(argv: list[str], ending: Ending = lambda: None) -> tuple[int, str]:
    """(exit code, -9 if it was killed; what it said on stderr) of a run."""
    gc.freeze()                                         # else a copy looks through all of it anew
    if number := os.fork():
        code = os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])
        return code, "".join(x for x in open("log") if not PROGRESS.search(x))
    code = 1
    try:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)    # also where pytest runs under nohup
        sys.stdout, sys.stderr = open(os.devnull, "w"), open("log", "w", buffering=1)
        os.dup2(sys.stderr.fileno(), 2)                 # what a signal handler writes goes there
        sys.dont_write_bytecode = True
        ending()
        code = command(train.main, argv, train.NEEDS_LESS)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def goes_on(place: Path, run: str, kind: str, said: str = "") -> None:
    flags = said.partition("resume with: python -m nanouft.train ")[2] or (
        f"--resume {run}" + " --reward r.py:f" * ("r.py:f" in kind))
    code, told = child(shlex.split(flags.partition("\n")[0]))
    assert code == 0, said + told
    is_like_the_whole(place, run, kind)


def is_like_the_whole(place: Path, run: str, kind: str) -> None:
    is_like(place / run, place / Path(kind.split()[1]).stem)


@pytest.mark.parametrize("name", ENDS)
def test_however_a_run_ends_it_goes_on_to_the_same_bytes(name, place):
    kind, ending, wanted, kept, words_said = ENDS[name]
    run = name.replace(" ", "_")
    code, said = child(words(kind, run), ending)
    errors = [x for x in said.splitlines() if x.startswith("error: ")]
    assert code == wanted and words_said in said and len(errors) == (code == 2), said
    if code == 0:
        assert "interrupted" not in said
        is_like_the_whole(place, run, kind)
        return
    step = checkpoint.saved_step(place / run)
    assert step == (kept or 0) or kept is None, said
    line = (f"{run}: saved at step {step}; resume with: python -m nanouft.train --resume "
            f"{run}") if step else ""
    assert line in said and ("resume with" in said) == bool(line)
    assert len(read_lines(place / run / "metrics.jsonl")) >= (kept or 0)
    if (place / run / "run.json").exists():
        goes_on(place, run, kind, said)


def operations(at: int | None) -> Ending:
    """It counts what it does to files, and dies before number `at`; of tensors also halfway through
    the file. Without `at` it writes their names to `names`."""
    def begin() -> None:
        done: list[str] = []

        def here(name: str, file) -> None:
            if len(done) == at:
                os.kill(os.getpid(), signal.SIGKILL)
            done.append(f"{name} {os.path.basename(str(file))}")
            if at is None:
                os.write(names, f"{done[-1]}\n".encode())

        def seen(event: str, told: tuple) -> None:      # by Python's audit of what a process does
            writes = event == "open" and {*"wax+"} & {*(told[1] or "")}
            if writes or event in ("os.rename", "os.mkdir", "os.remove", "os.rmdir"):
                here(event, told[0])

        def tensors(real):
            def save(what, file, *more, **named):
                here("tensors", file)
                real(what, file, *more, **named)
                if len(done) == at:                     # it dies in the middle of this file
                    os.truncate(file, file.stat().st_size // 2)
                here("half of", file)
            return save
        names = os.open("names", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        sys.addaudithook(seen)
        for module in (folders, tensors_of_file):
            module.save_file = tensors(module.save_file)
    return begin


@pytest.mark.slow
def test_killed_before_any_file_operation_it_goes_on_to_the_same_bytes(place):
    """The best weights are those of its second step, so it is killed before them and after."""
    assert read_json(place / "best" / "eval.json")["kept"]["step"] == 2
    assert child(words(BEST, "counted"), operations(None))[0] == 0
    names = Path("names").read_text().splitlines()
    assert len(names) > 25 and {n.split()[0] for n in names} >= {"open", "os.rename", "half"}
    for at, name in enumerate(names):
        run = f"killed_{at}"
        assert child(words(BEST, run), operations(at))[0] == -9, name
        if (place / run / "run.json").exists():
            goes_on(place, run, BEST)
        else:                                           # nothing to go on with: it begins again
            code, said = child(["--resume", run])
            assert code == 2 and "run.json" in said, name
            assert child(words(BEST, run))[0] == 0, name
            is_like_the_whole(place, run, BEST)


def test_a_second_process_in_one_folder_is_one_line_and_does_not_disturb_the_first(place):
    def second() -> None:
        Path("told").write_text(repr(child(["--resume", "first"])))
    assert child(words(PLAIN, "first"), at_call(Log, "add", 3, second))[0] == 0
    code, said = literal_eval(Path("told").read_text())
    assert code == 2 and said.startswith("error: first: is in use by another process")
    is_like_the_whole(place, "first", PLAIN)
