"""Files that are read without trust and written whole: JSON objects, folders, tensors.

A file is written under another name and renamed once, so that a reader finds the old one or the new
one. Whatever comes from outside is checked before it is opened; nothing is pickled.
"""
import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from nanouft.errors import UserError, parse_json, plain_file, read_text

READ = ["*.json*", "*.safetensors", "*.jinja", "*.model", "*.txt", "*.png"]     # or written


def check_files(folder: Path) -> None:
    """UserError if a file that we or transformers would open is a pipe, a device or a folder."""
    for pattern in READ:
        for file in folder.glob(pattern):
            plain_file(file)


def read_json(file: Path, **kinds: type) -> dict:
    """UserError if there is no JSON object with fields of these kinds; a field may be missing."""
    hint = f"; is {file.parent} the folder of a run?"
    value = parse_json(read_text(file, hint), str(file), hint)
    if not isinstance(value, dict):
        raise UserError(f"{file}: holds no JSON object")
    for name, kind in kinds.items():
        if not isinstance(value.get(name, kind()), kind):
            raise UserError(f"{file}: {name} is {str(value[name])[:80]}, no {kind.__name__}")
    return value


def as_json(value: Any) -> Any:
    """The value as a file gives it back; None for NaN and infinity, which JSON does not have."""
    return json.loads(json.dumps(value), parse_constant=lambda word: None)


def write_json(file: Path, value: Any) -> None:
    partial = file.with_name(file.name + ".partial")
    partial.write_text(json.dumps(as_json(value), indent=1, ensure_ascii=False), encoding="utf-8",
                       errors="backslashreplace")       # half of a character: as JSON writes it
    rename(partial, file)


def rename(partial: Path, final: Path) -> None:
    """Give a file or folder that was written whole its final name, in place of what is there. A
    library may write for the owner alone (safetensors: 0600); each file gets the umask's mode."""
    mask = os.umask(0o077)
    os.umask(mask)
    for file in (partial, *partial.rglob("*")):
        if file.is_file():
            with suppress(OSError):                     # a drive without modes
                file.chmod(0o666 & ~mask)
    if partial.is_dir():
        remove(final)
    os.replace(partial, final)


def fresh(folder: Path) -> Path:
    """An empty folder, in place of what was there."""
    remove(folder)
    folder.mkdir(parents=True)
    return folder


def remove(path: Path) -> None:
    """Delete a folder, or whatever stands in its place."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def not_finite(weights: Mapping[str, Tensor]) -> str:
    return next((name for name, p in weights.items() if not p.isfinite().all()), "")


def load_checked(file: Path, wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """ValueError unless the tensors of `file` are the wanted ones, and finite: an optimizer step
    over tensors of another size or type would write beyond their end."""
    tensors = load_file(plain_file(file))
    for name in {**wanted, **tensors}:
        a, b = tensors.get(name), wanted.get(name)
        if a is None or b is None or (a.shape, a.dtype) != (b.shape, b.dtype):
            raise ValueError(f"{file.name}: {name} is missing, of another shape or of another type")
    if name := not_finite(tensors):
        raise ValueError(f"{file.name}: {name} is not finite")
    return tensors
