"""Points for a class: the exercises of every student, each student in a process of his own.

    python -m lessons.check 02a 04a 06a --class class --csv points.csv

`class` holds one folder for each student, with the files ex02.py, ex04.py ... (or a clone of the
project). A student's process has limits of time and memory, nothing that it prints is read, and its
results come through a pipe, each behind a random word. An exercise without a result gets 0 points,
and a new process takes the next one. lessons/check.py does the judging.
"""
import csv
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

from tqdm import tqdm

from lessons import check
from nanouft.errors import UserError, say

ROOT = Path(__file__).parents[1]
GIGABYTES = 4                                       # of memory, beside what torch has taken
PATIENCE = 3                                        # seconds on the clock for each of computing
NO_RESULT = "no result: it ended Python, or ran out of time or memory"
CHANGED = "no result: it changes the check itself"


def grade_class(folder: Path, names: list[str], table: Path) -> None:
    """A row for each student and exercise, and one with the total. UserError without students."""
    students = [x for x in sorted(folder.glob("*")) if x.is_dir() and x.name[0] not in "._"]
    if not students:
        raise UserError(f"{folder}: no folder of a student is there; --class wants a folder that "
                        "holds one folder for each of them")
    with table.open("w", newline="", encoding="utf-8") as file:
        write = csv.writer(file).writerow
        write(["student", "exercise", "points", "what the check says"])
        for student in tqdm(students, "grading", unit="student"):
            said = grade(student, names)
            for name, words in said.items():
                write([student.name, name, int(words == "right"), words])
            points = sum(words == "right" for words in said.values())
            write([student.name, "total", points, f"of {len(names)}"])
            say(f"{student.name:<24} {points} of {len(names)}", write=tqdm.write)
    say(f"{len(students)} students in {table}")


def grade(student: Path, names: list[str], seconds: float = check.SECONDS) -> dict[str, str]:
    """What the check says of each exercise, in one line: "right", or what is wrong."""
    said: dict[str, str] = {}
    while left := [name for name in names if name not in said]:
        said |= said_in_a_process(student, left, seconds)
        if missing := [name for name in left if name not in said]:
            said[missing[0]] = NO_RESULT                # here it ended; the others get another
    return {name: said[name] for name in names}


def said_in_a_process(student: Path, names: list[str], seconds: float) -> dict[str, str]:
    """The same, as far as one process comes. It is killed, with all that it started, when it has
    given no result for `seconds` times PATIENCE."""
    secret, said = secrets.token_hex(), {}
    scratch = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    child = subprocess.Popen(
        [sys.executable, "-B", "-c", "from lessons import grade; grade.run()", str(seconds),
         str(student.resolve()), *names], env=os.environ | {"PYTHONPATH": str(ROOT)},
        cwd=scratch.name, text=True, encoding="utf-8", errors="replace", start_new_session=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def listen():
        for line in iter(lambda: child.stdout.readline(1000), ""):
            word, _, rest = line.rstrip("\n").partition(" ")
            if word == secret:
                name, _, words = rest.partition(" ")
                said.setdefault(name, words)

    listener = threading.Thread(target=listen, daemon=True)
    with scratch:
        try:
            child.stdin.write(secret + "\n")
            child.stdin.close()
            if child.stdout.readline() != "ready\n":    # no program of a student has run yet
                raise UserError("the check itself does not start: try python -m lessons.check")
            listener.start()
            count, heard = 0, time.monotonic()
            while child.poll() is None and time.monotonic() - heard < PATIENCE * seconds:
                time.sleep(0.02)
                if len(said) > count:
                    count, heard = len(said), time.monotonic()
        finally:
            end(child)
        listener.join(timeout=1)                        # what left the group may hold the pipe
    return {name: said[name] for name in names if name in said}


def end(child: subprocess.Popen) -> None:
    """The process and its group."""
    with suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(child.pid, signal.SIGKILL)
        else:
            child.kill()
    child.wait()


# ---- the student's process ----------------------------------------------------------------------
def run() -> None:
    """Judge the exercises that are named on the command line, and end whatever still runs."""
    seconds, folder, *names = sys.argv[1:]
    secret, pipe, process = sys.stdin.readline().strip(), os.dup(1), os.getpid()
    known, check.SECONDS = check.exercises(), float(seconds)
    os.write(pipe, b"ready\n")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    limit(int(PATIENCE * float(seconds) * len(names)) + 60)
    files = Path(folder, "lessons", "exercises")        # a clone of the project
    files = files if files.is_dir() else Path(folder)
    sys.path.insert(0, str(files))                      # a file may import its neighbour
    judge, unchanged = check.judge_file, functions()
    for name in names:
        wrong = " ".join(judge(known[name], files / f"ex{name[:2]}.py").split())[:300]
        words = f"wrong: {wrong}" if wrong and wrong != check.NOT_STARTED else wrong or "right"
        words = words if functions() == unchanged else CHANGED
        if os.getpid() == process:                      # a copy made by fork() does not speak
            os.write(pipe, f"{secret} {name} {words}\n".encode("utf-8", "replace"))
    os._exit(0)                                         # no thread is waited for


def functions() -> dict:
    """What a student would have to replace to be judged by himself."""
    return {name: x for name, x in vars(check).items() if callable(x)}


def limit(seconds: int) -> None:
    """Limits of this process: seconds of computing, size of a file, and memory. Windows has none of
    them, and macOS does not count memory: there the clock alone limits."""
    try:
        import resource
    except ImportError:
        return
    limits = {resource.RLIMIT_CPU: seconds, resource.RLIMIT_FSIZE: 2**26}
    with suppress(OSError):                             # Linux: in pages, what is mapped already
        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        limits[resource.RLIMIT_AS] = mapped + GIGABYTES * 2**30
    for kind, most in limits.items():
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))
