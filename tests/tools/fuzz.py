"""Nonsense in, one clear line or the right result out: what is tried, and how often it held.

    python tests/tools/fuzz.py lines --n 3000             # random command lines of every program
    python tests/tools/fuzz.py models         # a start model with one thing tampered
    python tests/tools/fuzz.py kills --n 100  # killed before each file operation, and at random
    python tests/tools/fuzz.py lines models kills --short     # a few of each, as in the suite
    python tests/tools/fuzz.py lines --seed 3 --only 17   # one case again, with all that it says

It prints a row of docs/RELIABILITY.md for each subject. Every case runs in a child of this process
(torch is imported once), in a folder of its own, with an end after which it is killed. It is bad if
it ends in a traceback or a crash, never takes a first step, writes raw control characters to the
terminal, or gives without a word a result other than the untouched one. Exit code 1 if anything is
bad. A child cannot write outside its folder: a line may say `--out /dev/null`, and root could do
that.
"""
import argparse
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", MPLBACKEND="Agg", PYTHONPATH=str(Path(__file__).parents[2]))
sys.path[:0] = [str(folder) for folder in Path(__file__).parents[:3]]

GOOD = ("ok", "clean error", "still going")
# seconds: a line that has begun may go on for so long; one that has not, for so long
ENOUGH, MOST = 8, 60
MEMORY = 12 * 2**30             # address space of a child
FEW = {"lines": 12, "models": 6, "kills": 2}        # of --short, for the suite


@dataclass
class Case:
    name: str  # what was done: a command, or what was tampered
    work: Callable[[], int]  # runs in the child, in the case's folder; exit code
    prepare: Callable[[Path], None] = lambda folder: None
    # of exit code 0: how from the untouched result
    differs: Callable[[Path, str], str] = lambda folder, said: ""
    begun: Callable[[Path, str], bool] = lambda folder, said: bool(said.strip())
    may_refuse: bool = True  # is one clear line an end that is allowed?


@dataclass
class End:
    kind: str
    said: str = ""


# ---- one child -----------------------------------------------------------------------------------
def guard(folder: Path) -> None:
    """From now on this process writes only below `folder`; elsewhere it is as if permission were
    denied."""
    home = str(folder.resolve())

    def deny(event: str, args: tuple) -> None:
        if event == "open":
            write = args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
            paths = args[:1] if write else ()
        elif event in ("os.rename", "os.link", "os.symlink"):
            paths = args[:2]
        elif event in ("os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.chmod",
                       "shutil.rmtree"):
            paths = () if any(isinstance(x, int) and x >= 0 for x in args[1:] if event
                              != "os.mkdir") else args[:1]
        else:
            return
        for path in paths:
            if isinstance(path, (str, bytes, os.PathLike)):
                place = os.path.abspath(os.fsdecode(path))
                place = os.path.join(os.path.realpath(os.path.dirname(place)),
                                     os.path.basename(place))
                place = os.path.realpath(place) if event == "open" else place
                if not place.startswith((home, "/dev/shm/")) and not (
                        event == "open" and place == "/dev/null"):
                    raise PermissionError(13, "Permission denied", place)
    sys.addaudithook(deny)


def child(case: Case, folder: Path, said: Path) -> int:
    """Fork; returns the child's number."""
    sys.stdout.flush()
    sys.stderr.flush()
    if number := os.fork():
        return number
    code = 1
    try:
        os.setsid()
        for n, mode in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY)):
            os.dup2(os.open(os.devnull if n == 0 else said, mode | os.O_APPEND), n)
        os.chdir(folder)
        os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        guard(folder)
        code = case.work()
    except SystemExit as e:
        code = e.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code if isinstance(code, int) else 1)


def wait(number: int, ready: Callable[[], bool]) -> int | None:
    """Exit code of a child, negative for a signal; None where it had to be ended."""
    began = time.time()
    while True:
        pid, status = os.waitpid(number, os.WNOHANG)
        spent = time.time() - began
        if pid:
            return os.waitstatus_to_exitcode(status)
        if spent > MOST or spent > ENOUGH and ready():
            os.killpg(number, signal.SIGKILL)
            os.waitpid(number, 0)
            return None
        time.sleep(0.01 if spent < 1 else 0.1)


def run(case: Case, folder: Path) -> End:
    folder.mkdir(parents=True)
    output = folder.with_name(folder.name + ".out")
    output.touch()

    def said() -> str:
        return output.read_bytes().decode(errors="replace")
    case.prepare(folder)
    code = wait(child(case, folder, output), lambda: case.begun(folder, said()))
    return judge(case, code, folder, said())


def judge(case: Case, code: int | None, folder: Path, said: str) -> End:
    if "Traceback (most recent" in said:
        return End("traceback", said)
    # \x1b[A: tqdm, one line up
    if re.search("[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f]|\x1b(?!\\[A)", said):
        return End("raw control characters", said)
    if code is None:
        return End("still going" if case.begun(folder, said) else "never starts", said)
    if code < 0 or code >= 128:
        return End("crash", f"signal {-code}\n{said}")
    if code == 2:
        one = len(re.findall("^(python -m nanouft.simple: )?error: ", said, re.M)) == 1
        return End("clean error" if one and case.may_refuse else "other exit code", said)
    if code:
        return End("other exit code", f"exit code {code}\n{said}")
    different = case.differs(folder, said)
    return End("silently different" if different else "ok", different or said)


# ---- all of them ---------------------------------------------------------------------------------
def safe(text: str) -> str:
    """For this terminal: nothing that acts, nothing that cannot be encoded."""
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


def subjects() -> dict[str, Callable]:
    import fuzz_kills
    import fuzz_lines
    import fuzz_models
    return {"lines": fuzz_lines.cases, "models": fuzz_models.cases, "kills": fuzz_kills.kills}


def fuzz(subject: str, n: int | None, seed: int, only: int | None = None) -> Counter:
    """Run the cases of a subject: all that there are (n None; of lines 300), or n drawn from them.
    How they ended."""
    import torch
    import torch._dynamo  # by the first optimizer, 2 s: here once for all cases
    from tqdm import tqdm
    torch.set_num_threads(1)                                    # no threads before a fork
    tqdm.monitor_interval = 0
    # its own is shared: a process that is killed while it draws would keep it
    tqdm.set_lock(threading.RLock())
    ends: Counter = Counter()
    with tempfile.TemporaryDirectory(prefix="fuzz-", ignore_cleanup_errors=True) as temporary:
        place = Path(temporary)
        cases: Iterator[Case] = subjects()[subject](n, random.Random(seed), place)
        for number, case in enumerate(cases):
            if only is not None and number != only:
                continue
            end = run(case, place / str(number))
            ends[end.kind] += 1
            if only is not None:
                print(safe(f"{case.name}\n{end.said}\n{end.kind}"))
                break
            if end.kind not in GOOD:
                tail = " | ".join(end.said.strip().splitlines()[-3:])[-400:]
                print(safe(f"--only {number}: {end.kind}: {case.name[:400]}\n    {tail!r}"),
                      file=sys.stderr)
            shutil.rmtree(place / str(number), ignore_errors=True)
            (place / f"{number}.out").unlink()
    return ends


def main(argv: list[str] | None = None) -> int:
    global ENOUGH
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("subject", choices=FEW, nargs="+")
    parser.add_argument("--n", type=int, help="cases; of kills: random moments beside the "
                        "operations")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--short", action="store_true", help="a few cases: what the suite runs")
    parser.add_argument("--only", type=int, help="this case alone, with its output")
    args = parser.parse_args(argv)
    if args.short:
        ENOUGH = 2
    bad = 0
    print("| command | cases | right result | one line | goes on, cut off | bad "
          "|\n|---|---|---|---|---|---|")
    for subject in args.subject:
        n = FEW[subject] if args.short else args.n
        ends = fuzz(subject, n, args.seed, args.only)
        good = [ends[kind] for kind in GOOD]
        wrong = ends.total() - sum(good)
        command = f"`{subject}" + f" --n {n}" * (n is not None) + f" --seed {args.seed}`"
        print("|", " | ".join([command, *(f"{x:,}" for x in (ends.total(), *good, wrong))]), "|")
        bad += wrong
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
