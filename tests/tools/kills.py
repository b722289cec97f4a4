"""A run that is killed anywhere and goes on: the same weights, figures and log, nothing left over.

    python tests/tools/kills.py                 # at each file operation, and at 100 random moments
    python tests/tools/kills.py --n 2           # two of each, as in the suite
    python tests/tools/kills.py --only 17       # one case again, with all that it says

It prints a row of docs/RELIABILITY.md; exit code 1 if a run came to another end. Each process is a
fork of this one (torch is imported once), in a folder of its own.
"""
import argparse
import builtins
import contextlib
import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", MPLBACKEND="Agg")
sys.path[:0] = [str(folder) for folder in Path(__file__).parents[:3]]

import torch  # noqa: E402
import torch._dynamo  # noqa: E402  (by the first optimizer, 2 s: here once for all cases)
from running import PAIRS, be_brief, lines, tiny_folder  # noqa: E402
from tqdm import tqdm  # noqa: E402

from nanouft import train  # noqa: E402
from nanouft.eval import plots  # noqa: E402
from nanouft.run import checkpoints, config  # noqa: E402

SHORT = ["--init", "start", "--batch-size", "4", "--threads", "1", "--items", "0", "--device",
         "cpu", "--out", "run"]
OBJECTIVES = ("ift", "dpo", "kto", "rloo", "ppo", "grpo")
MOST = 60                                               # seconds of a process
Kill = Callable[[Path], None]                           # begins a run in a folder and kills it


class Operations:
    """Counts what this process does to files, and kills it at operation `at`: before it, after a
    file was opened, and halfway through a file of tensors."""

    def __init__(self, at: int | None):
        self.at, self.names = at, []
        for name in ("replace", "rename", "mkdir", "fsync", "unlink", "remove", "rmdir",
                     "ftruncate", "link", "open"):
            setattr(os, name, self.counted(getattr(os, name), name))
        builtins.open = io.open = self.counted(io.open, "write")
        checkpoints._save = self.tensors(checkpoints._save)

    def here(self, name: str) -> None:
        self.names.append(name)
        if self.at == len(self.names) - 1:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(self, real: Callable, name: str) -> Callable:
        def operation(*args, **kw):
            mode = kw.get("mode", args[1] if len(args) > 1 else "r")
            reads = name == "write" and not set("wax+") & set(mode)
            if reads or name == "open" and not mode & os.O_CREAT:
                return real(*args, **kw)
            self.here(f"{name} {os.path.basename(str(args[0]))}")
            result = real(*args, **kw)
            if name in ("write", "open"):
                self.here(f"opened {os.path.basename(str(args[0]))}")
            return result
        return operation

    def tensors(self, real: Callable) -> Callable:
        def save(tensors: dict, file: Path) -> None:
            self.here(f"tensors {file.name}")
            real(tensors, file)
            whole = file.read_bytes()
            file.write_bytes(whole[:len(whole) // 2])
            self.here(f"half of {file.name}")
            file.write_bytes(whole)
        return save


# ---- processes -----------------------------------------------------------------------------------
def child(work: Callable[[], int], folder: Path, log: Path) -> int:
    """Fork; returns the child's number."""
    sys.stdout.flush()
    sys.stderr.flush()
    if number := os.fork():
        return number
    code = 1
    try:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for n in (1, 2):
            os.dup2(os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT), n)
        os.chdir(folder)
        code = work()
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def end_of(number: int) -> int:
    """Exit code of a child; -9 if it was killed, here after MOST seconds."""
    began = time.time()
    while time.time() < began + MOST:
        pid, status = os.waitpid(number, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.killpg(number, signal.SIGKILL)
    os.waitpid(number, 0)
    return -signal.SIGKILL


def killed(folder: Path, work: Callable[[], int], seconds: float | None = None) -> None:
    """The process that is killed: after so many seconds, or when it kills itself."""
    number = child(work, folder, log_of(folder))
    if seconds is not None:
        time.sleep(seconds)
        os.kill(number, signal.SIGKILL)
    end_of(number)


def log_of(folder: Path) -> Path:
    return folder.with_name(folder.name + ".out")


# ---- what must come out --------------------------------------------------------------------------
def outcome(run: Path) -> list:
    """Weights, log and figures of a run."""
    figures = json.loads((run / "eval.json").read_text())
    return [(run / "model.safetensors").read_bytes(), (run / "metrics.jsonl").read_bytes(),
            figures.get("before"), figures["after"]]


def files(run: Path) -> set[str]:
    """Names below a run folder; of the steps only what a step consists of."""
    found = {str(f.relative_to(run)) for f in run.rglob("*")}
    steps = {f.name for f in (run / "steps").glob("*") if f.name.isdigit()}
    return {"/".join("N" if part in steps else part for part in Path(f).parts) for f in found}


def started(argv: list[str]) -> int:
    """As a person would: go on with the run of this folder, or begin it where there is none."""
    there = Path("run", "run.json").exists()
    return config.run(train.main, ["--resume", "run"] if there else argv)


def finished(folder: Path) -> bool:
    """Was the report printed, and the run marked as finished?"""
    result = folder / "run" / "eval.json"
    said = log_of(folder).read_text(errors="replace")
    return ("Everything is in" in said and result.exists()
            and "after" in json.loads(result.read_text()))


def wrong(argv: list[str], whole: Path, folder: Path, kill: Kill) -> str:
    """Begun, killed, started again until it is finished: how it differs from the run `whole`."""
    folder.mkdir()
    for f in ("start", "pairs.jsonl"):
        os.symlink(whole.parent / f, folder / f)
    log_of(folder).touch()
    kill(folder)
    (folder / "run").mkdir(exist_ok=True)
    code = 0 if finished(folder) else end_of(child(lambda: started(argv), folder, log_of(folder)))
    if code:
        return f"exit code {code}"
    if outcome(folder / "run") != outcome(whole):
        return "another result"
    if not finished(folder):
        return "the report was never printed"
    beside = {f.name for f in folder.iterdir()} - {"run", "start", "pairs.jsonl"}
    more = files(folder / "run") ^ files(whole) | beside
    more -= {".lock"}                   # killed before it let go: nobody holds what is left
    return f"left over or missing: {sorted(more)}" if more else ""


# ---- all of them ---------------------------------------------------------------------------------
def cases(n: int | None, place: Path) -> Iterator[tuple[str, list[str], Path, Kill]]:
    """(name, flags, the run that nobody kills, kill) for every file operation of a short dpo (n
    None), and for n random moments (100) of six objectives."""
    rng, seconds = random.Random(0), {}
    argv = {o: ["--objective", o, "--steps", "8", "--rows", "8", "--save-every", "2",
                "--eval-every", "3", *SHORT] for o in OBJECTIVES}
    argv["grpo"] += ["--resample", "2"]
    argv["file"] = ["--objective", "dpo", "--data", "pairs.jsonl", "--steps", "5", "--save-every",
                    "2", *SHORT]

    def whole(o: str) -> Path:
        """Made once."""
        if o not in seconds:
            began = time.time()
            code = end_of(child(partial(counted, argv[o]), place, place / "whole.out"))
            assert code == 0, (place / "whole.out").read_text()
            seconds[o] = time.time() - began
            (place / "run").rename(place / o)
        return place / o

    def counted(line: list[str]) -> int:
        operations = Operations(None)
        code = config.run(train.main, line)
        (place / "names.txt").write_text("\n".join(operations.names))
        return code

    def at(i: int, folder: Path) -> None:
        def work() -> int:
            Operations(i)
            return config.run(train.main, argv["file"])
        killed(folder, work)

    def later(line: list[str], delays: list[float], folder: Path) -> None:
        for delay in delays:
            killed(folder, lambda: started(line), delay)
    run = whole("file")
    names = (place / "names.txt").read_text().splitlines()
    for i in range(len(names)) if n is None else sorted(rng.sample(range(len(names)), n)):
        yield f"operation {i}: {names[i]}", argv["file"], run, partial(at, i)
    for i in range(100 if n is None else n):
        o = OBJECTIVES[i % len(OBJECTIVES)]
        run = whole(o)
        delays = [rng.uniform(0, seconds[o]) for _ in range(rng.choice((1, 1, 2, 3)))]
        name = f"{o} after {', '.join(f'{d:.2f}' for d in delays)} s"
        yield name, argv[o], run, partial(later, argv[o], delays)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, help="so many operations, and as many moments")
    parser.add_argument("--only", type=int, help="this case alone, with its output")
    args = parser.parse_args()
    torch.set_num_threads(1)                            # no threads before a fork
    tqdm.monitor_interval = 0
    tqdm.set_lock(threading.RLock())    # its own is shared: who is killed while it draws keeps it
    be_brief()
    plots.curves = lambda run: (run / "curves.png").write_bytes(b"a picture")
    number = bad = 0
    with tempfile.TemporaryDirectory(prefix="kills-", ignore_cleanup_errors=True) as temporary:
        place = Path(temporary)
        lines(place / "pairs.jsonl", PAIRS)
        tiny_folder(place / "start")
        for number, (name, argv, run, kill) in enumerate(cases(args.n, place), 1):
            if args.only in (None, number):
                folder = place / str(number)
                if found := wrong(argv, run, folder, kill):
                    bad += 1
                    print(f"--only {number}: {name}: {found}", file=sys.stderr)
                if args.only:
                    print(log_of(folder).read_text(errors="replace"))
                shutil.rmtree(folder)
    print(f"| `kills.py{f' --n {args.n}' * bool(args.n)}` | {number} runs killed | {bad} bad |")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
