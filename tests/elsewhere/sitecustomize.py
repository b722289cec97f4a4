"""What Windows refuses is refused here; __main__.py says how to begin.

- The modules of this checkout find no fcntl, no os.fork, no SIGALRM ..., and the platform win32. So
  processes are spawned. What they import, such as torch, has the whole of Linux.
- A text file opened without an encoding is cp1252, and refused in the program itself. Lines end
  with \\r\\n.
- A file cannot be renamed, replaced or removed while this process has it open or mapped.
- No link; no name that Windows reserves, or that differs from a neighbour's in case alone.
"""
import builtins
import io
import locale
import os
import re
import signal
import struct
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = tuple(f"{ROOT / x}{os.sep}" for x in ("nanouft", "frozen_lake", "lessons"))
OURS = (*PROGRAM, f"{ROOT / 'tests'}{os.sep}")
STDLIB = os.path.dirname(os.__file__)
NAMES = re.compile(r'(?i)(con|prn|aux|nul|com\d|lpt\d)(\.|$)|.*[<>:"|?*\\\x00-\x1f]|.*[. ]$')
MODULES = "fcntl resource pwd grp termios tty pty posix syslog readline".split()
SIGNALS = "SIGABRT SIGBREAK SIGFPE SIGILL SIGINT SIGSEGV SIGTERM SIG_DFL SIG_IGN".split()
GONE = {"os": "fork forkpty setsid setpgid getpgid getpgrp killpg getuid geteuid getgid getegid "
              "chown mkfifo mknod nice uname getloadavg wait wait3 wait4 WNOHANG WIFEXITED "
              "sched_getaffinity sched_setaffinity register_at_fork O_NOFOLLOW".split(),
        "signal": "alarm setitimer getitimer pause sigwait pthread_kill pthread_sigmask".split() + [
            x for x in dir(signal) if x.startswith(("SIG", "ITIMER")) and x not in SIGNALS]}
OTHER = {"os": {"name": "nt", "linesep": "\r\n"}, "sys": {"platform": "win32"}}


class Elsewhere(ModuleType):
    """A module as Windows has it."""
    def __getattr__(self, name):
        known = self.__name__
        if name in GONE.get(known, ()):
            raise AttributeError(f"module {known!r} has no attribute {name!r} elsewhere")
        return OTHER.get(known, {}).get(name) or getattr(sys.modules[known], name)

    def __setattr__(self, name, value):
        setattr(sys.modules[self.__name__], name, value)

    def __delattr__(self, name):
        delattr(sys.modules[self.__name__], name)


def locking(file: int, mode: int, size: int) -> None:
    fcntl = import_module("fcntl")                  # F_OFD_SETLK: a lock of this handle alone
    fcntl.fcntl(file, 37, struct.pack("hhqqi", fcntl.F_WRLCK if mode else fcntl.F_UNLCK,
                                      os.SEEK_CUR, 0, size, 0))


WINDOWS = {name: Elsewhere(name) for name in ("os", "sys", "signal")} | {
    "msvcrt": ModuleType("msvcrt")}
WINDOWS["msvcrt"].__dict__.update(locking=locking, LK_NBLCK=1, LK_UNLCK=0)


def imported(name, globals=None, locals=None, fromlist=(), level=0, real=builtins.__import__):
    if str((globals or {}).get("__file__", "")).startswith(OURS):
        if name in MODULES:
            raise ModuleNotFoundError(f"No module named {name!r} elsewhere", name=name)
        if name in WINDOWS:
            return WINDOWS[name]
    return real(name, globals, locals, fromlist, level)


def encoding_of(encoding, stacklevel=2):
    if encoding in (None, "locale"):
        caller = sys._getframe(stacklevel)
        if caller.f_code.co_filename.startswith(PROGRAM):
            raise EncodingWarning(f"no encoding: {caller.f_code.co_filename}, {caller.f_lineno}")
    return encoding or "locale"


def opened(file, mode="r", buffering=-1, encoding=None, errors=None, newline=None, *more, real=open,
           **named):
    if "b" not in mode:
        encoding = encoding_of(encoding).replace("locale", "cp1252")
        newline = "\r\n" if newline is None and "r" not in mode and "+" not in mode else newline
    return real(file, mode, buffering, encoding, errors, newline, *more, **named)


# ---- files ---------------------------------------------------------------------------------------
def in_use(path: str) -> bool:
    """True if this process has the file, or one in the folder, open or mapped, or is there."""
    fds = [f"/proc/self/fd/{x}" for x in os.listdir("/proc/self/fd")] + ["/proc/self/cwd"]
    held = [os.readlink(x) for x in fds if os.path.lexists(x)]
    with open("/proc/self/maps", "rb") as maps:
        held += [os.fsdecode(x[73:-1]) for x in maps if len(x) > 73]
    return any(x == path or x.startswith(path + os.sep) for x in held)


def check_name(path: str) -> None:
    folder, name = os.path.split(path)
    if NAMES.match(name):
        raise OSError(22, "Windows refuses this name", path)
    if not os.path.lexists(path) and os.path.isdir(folder) and name.lower() in {
            x.lower() for x in os.listdir(folder)}:
        raise OSError(17, "another name differs in case alone", path)


def watch(event: str, told: tuple) -> None:
    if event == "os.symlink":
        raise OSError(22, "A required privilege is not held by the client")
    if event == "os.fork" or event == "os.kill" and told[0] == os.getpid():
        raise OSError(22, f"Windows has no {event} like this")
    if event not in ("open", "os.mkdir", "os.rename", "os.remove") or isinstance(told[0], int):
        return
    caller = sys._getframe(1)
    while caller and caller.f_code.co_filename.startswith((STDLIB, "<frozen")) and \
            "site-packages" not in caller.f_code.co_filename:
        caller = caller.f_back
    if not caller or not caller.f_code.co_filename.startswith(OURS):
        return
    names = [os.path.abspath(os.fsdecode(x)) for x in told[:2] if isinstance(x, (str, bytes))]
    if event != "open" and event != "os.mkdir":
        for path in names[:2 if event == "os.rename" else 1]:
            if in_use(path):
                raise PermissionError(13, "another process uses this file", path)
    if event == "os.mkdir" or event == "os.rename" or event == "open" and told[2] & os.O_CREAT:
        check_name(names[event == "os.rename"])


builtins.__import__, builtins.open, io.open = imported, opened, opened
io.text_encoding, locale.getencoding = encoding_of, lambda: "cp1252"
sys.addaudithook(watch)
