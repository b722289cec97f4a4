"""Files that are whole or not there: JSON, lines of JSON, folders made once; one process at a time.

    write_json(file, value)                     # read_json reads it
    lines = Lines(folder / "metrics.jsonl")
    lines.add({"step": 1})                      # lines.read() returns all of them
    folder = made_once(Path("out/.first/abc"), make)        # calls make(place) at first use only
    with locked(folder / LOCK): ...             # a second process is refused, or waits

Everything is written under another name and renamed once, or appended. Kill the process anywhere:
a reader sees the old file or the new one, never half of one.
"""
import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from nanouft.errors import UserError, say

if TYPE_CHECKING:           # importing torch takes a second, and nothing here needs it
    from torch import Tensor

HUB = "hub:"        # before a name on the hub; a path with a typing error is never looked up there
LOCK = ".lock"      # inside a folder, or after the name of a file


def regular(file: Path) -> Path:
    """`file`, if it is a plain file. OSError for others: reading a pipe would wait, and reading a
    device would not end."""
    mode = os.stat(file).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(file))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "is a pipe or a device, not a file", str(file))
    return file


def loads(text: str) -> Any:
    """json.loads; ValueError also if it is nested too deeply."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def read_json(file: Path) -> dict:
    """The object in a JSON file; UserError if it is missing, damaged or no object."""
    try:
        value = loads(regular(file).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{file}: no such file; is {file.parent} a run folder of nanouft?")
    except (OSError, ValueError) as e:
        raise UserError(f"{file}: cannot be read ({getattr(e, 'strerror', None) or e}); "
                        "copy it again, or start a new run")
    if not isinstance(value, dict):
        raise UserError(f"{file}: holds no JSON object; copy it again, or start a new run")
    return value


def write_json(file: Path, value: Any) -> None:
    write_text(file, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_text(file: Path, text: str) -> None:
    """Half a surrogate becomes '?'."""
    write_bytes(file, text.encode("utf-8", "replace"))


def write_bytes(file: Path, data: bytes) -> None:
    """Written beside, then renamed: what a link leads to stays as it is."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(file.name + ".partial")
    partial.unlink(missing_ok=True)                 # it may be a link
    try:
        partial.write_bytes(data)
        os.replace(partial, file)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink()                        # half a file only fills a full disk
        raise


def own(file: Path) -> Path:
    """`file`, in which something is going to be changed. UserError for a link, hard or symbolic."""
    if file.is_symlink() or file.exists() and file.stat().st_nlink > 1:
        raise UserError(f"{file}: is a link, and what it leads to would be changed; remove it")
    return file


class Lines:
    """A file of JSON objects, one a line, that grows at its end. Metrics and results are kept in
    such files."""

    def __init__(self, file: Path):
        self.file = file

    def read(self, wrong: Callable[[dict], str] = lambda value: "") -> list[dict]:
        """The objects; none if there is no file. A last line that a kill cut short is left out.
        UserError for any other line that is no object, or for which `wrong` returns a reason."""
        try:
            lines = regular(self.file).read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
        except OSError as e:
            raise UserError(f"{self.file}: cannot be read ({e.strerror})")
        out: list[dict] = []
        for number, line in enumerate(lines, 1):
            value = _object(line)
            if not line.strip() or value is None and number == len(lines):
                continue
            complaint = "is no JSON object" if value is None else wrong(value)
            if value is None or complaint:
                raise UserError(f"{self.file}, line {number}: {complaint}; repair that line or "
                                "delete it, nothing after it is lost")
            out.append(value)
        return out

    def add(self, *objects: dict) -> None:
        """Append. What a kill left of a last line goes first."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with open(own(self.file), "ab+") as f:
            f.seek(0)
            there = f.read()
            last = there.rfind(b"\n") + 1
            if there[last:] and _object(there[last:]):      # only the end of the line is missing
                f.write(b"\n")
            else:
                f.truncate(last)
            f.write("".join(json.dumps(x) + "\n" for x in objects).encode())

    def rewrite(self, objects: list[dict]) -> None:
        write_text(self.file, "".join(json.dumps(x) + "\n" for x in objects))


def _object(line: bytes) -> dict | None:
    try:
        value = loads(line.decode())
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


# ---- one process at a time -----------------------------------------------------------------------
@contextlib.contextmanager
def locked(file: Path, wait: bool = False) -> Iterator[None]:
    """Hold the lock `file` inside. It names its process; the operating system releases it when
    that process ends, however it ends. If another process holds it: UserError, or `wait` for it."""
    lock = FileLock(own(file))
    try:
        lock.acquire(blocking=False)
    except Timeout:
        _held(file, wait)
        lock.acquire(poll_interval=0.2)
    try:
        with contextlib.suppress(OSError):          # a full disk: it is locked all the same
            now = time.strftime("%Y-%m-%d %H:%M:%S")
            file.write_text(f"process {os.getpid()}, since {now},", encoding="ascii")
        yield
    finally:
        with contextlib.suppress(OSError):          # Windows keeps a file that is open
            file.unlink()
        lock.release()


def _held(file: Path, wait: bool) -> None:
    """Another process holds the lock: a UserError, or with `wait` a note."""
    who = "another process"
    with contextlib.suppress(OSError, ValueError):
        who = regular(file).read_text(encoding="ascii") or who
    place = file.with_name(file.name.removesuffix(LOCK)) if file.name != LOCK else file.parent
    if not wait:
        raise UserError(f"{place}: {who} works there; wait for its end, or choose another place "
                        "with --out")
    say(f"{place}: {who} makes it; waiting", file=sys.stderr)


def beside(path: Path) -> Path:
    """The lock file of a file, or of a folder that is not there yet."""
    return path.with_name(path.name + LOCK)


def made_once(folder: Path, make: Callable[[Path], object],
              done: str = "model.safetensors") -> Path:
    """`folder`, made by make(place) unless it is there; a finished one holds the file `done`.
    It is made beside and renamed once, so it is whole or not there. Of two processes one makes it
    and the other waits. What killed processes left of it is removed."""
    if (folder / done).exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(beside(folder), wait=True):
        for left in folder.parent.iterdir():
            if re.fullmatch(re.escape(folder.name) + r"-\d+\.partial", left.name):
                shutil.rmtree(left, ignore_errors=True)
        if (folder / done).exists():
            return folder
        place = folder.with_name(f"{folder.name}-{os.getpid()}.partial")
        try:
            make(place)
            place.rename(folder)
        except OSError:
            # If it exists, another process was faster (some disks know no locks).
            if not (folder / done).exists():
                raise
        finally:
            shutil.rmtree(place, ignore_errors=True)
    return folder


def checksum(*parts: str | bytes | Path) -> str:
    """sha256 of texts, bytes and the content of files, together."""
    h = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            with open(part, "rb") as f:
                while block := f.read(1 << 20):
                    h.update(block)
        else:
            h.update(part.encode() if isinstance(part, str) else part)
    return h.hexdigest()


def not_finite(weights: "Mapping[str, Tensor]") -> str:
    """Name of the first weight that holds a NaN or an infinity; "" if there is none. Such weights
    are never written, and never believed when read."""
    return next((name for name, p in weights.items() if not p.isfinite().all()), "")
