"""What the tests of behaviour share: a tiny GPT-2 folder, a little data, and two ways to call a
command.

`call` runs an entry point in this process (fast), `apart` in a child that may be killed or held
short, and `command` starts `python -m nanouft...` as a user would (4 s to import torch and what its
first optimizer wants).
"""
import contextlib
import importlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

from nanouft import train
from nanouft.data.tokenizer import nano
from nanouft.eval import plots, report
from nanouft.gpt import GPT, GPTConfig
from nanouft.models.save import write_gpt
from nanouft.models.tokenizer_files import save_tokenizer
from nanouft.run import config

ROOT = Path(__file__).parent.parent
SMALL = GPTConfig(vocab_size=1024, n_ctx=128, n_layer=2, n_head=2, n_embd=32)
QUICK = ["--items", "0", "--threads", "1"]  # no NanoWorld table; one thread: numbers repeat exactly
DEMOS = [{"prompt": f"Say {w} twice.", "response": f"{w} {w}"} for w in
         "fig pig bee saw oak elm ant owl cod hen bat rat cup pan jar mug".split()]
PAIRS = [{"prompt": d["prompt"], "chosen": d["response"], "rejected": "no " * (1 + i % 3)}
         for i, d in enumerate(DEMOS)]


def tiny_folder(folder: Path, cfg: GPTConfig = SMALL) -> Path:
    """A GPT-2 folder with the `nano` tokenizer and random weights, 0.06M parameters."""
    write_gpt(folder, GPT(cfg, seed=0))
    save_tokenizer(nano(), folder)
    (folder / "run.json").write_text(json.dumps({"command": "pretrain", "tokenizer": "nano"}))
    return folder


def example(name: str):
    """A module of the folder examples/."""
    sys.path.insert(0, str(ROOT / "examples"))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.pop(0)


def soon() -> float:
    """Two seconds of an idle machine; more where others wait for the same cores."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 1
    return 2 * max(1, load)


def be_brief(setattr=setattr) -> None:
    """From here on runs of train look at 20 held-out rows of NanoWorld and not at 200, show four
    tokens of an answer, and draw no curves: for tests of anything else. On a tiny model these take
    far longer than the training."""
    load, answer = train.load_rows, report.answer_rows

    def few(*args):
        rows, held = load(*args)
        return rows, held[::10] if len(held) == 200 else held
    setattr(train, "load_rows", few)
    setattr(report, "answer_rows", lambda *args, max_new: answer(*args, max_new=4))
    setattr(plots, "curves", lambda run: None)


@contextlib.contextmanager
def signals_work() -> Iterator[None]:
    """A suite that runs in the background (nohup) ignores Ctrl-C and hang-ups. Inside they work,
    here and in children."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    if hasattr(signal, "SIGHUP"):
        usual[signal.SIGHUP] = signal.SIG_DFL
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def lines(file: Path, rows: list[dict]) -> Path:
    file.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    return file


def call(main, *argv) -> int:
    """An entry point in this process, as `python -m` would run it; returns the exit code."""
    return config.run(main, [str(a) for a in argv])


# Children of a process that has imported torch already, and has no threads that a fork could hurt.
FORKS = multiprocessing.get_context("forkserver" if os.name == "posix" else "spawn")
FORKS.set_forkserver_preload(["torch._dynamo"])


def _entry(module: str, argv: list[str], folder: str, out: str, prepare) -> None:
    for number, name in enumerate((os.devnull, out + ".out", out + ".err")):
        os.dup2(os.open(name, os.O_RDWR | os.O_CREAT), number)
    os.chdir(folder)
    if prepare:
        prepare()
    sys.exit(config.run(importlib.import_module(module).main, argv))


def start(module: str, *argv, cwd: Path, prepare=None) -> multiprocessing.Process:
    """An entry point in a child; `prepare`, a function of a module, is called there first. What it
    says goes into two files beside `cwd`."""
    child = FORKS.Process(target=_entry, args=(module, [str(a) for a in argv], str(cwd), str(cwd),
                                               prepare))
    child.start()
    return child


def apart(module: str, *argv, cwd: Path, prepare=None) -> SimpleNamespace:
    """`start`, waited for: its exit code and what it said."""
    child = start(module, *argv, cwd=cwd, prepare=prepare)
    child.join(120)
    out, err = (Path(str(cwd) + end).read_text(encoding="utf-8", errors="replace")
                for end in (".out", ".err"))
    return SimpleNamespace(returncode=child.exitcode, stdout=out, stderr=err)


def environment(**extra) -> dict:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1",
            **{k: str(v) for k, v in extra.items()}}


def command(module: str, *argv, cwd: Path, env: dict | None = None,
            **kw) -> subprocess.CompletedProcess:
    """`python -m MODULE ARGS` in the folder `cwd`; output as bytes decoded leniently."""
    return subprocess.run([sys.executable, "-m", module, *map(str, argv)], cwd=cwd,
                          env=environment(**(env or {})), stdin=subprocess.DEVNULL,
                          capture_output=True, encoding="utf-8", errors="replace", timeout=120,
                          **kw)


def one_error(code: int, err: str, *words: str) -> str:
    """A mistake is exit code 2 and exactly one line `error: ...` that holds all the words, and no
    traceback."""
    assert code == 2, err
    assert "Traceback" not in err, err
    found = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(found) == 1, err
    for word in words:
        assert word in found[0], f"{word!r} is missing in: {found[0]}"
    return found[0]


def metrics(run: Path) -> list[dict]:
    return [json.loads(line)
            for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def losses(run: Path) -> list[float]:
    return [m["loss"] for m in metrics(run) if "grad_norm" in m]
