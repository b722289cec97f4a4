"""Files that are written whole: text, JSON objects, folders.

A file is written under another name and renamed once, so a reader finds the old one or the new one.
"""
import hashlib
import json
import os
import re
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from nanouft.plumbing.errors import UserError, name_of_function

HOST = re.sub(r"\W", "_", socket.gethostname().partition(".")[0])
Reward = str | Callable[..., Any]       # exact, FILE.py:FUNCTION, a folder; in Python a function
OWN = re.compile(r"(.+\.py)(?::(\w+))?")             # mine.py, mine.py:Name


# ---- reading -------------------------------------------------------------------------------------
def own_file(name: str) -> str:
    """The file of code of your own: mine.py of mine.py:Name; "" for any other name."""
    own = OWN.fullmatch(name)
    return own[1] if own else ""


def is_own_reward(reward: Reward) -> bool:
    """True for a function of yours, in a file or in Python. It may read every field of a row."""
    return callable(reward) or reward.rpartition(":")[0].endswith(".py") or reward.startswith("<")


def reward_name(reward: Reward) -> str:
    """As --reward names it; <name> of a function that only Python has."""
    return reward if isinstance(reward, str) else f"<{name_of_function(reward)}>"


def check_lfs(file: str | Path) -> bytes:
    """The first bytes of a file. UserError if it is a pointer of Git LFS to one elsewhere."""
    with open(file, "rb") if Path(file).is_file() else BytesIO() as stream:
        head = stream.read(400)
    if head.startswith(b"version https://git-lfs"):
        raise UserError(f"{file}: is a Git LFS pointer; run `git lfs pull` to fetch the file")
    return head


def hash_of_file(file: str | Path) -> str:
    """Hash of the bytes of a file, 16 digits."""
    digest = hashlib.sha256()
    with open(file, "rb") as stream:
        while block := stream.read(2**20):              # weights may be larger than memory
            digest.update(block)
    return digest.hexdigest()[:16]


def read_text(file: str | Path, hint: str = "") -> str:
    """The text of a file. UserError with this hint if it cannot be read or is no UTF-8."""
    try:
        return Path(file).read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as e:
        raise UserError(f"{file}: cannot be read ({getattr(e, 'strerror', '') or e}){hint}") \
            from None


def parse_json(text: str, where: str, hint: str = "") -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as e:
        raise UserError(f"{where}: is not valid JSON ({e}){hint}") from None


def read_json(file: Path) -> dict:
    """A JSON object. UserError if there is none."""
    hint = f"; is {file.parent} the folder of a run?"
    value = parse_json(read_text(file, hint), str(file), hint)
    if not isinstance(value, dict):
        raise UserError(f"{file}: is not a JSON object")
    return value


# ---- writing and deleting ------------------------------------------------------------------------
def as_json(value: Any) -> Any:
    """The value as JSON gives it back: None for NaN and infinity."""
    return json.loads(json.dumps(value), parse_constant=lambda word: None)


def write_json(file: Path, value: Any) -> None:
    write_text(file, json.dumps(as_json(value), indent=1, ensure_ascii=False))


def write_text(file: Path, text: str) -> None:
    """Write a new file in place of the old one. A hard link to the old file keeps the old text."""
    with removed_unless_whole(file.with_name(file.name + ".partial")) as partial:
        partial.write_text(text, encoding="utf-8",
                           errors="backslashreplace")   # half of a character: as JSON writes it
        rename(partial, file)


def unfinished(path: Path) -> Path:
    """The name of a file or folder while this process makes it. Another process, here or on another
    machine, gives it another name."""
    return path.with_name(f"{path.name}.{HOST}-{os.getpid()}.partial")


def write_arrays(file: Path, **arrays: Any) -> None:
    """An .npz, whole even if two processes write it at once."""
    with removed_unless_whole(unfinished(file)) as partial:
        with partial.open("wb") as out:
            np.savez_compressed(out, **arrays)
        rename(partial, file)


def read_arrays(file: Path) -> dict[str, np.ndarray]:
    """What write_arrays has written; {} if it cannot be read whole, as after a power cut."""
    try:
        with np.load(file) as kept:
            return dict(kept)
    except Exception:                       # zip, zlib and numpy each have errors of their own
        return {}


def rename(partial: Path, final: Path) -> None:
    """Give a finished file or folder its final name, in place of what is there. Each file gets the
    umask's mode, because a library may write for the owner alone (safetensors: 0600)."""
    mask = os.umask(0o077)
    os.umask(mask)
    for file in (partial, *partial.rglob("*")):
        if file.is_file():
            with suppress(OSError):                     # a drive without modes
                file.chmod(0o666 & ~mask)
    if partial.is_dir():
        remove(final)
    os.replace(partial, final)


@contextmanager
def removed_unless_whole(partial: Path) -> Iterator[Path]:
    """A name for a file or a folder, which the block makes and then renames or empties. If the
    block fails, it is removed. The error names it: those of a full disk and safetensors do not."""
    remove(partial)
    try:
        yield partial
    except BaseException as e:
        remove(partial)
        e.filename = getattr(e, "filename", None) or str(partial)   # type: ignore[attr-defined]
        raise


def lock(file: int) -> None:
    """Lock an open file. BlockingIOError, or PermissionError on Windows, if another process holds
    it; another OSError on a drive without locks."""
    try:
        import fcntl
    except ImportError:                     # Windows has locks of bytes: of one behind all text
        import msvcrt
        os.lseek(file, 2**30, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)                # type: ignore
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def unlock(file: int) -> None:
    """Unlock an open file for every process that has it, one that was forked meanwhile too."""
    with suppress(ImportError, OSError):    # Windows forks none; a network drive has no locks
        import fcntl
        fcntl.flock(file, fcntl.LOCK_UN)


def remove(path: Path) -> None:
    """Delete a folder, or whatever is in its place. Of a link, only the link is deleted. UserError
    for the working directory, the home folder and every folder around them."""
    if path.is_dir() and not path.is_symlink():
        for kept in (os.getcwd(), os.path.expanduser("~")):
            if Path(kept).resolve().is_relative_to(path.resolve()):
                raise UserError(f"{path.resolve()}: is not deleted, because {kept} is in it")
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
