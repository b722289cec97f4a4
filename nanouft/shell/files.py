"""Files that are whole or not there: JSON, JSON lines that only grow, folders made once.

    write_json(file, value); read_json(file)
    lines = Lines(folder / "metrics.jsonl"); lines.add({"step": 1}); lines.read()
    folder = made_once(Path("out/.first/abc"), lambda place: train.main([..., "--out", str(place)]))

Everything is written under another name and renamed once, or appended. Kill the process anywhere: a reader sees the
old file or the new one, never half of one.
"""
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from nanouft.shell.config import UserError


def write_json(file: Path, value) -> None:
    """Written beside, then renamed. Half a surrogate becomes '?'."""
    write_text(file, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_text(file: Path, text: str) -> None:
    partial = file.with_name(file.name + ".partial")
    partial.write_text(text, encoding="utf-8", errors="replace")
    os.replace(partial, file)


def read_json(file: Path) -> dict:
    """The object in a JSON file; UserError if it is missing, damaged or no object."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{file}: no such file; is {file.parent} a run folder of nanouft?")
    except (OSError, ValueError, RecursionError) as e:
        raise UserError(f"{file}: cannot be read ({type(e).__name__}); copy it anew, or start a new run")
    if not isinstance(value, dict):
        raise UserError(f"{file}: holds no JSON object; copy it anew, or start a new run")
    return value


class Lines:
    """A file of JSON objects, one a line, that grows at its end. The one store of metrics and of results."""

    def __init__(self, file: Path):
        self.file = file

    def read(self) -> list[dict]:
        """The objects, up to a line that was cut short by a kill; none where there is no file."""
        if not self.file.exists():
            return []
        out = []
        try:
            lines = self.file.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError as e:
            raise UserError(f"{self.file}: cannot be read ({e.strerror})")
        for line in lines:
            try:
                value = json.loads(line)
            except ValueError:
                break
            if not isinstance(value, dict):
                break
            out.append(value)
        return out

    def add(self, *objects: dict) -> None:
        """Append. What a kill left of a last line goes first."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with open(self.file, "ab+") as f:
            f.seek(0)
            there = f.read()
            if not there.endswith(b"\n"):
                f.truncate(there.rfind(b"\n") + 1)
            f.write("".join(json.dumps(x) + "\n" for x in objects).encode())

    def rewrite(self, objects: list[dict]) -> None:
        write_text(self.file, "".join(json.dumps(x) + "\n" for x in objects))


def made_once(folder: Path, make: Callable[[Path], object], done: str = "model.safetensors") -> Path:
    """`folder`, made by make(place) unless it is there. `done` is the file that tells a finished one.
    It is made beside and renamed once, so it is whole or not there. Two processes may make it at once: both make the
    same, and the first one's stays. UserError where something else has its name."""
    if (folder / done).exists():
        return folder
    place = folder.with_name(f"{folder.name}-{os.getpid()}.partial")
    shutil.rmtree(place, ignore_errors=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        make(place)
        place.rename(folder)
    except OSError:
        if not (folder / done).exists():                    # else another process was faster
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
