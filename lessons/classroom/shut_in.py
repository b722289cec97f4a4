"""A student's program that can change nothing but an empty folder (Linux).

It gets namespaces of its own, as a container does. All files but those of its folder are read-only
there, the folder holds 256 MB, there is no network, and no process but those that it starts, which
end with the first of them. Nothing is installed for it, and no administrator is needed. Some
systems refuse it, as Docker and macOS do.
"""
import ctypes
import os
import tempfile
from pathlib import Path

NEW_MOUNTS, NEW_USER, NEW_PROCESSES, NEW_NETWORK = 0x20000, 0x10000000, 0x20000000, 0x40000000
SET_ATTRIBUTES = 442                            # the number of a system call, mount_setattr
HERE, RECURSIVE, READ_ONLY = -100, 0x8000, 1
SIZE = b"size=256m"


def shut_in(folder: Path) -> bool:
    """Shut this process in, and all that it starts from now on. A file of the folder stays for
    whoever has opened it. False if the system refuses it."""
    user, group = os.getuid(), os.getgid()
    libc, before = ctypes.CDLL(None, use_errno=True), os.open(folder, os.O_RDONLY)
    files = {x: os.open(x, os.O_RDONLY) for x in folder.iterdir()}
    try:
        call(libc.unshare, NEW_USER | NEW_MOUNTS | NEW_PROCESSES | NEW_NETWORK)
        for name, line in {"setgroups": "deny", "uid_map": f"{user} {user} 1",
                           "gid_map": f"{group} {group} 1"}.items():
            Path("/proc/self", name).write_text(line)
        attributes = (ctypes.c_uint64 * 4)(READ_ONLY, 0, 0, 0)
        call(libc.syscall, SET_ATTRIBUTES, HERE, b"/", RECURSIVE, attributes, 32)
        call(libc.mount, b"tmpfs", os.fsencode(folder), b"tmpfs", 0, SIZE)
        call(libc.unshare, NEW_USER)            # from here on none of this can be undone
        for file, opened in files.items():
            file.symlink_to(f"/proc/self/fd/{opened}")
            os.unlink(file.name, dir_fd=before)                 # no other program finds it
    except (OSError, AttributeError):
        return False
    finally:
        os.close(before)
    os.environ |= dict.fromkeys(("HOME", "TMPDIR"), str(folder)) | {"LOGNAME": "student"}
    tempfile.tempdir = None                     # PyTorch makes a folder there for its optimizers
    return True


def call(function, *words) -> None:
    """OSError if it fails."""
    if function(*words) != 0:
        raise OSError(ctypes.get_errno(), "the system refuses it")


def can_shut_in() -> bool:
    """Does this system allow it? Another process tries."""
    if not hasattr(os, "fork"):
        return False
    with tempfile.TemporaryDirectory() as folder:
        child = os.fork()
        if child == 0:
            os._exit(not shut_in(Path(folder)))
        return os.waitpid(child, 0)[1] == 0
