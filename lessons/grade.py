"""Points for a class: each exercise of each student in a process of its own.

    python -m lessons.check 02a 06a 07a --class class --csv points.csv

`class` holds one folder for each student, with the files ex02.py, ex06.py ... (or a clone of the
project). A process has limits of time and memory, nothing that it prints is read, and its result
comes through a pipe, behind a random word. An exercise without a result gets 0 points.
lessons/check.py does the judging.
"""
import csv
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from tqdm import tqdm

from lessons import check
from nanouft.errors import UserError, say

ROOT = Path(__file__).parents[1]
SECONDS, WAITING = 20, 300                          # of computing; on the clock
GIGABYTES = 4                                       # of memory, beside what torch has taken
NO_RESULT = "no result: it ended Python, or ran out of time or memory"
CHANGED = "no result: it changes the check itself"


def grade_class(folder: Path, names: list[str], table: Path) -> None:
    """A row for each student and exercise, and one with the total. UserError without students."""
    students = [x for x in sorted(folder.glob("*")) if x.is_dir() and x.name[0] not in "._"]
    if not students:
        raise UserError(f"{folder}: no folder of a student is there; --class wants a folder that "
                        "holds one folder for each of them")
    jobs = [(student, name) for student in students for name in names]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        said = dict(zip(jobs, [*tqdm(pool.map(grade, *zip(*jobs)), "grading", len(jobs))]))
    with table.open("w", newline="", encoding="utf-8") as file:
        write = csv.writer(file).writerow
        write(["student", "exercise", "points", "what the check says"])
        for student in students:
            for name in names:
                words = said[student, name]
                write([student.name, name, int(words == "right"), words])
            points = sum(said[student, name] == "right" for name in names)
            write([student.name, "total", points, f"of {len(names)}"])
            say(f"{student.name:<24} {points} of {len(names)}")
    say(f"{len(students)} students in {table}")


def grade(student: Path, name: str, seconds: int = SECONDS) -> str:
    """What the check says of an exercise, in one line: "right", or what is wrong."""
    secret = secrets.token_hex()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        child = subprocess.Popen(
            [sys.executable, "-B", "-c", "from lessons import grade; grade.run()", name,
             str(student.resolve()), str(seconds)], cwd=scratch,
            env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}, text=True,
            encoding="utf-8", errors="replace", start_new_session=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE)
        try:
            out, _ = child.communicate(secret, timeout=WAITING)
        except subprocess.TimeoutExpired:
            out = ""
        finally:
            end(child)
    said = [line.removeprefix(secret) for line in out.splitlines() if line.startswith(secret)]
    return said[0] if said else NO_RESULT


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
    """Judge the exercise that is named on the command line, and end whatever still runs."""
    name, folder, seconds = sys.argv[1:]
    secret, pipe = sys.stdin.read(), os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    exercise, judge = check.exercises()[name], check.judge_file
    files = Path(folder, "lessons", "exercises")        # a clone of the project
    files = files if files.is_dir() else Path(folder)
    sys.path.insert(0, str(files))                      # a file may import its neighbour
    limit(int(seconds))
    unchanged = functions()
    wrong = " ".join(judge(exercise, files / f"ex{name[:2]}.py").split())[:600]
    words = f"wrong: {wrong}" if wrong and wrong != check.NOT_STARTED else wrong or "right"
    words = words if functions() == unchanged else CHANGED
    os.write(pipe, f"{secret}{words}\n".encode("utf-8", "replace"))
    os._exit(0)                                         # no thread is waited for


def functions() -> dict:
    """What a student would have to replace to be judged by himself."""
    return {name: x for name, x in vars(check).items() if callable(x)}


def limit(seconds: int) -> None:
    """Limits of this process: seconds of computing from now on, size of a file, and memory. Windows
    has none of them, and macOS does not count memory: there the clock alone limits."""
    try:
        import resource
    except ImportError:
        return
    limits = {resource.RLIMIT_CPU: int(time.process_time()) + seconds,
              resource.RLIMIT_FSIZE: 2**26}
    with suppress(OSError):                             # Linux: in pages, what is mapped already
        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        limits[resource.RLIMIT_AS] = mapped + GIGABYTES * 2**30
    for kind, most in limits.items():
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))
