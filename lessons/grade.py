"""Points for a class: each exercise of each student in a process of its own.

    python -m lessons.check 02a 03a 06a --class class --csv points.csv

`class` holds one folder for each student, with ex02.py, ex06.py ... or notebooks, in it or in its
folders (lessons/submissions.py). A process has limits of time and memory. It calls the student's
function and writes what each call gives as JSON. This program computes the right results and
compares, so that nothing that a program changes in its own process gives it a point. All students
get the same inputs, which are drawn anew for each table.
"""
import csv
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

import torch
from tqdm import tqdm

from lessons.exercise import (
    HERE,
    NOT_STARTED,
    Seen,
    attempt_draw,
    draws,
    exercises,
    function_in,
    verdict,
)
from lessons.submissions import Program, handed_in
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.printing import say

ROOT = Path(__file__).parents[1]
SECONDS, WAITING = 20, 300                          # of computing; on the clock
GIGABYTES = 4                                       # of memory, beside what torch has taken
BYTES = 2**26                                       # of a file that a process writes
FEW = 5                                             # names of others with the same program
COLUMNS = ["student", "exercise", "points", "what the check says", "the same program as", "file"]


@dataclass
class Cell:
    """One exercise of one student."""
    words: str                                      # "right", or what is wrong
    program: Program | None = None
    same: str = ""                                  # others who handed in the same program


def grade_class(folder: Path, names: list[str], table: Path) -> None:
    """A row for each student and exercise, and one with the total. UserError without students."""
    students = [x for x in sorted(folder.glob("*")) if x.is_dir() and x.name[0] not in "._"]
    if not students:
        raise UserError(f"{folder}: no folder of a student is there; --class wants a folder that "
                        "holds one folder for each of them")
    os.environ["OMP_NUM_THREADS"] = "1"                 # of the processes that begin here
    seed, jobs = Random().random(), [(student, name) for student in students for name in names]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        graded = pool.map(lambda job: grade(*job, seed=seed), jobs)
        cells = dict(zip(jobs, tqdm(graded, "grading", len(jobs))))
    mark_same(cells)
    with table.open("w", newline="", encoding="utf-8") as file:
        write = csv.writer(file).writerow
        write(COLUMNS)
        for student in students:
            for name in names:
                cell = cells[student, name]
                where = cell.program.file.relative_to(student) if cell.program else ""
                write([student.name, name, int(cell.words == "right"), cell.words, cell.same,
                       where])
            points = sum(cells[student, name].words == "right" for name in names)
            write([student.name, "total", points, f"of {len(names)}", "", ""])
            say(f"{student.name:<24} {points} of {len(names)}")
    say(f"{len(students)} students in {table}")


def mark_same(cells: dict[tuple[Path, str], Cell]) -> None:
    """Write into each cell who has handed in the same program, the key included."""
    owners = defaultdict(list)
    for name in dict.fromkeys(name for _, name in cells):
        function = exercises()[name].name
        key = handed_in(HERE, f"key{name[:2]}.py", function)
        if key and key.fingerprint:
            owners[name, key.fingerprint].append("the key")
    for (student, name), cell in cells.items():
        if cell.program and cell.program.fingerprint:
            owners[name, cell.program.fingerprint].append(student.name)
    for (student, name), cell in cells.items():
        if cell.program and cell.program.fingerprint:
            cell.same = first_names(x for x in owners[name, cell.program.fingerprint]
                                    if x != student.name)


def first_names(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - FEW} more" if len(names) > FEW else ""
    return ", ".join(names[:FEW]) + more


def grade(student: Path, name: str, seconds: int = SECONDS, seed: float = 0) -> Cell:
    """Judge one exercise of one student."""
    exercise = exercises()[name]
    file_name = f"ex{name[:2]}.py"
    program = handed_in(student, file_name, exercise.name)
    if program is None:
        return Cell(f"wrong: there is no file {file_name}, and no notebook with {exercise.name}")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        file, out = program.file.resolve(), Path(scratch, "out")
        if program.source is not None:
            file = Path(scratch, file_name)
            file.write_text(program.source, encoding="utf-8")
        out.touch()
        code = in_own_process(name, file, program.file.resolve(), out, seconds, seed)
        with out.open("rb") as written:
            lines = written.read(BYTES).splitlines()
    return Cell(grade_words(exercise, lines, code, seconds, draws(seed)), program)


def in_own_process(*words) -> int | None:
    """`run` in a process of its own; its exit code, None if it had not ended in time. The process
    is a copy of one that has already read PyTorch, or begins anew on Windows. Its exit code is all
    that comes back this way."""
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if "forkserver" in methods:
        context.set_forkserver_preload(["lessons.grade"])
    child = context.Process(target=run, args=[str(word) for word in words])
    child.start()
    try:
        child.join(WAITING)
        return child.exitcode
    finally:
        with suppress(ProcessLookupError, PermissionError, AttributeError):
            os.killpg(child.pid, signal.SIGKILL)        # what it has started, too
        child.kill()
        child.join()


def grade_words(exercise, lines: list[bytes], code: int | None, seconds: int, keys: list[str]
                ) -> str:
    """"right", or what is wrong, in one line: from what a process wrote, and how it ended."""
    if not lines:
        return f"no result: the check itself did not begin (exit code {code}); grade again"
    try:
        first, *calls = [from_json(line) for line in lines[1:]]
    except UNREADABLE:
        first, calls = None, []
    if first and any(map(out_of_memory, [first, *calls])):
        return f"no result: out of memory, it asked for more than {GIGABYTES} GB"
    if calls and calls[-1].error == "NotImplementedError":
        return NOT_STARTED
    if first is None or (not first.words and len(calls) != len(keys)):
        begun = f"in call {len(calls) + 1} of {len(keys)}" if first else "while it was read"
        return f"no result: {how_it_ended(code, seconds)} {begun}"
    wrong = first.words or verdict(exercise, dict(zip(keys, calls)))
    return f"wrong: {' '.join(wrong.split())[:600]}" if wrong else "right"


def out_of_memory(call: Seen) -> bool:
    return "MemoryError" in call.error + call.words or "allocate memory" in call.words


def how_it_ended(code: int | None, seconds: int) -> str:
    """A process that did not finish: which limit was it?"""
    if code is None:
        return f"out of time, it had not ended after {WAITING} seconds on the clock,"
    if os.name == "posix" and -code == signal.SIGXCPU:
        return f"out of time, it had not ended after {seconds} seconds of computing,"
    if code < 0:
        return f"the system ended it ({signal.Signals(-code).name}: a crash, or no memory left)"
    return f"it ended Python (exit code {code})"


def end(child: subprocess.Popen) -> None:
    """The process and its group."""
    with suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(child.pid, signal.SIGKILL)
        else:
            child.kill()
    child.wait()


def end_with_parent(parent_ends: Callable[[], object]) -> None:
    """End this process and all that it has started when the call returns, which waits for the end
    of the parent. Else a parent that is killed leaves its child behind, which computes on."""
    def wait() -> None:
        parent_ends()
        if hasattr(os, "killpg"):
            os.killpg(0, signal.SIGKILL)
        os._exit(1)
    threading.Thread(target=wait, daemon=True).start()


def input_closes() -> Callable[[], object]:
    """A call that waits until standard input ends: a pipe, which closes when the parent ends. The
    student's program reads nothing instead."""
    pipe = os.dup(0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    return lambda: os.read(pipe, 1)


# ---- plain data between the processes -----------------------------------------------------------
KINDS = {"float": torch.double, "bool": torch.bool, "int": torch.long}


UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, RuntimeError, OverflowError)


def to_json(seen: Seen) -> bytes:
    def packed(x):
        if isinstance(x, torch.Tensor):
            kind = {torch.double: "float", torch.bool: "bool"}.get(x.dtype, "int")
            return {"kind": kind, "shape": list(x.shape), "numbers": x.flatten().tolist()}
        return [packed(part) for part in x] if isinstance(x, list) else x
    values = {what: packed(x) for what, x in seen.values.items()}
    return json.dumps(asdict(Seen({}, seen.error, seen.words)) | {"values": values}).encode()


def from_json(line: bytes) -> Seen:
    """One of UNREADABLE if it is something else."""
    def unpacked(x):
        if isinstance(x, dict):
            return torch.tensor(x["numbers"], dtype=KINDS[x["kind"]]).view(x["shape"])
        return [unpacked(part) for part in x] if isinstance(x, list) else x
    read = json.loads(line)
    values = {what: unpacked(x) for what, x in read["values"].items()}
    return Seen(values, str(read["error"]), str(read["words"]))


# ---- the student's process ----------------------------------------------------------------------
def run(name: str, file: str, handed_in: str, written: str, seconds: str, seed: str) -> None:
    """Call the function of an exercise in a file, write a line for each call, and end whatever
    still runs. handed_in: the file, or the notebook from which it was taken."""
    if hasattr(os, "setsid"):
        os.setsid()
    if parent := multiprocessing.parent_process():
        end_with_parent(parent.join)
    out, nowhere = os.open(written, os.O_WRONLY), os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nowhere, stream)
    os.chdir(Path(written).parent)
    torch.set_num_threads(1)
    sys.dont_write_bytecode = True
    exercise = exercises()[name]
    sys.path.insert(0, str(Path(handed_in).parent))     # a file may import its neighbour
    os.write(out, to_json(Seen()) + b"\n")              # from here on it is the student's program
    limit(int(seconds))
    function, missing = function_in(Path(file), exercise.name)
    os.write(out, to_json(Seen(words=missing)) + b"\n")
    for k in draws(seed) if function else []:
        seen = attempt_draw(exercise, function, k)
        os.write(out, to_json(seen) + b"\n")
        if seen.error == "NotImplementedError" or out_of_memory(seen):
            break
    os._exit(0)                                         # no thread is waited for


def limit(seconds: int) -> None:
    """Limits of this process: seconds of computing from now on, size of a file, and memory. Windows
    has none of them, and macOS does not count memory: there the clock alone limits."""
    try:
        import resource
    except ImportError:
        return
    compute = int(time.process_time()) + seconds
    limits = {resource.RLIMIT_CPU: (compute, compute + 2), resource.RLIMIT_FSIZE: (BYTES, BYTES)}
    with suppress(OSError):                             # Linux: in pages, what is mapped already
        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        limits[resource.RLIMIT_AS] = (mapped + GIGABYTES * 2**30,) * 2
    for kind, wanted in limits.items():
        hard = resource.getrlimit(kind)[1]
        soft, most = (x if hard == resource.RLIM_INFINITY else min(x, hard) for x in wanted)
        resource.setrlimit(kind, (soft, most))
