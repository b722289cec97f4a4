"""Files that are whole or not there: JSON, JSON lines that only grow, folders made once; one process at a time.

    write_json(file, value)                 # text.read_json reads it
    lines = Lines(folder / "metrics.jsonl"); lines.add({"step": 1}); lines.read()
    folder = made_once(Path("out/.first/abc"), lambda place: train.main([..., "--out", str(place)]))
    with locked(folder / LOCK): ...             # a second process is refused, or waits

Everything is written under another name and renamed once, or appended. Kill the process anywhere: a reader sees the
old file or the new one, never half of one.
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
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from nanouft.errors import UserError

HUB = "hub:"        # before a name on the hub; a path with a typing error is never looked up there
LOCK = ".lock"                      # inside a folder, or after the name of a file


def regular(file: Path) -> Path:
    """`file`, if it is a plain file. OSError else: reading a pipe would wait, reading a device would not end."""
    mode = os.stat(file).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(file))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "is a pipe or a device, not a file", str(file))
    return file


def loads(text: str):
    """json.loads; ValueError also for nesting without end."""
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
        raise UserError(f"{file}: cannot be read ({getattr(e, 'strerror', None) or e}); copy it again, "
                        "or start a new run")
    if not isinstance(value, dict):
        raise UserError(f"{file}: holds no JSON object; copy it again, or start a new run")
    return value


def write_json(file: Path, value) -> None:
    """Written beside, then renamed. Half a surrogate becomes '?'."""
    write_text(file, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_text(file: Path, text: str) -> None:
    partial = file.with_name(file.name + ".partial")
    partial.unlink(missing_ok=True)                         # it may be a link
    try:
        partial.write_text(text, encoding="utf-8", errors="replace")
        os.replace(partial, file)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink()                                # half a file only fills a full disk
        raise


class Lines:
    """A file of JSON objects, one a line, that grows at its end. The one store of metrics and of results."""

    def __init__(self, file: Path):
        self.file = file

    def read(self, wrong: Callable[[dict], str] = lambda value: "") -> list[dict]:
        """The objects; none where there is no file. Only a last line that a kill cut short is left out. UserError with
        the number of any other line that is no object, or of which `wrong` has something to say."""
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
                raise UserError(f"{self.file}, line {number}: {complaint}; repair that line or delete it, "
                                "nothing after it is lost")
            out.append(value)
        return out

    def add(self, *objects: dict) -> None:
        """Append. What a kill left of a last line goes first."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with open(self.file, "ab+") as f:
            f.seek(0)
            there = f.read()
            last = there.rfind(b"\n") + 1
            if there[last:] and _object(there[last:]):      # whole, but for the end of its line
                f.write(b"\n")
            else:
                f.truncate(last)
            f.write("".join(json.dumps(x) + "\n" for x in objects).encode())

    def rewrite(self, objects: list[dict]) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        write_text(self.file, "".join(json.dumps(x) + "\n" for x in objects))


def _object(line: bytes) -> dict | None:
    try:
        value = loads(line.decode())
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


# ---- one process at a time -------------------------------------------------------------------------------------------
@contextlib.contextmanager
def locked(file: Path, wait: bool = False) -> Iterator[None]:
    """Hold the lock `file` inside. It says who holds it; the operating system releases it when that process ends,
    however it ends. UserError if another process holds it; with `wait`, its end is waited for."""
    lock = FileLock(file)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        who = _holder(file)
        if not wait:
            raise UserError(f"{_place(file)}: {who} works there; wait for its end, or choose another place with --out")
        print(f"{_place(file)}: {who} makes it; waiting", file=sys.stderr)
        lock.acquire(poll_interval=0.2)
    try:
        with contextlib.suppress(OSError):                  # a full disk: it is locked all the same
            file.write_text(f"process {os.getpid()}, since {time.strftime('%Y-%m-%d %H:%M:%S')},", encoding="ascii")
        yield
    finally:
        with contextlib.suppress(OSError):                  # Windows keeps a file that is open
            file.unlink()
        lock.release()


def _holder(file: Path) -> str:
    try:
        return regular(file).read_text(encoding="ascii") or "another process"
    except (OSError, ValueError):
        return "another process"


def _place(lock: Path) -> Path:
    """What a lock file is about."""
    return lock.parent if lock.name == LOCK else lock.with_name(lock.name.removesuffix(LOCK))


def beside(path: Path) -> Path:
    """The lock file of a file, or of a folder that is not there yet."""
    return path.with_name(path.name + LOCK)


def made_once(folder: Path, make: Callable[[Path], object], done: str = "model.safetensors") -> Path:
    """`folder`, made by make(place) unless it is there. `done` is the file that tells a finished one.
    It is made beside and renamed once, so it is whole or not there. Of two processes one makes it, the other waits.
    What killed processes left of it goes. UserError where something else has its name."""
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
            if not (folder / done).exists():                # else, without locks, another process was faster
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
