"""Work that one process does at a time, in a folder that several comparisons share.

    with held(folder, "sft-1a2b3c4d"):      # waits while another process holds this name
    sweep(folder)                           # removes what processes that were killed have left

A lock is one byte of the file `lock` in the folder. It ends with the block or with the process,
however that ends. So a NAME.partial whose byte is free belongs to nobody.
"""
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from nanouft.plumbing.files import lock, remove

EVERY = 0.2             # seconds between two looks at a lock


@contextmanager
def held(folder: Path, name: str) -> Iterator[None]:
    """Not for a name that this process holds already."""
    folder.mkdir(parents=True, exist_ok=True)
    while not turn(folder, name, on=True):
        time.sleep(EVERY)
    try:
        yield
    finally:
        turn(folder, name, on=False)


@cache
def lock_file(path: Path) -> int:
    """Opened once: where a process closes any copy, it loses all its locks of this file."""
    return os.open(path, os.O_RDWR | os.O_CREAT)


def turn(folder: Path, name: str, on: bool) -> bool:
    """Lock the byte of a name, or free it. False if another process holds it."""
    file = lock_file((folder / "lock").absolute())
    byte = int(hashlib.sha256(name.encode()).hexdigest()[:7], 16)
    try:
        lock(file, byte, on)
    except OSError:
        return False
    return True


def sweep(folder: Path) -> None:
    """Remove folders and files of runs that were cut off: NAME.partial, NAME/scores.partial."""
    for left in [*folder.glob("*.partial"), *folder.glob("*/*.partial")]:
        name = left.stem if left.parent == folder else left.parent.name
        if turn(folder, name, on=True):
            remove(left)
            turn(folder, name, on=False)
