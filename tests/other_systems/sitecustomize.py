"""What Windows refuses is refused here; __main__.py says how to begin. Python imports this first.

- The modules of this checkout find no fcntl, os.fork, SIGALRM ..., and the platform win32, so what
  they start is spawned. What they import, such as torch, keeps the whole of Linux.
- A text without an encoding is cp1252, and refused in the program itself; its lines end in \\r\\n.
- No file is renamed, replaced or removed that this process has open or mapped.
- No link, and no name that Windows reserves or that differs from another in case alone.
"""
import builtins
import fcntl
import io
import locale
import os
import re
import signal
import struct
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = tuple(f"{ROOT / name}{os.sep}" for name in ("nanouft", "frozen_lake", "lessons"))
OURS = (*PROGRAM, f"{ROOT / 'tests'}{os.sep}")
LIBRARY = (os.path.dirname(os.__file__), "<frozen")
NAMES = re.compile(r'(con|prn|aux|nul|com\d|lpt\d)(\.|$)|.*[<>:"|?*\\\x00-\x1f]|.*[. ]$', re.I)
KEPT = "SIGABRT SIGFPE SIGILL SIGINT SIGSEGV SIGTERM SIG_DFL SIG_IGN".split()
GONE = [*"fork setsid killpg getuid geteuid chown mkfifo nice wait sched_getaffinity".split(),
        *(x for x in dir(signal) if re.match("SIG|.*itimer|ITIMER|alarm", x) and x not in KEPT)]
OTHER = {("os", "name"): "nt", ("sys", "platform"): "win32"}


class Elsewhere(ModuleType):
    """A module as Windows has it; what is set there is set in the real one."""
    def __getattr__(self, name):
        if name in GONE:
            raise AttributeError(f"there is no {self.__name__}.{name} elsewhere")
        return OTHER.get((self.__name__, name)) or getattr(sys.modules[self.__name__], name)

    def __setattr__(self, name, value):
        setattr(sys.modules[self.__name__], name, value)


def locking(file, mode, size):
    """msvcrt's: a lock of this handle alone, as that of F_OFD_SETLK (37) is."""
    kind = fcntl.F_WRLCK if mode else fcntl.F_UNLCK
    try:
        fcntl.fcntl(file, 37, struct.pack("hhqqi", kind, os.SEEK_CUR, 0, size, 0))
    except BlockingIOError:
        raise PermissionError(13, "Permission denied") from None


MODULES = {name: Elsewhere(name) for name in ("os", "sys", "signal", "msvcrt")} | dict.fromkeys(
    "fcntl resource pwd grp termios tty pty".split())
vars(MODULES["msvcrt"]).update(locking=locking, LK_NBLCK=1, LK_UNLCK=0)


def imported(name, names=None, *more, real=builtins.__import__, **named):
    if name not in MODULES or not str((names or {}).get("__file__", "")).startswith(OURS):
        return real(name, names, *more, **named)
    if MODULES[name] is None:
        raise ModuleNotFoundError(f"there is no {name} elsewhere", name=name)
    return MODULES[name]


def encoding_of(encoding, stacklevel=2):
    caller = sys._getframe(stacklevel).f_code.co_filename
    if encoding in (None, "locale") and caller.startswith(PROGRAM):
        raise EncodingWarning(f"{caller}: a text has no encoding")
    return encoding or "locale"


def opened(file, mode="r", buffering=-1, encoding=None, errors=None, newline=None, *more, real=open,
           **named):
    if "b" not in mode:
        encoding = encoding_of(encoding).replace("locale", "cp1252")
        newline = "\r\n" if newline is None and not {"r", "+"} & {*mode} else newline
    return real(file, mode, buffering, encoding, errors, newline, *more, **named)


def in_use(path):
    """Does this process have the file, or one in the folder, open or mapped, or is it there?"""
    links = [f"/proc/self/fd/{x}" for x in os.listdir("/proc/self/fd")] + ["/proc/self/cwd"]
    held = [os.readlink(x) for x in links if os.path.lexists(x)]
    with open("/proc/self/maps", "rb") as maps:
        held += [os.fsdecode(line[73:-1]) for line in maps]
    return any(x == path or x.startswith(path + os.sep) for x in held)


def is_refused(path):
    folder, name = os.path.split(path)
    return NAMES.match(name) or not os.path.lexists(path) and os.path.isdir(folder) and (
        name.lower() in {x.lower() for x in os.listdir(folder)})


def watch(event, told):
    """By Python's audit of what a process does: what a module of this checkout does, directly or by
    pathlib, shutil ..."""
    if event in ("os.symlink", "os.fork") or event == "os.kill" and told[0] == os.getpid():
        raise OSError(22, f"{event} is refused elsewhere")
    count = {"open": 1, "os.mkdir": 1, "os.remove": 1, "os.rename": 2}.get(event, 0)
    frame = sys._getframe().f_back if count else None
    while frame and frame.f_code.co_filename.startswith(LIBRARY) and (
            "site-packages" not in frame.f_code.co_filename):
        frame = frame.f_back
    if not (frame and frame.f_code.co_filename.startswith(OURS)) or isinstance(told[0], int):
        return
    within = f"/proc/self/fd/{told[-1]}"                # the folder that shutil.rmtree is in
    within = os.readlink(within) if event == "os.remove" and told[-1] >= 0 else ""
    names = [os.path.abspath(os.path.join(within, os.fsdecode(x))) for x in told[:count]]
    if event in ("os.rename", "os.remove") and any(map(in_use, names)):
        raise PermissionError(13, "the file is used by another process", names[0])
    creates = event in ("os.mkdir", "os.rename") or event == "open" and told[2] & os.O_CREAT
    if creates and is_refused(names[-1]):
        raise OSError(22, "Windows refuses this name, or it differs in case alone", names[-1])


builtins.__import__, builtins.open, io.open = imported, opened, opened
io.text_encoding, locale.getencoding = encoding_of, lambda: "cp1252"
sys.addaudithook(watch)
