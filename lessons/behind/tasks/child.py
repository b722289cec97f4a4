"""A student's programs in a process of their own, with limits.

    seen = run_all(jobs, student, hidden)       # name of a task -> what was seen, or why not

The process gets arguments alone and writes down what each call gives: neither the right programs
nor what they give. It calls the tasks of one file after each other, so what a file changes in
Python or PyTorch costs no other file a point. If one of them ends it, another process goes on with
the next. With bubblewrap (Linux) it sees Python, the project without its keys, and its student's
folder; it can write nothing that stays, and has no network. Where bubblewrap is missing or the
system refuses it, there are only the limits, and no_container says why.
"""
import functools
import os
import pickle
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from lessons.behind.tasks.call import Seen, call_in_all_cases, from_line, program_in, to_line
from lessons.behind.tasks.limits import PATIENCE, at_most
from nanouft.plumbing.errors import UserError

ROOT = Path(__file__).resolve().parents[3]
PYTHON = Path(sys.executable).parent.resolve() / Path(sys.executable).name     # .venv may be a link
PREFIXES = PYTHON.parents[1], Path(sys.base_prefix), PYTHON.resolve().parents[1]
START_TIMEOUT = 900                 # seconds on the clock until the first task begins
OUT_OF_TIME = "timed out after"
GIGABYTES, BYTES, PROCESSES = 4, 2**26, 200     # of memory; of a file; processes in a container
LARGEST_RESULT = 2**21              # bytes of what one call gives
MOST_RESULTS = 200                  # results of a program: more than any task has cases
HAS_KEYS = [ROOT / x for x in ("lessons/behind/keys", "lessons/exercises")]
SYSTEM_FOLDERS = ("/usr /bin /lib /lib32 /lib64 /etc/ld.so.cache /etc/ld.so.conf /etc/ld.so.conf.d "
                  "/etc/alternatives /sys/devices/system/cpu").split()
KEPT_VARIABLES = "PATH LD_LIBRARY_PATH SYSTEMROOT TMPDIR TEMP".split()      # of the environment


@dataclass
class Job:
    name: str                       # of the task
    function: str                   # "" for a class
    file: str                       # "ex06.py"
    folder: Path                    # in which it lies, perhaps beside what it imports
    text: str                       # of the program
    look: object
    cases: list
    seconds: int
    called: str = ""                # by the student: "my work.ipynb"


def container(student: Path, hidden: list[Path], writable: Path | None = None) -> list[str]:
    """The words before a command that runs in a container; none if there is no container. hidden:
    folders of which it sees nothing. room: the folder in which it may leave something."""
    return [] if no_container() else container_command(student, hidden, writable)


def no_container() -> str:
    """Why programs run without a container, in the system's own words; "" if they run in one."""
    program = shutil.which("bwrap")
    return container_error(program) if program else "bubblewrap is missing"


@functools.cache
def container_error(program: str) -> str:
    """What this bubblewrap says if it makes no container in which Python runs."""
    try:
        done = subprocess.run([*container_command(ROOT, []), PYTHON, "-c", "import torch"],
                              capture_output=True, text=True, errors="replace", timeout=120,
                              env=environment())
    except (OSError, subprocess.SubprocessError) as error:
        return f"{program}: {error}"
    said = " ".join(done.stderr.split()) or f"{program} gives the exit code {done.returncode}"
    return said if done.returncode else ""


def packages() -> list[Path]:
    """The folders of sys.path, such as those that a .pth or PYTHONPATH names: but not where the
    command was typed, and none around or inside of the project, except for Python's own."""
    there = [Path(x).resolve() for x in sys.path if x]
    return [x for x in there if x.is_dir() and x != Path.cwd() and not ROOT.is_relative_to(x)
            and (not x.is_relative_to(ROOT) or any(map(x.is_relative_to, PREFIXES)))]


def container_command(student: Path, hidden: list[Path], writable: Path | None = None) -> list[str]:
    """It sees what Python and the project need, and the student's folder. What lies deeper is
    mounted later: each of these folders may lie in any other, or in /tmp or /dev."""
    empty = [("--tmpfs", x) for x in (*HAS_KEYS, *hidden) if x.is_dir()]
    seen = [("--ro-bind", x, x) for x in (*PREFIXES, *packages(), ROOT / "nanouft",
                                          ROOT / "lessons", student)]
    seen += [("--ro-bind-try", Path(x), Path(x)) for x in SYSTEM_FOLDERS]
    seen += [("--bind", writable, writable)] if writable else []
    made = [("--dev", Path("/dev")), ("--proc", Path("/proc")),
            ("--size", 2**28, "--tmpfs", Path("/tmp"))]
    mounts = sorted([*made, *empty, *seen], key=lambda mount: len(mount[-1].parts))
    # all but /tmp, where a program may write and nothing stays
    shut = [("--remount-ro", x) for x in (Path("/"), *(x for _, x in empty if x != Path("/tmp")))]
    return [*"bwrap --unshare-all --die-with-parent --new-session".split(),
            *(str(x) for y in mounts + shut for x in y),
            *"--setenv HOME /tmp --setenv TMPDIR /tmp --chdir".split(), str(writable or "/tmp")]


def environment() -> dict[str, str]:
    """No token and no password of the teacher's own is among these."""
    return {x: os.environ[x] for x in KEPT_VARIABLES if x in os.environ} | {
        "PYTHONPATH": os.pathsep.join(map(str, [ROOT, *packages()])), "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "", "PYTHONDONTWRITEBYTECODE": "1"}


def run_all(jobs: list[Job], student: Path, hidden: list[Path]) -> dict[str, list[Seen] | str]:
    found: dict[str, list[Seen] | str] = {}
    while left := [job for job in jobs if job.name not in found]:
        of_file = [x for x in left if (x.folder, x.text) == (left[0].folder, left[0].text)]
        calls, ended = run_until_one_fails(of_file, student, hidden)
        for job in of_file:
            found[job.name] = calls.get(job.name, f"no result: {ended}")
            if job.name not in calls:                   # this one has ended the process
                break
    return found


def run_until_one_fails(jobs: list[Job], student: Path, hidden: list[Path]
                        ) -> tuple[dict[str, list[Seen] | str], str]:
    """What was seen of each task that has come to its end; and how the process ended."""
    with tempfile.TemporaryDirectory() as room:
        child = subprocess.Popen(
            [*container(student, hidden), PYTHON, "-c",
             "from lessons.behind.tasks.child import main; main()"], cwd=room,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True, env=environment())
        lines: queue.Queue = queue.Queue(MOST_RESULTS)

        def read() -> None:
            while line := child.stdout.readline(LARGEST_RESULT):
                lines.put(line)
            lines.put(b"")
        threading.Thread(target=read, daemon=True).start()
        calls: dict[str, list[Seen] | str] = {}
        begun: dict[str, list[Seen]] = {}
        ended, name, silent = "", None, 1.5 * PATIENCE * max(job.seconds for job in jobs)
        until = time.monotonic() + START_TIMEOUT
        try:
            with suppress(OSError):
                child.stdin.write(pickle.dumps((str(student), jobs)))
                child.stdin.close()
            while line := lines.get(timeout=max(0, until - time.monotonic())):
                seen = from_line(line)
                if seen.error == "begin":
                    if seen.words in begun or seen.words not in {job.name for job in jobs}:
                        raise ValueError("it does not come from the judge")
                    name, begun[seen.words] = seen.words, []
                    until = time.monotonic() + silent
                elif seen.error == "end":
                    calls[name] = begun[name]
                else:
                    begun[name].append(seen)
                    if len(begun[name]) > MOST_RESULTS:
                        raise ValueError("more results than any task has cases")
        except queue.Empty:
            ended = f"{OUT_OF_TIME} {silent if name else START_TIMEOUT:.0f} seconds on the clock"
        except Exception as error:                              # a line that is something else
            ended = f"its result cannot be read ({type(error).__name__})"
        finally:
            with suppress(ProcessLookupError, PermissionError, AttributeError):
                os.killpg(child.pid, 9)
            child.kill()
            code = child.wait()
        ended = ended or f"it exited (exit code {code})"
        if name is None:                                # no line of a student has run
            stderr_lines = child.stderr.read().decode(errors="replace").split("\n")
            why = next((x.strip() for x in reversed(stderr_lines) if x.strip()), "it said nothing")
            raise UserError("A process of the judge failed before it ran a program: "
                            f"{ended}; {why}. Perhaps the disk is full, or another program has "
                            "killed it. No table is written: fix that, and run the same command "
                            "again")
        return calls, ended


# ---- in the process ------------------------------------------------------------------------------
def main() -> None:
    import torch
    torch.set_num_threads(1)
    student, jobs = pickle.load(sys.stdin.buffer)
    out, nowhere = os.dup(1), os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(nowhere, fd)
    limit()
    sys.path[:0] = [str(jobs[0].folder), student]  # a file may import its neighbour
    checker = ModuleType("check")                       # check(f) at its end does nothing
    checker.check = lambda function: None               # type: ignore[attr-defined]
    sys.modules["lessons.behind.tasks.check"] = checker
    sys.modules["lessons.behind.keys"] = None           # type: ignore[assignment]  # no key either

    def write(seen: Seen) -> None:
        line = to_line(seen)
        os.write(out, line if len(line) < LARGEST_RESULT else to_line(
            Seen(error="ValueError", words="ValueError: its result is too large")))
    for job in jobs:
        write(Seen(error="begin", words=job.name))
        file = Path.cwd() / job.file                    # a folder of this process alone
        file.write_bytes(job.text.encode("utf-8", "replace"))
        with at_most(job.seconds):
            program, missing = program_in(file, job.function)
        if missing:
            write(Seen(error="Missing", words=missing.replace(job.file, job.called)))
        else:
            for seen in call_in_all_cases(job.look, program, job.cases, str(file), job.seconds):
                write(seen)
        write(Seen(error="end"))
    os._exit(0)                                         # no thread is waited for


def limit() -> None:
    """Memory, the size of a file and, in a container, the number of processes,
    which does not bind root."""
    try:
        import resource
    except ImportError:                                 # Windows
        return
    limits = {resource.RLIMIT_FSIZE: BYTES}
    with suppress(OSError):                             # Linux
        mapped = int(Path("/proc/self/statm").read_bytes().split()[0]) * resource.getpagesize()
        limits[resource.RLIMIT_AS] = mapped + GIGABYTES * 2**30
        if os.getpid() < 9:
            limits[resource.RLIMIT_NPROC] = PROCESSES
    for kind, most in limits.items():
        resource.setrlimit(kind, (most, most))
