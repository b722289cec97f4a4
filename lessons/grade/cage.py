"""A cage for a student's program: what it may see, reach and leave behind. Linux only.

    python -m lessons.grade.cage OWN HIDDEN ...     # runs the worker in it; OWN is the copy of my/
    python -m lessons.grade.cage --open             # no cage, but what the worker starts is ended

In the cage (namespaces of users, processes, mounts and the network, as containers have them):
- no process outside can be seen or killed, and all that the program has started ends with it
- all files are read-only but OWN and an empty /tmp
- HIDDEN files and folders are empty, but for what the worker needs: the project and Python
- there is no network

`missing` says why there is no cage: another system, or a kernel or container that forbids it.
"""
import contextlib
import ctypes
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WORKER = [sys.executable, "-m", "lessons.grade.worker"]
USER, MOUNTS, PROCESSES, NETWORK, IPC = 0x10000000, 0x20000, 0x20000000, 0x40000000, 0x8000000
READ_ONLY, REMOUNT, BIND, RECURSIVE, PRIVATE = 1, 32, 4096, 16384, 1 << 18
FLAGS = {"nosuid": 2, "nodev": 4, "noexec": 8, "noatime": 1024, "nodiratime": 2048,
         "relatime": 1 << 21}
DIES_WITH_PARENT, TAKES_ORPHANS = 1, 36             # of prctl
MOST = 200                                          # processes and threads
ROOM = "size=256m,nr_inodes=10000"                  # of /tmp


# ---- for the teacher's process -------------------------------------------------------------------

def missing() -> str:
    """"" if a cage can be made here; else why not."""
    if sys.platform != "linux":
        return f"there is none on {sys.platform}"
    with tempfile.TemporaryDirectory(prefix="nanouft-") as own:
        done = subprocess.run(command([own], ["--try"]), capture_output=True, text=True, cwd=ROOT)
    return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1] * bool(
        done.returncode)


def command(own: list, options: list[str]) -> list[str]:
    return [sys.executable, "-m", "lessons.grade.cage", *options, *map(str, own)]


# ---- in the new process --------------------------------------------------------------------------

def call(name: str, *args) -> None:
    """A function of the C library; OSError if it fails."""
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*args) == -1:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")


def mount(what: str, where, kind: str | None, flags: int, options: str = "") -> None:
    names = [text and str(text).encode() for text in (what, where, kind)]
    call("mount", *names, ctypes.c_ulong(flags), options.encode() or None)


def enter(own: Path, hidden: list[Path]) -> None:
    """From here on this process is in the cage: number 1 in it, and root over nothing else."""
    import resource
    uid, gid = os.getuid(), os.getgid()
    call("unshare", USER | MOUNTS | PROCESSES | NETWORK | IPC)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    if child := os.fork():                          # only children are in the new PID namespace
        signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGKILL))
        os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) % 256)
    os.setsid()
    mount("none", "/", None, PRIVATE | RECURSIVE)
    if tuple(map(int, re.findall(r"\d+", os.uname().release)[:2])) >= (5, 14):
        resource.setrlimit(resource.RLIMIT_NPROC, (MOST, MOST))     # counted in the cage alone
    files(own, hidden)
    call("unshare", USER | MOUNTS)                  # without a right to undo these mounts
    call("prctl", DIES_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
    os.environ["HOME"] = "/tmp"


def files(own: Path, hidden: list[Path]) -> None:
    """OWN and an empty /tmp can be written, nothing else; what is hidden is empty."""
    temporary = {Path("/tmp"), Path(tempfile.gettempdir()).resolve()}
    empty = sorted({path for path in hidden if path.is_dir()} | temporary,
                   key=lambda path: -len(path.parts))       # a folder before the one around it
    needed = {path.resolve() for path in map(Path, [ROOT, sys.prefix, sys.base_prefix, *sys.path])
              if path.exists() and any(path.resolve().is_relative_to(top) for top in empty)}
    kept = {path: os.open(path, os.O_PATH) for path in [*sorted(needed), own]}
    null = os.open("/dev/null", os.O_PATH)
    for path in [path for path in hidden if path.is_file()]:
        mount(f"/proc/self/fd/{null}", path, None, BIND)
    for path in empty:
        mount("tmpfs", path, "tmpfs", FLAGS["nosuid"] | FLAGS["nodev"], ROOM)
    for path, fd in kept.items():
        if not path.is_file():
            path.mkdir(parents=True, exist_ok=True)
        mount(f"/proc/self/fd/{fd}", path, None, BIND | RECURSIVE)
        os.close(fd)
    os.close(null)
    mount("proc", "/proc", "proc", FLAGS["nosuid"] | FLAGS["nodev"] | FLAGS["noexec"])
    os.chdir(ROOT)                                  # the old folder would still be the real one

    def is_covered(path: Path) -> bool:
        return any(top in path.parents for top in empty) and not any(
            path.is_relative_to(top) for top in kept)

    for path, flags in mounts():
        if path not in {own, *temporary, Path("/proc")} and not is_covered(path):
            with contextlib.suppress(FileNotFoundError):            # another mount hides it
                mount("none", path, None, REMOUNT | BIND | READ_ONLY | flags)


def mounts() -> list[tuple[Path, int]]:
    """(where, flags that must stay) of each mount that can be seen."""
    found = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        words = line.split()
        where = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), words[4])
        found[Path(where)] = sum(FLAGS.get(word, 0) for word in words[5].split(","))
    return [(path, flags) for path, flags in found.items()
            if path == Path("/proc") or Path("/proc") not in path.parents]


# ---- without a cage ------------------------------------------------------------------------------

def in_the_open() -> int:
    """The worker as a child. Whatever it has started is ended with it: orphans come to this
    process, whatever their environment."""
    with contextlib.suppress(OSError, AttributeError, TypeError):   # not on Linux
        call("prctl", TAKES_ORPHANS, 1, 0, 0, 0)
    child = subprocess.Popen(WORKER)

    def stop(*_):
        raise SystemExit(1)
    signal.signal(signal.SIGTERM, stop)
    try:
        return child.wait() % 256
    finally:
        for pid in children():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


def children() -> Iterator[int]:
    """Those of this process, until there are none."""
    seen: set[int] = set()
    while new := {pid for pid in some_children() if pid not in seen}:
        seen |= new
        yield from new


def some_children() -> list[int]:
    found = []
    for place in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            if int(place.read_text().rpartition(")")[2].split()[1]) == os.getpid():
                found.append(int(place.parent.name))
    return found


def main(argv: list[str]) -> int:
    if argv == ["--open"]:
        return in_the_open()
    only_try = argv[:1] == ["--try"]
    own, *hidden = (Path(name).resolve() for name in argv[only_try:])
    try:
        enter(own, hidden)
    except OSError as e:
        print(e.strerror, file=sys.stderr)
        return 3
    if only_try:
        (own / "x").touch()
        return 0
    os.execv(WORKER[0], WORKER)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
