"""A run that is killed anywhere and goes on: the same weights, nothing left over."""
import builtins
import io
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from fuzz import Case, child, wait
from fuzz_models import outcome, quietly
from running import PAIRS, be_brief, lines, tiny_folder

from nanouft import train
from nanouft.eval import plots
from nanouft.run import checkpoints, config

SHORT = ["--init", "start", "--batch-size", "4", "--threads", "1", "--items", "0", "--device",
         "cpu", "--out", "run"]
OBJECTIVES = ("ift", "dpo", "kto", "rloo", "ppo")


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
            if name == "write" and not set("wax+") & set(
                    mode) or name == "open" and not mode & os.O_CREAT:
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


def started(argv: list[str]) -> int:
    """What a person would do in this folder: go on with the run, or begin it where there is
    none."""
    return config.run(train.main, ["--resume", "run"] if Path("run", "run.json").exists() else argv)


def linked(place: Path, folder: Path) -> None:
    for f in ("start", "pairs.jsonl"):
        os.symlink(place / f, folder / f)


def after_a_kill(argv: list[str], place: Path, name: str, kill: Callable[[Path], None]) -> Case:
    """Begun, killed, started again until it is finished. `kill(folder)` begins and kills it."""
    def prepare(folder: Path) -> None:
        linked(place, folder)
        kill(folder)
        if not (folder / "run").exists():
            (folder / "run").mkdir()

    def work() -> int:
        return 0 if finished(Path.cwd()) else started(argv)

    def finished(folder: Path) -> bool:
        """Was the report printed before the kill, and the run marked as finished?"""
        log, result = folder.with_name(folder.name + ".first"), folder / "run" / "eval.json"
        return ("Everything is in" in log.read_text(errors="replace") and result.exists()
                and "after" in json.loads(result.read_text()))

    def differs(folder: Path, said: str) -> str:
        whole = place / "whole" / name.split()[1]
        if outcome(folder / "run") != outcome(whole):
            return f"another result\n{said}"
        if not finished(folder) and "Everything is in" not in said:
            return f"the report was never printed\n{said}"
        beside = {f.name for f in folder.iterdir()} - {"run", "start", "pairs.jsonl"}
        more = files(folder / "run") ^ files(whole) | beside
        more -= {".lock"}  # killed before it let go: nobody holds what is left
        return f"left over or missing: {sorted(more)}\n{said}" if more else ""
    return Case(name, work, prepare, differs, may_refuse=False)


def files(run: Path) -> set[str]:
    """Names below a run folder; of the steps only what a step consists of."""
    found = {str(f.relative_to(run)) for f in run.rglob("*")}
    steps = {f.name for f in (run / "steps").glob("*") if f.name.isdigit()}
    return {"/".join("N" if part in steps else part for part in Path(f).parts) for f in found}


def first(folder: Path, work: Callable[[], int], seconds: float | None = None) -> None:
    """The process that is killed: after so many seconds, or when it kills itself."""
    log = folder.with_name(folder.name + ".first")
    log.touch()
    number = child(Case("first", work), folder, log)
    if seconds is None:
        wait(number, lambda: False)
        return
    time.sleep(seconds)
    os.kill(number, signal.SIGKILL)
    os.waitpid(number, 0)


def kills(n: int | None, rng: random.Random, place: Path) -> Iterator[Case]:
    """Every file operation of a short dpo (n None), and n random moments (100) of five
    objectives."""
    be_brief()
    plots.curves = lambda run: (run / "curves.png").write_bytes(b"a picture")
    lines(place / "pairs.jsonl", PAIRS)
    tiny_folder(place / "start")
    argv = {o: ["--objective", o, "--steps", "8", "--rows", "8", "--save-every", "2",
                "--eval-every", "3", *SHORT] for o in OBJECTIVES}
    argv["file"] = ["--objective", "dpo", "--data", "pairs.jsonl", "--steps", "5", "--save-every",
                    "2", *SHORT]
    seconds = {}

    def whole(o: str) -> None:
        """The run that nobody kills, once."""
        if o not in seconds:
            began = time.time()
            quietly(place, train.main, argv[o])
            seconds[o] = time.time() - began
            (place / "whole").mkdir(exist_ok=True)
            shutil.move(place / "run", place / "whole" / o)

    def to_the_end() -> int:
        operations = Operations(None)
        code = config.run(train.main, argv["file"])
        sys.stdout.flush()
        Path("names.txt").write_text("\n".join(operations.names))
        return code
    whole("file")
    folder = place / "count"
    folder.mkdir()
    linked(place, folder)
    first(folder, to_the_end)
    names = (folder / "names.txt").read_text().splitlines()
    chosen = range(len(names)) if n is None else sorted(
        rng.sample(range(len(names)), min(n, len(names))))

    def at(i: int, folder: Path) -> None:
        def work() -> int:
            Operations(i)
            return config.run(train.main, argv["file"])
        first(folder, work)
    for i in chosen:
        yield after_a_kill(argv["file"], place, f"operation file {i}: {names[i]}", partial(at, i))

    def later(line: list[str], delays: list[float], folder: Path) -> None:
        for delay in delays:
            first(folder, lambda: started(line), delay)
    for i in range(100 if n is None else n):
        o = OBJECTIVES[i % len(OBJECTIVES)]
        whole(o)
        delays = [rng.uniform(0, seconds[o]) for _ in range(rng.choice((1, 1, 2, 3)))]
        yield after_a_kill(argv[o], place,
                           f"moment {o} after {', '.join(f'{d:.2f}' for d in delays)} s",
                           partial(later, argv[o], delays))
